package dev.vmexit.replay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.mmu.PagingMode;
import dev.vmexit.mmu.Translation;
import dev.vmexit.trace.Recorder;
import dev.vmexit.trace.RecorderOptions;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.trace.TraceReader;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Pte;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.function.Consumer;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class ReplayEngineTest {
  private static ReplayResult replay(final TraceManifest manifest, final List<ExitEvent> events) {
    final ReplayEngine engine = new ReplayEngine(manifest);
    for (final ExitEvent event : events) {
      if (!engine.accept(event)) {
        break;
      }
    }
    return engine.result();
  }

  private static ReplayResult replay(final List<ExitEvent> events) {
    return replay(SyntheticGuest.manifest(), events);
  }

  private static ExitEvent first(
      final SyntheticGuest guest, final java.util.function.Predicate<ExitEvent> which) {
    return guest.events().stream().filter(which).findFirst().orElseThrow();
  }

  /** Replays a typical trace with one record changed; the difference must be there, by name. */
  private static void assertCaught(
      final java.util.function.Predicate<ExitEvent> which,
      final Consumer<ExitEvent> damage,
      final String field) {
    final SyntheticGuest guest = SyntheticGuest.typical(4);
    final ExitEvent event = first(guest, which);
    damage.accept(event);
    final Difference difference = replay(guest.events()).difference();
    assertNotNull(difference, "not caught: " + field);
    assertEquals(field, difference.field(), difference.toString());
    assertFalse(difference.lastExits().isEmpty());
  }

  private static java.util.function.Predicate<ExitEvent> kind(final ExitKind kind) {
    return event -> event.kind == kind;
  }

  private static java.util.function.Predicate<ExitEvent> fault(final int outcome) {
    return event -> event.kind == ExitKind.PAGE_FAULT && event.detail == outcome;
  }

  @Test
  void shouldAgreeWhenNothingIsDamaged() {
    final SyntheticGuest guest = SyntheticGuest.typical(50);
    final ReplayResult result = replay(guest.events());
    assertNull(result.difference(), () -> result.difference().toString());
    assertEquals(guest.events().size(), result.records());
    assertEquals(50 * 4 + 2, result.verified().get(ExitKind.PAGE_FAULT));
    assertEquals(100, result.verified().get(ExitKind.PIO));
    assertEquals(101, result.verified().get(ExitKind.MMIO));
    assertEquals(100, result.verified().get(ExitKind.INJECT));
    assertEquals(List.of(), result.skipped());
  }

  @Test
  void shouldAgreeWhenReadFromAFolder(@TempDir final Path folder) {
    final SyntheticGuest guest = SyntheticGuest.typical(500);
    try (Recorder recorder =
        Recorder.start(
            folder,
            SyntheticGuest.manifest(),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY),
            () -> YieldingIdleStrategy.INSTANCE,
            reason -> {})) {
      guest.events().forEach(recorder.sink(0)::write);
    }
    try (TraceReader reader = TraceReader.open(folder)) {
      final ReplayResult result = ReplayEngine.replay(reader);
      assertNull(result.difference(), () -> result.difference().toString());
      assertEquals(guest.events().size(), result.records());
    }
  }

  @Test
  void shouldCatchEveryFlippedBitOfATableEntryThatIsKnown() {
    final SyntheticGuest guest = SyntheticGuest.typical(2);
    // The second fault on a page reads the same entries again.
    final ExitEvent event =
        first(
            guest,
            e -> e.kind == ExitKind.PAGE_FAULT && e.write && e.detail == ExitEvent.PF_FILLED);
    for (int entry = 0; entry < 4; entry++) {
      for (int bit = 0; bit < 64; bit++) {
        event.walkValue[entry] ^= 1L << bit;
        assertNotNull(replay(guest.events()).difference(), "entry " + entry + " bit " + bit);
        event.walkValue[entry] ^= 1L << bit;
      }
    }
    assertNull(replay(guest.events()).difference());
  }

  @Test
  void shouldNameTheEntryWhenItsFrameIsDamaged() {
    assertCaught(fault(ExitEvent.PF_FILLED), event -> event.walkValue[3] ^= 1L << 20, "gpa");
    assertCaught(
        fault(ExitEvent.PF_FILLED), event -> event.walkValue[1] ^= 1L << 13, "table entry");
    assertCaught(fault(ExitEvent.PF_FILLED), event -> event.walkAddress[2] ^= 8, "table entry");
    assertCaught(fault(ExitEvent.PF_FILLED), event -> event.walkValue[3] ^= 1, "outcome");
    assertCaught(fault(ExitEvent.PF_FILLED), event -> event.walkCount = 3, "table entry");
    assertCaught(fault(ExitEvent.PF_FILLED), event -> event.walkCount = 5, "table entries");
  }

  @Test
  void shouldCatchEveryFlippedBitOfAFaultsAddress() {
    final SyntheticGuest guest = SyntheticGuest.typical(2);
    for (final ExitEvent event : guest.events()) {
      if (event.kind == ExitKind.PAGE_FAULT) {
        for (int bit = 0; bit < 64; bit++) {
          // A fetch may be from a few bytes after rip, so that its offset alone is open.
          if (event.instructionLength > 0 || bit >= 12) {
            event.address ^= 1L << bit;
            assertNotNull(replay(guest.events()).difference(), "bit " + bit);
            event.address ^= 1L << bit;
          }
        }
      }
    }
    assertNull(replay(guest.events()).difference());
    assertCaught(fault(ExitEvent.PF_FILLED), event -> event.value ^= 1L << 30, "gpa");
    assertCaught(fault(ExitEvent.PF_REFLECTED), event -> event.value = 0x1000, "gpa");
    assertCaught(fault(ExitEvent.PF_NO_SLOT), event -> event.detail = 1, "outcome");
    assertCaught(fault(ExitEvent.PF_REFLECTED), event -> event.errorCode ^= 1, "error code");
  }

  @Test
  void shouldCatchWritesToTablesThatAreDamaged() {
    // The value is taken over into the shadow tables: a later walk sees another entry.
    final SyntheticGuest guest = SyntheticGuest.typical(2);
    final ExitEvent event = first(guest, e -> e.writeCount == 1);
    event.writeValue[0] ^= 1L << 22;
    final long page = 0x100_0000L;
    guest.fault(page, Translation.WRITE | Translation.USER);
    assertNotNull(replay(guest.events()).difference());
    assertCaught(fault(ExitEvent.PF_FILLED), e -> e.writeCount = 1, "table writes");
  }

  @Test
  void shouldCatchEveryFlippedBitOfAVector() {
    for (int bit = 0; bit < 8; bit++) {
      final int flip = 1 << bit;
      assertCaught(
          e -> e.kind == ExitKind.INJECT && e.detail == ExitEvent.INJECT_INTERRUPT,
          e -> e.address ^= flip,
          "vector");
      if (bit < 5) {
        final SyntheticGuest guest = SyntheticGuest.typical(2);
        first(guest, e -> e.kind == ExitKind.INJECT && e.write).address ^= flip;
        assertNotNull(replay(guest.events()).difference(), "bit " + bit);
      }
    }
  }

  @Test
  void shouldCatchInjectionsThatTheGuestCannotTake() {
    final java.util.function.Predicate<ExitEvent> interrupt =
        e -> e.kind == ExitKind.INJECT && e.detail == ExitEvent.INJECT_INTERRUPT;
    final java.util.function.Predicate<ExitEvent> exception =
        e -> e.kind == ExitKind.INJECT && e.detail == ExitEvent.INJECT_EXCEPTION;
    assertCaught(interrupt, e -> e.interruptState = 0, "injection");
    assertCaught(interrupt, e -> e.interruptState |= ExitEvent.INTERRUPT_SHADOW, "injection");
    assertCaught(exception, e -> e.errorCode ^= 2, "error code");
    assertCaught(exception, e -> e.detail = ExitEvent.INJECT_INTERRUPT, "injection");
    assertCaught(
        exception,
        e -> {
          e.address = 6;
          e.write = false;
        },
        "vector");
    final SyntheticGuest lost = SyntheticGuest.typical(2);
    final ExitEvent page = first(lost, exception);
    page.kind = ExitKind.KICK;
    page.clearPayload();
    assertEquals("injection", replay(lost.events()).difference().field());
    final SyntheticGuest invented = SyntheticGuest.typical(1);
    final ExitEvent extra = invented.exit(ExitKind.INJECT);
    extra.address = 14;
    extra.detail = ExitEvent.INJECT_EXCEPTION;
    extra.write = true;
    assertEquals("injection", replay(invented.events()).difference().field());
  }

  @Test
  void shouldCatchPortAccessesThatDoNotMatchTheInstruction() {
    final java.util.function.Predicate<ExitEvent> out = e -> e.kind == ExitKind.PIO && e.write;
    for (int bit = 0; bit < 16; bit++) {
      final int flip = 1 << bit;
      assertCaught(out, e -> e.address ^= flip, "port");
    }
    assertCaught(out, e -> e.size = 2, "size");
    assertCaught(out, e -> e.value ^= 1, "value");
    assertCaught(out, e -> e.value |= 0x100, "value");
    assertCaught(out, e -> e.write = false, "direction");
    assertCaught(out, e -> e.instruction[0] = (byte) 0x90, "operation");
    assertCaught(out, e -> e.instructionLength = 0, "instruction bytes");
    assertCaught(out, e -> e.mode = 0, "code size");
    assertCaught(
        e -> e.kind == ExitKind.PIO && !e.write, e -> e.instructionLength = 1, "instruction");
  }

  @Test
  void shouldCatchMmioThatDoesNotMatchTheInstruction() {
    final java.util.function.Predicate<ExitEvent> write = kind(ExitKind.MMIO);
    for (int bit = 0; bit < 40; bit++) {
      final long flip = 1L << bit;
      assertCaught(write, e -> e.address ^= flip, "address");
    }
    assertCaught(write, e -> e.value ^= 1, "value");
    assertCaught(write, e -> e.write = false, "operation");
    assertCaught(write, e -> e.size = 8, "address");
    assertCaught(write, e -> e.size = 3, "size");
    assertCaught(write, e -> e.address = 0x1320, "address");
    // The second read of ADD [m], r cannot be at another place than the first.
    assertCaught(e -> e.kind == ExitKind.MMIO && !e.write, e -> e.address ^= 0x40, "address");
  }

  @Test
  void shouldCatchRegisterExitsThatDoNotMatchTheInstruction() {
    assertCaught(kind(ExitKind.CR), e -> e.value ^= 1 << 5, "value");
    assertCaught(kind(ExitKind.CR), e -> e.address = 3, "value");
    assertCaught(kind(ExitKind.MSR), e -> e.address ^= 1, "index");
    assertCaught(kind(ExitKind.MSR), e -> e.value ^= 1 << 11, "value");
    assertCaught(kind(ExitKind.MSR), e -> e.write = false, "direction");
    assertCaught(kind(ExitKind.CPUID), e -> e.address ^= 1, "leaf");
    assertCaught(kind(ExitKind.CPUID), e -> e.value ^= 1, "subleaf");
    assertCaught(kind(ExitKind.HLT), e -> e.detail = 0, "RFLAGS.IF");
    assertCaught(kind(ExitKind.INVLPG), e -> e.address ^= 1L << 33, "address");
    assertCaught(kind(ExitKind.TSC), e -> e.address = 1, "form");
    assertCaught(kind(ExitKind.HLT), e -> e.retired = 1, "retired instructions");
    assertCaught(kind(ExitKind.HLT), e -> e.sequence += 1, "sequence");
    assertCaught(fault(ExitEvent.PF_TABLE_WRITE), e -> e.cr3 ^= 0x1000, "cr3");
  }

  @Test
  void shouldFollowCr3ToOtherTables() {
    final SyntheticGuest guest = SyntheticGuest.typical(1);
    final long other = 0x80_0000;
    guest.cr3(other);
    guest.map(0x40_0000, 0x30_0000, Pte.PRESENT | Pte.WRITABLE | Pte.USER);
    guest.fault(0x40_0000, Translation.WRITE | Translation.USER);
    guest.now.mode &= ~ExitEvent.MODE_CPL;
    guest.cr3(SyntheticGuest.PML4);
    guest.cr3(other);
    assertNull(replay(guest.events()).difference());
    first(guest, e -> e.kind == ExitKind.CR && e.value == other).kind = ExitKind.KICK;
    assertNotNull(replay(guest.events()).difference());
  }

  @ParameterizedTest
  @EnumSource(
      value = PagingMode.class,
      names = {"BITS32", "PAE"})
  void shouldFollowLegacyPaging(final PagingMode mode) {
    final SyntheticGuest guest = new SyntheticGuest(mode);
    // The tables of the address space that CR3 is about to load must be there by then.
    guest.now.cr3 = 0x40_0000;
    final long code = guest.now.rip;
    final long page = 0x100_0000;
    final long window = 0xD000_0000L;
    final long all = Pte.PRESENT | Pte.WRITABLE | Pte.USER;
    guest.map(code, 0x10_0000, Pte.PRESENT);
    guest.map(page, 0x20_0000, all);
    final long entry = guest.entryAddress(page);
    guest.map(window, entry & -4096L, all);
    guest.now.cr3 = SyntheticGuest.PML4;
    guest.cr3(0x40_0000);
    guest.fault(guest.now.rip, Translation.FETCH);
    guest.fault(page, Translation.READ | Translation.USER);
    guest.fault(page, Translation.WRITE | Translation.USER);
    guest.fault(0x8000_0000L, Translation.READ | Translation.USER);
    guest.storeToTable(window | (entry & 0xFFF), entry, 0x30_0000L | all);
    guest.invlpg(page);
    final ExitEvent last = guest.fault(page, Translation.READ | Translation.USER);
    final ReplayResult result = replay(guest.events());
    assertNull(result.difference(), () -> result.difference().toString());
    assertEquals(6, result.verified().get(ExitKind.PAGE_FAULT));
    for (int bit = 0; bit < (mode == PagingMode.PAE ? 64 : 32); bit++) {
      final int leaf = last.walkCount - 1;
      last.walkValue[leaf] ^= 1L << bit;
      assertNotNull(replay(guest.events()).difference(), "bit " + bit);
      last.walkValue[leaf] ^= 1L << bit;
    }
    if (mode == PagingMode.PAE) {
      guest.events().getFirst().walkValue[0] ^= 0x1000;
      assertNotNull(replay(guest.events()).difference());
    }
  }

  @Test
  void shouldSayWhatIsSkippedWhenKindsAreMissing() {
    final SyntheticGuest guest = SyntheticGuest.typical(2);
    final EnumSet<ExitKind> kinds = EnumSet.of(ExitKind.PIO, ExitKind.INJECT);
    guest.events().removeIf(e -> !kinds.contains(e.kind));
    for (int i = 0; i < guest.events().size(); i++) {
      guest.events().get(i).sequence = i;
    }
    final ReplayResult result = replay(SyntheticGuest.manifest("shadow", kinds), guest.events());
    assertNull(result.difference(), () -> result.difference().toString());
    assertEquals(2, result.skipped().size());
    assertEquals(EnumSet.of(ExitKind.PIO, ExitKind.INJECT), result.verified().keySet());
  }

  @Test
  void shouldSkipPageFaultsWhenTheMmuIsNested() {
    final SyntheticGuest guest = SyntheticGuest.typical(2);
    guest.events().removeIf(e -> e.kind == ExitKind.PAGE_FAULT || e.write && e.address == 14);
    for (int i = 0; i < guest.events().size(); i++) {
      guest.events().get(i).sequence = i;
    }
    final ReplayResult result =
        replay(SyntheticGuest.manifest("nested", EnumSet.allOf(ExitKind.class)), guest.events());
    assertNull(result.difference(), () -> result.difference().toString());
    assertTrue(result.skipped().get(0).contains("nested"));
  }

  @Test
  void shouldGoOnWithWhatCanBeCheckedAfterAGap() {
    final SyntheticGuest guest = SyntheticGuest.typical(4);
    final ExitEvent gap = guest.events().get(10);
    gap.kind = ExitKind.GAP;
    gap.address = 10;
    gap.value = 10;
    guest.events().subList(11, 20).clear();
    final ReplayResult result = replay(guest.events());
    assertNull(result.difference(), () -> result.difference().toString());
    assertEquals(10, result.gaps());
    assertEquals(2, result.skipped().size());
  }

  /** A guest that has run a while, lost records, then passed a checkpoint and went on. */
  private static SyntheticGuest cut(final int vector) {
    final SyntheticGuest guest = SyntheticGuest.typical(20);
    final int cut = guest.events().size() - 10;
    guest.checkpoint(vector);
    guest.work(10);
    final ExitEvent gap = guest.events().getFirst();
    gap.kind = ExitKind.GAP;
    gap.address = 0;
    gap.value = cut;
    guest.events().subList(1, cut).clear();
    return guest;
  }

  @Test
  void shouldCheckAllAgainBehindACheckpoint() {
    final SyntheticGuest guest = cut(SyntheticGuest.VECTOR);
    final ReplayResult result = replay(guest.events());
    assertNull(result.difference(), () -> result.difference().toString());
    assertTrue(result.verified().get(ExitKind.PAGE_FAULT) > 20, result.toString());
    assertEquals(2, result.skipped().size());
    assertTrue(
        result.skipped().getFirst().startsWith("page faults: of 10 records after a gap, up to"),
        result.skipped().toString());
    // The same faults again, as the tables began anew.
    final ExitEvent again =
        guest.events().stream()
            .skip(12)
            .filter(fault(ExitEvent.PF_FILLED))
            .reduce((a, b) -> b)
            .orElseThrow();
    again.walkValue[1] ^= 1L << 13;
    assertNotNull(replay(guest.events()).difference());
  }

  @Test
  void shouldKnowTheVectorsThatACheckpointNames() {
    assertNull(replay(cut(SyntheticGuest.VECTOR).events()).difference());
    final Difference difference = replay(cut(SyntheticGuest.VECTOR + 1).events()).difference();
    assertEquals("vector", difference.field());
  }

  @Test
  void shouldStartTheTablesAnewAtACheckpointWithNoGapToo() {
    final SyntheticGuest guest = SyntheticGuest.typical(5);
    guest.checkpoint(SyntheticGuest.VECTOR);
    guest.work(5);
    final ReplayResult result = replay(guest.events());
    assertNull(result.difference(), () -> result.difference().toString());
    assertEquals(List.of(), result.skipped());
  }

  @Test
  void shouldTellWhatIsKnownOfPiecesAndStrings() {
    final SyntheticGuest guest = SyntheticGuest.typical(1);
    final long gva = 0xFFFF_C900_0000_0000L;
    // MOV [RBX], RAX across two MMIO pages, in pieces: the first page takes 3 bytes.
    guest.map(gva + 0x1000, 0xFED0_0000L, Pte.PRESENT | Pte.WRITABLE);
    guest.fault(gva + 0x1000, Translation.WRITE);
    guest.register(Gpr.RBX, gva + 0xFFD);
    guest.register(Gpr.RAX, 0x8877_6655_4433_2211L);
    final long[][] pieces = {
      {0xFEE0_0FFDL, 2, 0x2211},
      {0xFEE0_0FFFL, 1, 0x33},
      {0xFED0_0000L, 4, 0x7766_5544L},
      {0xFED0_0004L, 1, 0x88}
    };
    for (final long[] piece : pieces) {
      final ExitEvent event = guest.exit(ExitKind.MMIO, 0x48, 0x89, 0x03);
      guest.now.rip -= 3;
      event.address = piece[0];
      event.size = (int) piece[1];
      event.value = piece[2];
      event.write = true;
    }
    // REP STOSW
    guest.register(Gpr.RDI, gva + 0x300);
    final ExitEvent stos = guest.exit(ExitKind.MMIO, 0xF3, 0x66, 0xAB);
    stos.address = 0xFEE0_0300L;
    stos.size = 2;
    stos.value = 0x2211;
    stos.write = true;
    assertNull(replay(guest.events()).difference(), () -> replay(guest.events()).toString());
    // REPE CMPSB reads at rSI and at rDI.
    guest.register(Gpr.RSI, 0x123);
    final ExitEvent cmps = guest.exit(ExitKind.MMIO, 0xF3, 0xA6);
    cmps.address = 0xFEE0_0300L;
    cmps.size = 1;
    assertNull(replay(guest.events()).difference(), () -> replay(guest.events()).toString());
    stos.value = 0x2210;
    assertEquals("value", replay(guest.events()).difference().field());
    stos.value = 0x2211;
    stos.address ^= 2;
    assertEquals("address", replay(guest.events()).difference().field());
  }
}

package dev.vmexit.mmu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.mmu.Translation.Result;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Pte;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** Shadow paging by example; a 4-level guest with its tables in frames 1 to 4 unless said. */
final class ShadowMmuTest {
  private static final long CR0 =
      ControlRegisters.CR0_PG | ControlRegisters.CR0_PE | ControlRegisters.CR0_WP;
  private static final long EFER =
      ControlRegisters.EFER_LME | ControlRegisters.EFER_LMA | ControlRegisters.EFER_NXE;
  private static final long CR4 = ControlRegisters.CR4_PAE;
  private static final long PWU = Pte.PRESENT | Pte.WRITABLE | Pte.USER;
  private static final long AD = Pte.ACCESSED | Pte.DIRTY;
  private static final long ROM = 0xF0000;

  private static final long PML4 = 0x1000;
  private static final long PDPT = 0x2000;
  private static final long PD = 0x3000;
  private static final long PT = 0x4000;

  private final GuestMemory memory =
      GuestMemory.builder().ram(0, 0xA0000).ram(0x10_0000, 0x70_0000).rom(ROM, new byte[1]).build();
  private final TableMemory tables = TableMemory.of(memory);
  private final List<String> tlb = new ArrayList<>();
  private final Result result = new Result();
  private final Fault fault = new Fault();
  private ShadowMmu mmu = newMmu(64);

  private ShadowMmu newMmu(final int maxPages) {
    final ShadowMmu made =
        new ShadowMmu(tables, SlotView.of(memory), maxPages, ShadowMmu.DEFAULT_FLOOD_THRESHOLD);
    made.attach(new RecordingTlb());
    return made;
  }

  @AfterEach
  void close() {
    memory.close();
  }

  private void enterLevel4() {
    memory.write64(PML4, PDPT | PWU);
    memory.write64(PDPT, PD | PWU);
    memory.write64(PD, PT | PWU);
    assertTrue(mmu.setContext(CR0, PML4, CR4, EFER));
  }

  private void map(final int index, final long entry) {
    memory.write64(PT + index * 8L, entry);
  }

  private int translate(final long gva, final int access) {
    mmu.translate(gva, access, result);
    return result.outcome;
  }

  /** Misses, handles the fault, answers its outcome. */
  private int fault(final long gva, final int access) {
    assertEquals(Result.MISS, translate(gva, access), "expected a miss");
    return mmu.handleFault(gva, result.errorCode, fault);
  }

  @Test
  void shouldFillOnceWhenPageIsTouchedFirst() {
    enterLevel4();
    map(5, 0x5000 | PWU);
    assertEquals(Fault.FILLED, fault(0x5123, Translation.READ));
    assertEquals(0x5123, fault.gpa);
    assertEquals(4, fault.walk.count);
    assertEquals(PT + 40, fault.walk.entryAddress[3]);
    assertEquals(0x5000 | PWU, fault.walk.entryValue[3]);
    assertEquals(Result.OK, translate(0x5FFF, Translation.READ));
    assertEquals(0x5FFF, result.gpa);
    assertTrue(result.readable && result.executable && !result.writable);
    assertEquals(0x5000 | PWU | Pte.ACCESSED, memory.read64(PT + 40));
    for (long frame = 1; frame <= 4; frame++) {
      assertTrue(mmu.isShadowed(frame), "frame " + frame);
    }
    assertFalse(mmu.isShadowed(5));
    assertEquals(4, mmu.stats().used());
  }

  @Test
  void shouldSetDirtyBitWhenPageIsWrittenAfterRead() {
    enterLevel4();
    map(5, 0x5000 | PWU);
    assertEquals(Fault.FILLED, fault(0x5000, Translation.READ));
    assertEquals(Fault.FILLED, fault(0x5000, Translation.WRITE));
    assertEquals(0x5000 | PWU | AD, memory.read64(PT + 40));
    assertEquals(Result.OK, translate(0x5000, Translation.READ));
    assertTrue(result.writable);
    assertEquals(0x3000 | PWU | Pte.ACCESSED, memory.read64(PDPT), "no D above the leaf");
  }

  @Test
  void shouldReflectWithoutFillingWhenGuestForbids() {
    enterLevel4();
    map(5, 0x5000 | Pte.PRESENT);
    assertEquals(Fault.REFLECTED, fault(0x5000, Translation.WRITE | Translation.USER));
    assertEquals(
        PageFaultError.PRESENT | PageFaultError.WRITE | PageFaultError.USER, fault.errorCode);
    assertEquals(0, fault.gpa);
    assertEquals(0x5000 | Pte.PRESENT, memory.read64(PT + 40), "no A bit");
    assertEquals(Fault.REFLECTED, fault(0x9000, Translation.FETCH));
    assertEquals(PageFaultError.FETCH, fault.errorCode);
    assertEquals(0, mmu.stats().used());
  }

  @Test
  void shouldHideFetchFromGuestWhenArchitectureDoes() {
    enterLevel4();
    assertTrue(mmu.setContext(CR0, PML4, CR4, EFER & ~ControlRegisters.EFER_NXE));
    assertEquals(Fault.REFLECTED, fault(0x9000, Translation.FETCH));
    assertEquals(PageFaultError.FETCH, result.errorCode, "the exit says what was tried");
    assertEquals(0, fault.errorCode, "the guest is not told");
  }

  @Test
  void shouldProtectFrameWhenItBecomesTable() {
    enterLevel4();
    map(4, PT | PWU | AD);
    map(6, 0x6000 | PWU | AD);
    // Frame 6 is data first, written through; then it is a page table.
    assertEquals(Fault.FILLED, fault(0x6000, Translation.WRITE));
    assertTrue(result.outcome == Result.MISS && translate(0x6000, Translation.WRITE) == Result.OK);
    tlb.clear();
    // The page directory is a table already: its write must be told.
    memory.write64(PD + 8, 0x6000 | PWU);
    mmu.tableWritten(PD + 8, 8, 0x6000 | PWU);
    memory.write64(0x6000, 0x7000 | PWU);
    assertEquals(Fault.FILLED, fault(0x20_0000, Translation.READ));
    assertEquals(List.of("protect 6"), tlb);
    assertTrue(mmu.isShadowed(6));
    assertEquals(Result.OK, translate(0x6000, Translation.READ));
    assertFalse(result.writable);
    assertEquals(Fault.TABLE_WRITE, fault(0x6008, Translation.WRITE));
    assertEquals(0x6008, fault.gpa);
    // A table that maps itself.
    assertEquals(Fault.TABLE_WRITE, fault(0x4040, Translation.WRITE));
    assertEquals(PT + 0x40, fault.gpa);
  }

  @Test
  void shouldDropSpteWhenItsEntryIsCleared() {
    enterLevel4();
    map(5, 0x5000 | PWU);
    fault(0x5000, Translation.READ);
    map(5, 0);
    mmu.tableWritten(PT + 40, 8, 0);
    assertEquals(Fault.REFLECTED, fault(0x5000, Translation.READ));
    assertEquals(0, fault.errorCode);
  }

  @Test
  void shouldDropOnlyCoveredEntriesWhenWriteIsPartial() {
    enterLevel4();
    for (int i = 5; i < 9; i++) {
      map(i, i * 0x1000L | PWU);
      fault(i * 0x1000L, Translation.READ);
    }
    // Four bytes across the border of entries 5 and 6, unaligned.
    memory.write32(PT + 46, 0);
    mmu.tableWritten(PT + 46, 4, 0);
    assertEquals(Result.MISS, translate(0x5000, Translation.READ));
    assertEquals(Result.MISS, translate(0x6000, Translation.READ));
    assertEquals(Result.OK, translate(0x7000, Translation.READ));
    assertEquals(Result.OK, translate(0x8000, Translation.READ));
  }

  @Test
  void shouldNeedNoFaultWhenWrittenEntryIsAccessedAlready() {
    enterLevel4();
    map(5, 0x5000 | PWU);
    fault(0x5000, Translation.READ);
    final long entry = 0x9000 | PWU | AD;
    map(6, entry);
    mmu.tableWritten(PT + 48, 8, entry);
    assertEquals(Result.OK, translate(0x6010, Translation.WRITE));
    assertEquals(0x9010, result.gpa);
    map(7, 0x9000 | PWU);
    mmu.tableWritten(PT + 56, 8, 0x9000 | PWU);
    assertEquals(Result.MISS, translate(0x7000, Translation.READ), "A must be set by a walk");
    final long reserved = 0x9000 | PWU | AD | 1L << 45;
    map(8, reserved);
    mmu.tableWritten(PT + 64, 8, reserved);
    assertEquals(Fault.REFLECTED, fault(0x8000, Translation.READ));
    assertEquals(PageFaultError.PRESENT | PageFaultError.RESERVED, fault.errorCode);
    assertEquals(1, mmu.stats().prefetched());
  }

  @Test
  void shouldNoLongerBeTableWhenWrittenOften() {
    enterLevel4();
    map(4, PT | PWU | AD);
    map(5, 0x5000 | PWU | AD);
    fault(0x5000, Translation.READ);
    for (int i = 1; i < ShadowMmu.DEFAULT_FLOOD_THRESHOLD; i++) {
      mmu.tableWritten(PT + 800, 8, 0);
    }
    assertTrue(mmu.isShadowed(4));
    // A use of the table starts the count anew.
    map(6, 0x6000 | PWU);
    fault(0x6000, Translation.READ);
    for (int i = 1; i < ShadowMmu.DEFAULT_FLOOD_THRESHOLD; i++) {
      mmu.tableWritten(PT + 800, 8, 0);
    }
    assertTrue(mmu.isShadowed(4));
    mmu.tableWritten(PT + 800, 8, 0);
    assertFalse(mmu.isShadowed(4));
    assertEquals(1, mmu.stats().flooded());
    assertEquals(Result.MISS, translate(0x5000, Translation.READ));
    // The next use takes it for a table again.
    assertEquals(Fault.FILLED, fault(0x5000, Translation.READ));
    assertTrue(mmu.isShadowed(4));
  }

  @Test
  void shouldFindTablesAgainWhenCr3SwitchesBack() {
    enterLevel4();
    map(5, 0x5000 | PWU | AD);
    fault(0x5000, Translation.READ);
    memory.write64(0x8000, PDPT | PWU);
    tlb.clear();
    assertTrue(mmu.setContext(CR0, 0x8000, CR4, EFER));
    assertEquals(Fault.FILLED, fault(0x5000, Translation.READ));
    assertEquals(5, mmu.stats().used(), "lower levels are shared");
    assertTrue(mmu.setContext(CR0, PML4, CR4, EFER));
    assertEquals(Result.OK, translate(0x5000, Translation.WRITE));
    assertTrue(mmu.setContext(CR0, 0x8000, CR4, EFER));
    assertEquals(Result.OK, translate(0x5000, Translation.WRITE));
    assertTrue(mmu.setContext(CR0, 0x8000, CR4 | ControlRegisters.CR4_PGE, EFER));
    assertEquals(
        List.of("flush non-global", "protect 8", "flush non-global", "flush non-global", "flush"),
        tlb);
  }

  @Test
  void shouldApplyRulesOfTheMomentWhenWpChanges() {
    enterLevel4();
    map(5, 0x5000 | Pte.PRESENT | Pte.USER | AD);
    fault(0x5000, Translation.READ);
    assertFalse(result.outcome == translate(0x5000, Translation.READ) && result.writable);
    assertTrue(mmu.setContext(CR0 & ~ControlRegisters.CR0_WP, PML4, CR4, EFER));
    assertEquals(Result.OK, translate(0x5000, Translation.WRITE));
    assertEquals(Result.MISS, translate(0x5000, Translation.WRITE | Translation.USER));
    assertTrue(mmu.setContext(CR0, PML4, CR4 | ControlRegisters.CR4_SMAP, EFER));
    assertEquals(Fault.REFLECTED, fault(0x5000, Translation.READ));
    assertEquals(Result.OK, translate(0x5000, Translation.READ | Translation.SMAP_OVERRIDE));
  }

  @Test
  void shouldKnowOverrideOfSmapWhenFaultIsHandled() {
    enterLevel4();
    map(5, 0x5000 | PWU);
    assertTrue(mmu.setContext(CR0, PML4, CR4 | ControlRegisters.CR4_SMAP, EFER));
    assertEquals(Fault.FILLED, fault(0x5000, Translation.WRITE | Translation.SMAP_OVERRIDE));
    assertEquals(PageFaultError.WRITE | ShadowMmu.ERROR_SMAP_OVERRIDE, result.errorCode);
    assertEquals(Fault.REFLECTED, fault(0x5000, Translation.WRITE));
    assertEquals(PageFaultError.WRITE | PageFaultError.PRESENT, fault.errorCode);
  }

  @Test
  void shouldAnswerMmioWithoutFaultWhenKnown() {
    enterLevel4();
    map(5, 0xFEE0_0000L | PWU);
    map(6, ROM | PWU);
    assertEquals(Fault.NO_SLOT, fault(0x5020, Translation.WRITE));
    assertEquals(0xFEE0_0020L, fault.gpa);
    assertEquals(Result.NO_SLOT, translate(0x5030, Translation.READ));
    assertEquals(0xFEE0_0030L, result.gpa);
    assertEquals(Result.NO_SLOT, translate(0x5030, Translation.WRITE));
    assertEquals(Fault.FILLED, fault(0x6000, Translation.READ));
    assertEquals(Fault.READ_ONLY, fault(0x6004, Translation.WRITE));
    assertEquals(ROM + 4, fault.gpa);
    assertEquals(Result.NO_SLOT, translate(0x6008, Translation.WRITE));
    assertEquals(ROM + 8, result.gpa);
    assertEquals(Result.OK, translate(0x6008, Translation.FETCH));
    assertFalse(result.writable);
  }

  @Test
  void shouldSplitLargePageWhenTouchedPieceByPiece() {
    enterLevel4();
    final long large = 0x20_0000 | PWU | Pte.PAGE_SIZE | Pte.GLOBAL;
    memory.write64(PD + 8, large);
    assertTrue(mmu.setContext(CR0, PML4, CR4 | ControlRegisters.CR4_PGE, EFER));
    assertEquals(Fault.FILLED, fault(0x20_0000, Translation.WRITE));
    assertEquals(3, fault.walk.count);
    assertEquals(Fault.FILLED, fault(0x20_5008, Translation.READ));
    assertEquals(0x20_5008, fault.gpa);
    assertEquals(Result.OK, translate(0x20_5008, Translation.WRITE));
    assertTrue(result.global);
    assertEquals(large | AD, memory.read64(PD + 8));
    // The guest clears D: the next store must set it again.
    memory.write64(PD + 8, large | Pte.ACCESSED);
    mmu.tableWritten(PD + 8, 8, large | Pte.ACCESSED);
    assertEquals(Fault.FILLED, fault(0x20_5008, Translation.READ));
    assertEquals(Fault.FILLED, fault(0x20_5008, Translation.WRITE));
    assertEquals(large | AD, memory.read64(PD + 8));
  }

  @Test
  void shouldSplitGibibytePageWhenTouched() {
    enterLevel4();
    memory.write64(PDPT + 8, PWU | Pte.PAGE_SIZE);
    assertEquals(Fault.FILLED, fault(0x4000_0000L + 0x63_4567, Translation.WRITE));
    assertEquals(0x63_4567, fault.gpa);
    assertEquals(Result.OK, translate(0x4000_0000L + 0x63_4000, Translation.READ));
    // PML4, PDPT and two direct pages; tables are write-protected under the large page as well.
    assertEquals(4, mmu.stats().used());
    assertEquals(Fault.TABLE_WRITE, fault(0x4000_0000L + PDPT, Translation.WRITE));
    memory.write64(PDPT + 8, 0);
    mmu.tableWritten(PDPT + 8, 8, 0);
    assertEquals(2, mmu.stats().used(), "direct pages go with their parent");
  }

  @Test
  void shouldForgetTableWhenDeviceWritesIt() {
    enterLevel4();
    map(5, 0x5000 | PWU);
    fault(0x5000, Translation.READ);
    memory.addWriteListener(mmu);
    memory.write(PT + 0xFFF, new byte[] {1, 2}, 0, 2);
    assertFalse(mmu.isShadowed(PT >>> 12));
    assertTrue(mmu.isShadowed(PD >>> 12));
    memory.fill(0, 0x10000, 0);
    assertEquals(0, mmu.stats().used());
    assertEquals(Fault.REFLECTED, fault(0x5000, Translation.READ));
    assertEquals(0, fault.errorCode);
  }

  @Test
  void shouldShadowQuadrantsWhenGuestHas32BitTables() {
    // Directory in frame 1; each 32-bit table takes two shadow pages, the directory four.
    final long cr4 = ControlRegisters.CR4_PSE;
    final long gva = 0xC060_3000L;
    memory.write32(PML4 + (gva >>> 22) * 4, (int) (PDPT | PWU));
    memory.write32(PDPT + (gva >>> 12 & 1023) * 4, (int) (0x5000 | PWU));
    memory.write32(PDPT + ((gva - 0x20_0000) >>> 12 & 1023) * 4, (int) (0x6000 | PWU));
    memory.write32(PML4, (int) (PWU | Pte.PAGE_SIZE));
    assertTrue(mmu.setContext(CR0, PML4, cr4, 0));
    assertEquals(Fault.FILLED, fault(gva + 4, Translation.WRITE));
    assertEquals(0x5004, fault.gpa);
    assertEquals(Fault.FILLED, fault(gva - 0x20_0000, Translation.WRITE));
    assertEquals(0x6000, fault.gpa);
    assertEquals(Fault.FILLED, fault(0x31_2345, Translation.WRITE));
    assertEquals(0x31_2345, fault.gpa);
    assertEquals(Fault.FILLED, fault(0x11_2345, Translation.WRITE));
    // Two quadrants of the directory, two of the table, two halves of the 4 MiB page.
    assertEquals(6, mmu.stats().used());
    memory.write32(PML4 + (gva >>> 22) * 4, 0);
    mmu.tableWritten(PML4 + (gva >>> 22) * 4, 4, 0);
    assertEquals(Fault.REFLECTED, fault(gva, Translation.READ));
    assertEquals(Fault.REFLECTED, fault(gva - 0x20_0000, Translation.READ));
    assertEquals(Result.OK, translate(0x31_2345, Translation.READ));
    memory.write32(PML4, 0);
    mmu.tableWritten(PML4, 4, 0);
    assertEquals(Fault.REFLECTED, fault(0x31_2345, Translation.READ));
    assertEquals(Fault.REFLECTED, fault(0x11_2345, Translation.READ));
  }

  @Test
  void shouldReachAbove4GibWhenPse36PageIsShadowed() {
    memory.write32(PML4, (int) (PWU | Pte.PAGE_SIZE | 0x03 << 13));
    assertTrue(mmu.setContext(CR0, PML4, ControlRegisters.CR4_PSE, 0));
    assertEquals(Fault.NO_SLOT, fault(0x31_2345, Translation.READ));
    assertEquals(0x3_0031_2345L, fault.gpa);
    assertEquals(Result.NO_SLOT, translate(0x31_2346, Translation.READ));
    assertEquals(0x3_0031_2346L, result.gpa);
  }

  @Test
  void shouldReloadPdptesOnlyWithCr3WhenPaeIsOn() {
    memory.write64(PML4 + 8, PD | Pte.PRESENT);
    memory.write64(PD, PT | PWU);
    map(5, 0x5000 | PWU);
    assertTrue(mmu.setContext(CR0, PML4, CR4, 0));
    assertEquals(Fault.FILLED, fault(0x4000_5000L, Translation.READ));
    assertEquals(2, fault.walk.count);
    assertFalse(mmu.isShadowed(PML4 >>> 12), "PDPTEs are read with CR3, not shadowed");
    memory.write64(PML4 + 8, 0);
    assertEquals(Result.OK, translate(0x4000_5000L, Translation.READ));
    assertTrue(mmu.setContext(CR0, PML4, CR4, 0));
    assertEquals(Fault.REFLECTED, fault(0x4000_5000L, Translation.READ));
    memory.write64(PML4, PD | Pte.PRESENT);
    assertTrue(mmu.setContext(CR0, PML4, CR4, 0));
    assertEquals(Result.OK, translate(0x5000, Translation.READ), "found by its frame");
    memory.write64(PML4, PD | Pte.PRESENT | Pte.WRITABLE);
    assertFalse(mmu.setContext(CR0, PML4, CR4, 0));
    assertEquals(Result.OK, translate(0x5000, Translation.READ), "old context stands");
  }

  @Test
  void shouldMapIdentityWhenPagingIsOff() {
    assertEquals(Fault.FILLED, fault(0x12_3456, Translation.WRITE));
    assertEquals(0x12_3456, fault.gpa);
    assertEquals(0, fault.walk.count);
    assertEquals(Result.OK, translate(0x12_3000, Translation.WRITE));
    assertTrue(result.writable && result.readable && result.executable && !result.global);
    assertEquals(Fault.NO_SLOT, fault(0xFFFF_FFF0L, Translation.FETCH));
    assertEquals(Fault.READ_ONLY, fault(ROM, Translation.WRITE));
    enterLevel4();
    map(5, 0x12_3000 | PWU);
    fault(0x5000, Translation.READ);
    assertTrue(mmu.setContext(ControlRegisters.CR0_PE, 0, 0, 0));
    assertEquals(Result.OK, translate(0x12_3000, Translation.WRITE), "kept over the switch");
    assertEquals(Fault.TABLE_WRITE, fault(PT, Translation.WRITE));
  }

  @Test
  void shouldStayInBoundsWhenGuestTouchesMoreThanPoolHolds() {
    mmu = newMmu(ShadowMmu.MIN_PAGES);
    enterLevel4();
    // 100 large pages: each takes a direct page.
    for (int i = 1; i <= 100; i++) {
      memory.write64(PD + i * 8L, PWU | Pte.PAGE_SIZE);
    }
    for (int round = 0; round < 3; round++) {
      for (long i = 1; i <= 100; i++) {
        assertEquals(Fault.FILLED, fault(i << 21 | 0x10_0000, Translation.WRITE));
        assertEquals(Result.OK, translate(i << 21 | 0x10_0000, Translation.WRITE));
        assertTrue(mmu.stats().used() <= ShadowMmu.MIN_PAGES);
      }
      // The pages in use longest ago went, those of the path stayed.
      assertEquals(Result.OK, translate(95L << 21 | 0x10_0000, Translation.READ));
    }
    assertEquals(3 + 300 - ShadowMmu.MIN_PAGES, mmu.stats().evicted());
  }

  @Test
  void shouldFlushPageOfTlbWhenGuestInvalidates() {
    enterLevel4();
    tlb.clear();
    mmu.invalidatePage(0x5123);
    mmu.flushAll();
    assertEquals(List.of("flush 0x5123", "flush"), tlb);
  }

  @Test
  void shouldNameValueWhenConstructionIsImpossible() {
    final SlotView slots = SlotView.of(memory);
    final IllegalArgumentException few =
        assertThrows(IllegalArgumentException.class, () -> new ShadowMmu(tables, slots, 15, 4));
    assertTrue(few.getMessage().contains("maxPages=15"), few.getMessage());
    final IllegalArgumentException zero =
        assertThrows(IllegalArgumentException.class, () -> new ShadowMmu(tables, slots, 16, 0));
    assertTrue(zero.getMessage().contains("floodThreshold=0"), zero.getMessage());
  }

  @Test
  void shouldAllocateNothingWhenFaultsAreHandled() {
    final com.sun.management.ThreadMXBean threads =
        (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
    mmu = new ShadowMmu(tables, SlotView.of(memory));
    enterLevel4();
    for (int i = 5; i < 100; i++) {
      map(i, i * 0x1000L | PWU);
    }
    churn();
    // The first parts may see the compiler's deoptimizations; one that must not allocate does not
    // in any later one, and the reads themselves count for nothing.
    final long[] marks = new long[9];
    for (int part = 0; part < marks.length; part++) {
      for (int round = 0; round < 10; round++) {
        churn();
      }
      marks[part] = threads.getCurrentThreadAllocatedBytes();
    }
    final long first = threads.getCurrentThreadAllocatedBytes();
    final long ofReading = threads.getCurrentThreadAllocatedBytes() - first;
    long least = Long.MAX_VALUE;
    for (int part = 1; part < marks.length; part++) {
      least = Math.min(least, marks[part] - marks[part - 1] - ofReading);
    }
    assertEquals(0, least, "bytes for 950 faults and as many writes");
  }

  private void churn() {
    for (long i = 5; i < 100; i++) {
      mmu.translate(i << 12, Translation.WRITE, result);
      mmu.handleFault(i << 12, result.errorCode, fault);
      mmu.tableWritten(PT + i * 8, 8, 0);
    }
    mmu.setContext(CR0, PML4, CR4, EFER);
  }

  private final class RecordingTlb implements TlbControl {
    @Override
    public void flushAll() {
      tlb.add("flush");
    }

    @Override
    public void flushNonGlobal() {
      tlb.add("flush non-global");
    }

    @Override
    public void flushPage(final long gva) {
      tlb.add("flush 0x" + Long.toHexString(gva));
    }

    @Override
    public void writeProtectFrame(final long gfn) {
      tlb.add("protect " + gfn);
    }

    @Override
    public void flushFrame(final long gfn) {
      tlb.add("flush frame " + gfn);
    }
  }
}

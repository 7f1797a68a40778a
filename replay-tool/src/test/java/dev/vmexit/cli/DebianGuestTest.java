package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.replay.Difference;
import dev.vmexit.replay.ReplayEngine;
import dev.vmexit.trace.Recorder;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.trace.TraceReader;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.function.Predicate;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Boots the Debian guest, unmodified, as users do. Needs it in the cache, or an apt to fetch it by;
 * skipped, with the reason, where there is neither. {@code VMEXIT_DEBIAN=required} in the
 * environment makes that a failure, {@code VMEXIT_DEBIAN=off} skips it always.
 *
 * <p>Seven boots; the recordings of the self-test are shared by the tests.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
final class DebianGuestTest {
  private static final String GUEST = "debian-12-cloud";
  private static final String TIMEOUT = "400";
  private static final String PROMPT = "vmexit:/root# ";

  @TempDir static Path temporary;

  private final Map<String, Boot> boots = new HashMap<>();

  /** A self-test that was run and recorded. */
  private record Boot(Tool.Outcome run, Path trace) {}

  @BeforeAll
  static void fetch() {
    final String wish = System.getenv().getOrDefault("VMEXIT_DEBIAN", "");
    assumeFalse(wish.equals("off"), "SKIPPED, no Debian boots: VMEXIT_DEBIAN=off");
    try {
      GuestStore.ofProcess().require(GUEST);
    } catch (final GuestException e) {
      if (wish.equals("required")) {
        throw e;
      }
      abort("SKIPPED, no Debian boots: " + e.getMessage());
    }
  }

  // ---- the self-test under both MMUs and both clocks ----

  private Boot boot(final String mmu, final String clock) throws Exception {
    final String name = mmu + "-" + clock;
    if (!boots.containsKey(name)) {
      final Path trace = temporary.resolve(name);
      try (ForkedTool tool =
          ForkedTool.start(
              temporary,
              "run",
              GUEST,
              "--append",
              "vmexit.run=selftest",
              "--mmu",
              mmu,
              "--clock",
              clock,
              "--record",
              trace.toString(),
              "--timeout",
              TIMEOUT)) {
        boots.put(name, new Boot(tool.end(), trace));
      }
    }
    return boots.get(name);
  }

  @ParameterizedTest
  @CsvSource({"shadow,virtual", "nested,virtual", "shadow,host", "nested,host"})
  void shouldGiveRightAnswersPowerOffAndReplay(final String mmu, final String clock)
      throws Exception {
    final Boot boot = boot(mmu, clock);
    final String console = boot.run.out();
    assertEquals(ExitStatus.OK, boot.run.status(), console + boot.run.err());
    assertTrue(boot.run.err().startsWith("vmexit: the guest powered off\n"), boot.run.err());
    assertTrue(console.contains("] Linux version 6.1."), console);
    assertTrue(console.contains("model name\t: vmexit software processor"), console);
    assertEquals(
        List.of(
            GuestInitramfs.USERSPACE_BANNER,
            "vmexit: md5sum ok",
            "vmexit: gzip ok",
            "vmexit: loop ok",
            "vmexit: fork ok",
            "vmexit: awk ok",
            GuestInitramfs.SELFTEST_DONE),
        console.lines().filter(line -> line.startsWith("vmexit: ")).toList());
    for (final String trouble : List.of("BUG:", "WARNING:", "Oops", "Call Trace", "segfault")) {
      assertTrue(!console.contains(trouble), console);
    }

    final TraceManifest manifest = TraceFolder.load(boot.trace);
    assertTrue(manifest.complete());
    assertTrue(
        boot.run.err().replace(",", "").contains(" " + manifest.records() + " exits\n"),
        boot.run.err());
    final Tool.Outcome replay = Tool.run("replay", boot.trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(
        replay.out().contains("All " + manifest.records() + " records agree ("), replay.out());
    if (mmu.equals("shadow")) {
      assertTrue(!replay.out().contains("Not checked"), replay.out());
    }
  }

  /**
   * With time that follows the instructions, paging is all that is left to tell the machines apart:
   * what their guests print, and every exit that is not paging's own, is the same to the last bit
   * of the last register.
   */
  @Test
  void shouldBeTheSameMachineUnderBothMmus() throws Exception {
    final Boot shadow = boot("shadow", "virtual");
    final Boot nested = boot("nested", "virtual");
    assertEquals(shadow.run.out(), nested.run.out());
    assertEquals(instructions(shadow), instructions(nested));
    final ExitEvent a = new ExitEvent();
    final ExitEvent b = new ExitEvent();
    long compared = 0;
    try (TraceReader first = TraceReader.open(shadow.trace);
        TraceReader second = TraceReader.open(nested.trace)) {
      while (nextButPaging(first, a)) {
        assertTrue(nextButPaging(second, b), "after " + TraceRecords.text(a));
        if (TraceRecords.hash(a) != TraceRecords.hash(b)) {
          assertEquals(TraceRecords.text(a), TraceRecords.text(b));
        }
        compared++;
      }
      assertTrue(!nextButPaging(second, b));
    }
    assertTrue(compared > 100_000, "" + compared);
  }

  private static String instructions(final Boot boot) {
    return boot.run
        .err()
        .lines()
        .filter(line -> line.contains(" instructions, "))
        .findFirst()
        .orElseThrow()
        .replaceAll(" instructions, .*", "");
  }

  /** Reads over what only a shadow MMU makes exit: faults, and with them the guest's exceptions. */
  private static boolean nextButPaging(final TraceReader reader, final ExitEvent event) {
    while (reader.next(event)) {
      if (event.kind != ExitKind.PAGE_FAULT
          && (event.kind != ExitKind.INJECT || event.detail != ExitEvent.INJECT_EXCEPTION)) {
        event.sequence = 0;
        return true;
      }
    }
    return false;
  }

  // ---- a flipped bit ----

  /**
   * A bit to flip.
   *
   * @param target whether a record has it
   * @param flip what to do to the record
   */
  record Damage(String what, Predicate<ExitEvent> target, Consumer<ExitEvent> flip) {
    @Override
    public String toString() {
      return what;
    }
  }

  private static final Damage TABLE_ENTRY =
      new Damage(
          "frame in a page-table entry",
          DebianGuestTest::isFilled,
          event -> event.walkValue[event.walkCount - 1] ^= 1 << 20);

  static List<Damage> damages() {
    return List.of(
        TABLE_ENTRY,
        new Damage(
            "present bit of a page-table entry",
            DebianGuestTest::isFilled,
            event -> event.walkValue[event.walkCount - 1] ^= 1),
        new Damage(
            "frame in an upper table's entry",
            DebianGuestTest::isFilled,
            event -> event.walkValue[1] ^= 1 << 13),
        new Damage(
            "address of a fault", DebianGuestTest::isFilled, event -> event.address ^= 1 << 21),
        new Damage("port", event -> event.kind == ExitKind.PIO, event -> event.address ^= 1),
        new Damage(
            "address of MMIO",
            event -> event.kind == ExitKind.MMIO,
            event -> event.address ^= 1 << 4),
        new Damage(
            "vector of an interrupt",
            event -> event.kind == ExitKind.INJECT && event.detail == ExitEvent.INJECT_INTERRUPT,
            event -> event.address ^= 1),
        new Damage(
            "vector of an exception",
            event -> event.kind == ExitKind.INJECT && event.detail == ExitEvent.INJECT_EXCEPTION,
            event -> event.address ^= 1));
  }

  private static boolean isFilled(final ExitEvent event) {
    return event.kind == ExitKind.PAGE_FAULT
        && event.detail == ExitEvent.PF_FILLED
        && event.walkCount == 4;
  }

  @ParameterizedTest
  @MethodSource("damages")
  void shouldCatchAndNameAFlippedBit(final Damage damage) throws Exception {
    final Path trace = boot("shadow", "virtual").trace;
    final long records = TraceFolder.load(trace).records();
    for (int part = 1; part <= 3; part++) {
      final ExitEvent event = new ExitEvent();
      try (TraceReader reader = TraceReader.open(trace)) {
        final ReplayEngine engine = new ReplayEngine(reader.manifest());
        long damaged = -1;
        while (reader.next(event)) {
          if (damaged < 0 && event.sequence > records * part / 4 && damage.target.test(event)) {
            damaged = event.sequence;
            damage.flip.accept(event);
          }
          if (!engine.accept(event)) {
            break;
          }
        }
        assertTrue(damaged >= 0, damage + " " + part);
        final Difference difference = engine.result().difference();
        assertNotNull(difference, damage + " of record " + damaged);
        assertEquals(damaged, difference.sequence(), difference.toString());
      }
    }
  }

  /** The same by the command, on a copy of the trace that is whole but for one bit. */
  @Test
  void shouldShowTheFlippedBitInAReplay() throws Exception {
    final Path copy = temporary.resolve("copy");
    final ExitEvent event = new ExitEvent();
    long damaged = -1;
    try (TraceReader reader = TraceReader.open(boot("shadow", "virtual").trace);
        Recorder recorder =
            Recorder.start(
                copy,
                reader.manifest(),
                ExitRing.MIN_CAPACITY,
                () -> YieldingIdleStrategy.INSTANCE,
                reason -> {})) {
      while (reader.next(event)) {
        if (damaged < 0
            && event.sequence > reader.manifest().records() / 2
            && TABLE_ENTRY.target.test(event)) {
          damaged = event.sequence;
          TABLE_ENTRY.flip.accept(event);
        }
        recorder.sink(0).write(event);
      }
    }
    final Tool.Outcome replay = Tool.run("replay", copy.toString());
    assertEquals(ExitStatus.REPLAY_DIFFERENCE, replay.status(), replay.toString());
    final String expected =
        "Record " + damaged + " (PAGE_FAULT) differs after " + damaged + " that agree: ";
    assertTrue(replay.out().contains(expected), replay.out());
    for (final String part : List.of("  recorded  ", "  replayed  ", "Last exits:")) {
      assertTrue(replay.out().lines().anyMatch(line -> line.startsWith(part)), replay.out());
    }
    assertEquals(ExitStatus.OK, Tool.run("stat", copy.toString()).status());
  }

  // ---- somebody at the console ----

  private ForkedTool shell(final String mmu) throws Exception {
    final ForkedTool tool =
        ForkedTool.start(
            temporary, "run", GUEST, "--mmu", mmu, "--no-record", "--timeout", TIMEOUT);
    tool.await(GuestInitramfs.USERSPACE_BANNER);
    tool.await(PROMPT);
    return tool;
  }

  @Test
  void shouldAnswerAtTheShellAndPowerOff() throws Exception {
    try (ForkedTool tool = shell("shadow")) {
      tool.type("uname -a\n");
      tool.await("Linux vmexit 6.1.");
      tool.await(" GNU/Linux");
      tool.await(PROMPT);
      tool.type("printf abc | md5sum\n");
      tool.await("900150983cd24fb0d6963f7d28e17f72  -");
      tool.await(PROMPT);
      tool.type("echo $((6 * 7)) | gzip | gunzip; cat /proc/interrupts\n");
      tool.await("42");
      tool.await("ttyS0");
      tool.await(PROMPT);
      // Longer than the UART's FIFO, and than a line that was typed by hand.
      final String words = "the quick brown fox jumps over the lazy dog ".repeat(20).strip();
      tool.type("echo " + words + " | wc -w\n");
      tool.await("\n" + words.split(" ", -1).length);
      tool.await(PROMPT);
      tool.type("poweroff -f\n");
      final Tool.Outcome run = tool.end();
      assertEquals(ExitStatus.OK, run.status(), run.toString());
      assertTrue(run.err().startsWith("vmexit: the guest powered off\n"), run.err());
    }
  }

  @Test
  void shouldSayThatTheGuestReset() throws Exception {
    try (ForkedTool tool = shell("nested")) {
      tool.type("reboot -f\n");
      final Tool.Outcome run = tool.end();
      assertEquals(ExitStatus.RESET, run.status(), run.toString());
      assertTrue(run.err().startsWith("vmexit: the guest reset the machine by its "), run.err());
    }
  }

  @Test
  void shouldSayThatTheKernelPanicked() throws Exception {
    try (ForkedTool tool = shell("shadow")) {
      tool.type("echo c > /proc/sysrq-trigger\n");
      final Tool.Outcome run = tool.end();
      assertEquals(ExitStatus.PANIC, run.status(), run.toString());
      assertTrue(
          run.err()
              .startsWith("vmexit: the guest's kernel panicked: Kernel panic - not syncing: sysrq"),
          run.err());
      assertTrue(run.out().contains("Kernel panic - not syncing: sysrq triggered crash"));
    }
  }
}

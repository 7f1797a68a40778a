package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertIterableEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BuiltInGuest;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What a user sees of a run that goes well. */
final class RunCommandTest {
  private static final Pattern EXITS =
      Pattern.compile("vmexit: ([\\d,]+) instructions, ([\\d,]+) exits");
  private static final int TERMINAL = 80;

  @TempDir Path temporary;

  private static long exits(final Tool.Outcome run) {
    final Matcher matcher = EXITS.matcher(run.err());
    assertTrue(matcher.find(), run.err());
    return Long.parseLong(matcher.group(2).replace(",", ""));
  }

  private static Set<String> names(final Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return Set.copyOf(files.map(file -> file.getFileName().toString()).toList());
    }
  }

  @ParameterizedTest
  @CsvSource({"shadow,host", "shadow,virtual", "nested,host", "nested,virtual"})
  void shouldRunRecordAndReplayTheBuiltInGuest(final String mmu, final String clock)
      throws IOException {
    final Path trace = temporary.resolve("trace");
    final Tool.Outcome run =
        Tool.run("run", "--mmu", mmu, "--clock", clock, "--record", trace.toString());
    assertEquals(ExitStatus.OK, run.status(), run.toString());
    assertTrue(run.out().contains(BuiltInGuest.SUCCESS), run.out());
    assertTrue(run.err().startsWith("vmexit: the guest powered off"), run.err());
    assertTrue(run.err().endsWith("trace: " + trace + "\n"), run.err());
    final List<String> table =
        run.out().lines().dropWhile(line -> !line.startsWith("Time in the handler")).toList();
    assertTrue(table.size() > 10, run.out());
    for (final String line : table) {
      assertTrue(line.length() <= TERMINAL, line);
    }
    assertEquals(
        Set.of("manifest.properties", "memory.bin.gz", "vcpu-0.state", "queue"), names(trace));

    final long records = exits(run);
    assertEquals(records, TraceRecords.kinds(trace).size());
    final TraceManifest manifest = TraceFolder.load(trace);
    assertTrue(manifest.complete());
    assertEquals(records, manifest.records());
    assertEquals("power off", manifest.endReason());
    assertEquals(mmu, manifest.mmu());
    assertEquals(clock, manifest.clock());

    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains("All " + records + " records agree ("), replay.out());
    assertEquals("", replay.err());
    final long verified =
        replay
            .out()
            .lines()
            .filter(line -> line.matches("[A-Z_]+ +\\d+"))
            .mapToLong(line -> Long.parseLong(line.replaceAll("\\D+", "")))
            .sum();
    assertEquals(records, verified, replay.out());
  }

  @Test
  void shouldShowTheRecordsOfARun() {
    final Path trace = temporary.resolve("trace");
    final long records = exits(Tool.run("run", "--record", trace.toString()));

    final Tool.Outcome stat = Tool.run("stat", trace.toString(), "--json");
    assertEquals(ExitStatus.OK, stat.status(), stat.toString());
    JsonCheck.check(stat.out());
    assertTrue(stat.out().contains("\"total\":{\"key\":\"all\",\"count\":" + records + ","));
    assertEquals("", stat.err());

    final Tool.Outcome table = Tool.run("stat", trace.toString());
    assertEquals(ExitStatus.OK, table.status(), table.toString());
    assertTrue(
        table.out().lines().anyMatch(line -> line.matches("all +" + records + " 100.0 .*")),
        table.out());

    final Tool.Outcome dump = Tool.run("dump", trace.toString());
    assertEquals(ExitStatus.OK, dump.status(), dump.err());
    final List<String> lines = dump.out().lines().toList();
    assertEquals(records, lines.size());
    for (int i = 0; i < lines.size(); i++) {
      assertEquals(i, Long.parseLong(lines.get(i).strip().split(" ", 2)[0]), lines.get(i));
    }

    final Tool.Outcome json = Tool.run("dump", "--json", trace.toString());
    assertEquals(ExitStatus.OK, json.status(), json.err());
    assertEquals(records, json.out().lines().count());
    json.out().lines().forEach(JsonCheck::check);
  }

  /** Time is the instruction count, so nothing of the host is in the machine. */
  @ParameterizedTest
  @ValueSource(strings = {"shadow", "nested"})
  void shouldGiveTheSameRecordsAgainWhenTheClockIsVirtual(final String mmu) {
    final Path first = temporary.resolve("first");
    final Path second = temporary.resolve("second");
    for (final Path trace : List.of(first, second)) {
      final Tool.Outcome run =
          Tool.run("run", "--mmu", mmu, "--clock", "virtual", "--record", trace.toString());
      assertEquals(ExitStatus.OK, run.status(), run.toString());
    }
    final List<String> records = TraceRecords.withoutHostTimes(first);
    assertTrue(records.size() > 500, "" + records.size());
    assertIterableEquals(records, TraceRecords.withoutHostTimes(second));
  }

  @Test
  void shouldRecordOnlyTheKindsThatWereAskedFor() {
    final Path trace = temporary.resolve("trace");
    final Tool.Outcome run = Tool.run("run", "--exits", "pio,mmio", "--record", trace.toString());
    assertEquals(ExitStatus.OK, run.status(), run.toString());
    final List<ExitKind> kinds = TraceRecords.kinds(trace);
    assertEquals(EnumSet.of(ExitKind.PIO, ExitKind.MMIO), EnumSet.copyOf(kinds));
    assertTrue(kinds.size() < exits(run), run.err());
    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains("All " + kinds.size() + " records agree ("), replay.out());
  }

  @Test
  void shouldLeaveNoFolderWhenNothingIsRecorded() throws Exception {
    try (ForkedTool tool = ForkedTool.start(temporary, "run", "--no-record")) {
      final Tool.Outcome run = tool.end();
      assertEquals(ExitStatus.OK, run.status(), run.toString());
      assertTrue(run.out().contains(BuiltInGuest.SUCCESS), run.out());
      assertFalse(run.err().contains("trace"), run.err());
    }
    assertEquals(Set.of(), names(temporary));
  }

  @Test
  void shouldRecordIntoAFolderOfItsOwnWhenNoneIsGiven() throws Exception {
    for (int i = 0; i < 2; i++) {
      try (ForkedTool tool = ForkedTool.start(temporary, "run", "--console", "none")) {
        final Tool.Outcome run = tool.end();
        assertEquals(ExitStatus.OK, run.status(), run.toString());
        assertFalse(run.out().contains(BuiltInGuest.SUCCESS), run.out());
        assertTrue(run.err().contains("trace: traces/built-in-2"), run.err());
      }
    }
    assertEquals(Set.of("traces"), names(temporary));
    assertEquals(2, names(temporary.resolve("traces")).size());
  }

  @Test
  void shouldEndWhenTheConsoleShowsTheText() throws IOException {
    final Path guest = FlatGuests.write(temporary.resolve("hello"), FlatGuests::hello);
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--no-record",
            "--kernel",
            guest.toString(),
            "--load-address",
            FlatGuests.ADDRESS,
            "--exit-on",
            "lo, wor",
            "--timeout",
            "300");
    assertEquals(ExitStatus.OK, run.status(), run.toString());
    assertTrue(run.out().startsWith("hello, wor"), run.out());
    assertTrue(run.err().startsWith("vmexit: the text of --exit-on was seen\n"), run.err());
  }

  @Test
  void shouldPassTheStatusOfTheDebugExitOn() throws IOException {
    final Path guest = FlatGuests.write(temporary.resolve("guest"), FlatGuests::debugExit);
    final String[] args = {
      "run",
      "--no-record",
      "--kernel",
      guest.toString(),
      "--load-address",
      FlatGuests.ADDRESS,
      "--debug-exit"
    };
    final Tool.Outcome run = Tool.run(args);
    assertEquals(2 * 42 + 1, run.status(), run.toString());
    assertTrue(run.err().startsWith("vmexit: the guest ended the run with status 85\n"), run.err());
    // Without the device the port is open, and the guest goes on to its HLT.
    args[args.length - 1] = "--no-record";
    args[1] = "--huge-pages";
    assertEquals(ExitStatus.HALTED, Tool.run(args).status());
  }

  /** Which one it is depends on the host; that it is said does not. */
  @Test
  void shouldSayWhichProcessorAndWhyWhenLeftToChoose() {
    final Tool.Outcome run = Tool.run("run", "--backend", "auto", "--no-record");
    assertEquals(ExitStatus.OK, run.status(), run.err());
    final String first = run.err().lines().findFirst().orElse("");
    assertTrue(
        first.matches("vmexit: backend kvm: (VMX|SVM) and /dev/kvm")
            || first.matches("vmexit: backend soft: .+"),
        run.err());
    final Tool.Outcome virtual =
        Tool.run("run", "--backend", "auto", "--clock", "virtual", "--no-record");
    assertEquals(
        "vmexit: backend soft: --clock virtual asks for it",
        virtual.err().lines().findFirst().orElse(""));
  }

  @Test
  void shouldRecordWhatAReplayAgreesWithWhenOnKvm(@TempDir final Path folder) {
    try {
      KvmSystem.open().close();
    } catch (final KvmUnavailableException e) {
      Assumptions.abort("SKIPPED, not tested on this host: " + e.getMessage());
    }
    final String trace = folder.resolve("trace").toString();
    final Tool.Outcome run = Tool.run("run", "--backend", "kvm", "--record", trace);
    assertEquals(ExitStatus.OK, run.status(), run.err());
    assertTrue(run.out().contains("all checks passed"), run.out());
    final Tool.Outcome replay = Tool.run("replay", trace);
    assertEquals(ExitStatus.OK, replay.status(), replay.err() + replay.out());
    assertTrue(replay.out().contains("records agree"), replay.out());
  }
}

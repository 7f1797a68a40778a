package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.trace.TraceException;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.trace.TraceReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Runs that are stopped from outside: by a signal, in order or not, and by the user's keys. */
final class StopTest {
  /** Enough for several batches in the queue, and some in the ring. */
  private static final int DOTS = 20;

  @TempDir Path temporary;

  private Path trace() {
    return temporary.resolve("trace");
  }

  private String[] arguments(final Path guest) {
    return new String[] {
      "run",
      "--kernel",
      guest.toString(),
      "--load-address",
      FlatGuests.ADDRESS,
      "--record",
      trace().toString(),
      "--timeout",
      "600"
    };
  }

  private ForkedTool startChatter() throws Exception {
    final Path guest = FlatGuests.write(temporary.resolve("guest"), FlatGuests::chatter);
    final ForkedTool tool = ForkedTool.start(temporary, arguments(guest));
    for (int i = 0; i < DOTS; i++) {
      tool.await(".");
    }
    return tool;
  }

  private List<Path> queueFiles() throws IOException {
    try (Stream<Path> all = Files.list(TraceFolder.queue(trace()))) {
      return all.filter(file -> file.toString().endsWith(".cq4")).sorted().toList();
    }
  }

  /** Number of records that all three views of the trace agree on. */
  private long records() {
    final Tool.Outcome replay = Tool.run("replay", trace().toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    final Matcher matcher = Pattern.compile("All (\\d+) records agree").matcher(replay.out());
    assertTrue(matcher.find(), replay.out());
    final long records = Long.parseLong(matcher.group(1));
    assertFalse(replay.out().contains("Missing"), replay.out());
    final Tool.Outcome stat = Tool.run("stat", trace().toString());
    assertEquals(ExitStatus.OK, stat.status(), stat.toString());
    assertTrue(
        stat.out().lines().anyMatch(line -> line.matches("all +" + records + " 100.0 .*")),
        stat.out());
    final Tool.Outcome dump =
        Tool.run("dump", trace().toString(), "--from", Long.toString(records - 10));
    assertEquals(ExitStatus.OK, dump.status(), dump.toString());
    assertEquals(10, dump.out().lines().count(), dump.out());
    return records;
  }

  /** A signal that is ignored here is so in the process to be tested, too: a shell's background. */
  private static boolean isIgnored(final int number) throws IOException {
    for (final String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("SigIgn:")) {
        return (Long.parseUnsignedLong(line.substring(7).strip(), 16) >>> number - 1 & 1) != 0;
      }
    }
    return false;
  }

  @ParameterizedTest
  @CsvSource({"TERM,143", "INT,130", "HUP,129"})
  void shouldCloseTheTraceWhenASignalAsksToEnd(final String signal, final int status)
      throws Exception {
    assumeFalse(
        isIgnored(status - 128),
        "SIG" + signal + " is ignored by whoever started the tests: not tested here");
    try (ForkedTool tool = startChatter()) {
      final String pid = Long.toString(tool.process().pid());
      assertEquals(0, new ProcessBuilder("kill", "-" + signal, pid).start().waitFor());
      final Tool.Outcome run = tool.end();
      assertEquals(status, run.status(), run.err());
      assertTrue(run.err().startsWith("vmexit: stopped\n"), run.err());
      assertTrue(run.err().endsWith("trace: " + trace() + "\n"), run.err());
    }
    final TraceManifest manifest = TraceFolder.load(trace());
    assertTrue(manifest.complete());
    assertEquals("stopped", manifest.endReason());
    assertFalse(Files.exists(TraceFolder.ring(trace(), 0)));
    final long records = records();
    assertEquals(manifest.records(), records);
    assertTrue(records > DOTS * (FlatGuests.PER_DOT + 1L), "" + records);
  }

  /** A dot that was seen is an exit that was recorded, and those before it were, too. */
  @Test
  void shouldLoseNoRecordWhenTheProcessIsKilled() throws Exception {
    try (ForkedTool tool = startChatter()) {
      tool.process().destroyForcibly();
      assertEquals(137, tool.end().status());
    }
    assertFalse(TraceFolder.load(trace()).complete());
    final long records = records();
    // The last dot goes out before its own record is written.
    assertTrue(records >= DOTS * (FlatGuests.PER_DOT + 1L), "" + records);
    final Pattern line =
        Pattern.compile(
            "This recording was not closed; recovered up to its last exit:"
                + " (\\d+) records from the queue, (\\d+) from the rings\\.");
    for (final String view : List.of("stat", "dump", "replay", "verify")) {
      final Tool.Outcome seen = Tool.run(view, trace().toString());
      assertEquals(ExitStatus.OK, seen.status(), seen.err());
      // A dump's standard output is records alone.
      final List<String> said =
          (view.equals("dump") ? seen.err() : seen.out())
              .lines()
              .filter(text -> text.contains("recover"))
              .toList();
      assertEquals(1, said.size(), said.toString());
      final Matcher parts = line.matcher(said.getFirst());
      assertTrue(parts.matches(), said.getFirst());
      assertEquals(records, Long.parseLong(parts.group(1)) + Long.parseLong(parts.group(2)));
    }
  }

  @Test
  void shouldStopTheGuestInOrderWhenTheRecordingCannotGoOn() throws Exception {
    final Path guest = FlatGuests.write(temporary.resolve("guest"), FlatGuests::chatter);
    final List<String> words = new ArrayList<>(List.of(arguments(guest)));
    words.addAll(List.of("--roll", "1M"));
    final Path elsewhere = temporary.resolve("elsewhere");
    try (ForkedTool tool = ForkedTool.start(temporary, words.toArray(String[]::new))) {
      while (!Files.isDirectory(TraceFolder.queue(trace())) || queueFiles().isEmpty()) {
        tool.await(".");
      }
      // There is no place for the next file.
      Files.move(TraceFolder.queue(trace()), elsewhere);
      final Tool.Outcome run = tool.end();
      assertEquals(ExitStatus.RECORDING_FAILED, run.status(), run.toString());
      assertEquals(4, run.err().lines().count(), run.err());
      run.assertSays(
          "vmexit: stopped, as the recording could not go on\n",
          "vmexit: " + trace() + ": recording ended early: " + TraceFolder.queue(trace()),
          ".cq4: no such folder; what came before can be read\n",
          "trace: " + trace() + "\n");
    }
    Files.move(elsewhere, TraceFolder.queue(trace()));
    final Tool.Outcome replay = Tool.run("replay", trace().toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(
        replay.out().contains("This recording was not closed (recording failed: "), replay.out());
    assertTrue(records() > DOTS * (FlatGuests.PER_DOT + 1L), replay.out());
  }

  @Test
  void shouldKeepTheEndOfALongRunAndReplayIt() throws Exception {
    final int kept = 50_000;
    final Path guest = FlatGuests.write(temporary.resolve("guest"), FlatGuests::chatter);
    final List<String> words = new ArrayList<>(List.of(arguments(guest)));
    words.addAll(List.of("--keep", "" + kept, "--roll", "1M"));
    try (ForkedTool tool = ForkedTool.start(temporary, words.toArray(String[]::new))) {
      for (int i = 0; i < 4 * DOTS; i++) {
        tool.await(".");
      }
      tool.process().toHandle().destroy();
      assertEquals(128 + 15, tool.end().status());
    }
    final TraceManifest manifest = TraceFolder.load(trace());
    final Tool.Outcome replay = Tool.run("replay", trace().toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    final Matcher begins =
        Pattern.compile(
                "This trace begins in the middle, at record (\\d+): the last 50000 exits were to be"
                    + " kept\\.")
            .matcher(replay.out());
    assertTrue(begins.find(), replay.out());
    final long first = Long.parseLong(begins.group(1));
    final long there = manifest.records() - first;
    assertTrue(there >= kept && first > 0, there + " kept of " + manifest.records());
    assertTrue(replay.out().contains("No difference in " + there + " records; "), replay.out());
    final Tool.Outcome dump = Tool.run("dump", trace().toString(), "--to", "" + first);
    assertEquals(2, dump.out().lines().count(), dump.out());
    assertTrue(
        dump.out()
            .lines()
            .findFirst()
            .orElseThrow()
            .endsWith(first + " records missing from 0, not kept"),
        dump.out());
    final Tool.Outcome verify = Tool.run("verify", trace().toString());
    assertEquals(ExitStatus.OK, verify.status(), verify.toString());

    // No file more than it takes: at the last roll, what is now without the newest one, the oldest
    // was needed.
    final List<Path> files = queueFiles();
    Files.delete(files.getFirst());
    Files.deleteIfExists(files.getLast());
    long without = 0;
    try (TraceReader reader = TraceReader.open(trace())) {
      final ExitEvent event = new ExitEvent();
      while (reader.next(event)) {
        without = reader.records();
      }
    } catch (final TraceException e) {
      assertTrue(files.size() <= 2, e.getMessage()); // no queue is left
    }
    assertTrue(without < kept, without + " without the oldest and the newest of " + files.size());
  }

  // ---- at a terminal, which util-linux's script makes ----

  private ForkedTool atTerminal() throws Exception {
    boolean there;
    try {
      there = new ProcessBuilder("script", "--version").start().waitFor() == 0;
    } catch (final IOException e) {
      there = false;
    }
    assumeTrue(there, "SKIPPED, no terminal: util-linux's script is not installed");
    final Path guest = FlatGuests.write(temporary.resolve("guest"), FlatGuests::echo);
    final String command =
        ForkedTool.command(arguments(guest)).stream()
            .map(word -> "'" + word.replace("'", "'\\''") + "'")
            .collect(Collectors.joining(" "));
    final Path shell =
        Files.writeString(
            temporary.resolve("session"),
            "stty -a >before\n" + command + "\necho status $?\nstty -a >after\necho end\n");
    return ForkedTool.start(
        temporary, List.of("script", "-q", "-e", "-c", "sh " + shell, "/dev/null"));
  }

  private void assertTerminalAsBefore() throws IOException {
    final String before = Files.readString(temporary.resolve("before"));
    assertTrue(before.contains(" icanon ") && before.contains(" echo "), before);
    assertEquals(before, Files.readString(temporary.resolve("after")));
  }

  @Test
  void shouldGiveEveryKeyToTheGuestAndLeaveByCtrlAX() throws Exception {
    try (ForkedTool tool = atTerminal()) {
      tool.await("ready");
      tool.type("\3");
      tool.await("C"); // not a signal
      tool.type("\1\1");
      tool.await("A"); // and one of the two only
      tool.type("\4");
      assertEquals("", tool.await("D"));
      tool.type("\1x");
      tool.await("vmexit: stopped");
      tool.await("status 0");
      tool.await("end");
      tool.process().getOutputStream().close();
      tool.end();
    }
    assertTerminalAsBefore();
    assertTrue(TraceFolder.load(trace()).complete());
    assertEquals(ExitStatus.OK, Tool.run("replay", trace().toString()).status());
  }

  @Test
  void shouldPutTheTerminalBackWhenASignalEndsTheRun() throws Exception {
    try (ForkedTool tool = atTerminal()) {
      tool.await("ready");
      final ProcessHandle java =
          tool.process()
              .descendants()
              .filter(child -> child.info().command().orElse("").endsWith("/java"))
              .findFirst()
              .orElseThrow();
      assertTrue(java.destroy());
      tool.await("status 143");
      tool.await("end");
      tool.process().getOutputStream().close();
      tool.end();
    }
    assertTerminalAsBefore();
    assertTrue(TraceFolder.load(trace()).complete());
  }
}

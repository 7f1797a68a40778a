package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Recordings onto a file system that is too small, which only root can make: skipped elsewhere. */
final class FullDiskTest {
  private static final Pattern EXITS = Pattern.compile(" instructions, ([\\d,]+) exits\n");

  @TempDir Path temporary;

  private Path disk;

  private static String command(final String... command) throws Exception {
    final Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    final String said =
        new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
    return process.waitFor() == 0 ? "" : "status " + process.exitValue() + ", " + said;
  }

  private void mount(final String size) throws Exception {
    disk = Files.createDirectory(temporary.resolve("disk"));
    String trouble;
    try {
      trouble = command("mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", disk.toString());
    } catch (final IOException e) {
      trouble = e.getMessage();
    }
    final String why = trouble;
    if (!why.isEmpty()) {
      disk = null;
    }
    assumeTrue(why.isEmpty(), () -> "SKIPPED, a small tmpfs cannot be mounted (be root): " + why);
  }

  @AfterEach
  void unmount() throws Exception {
    if (disk != null) {
      // Lazily: the queue unmaps its files on a thread of its own, later.
      assertEquals("", command("umount", "-l", disk.toString()));
    }
  }

  private Tool.Outcome runUntilFull() throws IOException {
    final Path guest = FlatGuests.write(temporary.resolve("guest"), FlatGuests::chatter);
    return Tool.run(
        "run",
        "--kernel",
        guest.toString(),
        "--load-address",
        FlatGuests.ADDRESS,
        "--record",
        disk.resolve("trace").toString(),
        "--timeout",
        "300");
  }

  /** From no room behind the ring to room for some batches: each is another place to fail at. */
  @ParameterizedTest
  @ValueSource(strings = {"16420k", "16500k", "16800k", "20m", "24m"})
  void shouldStopAndKeepAllThatWasRecordedWhenTheDiskIsFull(final String size) throws Exception {
    mount(size);
    final Tool.Outcome run = runUntilFull();
    assertEquals(ExitStatus.RECORDING_FAILED, run.status(), run.toString());
    final Path trace = disk.resolve("trace");
    assertEquals(4, run.err().lines().count(), run.err());
    run.assertSays(
        "vmexit: stopped, as the recording could not go on\n",
        "vmexit: " + trace + ": recording ended early: disk full",
        "; what came before can be read\n",
        "trace: " + trace + "\n");
    final Matcher exits = EXITS.matcher(run.err());
    assertTrue(exits.find(), run.err());
    final long happened = Long.parseLong(exits.group(1).replace(",", ""));

    final Tool.Outcome replay = Tool.run("replay", trace.toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains("This recording was not closed"), replay.out());
    final Matcher records = Pattern.compile("All (\\d+) records agree").matcher(replay.out());
    assertTrue(records.find(), replay.out());
    // The vCPU goes on until it is stopped, but drops what has no place.
    assertTrue(Long.parseLong(records.group(1)) <= happened, replay.out() + run.err());
    assertTrue(Long.parseLong(records.group(1)) >= happened / 2, replay.out() + run.err());
    assertEquals(ExitStatus.OK, Tool.run("stat", trace.toString()).status());
    assertEquals(ExitStatus.OK, Tool.run("dump", trace.toString()).status());
  }

  @Test
  void shouldNotBeginAndLeaveNothingWhenThereIsNoRoom() throws Exception {
    mount("10m");
    final Tool.Outcome run = runUntilFull();
    assertEquals(ExitStatus.ERROR, run.status(), run.toString());
    run.assertOneLine(disk.resolve("trace") + ": recording cannot start: No space left on device");
    assertFalse(Files.exists(disk.resolve("trace")));
    try (Stream<Path> left = Files.list(disk)) {
      assertEquals(0, left.count());
    }
  }

  @Test
  void shouldNotBeginWhenTheGuestsMemoryHasNoRoom() throws Exception {
    mount("16800k");
    final byte[] noise = new byte[600_000];
    new java.util.Random(3).nextBytes(noise);
    noise[0] = (byte) 0xF4;
    final Path guest = Files.write(temporary.resolve("guest"), noise);
    final Tool.Outcome run =
        Tool.run(
            "run",
            "--kernel",
            guest.toString(),
            "--load-address",
            "0x100000",
            "--mode",
            "32",
            "--record",
            disk.resolve("trace").toString());
    assertEquals(ExitStatus.ERROR, run.status(), run.toString());
    run.assertOneLine(disk.resolve("trace") + ": recording cannot start: the guest's memory");
    assertFalse(Files.exists(disk.resolve("trace")));
  }
}

package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
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

  private String[] arguments(final String... more) throws IOException {
    final Path guest = FlatGuests.write(temporary.resolve("guest"), FlatGuests::chatter);
    final List<String> words =
        new ArrayList<>(
            List.of(
                "run",
                "--kernel",
                guest.toString(),
                "--load-address",
                FlatGuests.ADDRESS,
                "--record",
                disk.resolve("trace").toString(),
                "--timeout",
                "600"));
    words.addAll(List.of(more));
    return words.toArray(String[]::new);
  }

  /** Stops the run; whatever had happened until then must be in the trace. */
  private Tool.Outcome stopAndCheck(final ForkedTool tool) throws Exception {
    tool.process().toHandle().destroy(); // SIGTERM
    final Tool.Outcome run = tool.end();
    assertEquals(128 + 15, run.status(), run.toString());
    run.assertSays("vmexit: stopped\n", "\ntrace: " + disk.resolve("trace") + "\n");
    final Matcher exits = EXITS.matcher(run.err());
    assertTrue(exits.find(), run.err());
    final String happened = exits.group(1).replace(",", "");
    final Tool.Outcome replay = Tool.run("replay", disk.resolve("trace").toString());
    assertEquals(ExitStatus.OK, replay.status(), replay.toString());
    assertTrue(replay.out().contains("All " + happened + " records agree"), replay.out());
    final Tool.Outcome verify = Tool.run("verify", disk.resolve("trace").toString());
    assertEquals(ExitStatus.OK, verify.status(), verify.toString());
    assertEquals(
        "Whole: " + happened + " records can be read, 0 are lost, 0 were dropped.\n", verify.out());
    return run;
  }

  /** From no room behind the ring to room for some batches: each is another place to wait at. */
  @ParameterizedTest
  @ValueSource(strings = {"33084k", "33m", "36m", "40m"})
  void shouldPauseTheGuestWhenTheDiskIsFullAndEndWithAWholeTrace(final String size)
      throws Exception {
    mount(size);
    try (ForkedTool tool = ForkedTool.start(temporary, arguments())) {
      tool.awaitError("the disk is full: the guest waits");
      final Tool.Outcome run = stopAndCheck(tool);
      assertEquals(4, run.err().lines().count(), run.err());
    }
  }

  @Test
  void shouldGoOnWhenThereIsRoomAgain() throws Exception {
    mount("40m");
    final Path filler = Files.write(disk.resolve("filler"), new byte[5 << 20]);
    try (ForkedTool tool = ForkedTool.start(temporary, arguments())) {
      tool.awaitError("the disk is full: the guest waits");
      Files.delete(filler);
      tool.awaitError("there is room again, the guest goes on");
      // And it does: it fills the disk once more.
      tool.awaitError("the disk is full: the guest waits");
      final Tool.Outcome run = stopAndCheck(tool);
      assertEquals(6, run.err().lines().count(), run.err());
    }
  }

  @Test
  void shouldEndByTheTimeoutWhileItWaits() throws Exception {
    mount("33084k");
    final String[] arguments = arguments();
    arguments[arguments.length - 1] = "10";
    final Tool.Outcome run = Tool.run(arguments);
    assertEquals(ExitStatus.TIMEOUT, run.status(), run.toString());
    run.assertSays("the disk is full: the guest waits", "vmexit: --timeout is over");
    final Tool.Outcome verify = Tool.run("verify", disk.resolve("trace").toString());
    assertEquals(ExitStatus.OK, verify.status(), verify.toString());
  }

  /** Room for less than a ring, for rings and manifest, and for all but the queue. */
  @ParameterizedTest
  @ValueSource(strings = {"10m", "32780k", "32788k"})
  void shouldNotBeginAndLeaveNothingWhenThereIsNoRoom(final String size) throws Exception {
    mount(size);
    final Tool.Outcome run = Tool.run(arguments());
    assertEquals(ExitStatus.ERROR, run.status(), run.toString());
    run.assertOneLine(disk.resolve("trace") + ": recording cannot start: ");
    assertFalse(Files.exists(disk.resolve("trace")));
    try (Stream<Path> left = Files.list(disk)) {
      assertEquals(0, left.count());
    }
  }

  @Test
  void shouldNotBeginWhenTheGuestsMemoryHasNoRoom() throws Exception {
    mount("33184k");
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

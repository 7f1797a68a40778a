package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.exit.EventAssert;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.RandomEvents;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.stream.Collectors;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Records onto a real file system of 9 MiB, in a mount namespace of its own. */
final class FullDiskTest {
  @TempDir Path disk;

  /** Records until the recorder gives up, then reads back. */
  static final class Victim {
    private Victim() {}

    /** Prints one line of what happened. */
    public static void main(final String[] arguments) {
      final Path folder = Path.of(arguments[0], "trace");
      final TraceManifest manifest =
          TraceManifest.starting(
              "1",
              "guest",
              "",
              List.of(),
              1,
              "soft",
              "shadow",
              "model",
              "host",
              "none",
              Instant.EPOCH,
              EnumSet.allOf(ExitKind.class));
      final List<String> failures = new ArrayList<>();
      final Recorder recorder =
          Recorder.start(
              folder,
              manifest,
              RecorderOptions.blocking(1 << 20),
              () -> YieldingIdleStrategy.INSTANCE,
              failures::add);
      final RandomEvents events = new RandomEvents(1);
      final ExitEvent event = new ExitEvent();
      while (recorder.failure() == null) {
        events.next(event);
        recorder.sink(0).write(event);
      }
      final long written = recorder.sink(0).sequence();
      String closing = "nothing";
      try {
        recorder.close();
      } catch (final TraceException e) {
        closing = e.getMessage().contains("disk full") ? "disk full" : e.getMessage();
      }
      System.out.println(
          failures.size() + " failure, close says " + closing + ", " + lost(folder, written));
    }

    private static String lost(final Path folder, final long written) {
      final RandomEvents events = new RandomEvents(1);
      final ExitEvent expected = new ExitEvent();
      final ExitEvent event = new ExitEvent();
      try (TraceReader reader = TraceReader.open(folder)) {
        while (reader.next(event)) {
          events.next(expected);
          expected.sequence = reader.records() - 1;
          EventAssert.assertSame(expected, event);
        }
        return written - reader.records() + " lost";
      }
    }
  }

  @Test
  void shouldLoseNothingWhenTheDiskIsFull() throws Exception {
    final List<String> command = new ArrayList<>();
    command.addAll(List.of("unshare", "--mount", "--map-root-user", "sh", "-c"));
    command.add(
        "mount -t tmpfs -o size=9m tmpfs '"
            + disk
            + "' && "
            + ForkedJvm.command(Victim.class, disk.toString()).stream()
                .map(word -> "'" + word + "'")
                .collect(Collectors.joining(" ")));
    assumeTrue(canMount(), "skipped: this machine lets nobody mount a small file system");
    final Process process = ForkedJvm.start(command);
    final String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), out);
    assertEquals("1 failure, close says disk full, 0 lost\n", out);
  }

  private boolean canMount() throws Exception {
    try {
      return new ProcessBuilder(
                  "unshare",
                  "--mount",
                  "--map-root-user",
                  "mount",
                  "-t",
                  "tmpfs",
                  "tmpfs",
                  disk.toString())
              .redirectErrorStream(true)
              .start()
              .waitFor()
          == 0;
    } catch (final java.io.IOException e) {
      return false;
    }
  }
}

package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.exit.EventAssert;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.RandomEvents;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import org.agrona.concurrent.IdleStrategy;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Records onto a real file system of 9 MiB, in a mount namespace of its own. */
final class FullDiskTest {
  @TempDir Path disk;

  /** Records until the disk is full, and what then is told to; then reads back. */
  static final class Victim {
    private static volatile boolean paused;
    private static volatile boolean stop;
    private static final CountDownLatch BLOCKED = new CountDownLatch(1);
    private static final CountDownLatch RESUMED = new CountDownLatch(1);

    private Victim() {}

    /** Says whether the vCPU stands still since the disk is full. */
    private static final class Idle implements IdleStrategy {
      @Override
      public void idle(final int workCount) {
        idle();
      }

      @Override
      public void idle() {
        if (paused) {
          BLOCKED.countDown();
        }
        Thread.yield();
      }

      @Override
      public void reset() {}
    }

    private static final class Listener implements RecorderListener {
      private final StringBuilder said = new StringBuilder();

      @Override
      public void failed(final String reason) {
        said.append("failed: ").append(reason).append("; ");
        stop = true;
      }

      @Override
      public void paused(final String reason) {
        said.append(reason.contains("disk full") ? "paused" : reason).append("; ");
        paused = true;
      }

      @Override
      public void resumed() {
        said.append("resumed; ");
        paused = false;
        RESUMED.countDown();
      }
    }

    /** Prints one line of what happened. */
    public static void main(final String[] arguments) throws Exception {
      final Path folder = Path.of(arguments[0], "trace");
      final Path filler = Path.of(arguments[0], "filler");
      Files.write(filler, new byte[4 << 20]);
      final TraceManifest manifest = TestTraces.manifest();
      final Listener listener = new Listener();
      final Recorder recorder =
          Recorder.begin(folder, manifest, RecorderOptions.blocking(1 << 20), Idle::new, listener);
      if (arguments[1].startsWith("early")) {
        fill(Path.of(arguments[0], "more"));
      }
      final Thread vcpu = new Thread(() -> write(recorder), "vcpu0");
      vcpu.start();
      BLOCKED.await();
      final boolean goesOn = arguments[1].endsWith("room");
      if (goesOn) {
        Files.delete(filler);
        RESUMED.await();
      }
      stop = true;
      recorder.stopping();
      vcpu.join();
      final long written = recorder.sink(0).sequence();
      recorder.close();
      System.out.println(
          listener.said
              + lost(folder, written)
              + (Files.exists(TraceFolder.ring(folder, 0)) ? ", the ring is left" : ""));
    }

    /** Takes what is left but for some pages: there is no room to open the queue. */
    private static void fill(final Path file) throws IOException {
      final Path pages = Files.write(Path.of(file + ".pages"), new byte[32 << 10]);
      try (OutputStream out = Files.newOutputStream(file)) {
        while (true) {
          out.write(new byte[4096]);
        }
      } catch (final IOException e) {
        // The disk is full: the manifest's last words have room again.
        Files.delete(pages);
      }
    }

    private static void write(final Recorder recorder) {
      final RandomEvents events = new RandomEvents(1);
      final ExitEvent event = new ExitEvent();
      while (!stop) {
        events.next(event);
        recorder.sink(0).write(event);
      }
      // A vCPU comes to see that it should stop after some records more.
      for (int i = 0; i < 4; i++) {
        events.next(event);
        recorder.sink(0).write(event);
      }
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
        return written
            - reader.records()
            + " lost, "
            + reader.damages().size()
            + " damages, "
            + (reader.manifest().complete() ? "complete" : "not complete");
      }
    }
  }

  private String run(final String what) throws Exception {
    final List<String> command = new ArrayList<>();
    command.addAll(List.of("unshare", "--mount", "--map-root-user", "sh", "-c"));
    command.add(
        "mount -t tmpfs -o size=9m tmpfs '"
            + disk
            + "' && "
            + ForkedJvm.command(Victim.class, disk.toString(), what).stream()
                .map(word -> "'" + word + "'")
                .collect(Collectors.joining(" ")));
    assumeTrue(canMount(), "SKIPPED: this machine lets nobody mount a small file system");
    final Process process = ForkedJvm.start(command);
    final String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), out);
    return out;
  }

  /** Full behind some batches, and full before the queue is opened. */
  @ParameterizedTest
  @ValueSource(strings = {"room", "early room"})
  void shouldGoOnWhenAFullDiskHasRoomAgain(final String what) throws Exception {
    final String said = run(what);
    assertTrue(said.startsWith("paused; resumed; "), said);
    assertTrue(said.contains("0 lost, 0 damages, complete"), said);
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "early none"})
  void shouldEndWithAWholeTraceWhenTheDiskStaysFull(final String what) throws Exception {
    assertEquals("paused; 0 lost, 0 damages, complete, the ring is left\n", run(what));
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
    } catch (final IOException e) {
      return false;
    }
  }
}

package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.RandomEvents;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code --durability} asks of the kernel, as Debian's strace sees it. */
final class DurabilityTest {
  private static final int RECORDS = 5_000;

  @TempDir Path temporary;

  /** A process that records, and prints how many batches and times it had. */
  static final class Victim {
    private Victim() {}

    /** The folder, the durability. */
    public static void main(final String[] args) {
      final AtomicInteger times = new AtomicInteger();
      final AtomicInteger batches = new AtomicInteger();
      final RecorderOptions options =
          RecorderOptions.blocking(ExitRing.MIN_CAPACITY)
              .with(
                  Durability.valueOf(args[1]),
                  // Each look at the clock is an interval later.
                  () -> times.getAndIncrement() * Durability.INTERVAL_NANOS);
      try (Recorder recorder =
          Recorder.start(
              Path.of(args[0]),
              TestTraces.manifest(),
              options,
              () -> YieldingIdleStrategy.INSTANCE,
              new RecorderListener() {
                @Override
                public void failed(final String reason) {
                  Runtime.getRuntime().halt(1);
                }

                @Override
                public void appended(final long nextSequence) {
                  batches.incrementAndGet();
                }
              })) {
        final RandomEvents events = new RandomEvents(1);
        final ExitEvent event = new ExitEvent();
        for (int i = 0; i < RECORDS; i++) {
          events.next(event);
          recorder.sink(0).write(event);
        }
      }
      System.out.println(batches.get() + " " + times.get());
    }
  }

  /**
   * What was seen.
   *
   * @param batches appended
   * @param times that the clock was read
   * @param calls that bring something to the disk, a line each
   */
  private record Seen(int batches, int times, List<String> calls) {
    long count(final String call, final String path) {
      return calls.stream().filter(line -> line.contains(call) && line.contains(path)).count();
    }
  }

  private Seen record(final Durability durability) throws Exception {
    final Path log = temporary.resolve("strace.txt");
    final Path folder = temporary.resolve("trace");
    final List<String> command =
        new ArrayList<>(
            List.of(
                "strace", "-f", "-y", "-e", "trace=fsync,fdatasync,msync", "-o", log.toString()));
    assumeTrue(isThere(command), "no strace here that may trace: Debian's package strace has it");
    command.addAll(ForkedJvm.command(Victim.class, folder.toString(), durability.name()));
    final Process victim = ForkedJvm.start(command);
    final String said =
        new String(victim.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
    assertEquals(0, victim.waitFor(), said);
    final String[] numbers = said.split(" ", -1);
    try (TraceReader reader = TraceReader.open(folder)) {
      assertEquals(RECORDS, reader.manifest().records());
    }
    return new Seen(
        Integer.parseInt(numbers[0]),
        Integer.parseInt(numbers[1]),
        Files.readAllLines(log).stream().filter(line -> line.contains("sync(")).toList());
  }

  private static boolean isThere(final List<String> strace) throws InterruptedException {
    final List<String> command = new ArrayList<>(strace);
    command.add("true");
    try {
      return new ProcessBuilder(command).inheritIO().start().waitFor() == 0;
    } catch (final IOException e) {
      return false;
    }
  }

  @Test
  void shouldSyncEachBatch() throws Exception {
    final Seen seen = record(Durability.BATCH);
    assertTrue(seen.batches > 5, seen.toString());
    assertTrue(seen.count("fdatasync(", "/queue/") >= seen.batches, seen.toString());
    // That there are such files at all must survive too.
    assertTrue(seen.count("fsync(", "/manifest.properties>") > 0, seen.toString());
    assertTrue(seen.count("fsync(", "/trace>") > 0, seen.toString());
  }

  @Test
  void shouldSyncTheRingsTooAtEachInterval() throws Exception {
    final Seen seen = record(Durability.INTERVAL);
    // The first look at the clock is that of the start.
    assertEquals(seen.times - 1, seen.count("msync(", ""), seen.toString());
    assertTrue(seen.times > 2, seen.toString());
    assertTrue(seen.count("fdatasync(", "/queue/") > 0, seen.toString());
    assertTrue(seen.count("fsync(", "/trace>") > 0, seen.toString());
  }

  @Test
  void shouldLeaveItToTheKernelWhereNothingWasAsked() throws Exception {
    assertEquals(List.of(), record(Durability.NONE).calls);
  }
}

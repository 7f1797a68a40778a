package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.EventAssert;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.RandomEvents;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Recordings in many files, of which the last ones are kept. */
final class KeepTest {
  private static final int COUNT = 300_000;
  private static final long NANOS_PER_EXIT = 1000;

  @TempDir Path temporary;

  private final ExitEvent event = new ExitEvent();
  private final ExitEvent expected = new ExitEvent();

  private Path record(final TraceKeep keep) {
    final Path folder = temporary.resolve("trace");
    final RandomEvents events = new RandomEvents(1);
    try (Recorder recorder =
        Recorder.start(
            folder,
            TestTraces.manifest(),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY).with(RecorderOptions.MIN_ROLL, keep),
            () -> YieldingIdleStrategy.INSTANCE,
            reason -> {})) {
      for (int i = 0; i < COUNT; i++) {
        next(events, i);
        recorder.sink(0).write(expected);
      }
    }
    return folder;
  }

  private void next(final RandomEvents events, final long number) {
    events.next(expected);
    expected.hostTime = number * NANOS_PER_EXIT;
  }

  /** Reads all; every record must be what was written. Returns how many are there. */
  private long read(final Path folder) {
    final RandomEvents events = new RandomEvents(1);
    long number = 0;
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        if (event.kind == ExitKind.GAP) {
          assertEquals(0, number);
          assertEquals(ExitEvent.GAP_NOT_KEPT, event.detail);
          for (; number < event.value; number++) {
            next(events, number);
          }
        } else {
          next(events, number);
          expected.sequence = number++;
          EventAssert.assertSame(expected, event);
        }
      }
      assertEquals(COUNT, number);
      assertEquals(List.of(), reader.damages());
      assertEquals(0, reader.gaps());
      assertEquals(COUNT, reader.records() + reader.notKept());
      final long last = COUNT - 10;
      reader.seek(new TracePoint(TracePoint.Unit.SEQUENCE, last));
      assertTrue(reader.next(event));
      assertEquals(last, event.sequence);
      return reader.records() - 1;
    }
  }

  private static long bytes(final Path folder) throws IOException {
    long sum = 0;
    for (final Path file : TraceFolder.queueFiles(folder)) {
      sum += Files.size(file);
    }
    return sum;
  }

  @Test
  void shouldReadOverTheEndsOfFilesWhenTheyRoll() throws IOException {
    final Path folder = record(TraceKeep.ALL);
    final List<Path> files = TraceFolder.queueFiles(folder);
    assertTrue(files.size() > 10, files.toString());
    for (final Path file : files) {
      assertTrue(Files.size(file) < 2 * RecorderOptions.MIN_ROLL, file + " " + Files.size(file));
    }
    assertEquals(COUNT, read(folder));
  }

  @Test
  void shouldKeepAsManyRecordsAsWereAskedForAndNotManyMore() throws IOException {
    final int asked = 60_000;
    final Path folder = record(new TraceKeep(TraceKeep.Unit.RECORDS, asked));
    final long kept = read(folder);
    assertTrue(kept >= asked && kept < 2 * asked, "kept=" + kept);
  }

  @Test
  void shouldKeepTheTimeThatWasAskedForAndNotMuchMore() throws IOException {
    final int asked = 60_000;
    final Path folder = record(new TraceKeep(TraceKeep.Unit.TIME, asked * NANOS_PER_EXIT));
    final long kept = read(folder);
    assertTrue(kept >= asked && kept < 2 * asked, "kept=" + kept);
  }

  @Test
  void shouldKeepNoMoreBytesThanWereAskedFor() throws IOException {
    final long asked = 8L << 20;
    final Path folder = record(new TraceKeep(TraceKeep.Unit.BYTES, asked));
    read(folder);
    final long bytes = bytes(folder);
    assertTrue(bytes <= asked && bytes > asked / 4, "bytes=" + bytes);
  }

  @Test
  void shouldReadWhatAUserWrites() {
    assertEquals(new TraceKeep(TraceKeep.Unit.RECORDS, 1_000_000), TraceKeep.parse("1000000"));
    assertEquals(new TraceKeep(TraceKeep.Unit.TIME, 30_000_000_000L), TraceKeep.parse("30s"));
    assertEquals(new TraceKeep(TraceKeep.Unit.TIME, 7_200_000_000_000L), TraceKeep.parse("2h"));
    assertEquals(new TraceKeep(TraceKeep.Unit.BYTES, 512L << 20), TraceKeep.parse("512M"));
    for (final String wrong : List.of("", "0", "0s", "30 s", "5K", "-1", "999999999999h")) {
      assertThrows(IllegalArgumentException.class, () -> TraceKeep.parse(wrong), wrong);
    }
  }
}

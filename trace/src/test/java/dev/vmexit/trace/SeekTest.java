package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Going to a place finds the very record that reading on from the start would reach first. */
final class SeekTest {
  private static final int RECORDS = 60_000;
  private static final int FILES = 9;
  private static final int PLACES = 200;

  @TempDir Path temporary;

  private final Random random = new Random(11);
  private final long[] retired = new long[RECORDS];
  private final long[] time = new long[RECORDS];

  /** Some neighbours have the same count and time, as exits that follow one another at once. */
  private Path record() {
    final int[] at = new int[1];
    return TestTraces.record(
        temporary.resolve("trace"),
        RECORDS,
        11,
        event -> {
          final int i = at[0]++;
          final long now = i == 0 ? 0 : time[i - 1];
          final long count = i == 0 ? 0 : retired[i - 1];
          time[i] = now + (random.nextInt(3) == 0 ? 0 : random.nextInt(5_000));
          retired[i] = count + (random.nextInt(3) == 0 ? 0 : random.nextInt(1_000));
          event.hostTime = time[i];
          event.retired = retired[i];
        });
  }

  /** Cuts the queue's file into several, each from a batch on: what a queue that rolls leaves. */
  private static List<Path> split(final Path folder) throws IOException {
    final Path whole = TraceFolder.queueFiles(folder).getFirst();
    final byte[] bytes = Files.readAllBytes(whole);
    final ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    final List<Path> files = new ArrayList<>();
    int from = 0;
    for (int i = 1; i <= FILES; i++) {
      int to = (int) ((long) bytes.length * i / FILES) & -Integer.BYTES;
      while (to < bytes.length - Long.BYTES && buffer.getLong(to + 4) != BatchReader.SIGNATURE) {
        to += Integer.BYTES;
      }
      to = i == FILES ? bytes.length : to;
      files.add(
          Files.write(
              TraceFolder.queue(folder).resolve("part" + i + ".cq4"),
              Arrays.copyOfRange(bytes, from, to)));
      from = to;
    }
    Files.delete(whole);
    return files;
  }

  private long[] keys(final TracePoint.Unit unit) {
    return switch (unit) {
      case RETIRED -> retired;
      case TIME -> time;
      case SEQUENCE -> {
        final long[] numbers = new long[RECORDS];
        Arrays.setAll(numbers, i -> i);
        yield numbers;
      }
    };
  }

  private static int firstFrom(final long[] keys, final long value) {
    int i = 0;
    while (i < keys.length && keys[i] < value) {
      i++;
    }
    return i;
  }

  private void assertFinds(final TraceReader reader) {
    final ExitEvent event = new ExitEvent();
    for (final TracePoint.Unit unit : TracePoint.Unit.values()) {
      final long[] keys = keys(unit);
      final long last = keys[RECORDS - 1];
      for (int i = 0; i < PLACES; i++) {
        final long value = i == 0 ? 0 : i == 1 ? last : random.nextLong(last + 1);
        final TracePoint point = new TracePoint(unit, value);
        final int expected = firstFrom(keys, value);
        reader.seek(point);
        assertTrue(reader.next(event), point.toString());
        assertEquals(expected, event.sequence, point.toString());
        assertEquals(retired[expected], event.retired);
        if (expected + 1 < RECORDS) {
          assertTrue(reader.next(event));
          assertEquals(expected + 1, event.sequence);
        }
      }
      reader.seek(new TracePoint(unit, last + 1));
      assertFalse(reader.next(event));
    }
    assertEquals(List.of(), reader.damages());
  }

  @Test
  void shouldFindThePlaceInOneFile() {
    final Path folder = record();
    try (TraceReader reader = TraceReader.open(folder)) {
      assertFinds(reader);
    }
  }

  @Test
  void shouldFindThePlaceInSeveralFiles() throws IOException {
    final Path folder = record();
    assertEquals(FILES, split(folder).size());
    try (TraceReader reader = TraceReader.open(folder)) {
      assertFinds(reader);
    }
  }

  @Test
  void shouldGoBehindAFileThatIsLost() throws IOException {
    final Path folder = record();
    final List<Path> files = split(folder);
    Files.write(files.get(FILES / 2), new byte[5_000]);
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(folder)) {
      reader.seek(new TracePoint(TracePoint.Unit.TIME, time[RECORDS - 3]));
      assertTrue(reader.next(event));
      assertEquals(firstFrom(time, time[RECORDS - 3]), event.sequence);
      // In the lost file: what comes is the gap that reaches over the place.
      reader.seek(new TracePoint(TracePoint.Unit.SEQUENCE, RECORDS / 2));
      assertTrue(reader.next(event));
      assertEquals(ExitKind.GAP, event.kind);
      assertTrue(event.sequence <= RECORDS / 2 && event.sequence + event.value > RECORDS / 2);
    }
  }

  @Test
  void shouldReadNoMoreThanALogarithmOfTheFile() throws IOException {
    final Path file = TraceFolder.queueFiles(record()).getFirst();
    final long trace = TraceFolder.load(temporary.resolve("trace")).trace();
    final int steps = 64 - Long.numberOfLeadingZeros(Files.size(file) / QueueFile.WINDOW);
    assertTrue(steps >= 3, Files.size(file) + " bytes are too few to tell");
    for (int i = 0; i < PLACES; i++) {
      try (QueueFile queue = new QueueFile(file, trace)) {
        assertTrue(
            queue.seek(BatchSource.BatchKey.SEQUENCE, random.nextInt(RECORDS), new BatchReader()));
        // At each step a window to find a batch in, and one where it goes beyond that; as much
        // for the start, the batches of the last step, and the way back to the one that was right.
        assertTrue(queue.windows() <= 2 * (steps + 3), queue.windows() + " windows read");
      }
    }
  }
}

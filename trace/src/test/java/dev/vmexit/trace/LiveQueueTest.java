package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class LiveQueueTest {
  private static final int RECORDS = 6_000;

  @TempDir Path temporary;

  /** A whole file, and where in it each batch ends. */
  private record Written(byte[] bytes, long trace, List<Integer> ends) {}

  private Written write() throws IOException {
    final Path folder = TestTraces.record(temporary.resolve("trace"), RECORDS, 3, event -> {});
    final Path file = TraceFolder.queueFiles(folder).getFirst();
    final long trace = TraceFolder.load(folder).trace();
    final List<Integer> ends = new ArrayList<>();
    final BatchReader batch = new BatchReader();
    try (QueueFile queue = new QueueFile(file, trace)) {
      while (queue.next(batch, 0)) {
        ends.add((int) queue.position());
      }
    }
    return new Written(Files.readAllBytes(file), trace, ends);
  }

  /**
   * Between two looks of a follower that has to wait for a processor the recorder ends one file and
   * begins the next: nothing of the first may be passed by.
   */
  @Test
  void shouldReadToTheEndOfAFileThatWasEndedBetweenTwoLooks() throws IOException {
    final Written written = write();
    final int batches = written.ends.size();
    assertTrue(batches > 5, written.ends.toString());
    final Path first = temporary.resolve("1.cq4");
    final Path second = temporary.resolve("2.cq4");
    final byte[] part = Arrays.copyOf(written.bytes, written.bytes.length);
    Arrays.fill(part, written.ends.get(1), part.length, (byte) 0);
    Files.write(first, part);
    final List<Path> there = new ArrayList<>(List.of(first));
    final int[] looks = new int[1];
    final BatchReader batch = new BatchReader();
    try (LiveQueue queue =
        new LiveQueue(
            () -> {
              final List<Path> seen = List.copyOf(there);
              if (++looks[0] == 2) {
                try {
                  Files.write(first, written.bytes);
                  Files.write(second, written.bytes);
                } catch (final IOException e) {
                  throw new AssertionError(e);
                }
                there.add(second);
              }
              return seen;
            },
            written.trace)) {
      assertTrue(queue.next(batch));
      assertTrue(queue.next(batch));
      // The look that comes too early.
      assertFalse(queue.next(batch));
      long expected = batch.nextSequence();
      for (int i = 2; i < batches; i++) {
        assertTrue(queue.next(batch));
        assertEquals(expected, batch.firstSequence());
        expected = batch.nextSequence();
      }
      assertEquals(RECORDS, expected);
      assertTrue(queue.next(batch));
      assertEquals(0, batch.firstSequence());
    }
  }
}

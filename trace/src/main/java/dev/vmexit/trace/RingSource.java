package dev.vmexit.trace;

import dev.vmexit.exit.ExitDecoder;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingReader;
import dev.vmexit.exit.ExitRingWriter;
import java.io.IOException;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * One vCPU's ring and the batch that is being put together from it. Belongs to the recorder's
 * thread, but for {@link #writer}.
 */
final class RingSource implements ExitRingReader.Handler, AutoCloseable {
  private final ExitRingWriter writer;
  private final ExitRing ring;
  private final ExitRingReader reader;
  private final BatchWriter batch;
  private final Queue queue;
  private final FillPace pace;
  private IOException error;

  /** What had waited for the queue to be opened is being moved. */
  private boolean startsLate = true;

  /** Where batches go. */
  @FunctionalInterface
  interface Queue {
    /**
     * Appends a batch.
     *
     * @return false where the run ended before there was room for it
     */
    boolean append(BatchWriter batch, int length) throws IOException;
  }

  RingSource(final ExitRingWriter writer, final long trace, final Queue queue) {
    this.writer = writer;
    this.queue = queue;
    ring = writer.file();
    reader = ExitRingReader.live(ring);
    batch = new BatchWriter(ring.number(), trace, ring.capacity());
    pace = new FillPace(ring.capacity());
  }

  /** The vCPU's side. */
  ExitRingWriter writer() {
    return writer;
  }

  /** Takes records, as many at most; how many there were. */
  int drain(final int limit) throws IOException {
    final int count = reader.drain(this, limit);
    if (error != null) {
      throw error;
    }
    return count;
  }

  @Override
  public boolean onRecord(final UnsafeBuffer buffer, final int offset, final int length) {
    if ((batch.isEnough() || ExitDecoder.isGap(buffer, offset))
        && ExitDecoder.isFull(buffer, offset)) {
      try {
        if (!flush()) {
          return false;
        }
      } catch (final IOException e) {
        error = e;
        return false;
      }
    }
    batch.add(buffer, offset, length);
    return true;
  }

  /** Appends what there is of a batch; false where the run ended before that. */
  boolean flush() throws IOException {
    if (batch.count() > 0) {
      final int length = batch.finish(isAhead());
      if (!queue.append(batch, length)) {
        return false;
      }
      batch.next();
      reader.commit();
    }
    return true;
  }

  /** Whether there is time to compress: the vCPU must not be kept waiting for a smaller file. */
  private boolean isAhead() {
    final long backlog = reader.backlog();
    final long half = ring.capacity() / 2;
    startsLate &= backlog >= half;
    return backlog < (startsLate ? half / 4 * 7 : half);
  }

  /** Takes a look at a ring that nobody empties yet: whether that is to begin. */
  boolean isDue() {
    return pace.look(reader.backlog());
  }

  /** Gives back to the vCPU all that the queue has. */
  void release() {
    reader.release();
  }

  /** Brings the ring's file to the disk. */
  void force() {
    ring.force();
  }

  @Override
  public void close() {
    ring.close();
  }
}

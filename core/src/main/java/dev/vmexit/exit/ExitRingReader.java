package dev.vmexit.exit;

import org.agrona.BitUtil;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.ringbuffer.OneToOneRingBuffer;
import org.agrona.concurrent.ringbuffer.RecordDescriptor;
import org.agrona.concurrent.ringbuffer.RingBufferDescriptor;

/**
 * The recorder's side of an exit ring.
 *
 * <p>It stands apart from Agrona's own {@code read} in one thing: reading and giving back are two
 * steps. The recorder reads ahead to the end of a batch, makes the batch durable, and only then
 * {@link #commit}s: whatever was not committed when the process died is still in the file, where
 * {@link ExitRingRemains} finds it. And it gives back all but the last {@link ExitRing#HELD} bytes
 * or some more, until {@link #release}. Used by one thread.
 */
public final class ExitRingReader {
  private final UnsafeBuffer buffer;
  private final int capacity;
  private final int headIndex;
  private final int tailIndex;
  private long position;
  private long committed;

  // Starts of records: the first is far enough back to be given back to, the second will be.
  private long held;
  private long nextHeld;

  /** Takes records. */
  @FunctionalInterface
  public interface Handler {
    /**
     * Takes one record, which stays in place until {@link #commit}.
     *
     * @return false to stop before it: it will be delivered again
     */
    boolean onRecord(UnsafeBuffer buffer, int offset, int length);
  }

  private ExitRingReader(final ExitRing ring) {
    buffer = ring.data();
    capacity = ring.capacity();
    headIndex = capacity + RingBufferDescriptor.HEAD_POSITION_OFFSET;
    tailIndex = capacity + RingBufferDescriptor.TAIL_POSITION_OFFSET;
    position = buffer.getLongVolatile(headIndex);
    held = position;
    nextHeld = position;
    // What the writer has put at the start to be held back while there is no record yet.
    final int index = (int) position & (capacity - 1);
    if (buffer.getInt(RecordDescriptor.typeOffset(index))
        == OneToOneRingBuffer.PADDING_MSG_TYPE_ID) {
      skip(buffer.getIntVolatile(RecordDescriptor.lengthOffset(index)));
    }
    committed = position;
  }

  private void skip(final int recordLength) {
    position += BitUtil.align(recordLength, RecordDescriptor.ALIGNMENT);
    if (position - nextHeld >= ExitRing.HELD) {
      held = nextHeld;
      nextHeld = position;
    }
  }

  /** Reads a ring whose writer lives; records are given back by {@link #commit}. */
  public static ExitRingReader live(final ExitRing ring) {
    return new ExitRingReader(ring);
  }

  /**
   * Delivers records that were not delivered yet.
   *
   * @return how many were taken
   */
  public int drain(final Handler handler, final int limit) {
    int count = 0;
    while (count < limit) {
      final int index = (int) position & (capacity - 1);
      // Acquires what commit() of the ring's producer released with the length.
      final int recordLength = buffer.getIntVolatile(RecordDescriptor.lengthOffset(index));
      if (recordLength <= 0) {
        break;
      }
      final int type = buffer.getInt(RecordDescriptor.typeOffset(index));
      if (type == ExitRing.RECORD) {
        if (!handler.onRecord(
            buffer,
            RecordDescriptor.encodedMsgOffset(index),
            recordLength - RecordDescriptor.HEADER_LENGTH - RecordChecksum.LENGTH)) {
          break;
        }
        count++;
      }
      skip(recordLength);
    }
    return count;
  }

  /** Bytes that the writer has claimed and this reader has not given back. */
  public long backlog() {
    return buffer.getLongVolatile(tailIndex) - buffer.getLong(headIndex);
  }

  /** Gives back to the writer what was delivered, but for its end. */
  public void commit() {
    committed = position;
    // Released: the writer's acquire of the head makes our reads come before its writes.
    buffer.putLongRelease(headIndex, held);
  }

  /** Gives back all that was committed. */
  public void release() {
    buffer.putLongRelease(headIndex, committed);
  }
}

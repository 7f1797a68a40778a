package dev.vmexit.exit;

import org.agrona.BitUtil;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.ringbuffer.OneToOneRingBuffer;
import org.agrona.concurrent.ringbuffer.RecordDescriptor;
import org.agrona.concurrent.ringbuffer.RingBufferDescriptor;

/**
 * Reads what a process that is gone left in its exit ring, from the recorder's last commit on.
 *
 * <p>Nothing in the file is trusted: each record is checked before it is given out, and where one
 * is damaged the next good one is searched. A record that was written in full, but whose commit
 * never came, is given out too: its exit did happen. Not thread-safe.
 */
public final class ExitRingRemains {
  private static final int MIN_RECORD = RecordDescriptor.HEADER_LENGTH + 8 + RecordChecksum.LENGTH;
  private static final int MAX_RECORD =
      RecordDescriptor.HEADER_LENGTH + ExitEncoder.MAX_LENGTH + RecordChecksum.LENGTH;

  private final UnsafeBuffer buffer;
  private final int capacity;
  private final long head;
  private final long tail;
  private long position;
  private int expectedLow;
  private int offset;
  private int length;
  private String damage;
  private boolean ended;

  /**
   * Starts at the last commit.
   *
   * @param expected sequence of the first record that the queue does not have
   */
  public ExitRingRemains(final ExitRing ring, final long expected) {
    expectedLow = (int) expected;
    buffer = ring.data();
    capacity = ring.capacity();
    head = buffer.getLongVolatile(capacity + RingBufferDescriptor.HEAD_POSITION_OFFSET);
    tail = buffer.getLongVolatile(capacity + RingBufferDescriptor.TAIL_POSITION_OFFSET);
    position = head;
    if (head < 0
        || (head & RecordDescriptor.ALIGNMENT - 1) != 0
        || (tail & RecordDescriptor.ALIGNMENT - 1) != 0
        || tail < head
        || tail - head > capacity) {
      damage = "has impossible positions: head=" + head + ", tail=" + tail;
      position = tail;
      ended = true;
    }
  }

  /**
   * Goes to the next record.
   *
   * @return false at the end
   */
  public boolean next() {
    while (position < tail) {
      final int index = (int) position & (capacity - 1);
      final int stored = buffer.getIntVolatile(RecordDescriptor.lengthOffset(index));
      if (isPadding(index, stored)) {
        position += stored;
        continue;
      }
      if (isRecord(index, Math.abs(stored))) {
        offset = RecordDescriptor.encodedMsgOffset(index);
        length = Math.abs(stored) - RecordDescriptor.HEADER_LENGTH - RecordChecksum.LENGTH;
        position += BitUtil.align(Math.abs(stored), RecordDescriptor.ALIGNMENT);
        if (!isStale(index)) {
          expectedLow = (int) sequenceLow() + 1;
        }
        return true;
      }
      if (!search()) {
        ended = true;
        return false;
      }
    }
    // The writer zeroes the header that comes next before it claims.
    if (!ended && buffer.getInt(RecordDescriptor.lengthOffset((int) tail & (capacity - 1))) != 0) {
      ended = true;
      damage = "goes on behind its tail=" + tail;
    }
    return false;
  }

  private boolean isPadding(final int index, final int stored) {
    final boolean atStart =
        position == 0 && stored == ExitRing.HELD + RecordDescriptor.HEADER_LENGTH;
    return (atStart || stored == capacity - index)
        && buffer.getInt(RecordDescriptor.typeOffset(index))
            == OneToOneRingBuffer.PADDING_MSG_TYPE_ID;
  }

  private boolean isRecord(final int index, final int stored) {
    if (stored < MIN_RECORD
        || stored > MAX_RECORD
        || stored > capacity - index
        || position + BitUtil.align(stored, RecordDescriptor.ALIGNMENT) > tail) {
      return false;
    }
    final int bytes = stored - RecordDescriptor.HEADER_LENGTH - RecordChecksum.LENGTH;
    final int at = RecordDescriptor.encodedMsgOffset(index);
    return RecordChecksum.of(buffer.addressOffset() + at, bytes) == buffer.getInt(at + bytes);
  }

  /** Whether a record is of an earlier lap: what a claim has not yet overwritten. */
  private boolean isStale(final int index) {
    final int at = RecordDescriptor.encodedMsgOffset(index);
    return (int) ExitDecoder.sequenceLow(buffer, at) - expectedLow < 0;
  }

  /** Looks for a good record behind a bad one; where there is none, the ring ends here. */
  private boolean search() {
    final long from = position;
    for (position += RecordDescriptor.ALIGNMENT;
        position < tail;
        position += RecordDescriptor.ALIGNMENT) {
      final int index = (int) position & (capacity - 1);
      if (isRecord(index, Math.abs(buffer.getInt(RecordDescriptor.lengthOffset(index))))
          && !isStale(index)) {
        damaged(from);
        return true;
      }
    }
    // The vCPU may have died between its claim and its commit, with padding before the claim.
    if (tail - from > claimed(from)) {
      damaged(from);
    }
    return false;
  }

  /** Bytes that one claim that was not committed can take from a position on. */
  private long claimed(final long from) {
    final int index = (int) from & (capacity - 1);
    final int toEnd = capacity - index;
    final long record = BitUtil.align(MAX_RECORD, RecordDescriptor.ALIGNMENT);
    return toEnd < record + RecordDescriptor.HEADER_LENGTH ? toEnd + record : record;
  }

  private void damaged(final long from) {
    damage =
        "has "
            + (position - from)
            + " bytes that are no record at "
            + ExitRing.fileOffset((int) from & (capacity - 1));
  }

  /** Whether, at the end, each byte was of a record: none was being written. */
  public boolean isWhole() {
    return !ended;
  }

  /** Where the record is, raw. */
  public long address() {
    return buffer.addressOffset() + offset;
  }

  /** Bytes of the record. */
  public int length() {
    return length;
  }

  /** Whether the record can be decoded with no other before it. */
  public boolean isFull() {
    return ExitDecoder.isFull(buffer, offset);
  }

  /** Low half of the record's sequence. */
  public long sequenceLow() {
    return ExitDecoder.sequenceLow(buffer, offset);
  }

  /** What was found to be wrong since the last call, or null. */
  public String damage() {
    final String found = damage;
    damage = null;
    return found;
  }
}

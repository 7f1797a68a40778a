package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;

/**
 * The records that the kernel writes for events of perf_event_open(2), for one reader.
 *
 * <pre>
 *   0      struct perf_event_mmap_page: data_head at 1024, data_tail at 1032
 *   4096   the records, each: type 4, misc 2, length 2, and what the type says; they go round
 * </pre>
 *
 * <p>The kernel writes data_head behind a record, we write data_tail behind what is taken; where it
 * finds no room it drops records, and writes how many it has dropped before the next one.
 */
final class PerfRing {
  static final int RECORD_LOST = 2;
  static final int RECORD_THROTTLE = 5;
  static final int RECORD_SAMPLE = 9;

  private static final int PAGE = 4096;
  private static final int DATA_HEAD = 1024;
  private static final int DATA_TAIL = 1032;
  private static final int HEADER = 8;
  private static final int LENGTH = 6;

  // A sample with time and raw data.
  private static final int SAMPLE_TIME = 8;
  private static final int SAMPLE_RAW_LENGTH = 16;
  private static final int SAMPLE_RAW = 20;

  // A record of losses: id 8, how many 8.
  private static final int LOST = 16;

  /** A record's length is two bytes. */
  private static final int LONGEST = 1 << 16;

  private final long mapping;
  private final int bytes;
  private final long data;
  private final long mask;

  /** A record that goes round the end is put together here; ours until close. */
  private final long gathered = HostMemory.allocate(LONGEST);

  private long tail;
  private long record;

  private PerfRing(final long mapping, final int bytes) {
    this.mapping = mapping;
    this.bytes = bytes;
    data = mapping + PAGE;
    mask = bytes - 1L;
  }

  /**
   * Gives an event a ring.
   *
   * @param bytes a power of two, of whole pages
   */
  static PerfRing map(final PerfEvent event, final int bytes) {
    final long address = Libc.map(event.descriptorNumber(), (long) bytes + PAGE);
    if (address < 0 && address > -PAGE) {
      throw Libc.failure("mmap of " + bytes + " bytes for tracepoints", (int) -address);
    }
    return new PerfRing(address, bytes);
  }

  /** Goes to the oldest record that was not taken; false where there is none. */
  boolean next() {
    // Pairs with the kernel's store behind a record.
    final long head = HostMemory.getLongAcquire(mapping + DATA_HEAD);
    if (head == tail) {
      return false;
    }
    final int at = (int) (tail & mask);
    // Safe: a record begins at each eight bytes, so its header never goes round.
    final int length = HostMemory.getShort(data + at + LENGTH);
    if (length < HEADER || length > head - tail) {
      throw new IllegalStateException("perf ring: record length=" + length);
    }
    if (at + length <= bytes) {
      record = data + at;
    } else {
      final int first = bytes - at;
      // Safe: both parts lie in the ring, and together in the room for the longest record.
      HostMemory.copy(data + at, gathered, first);
      HostMemory.copy(data, gathered + first, length - first);
      record = gathered;
    }
    return true;
  }

  /** Gives the record's room back. */
  void take() {
    tail += HostMemory.getShort(record + LENGTH);
    // Pairs with the kernel's load before it writes there.
    HostMemory.putLongRelease(mapping + DATA_TAIL, tail);
  }

  /** RECORD_* of this record, or another number. */
  int type() {
    return HostMemory.getInt(record);
  }

  /** Of a sample: CLOCK_MONOTONIC, ns. */
  long time() {
    return HostMemory.getLong(record + SAMPLE_TIME);
  }

  /** Of a sample: address of the tracepoint's data. */
  long raw() {
    return record + SAMPLE_RAW;
  }

  /** Of a sample: bytes of the tracepoint's data that are in the record. */
  int rawLength() {
    return Math.min(
        HostMemory.getInt(record + SAMPLE_RAW_LENGTH),
        HostMemory.getShort(record + LENGTH) - SAMPLE_RAW);
  }

  /** Of a record of losses: how many. */
  long lost() {
    return HostMemory.getLong(record + LOST);
  }

  /** Unmaps it; nobody reads it any more. */
  void close() {
    Libc.unmap(mapping, (long) bytes + PAGE);
    HostMemory.free(gathered);
  }
}

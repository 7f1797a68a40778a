package dev.vmexit.trace;

import dev.vmexit.exit.OnFull;
import org.agrona.concurrent.NanoClock;

/**
 * How a run is recorded.
 *
 * @param ringCapacity bytes of each vCPU's ring, a power of two
 * @param onFull what a vCPU does when its ring is full
 * @param durability when it is brought to the disk itself
 * @param rollBytes a file of the queue ends behind so many bytes; 0: it has one file
 * @param keep how much of it is kept; needs {@code rollBytes}
 * @param clock monotonic, for {@link Durability#INTERVAL}
 */
public record RecorderOptions(
    int ringCapacity,
    OnFull onFull,
    Durability durability,
    long rollBytes,
    TraceKeep keep,
    NanoClock clock) {

  /** No file of a queue is shorter: each has pages of its own for an index. */
  public static final long MIN_ROLL = 1L << 20;

  /** Bytes kept are files of which each may be so long, at most. */
  private static final int FILES_KEPT = 8;

  /** A file of what is kept by time or count, where nothing else was asked for. */
  private static final long KEPT_FILE = 16L << 20;

  /** Checks that they go together. */
  public RecorderOptions {
    if (rollBytes != 0 && rollBytes < MIN_ROLL) {
      throw new IllegalArgumentException("rollBytes=" + rollBytes + ", allowed: from " + MIN_ROLL);
    }
    if (keep.isBounded() && rollBytes == 0) {
      throw new IllegalArgumentException("keep=" + keep + " needs files that roll");
    }
    if (keep.unit() == TraceKeep.Unit.BYTES && keep.value() < 2 * rollBytes) {
      throw new IllegalArgumentException(
          "keep=" + keep.value() + ", allowed: from two files of rollBytes=" + rollBytes);
    }
  }

  /** All is kept, in one file; nothing is missing from it. Without an interval no clock is read. */
  public static RecorderOptions blocking(final int ringCapacity) {
    return new RecorderOptions(
        ringCapacity, OnFull.BLOCK, Durability.NONE, 0, TraceKeep.ALL, () -> 0);
  }

  /** The same with another answer to a full ring. */
  public RecorderOptions with(final OnFull other) {
    return new RecorderOptions(ringCapacity, other, durability, rollBytes, keep, clock);
  }

  /** The same, brought to the disk so. */
  public RecorderOptions with(final Durability other, final NanoClock by) {
    return new RecorderOptions(ringCapacity, onFull, other, rollBytes, keep, by);
  }

  /** The same in files of so many bytes, of which the last ones are kept. */
  public RecorderOptions with(final long rolled, final TraceKeep kept) {
    return new RecorderOptions(ringCapacity, onFull, durability, rolled, kept, clock);
  }

  /** How long a file is where nobody says. */
  public static long rollBytes(final TraceKeep keep) {
    return switch (keep.unit()) {
      case ALL -> 0;
      case BYTES -> Math.max(MIN_ROLL, keep.value() / FILES_KEPT);
      case RECORDS, TIME -> KEPT_FILE;
    };
  }
}

package dev.vmexit.exit;

import dev.vmexit.memory.HostMemory;
import java.lang.invoke.VarHandle;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.ringbuffer.RingBufferDescriptor;

/**
 * Looks at a ring that another process is writing, without a trace: a copy is made of what is in
 * it, and the part that was given back meanwhile, so could have been written over, is left out. Not
 * thread-safe.
 */
public final class ExitRingSnapshot {
  private final UnsafeBuffer live;
  private final ExitRing copy;
  private final int capacity;
  private final int headIndex;
  private final int tailIndex;
  private long seen = -1;

  /** Of a ring that was opened read-only; it stays the caller's. */
  public ExitRingSnapshot(final ExitRing ring) {
    live = ring.data();
    copy = ring.sibling();
    capacity = ring.capacity();
    headIndex = capacity + RingBufferDescriptor.HEAD_POSITION_OFFSET;
    tailIndex = capacity + RingBufferDescriptor.TAIL_POSITION_OFFSET;
  }

  /**
   * Copies what is in the ring now.
   *
   * @return the copy, the same object each time; null where nothing was written since the last time
   *     that something could be copied
   */
  public ExitRing take() {
    final long head = live.getLongVolatile(headIndex);
    final long tail = live.getLongVolatile(tailIndex);
    if (tail == seen || head < 0 || tail < head || tail - head > capacity) {
      return null;
    }
    final UnsafeBuffer to = copy.data();
    final int from = (int) head & (capacity - 1);
    final int length = (int) (tail - head);
    final int first = Math.min(length, capacity - from);
    // Safe: both lie in [0, capacity) of buffers that are longer.
    HostMemory.copy(live.addressOffset() + from, to.addressOffset() + from, first);
    HostMemory.copy(live.addressOffset(), to.addressOffset(), length - first);
    // The copy's reads come before that of the head: the writer overwrites only what is before it.
    VarHandle.loadLoadFence();
    final long kept = live.getLongVolatile(headIndex);
    if (kept > tail || kept < head) {
      return null;
    }
    seen = tail;
    to.putLong(headIndex, kept);
    to.putLong(tailIndex, tail);
    return copy;
  }

  /** Has {@link #take} copy it again, though nothing may have been written since. */
  public void again() {
    seen = -1;
  }
}

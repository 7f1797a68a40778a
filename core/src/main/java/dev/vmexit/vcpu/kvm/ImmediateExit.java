package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import java.util.concurrent.ConcurrentLinkedDeque;

/**
 * A vCPU's {@code kvm_run.immediate_exit}, for threads that may set it at any time, even while
 * another one unmaps the page: through a cell that is never given back, only used again.
 *
 * <pre>
 *   0    target 8     address of the byte; 0 when the page is going to be unmapped, or was
 *   8    writers 4    who is between its look at the target and its write there
 * </pre>
 *
 * <p>A writer counts itself before it looks, {@link #close} takes the target away before it looks
 * for writers: one of them sees the other, as all of that is sequentially consistent. The handler
 * of {@link WakeSignal} does the same in machine code. A cell that is used again may still be named
 * by a timer's late signal for the vCPU before: then one KVM_RUN returns for nothing.
 */
final class ImmediateExit {
  private static final int TARGET = 0;
  private static final int WRITERS = 8;

  /** A cache line, so that vCPUs do not disturb each other. */
  private static final int CELL = 64;

  private static final ConcurrentLinkedDeque<Long> FREE = new ConcurrentLinkedDeque<>();

  private final long cell;
  private final long target;
  private boolean closed;

  /**
   * Makes one.
   *
   * @param run address of a mapped {@code kvm_run}
   */
  ImmediateExit(final long run) {
    final Long used = FREE.poll();
    cell = used == null ? newCell() : used;
    target = run + KvmRun.IMMEDIATE_EXIT;
    HostMemory.putLongVolatile(cell + TARGET, target);
  }

  private static long newCell() {
    return HostMemory.allocate(2 * CELL) + CELL - 1 & -CELL;
  }

  /** Address of the cell, for the signal's handler. */
  long address() {
    return cell;
  }

  /** Has KVM_RUN return at once, until {@link #clear}; after {@link #close} nothing. Any thread. */
  void set() {
    HostMemory.addInt(cell + WRITERS, 1);
    final long at = HostMemory.getLongVolatile(cell + TARGET);
    if (at != 0) {
      HostMemory.putByteVolatile(at, 1);
    }
    HostMemory.addInt(cell + WRITERS, -1);
  }

  /** As {@link #set}, by the vCPU's own thread, which knows that the page is mapped. */
  void setMine() {
    HostMemory.putByte(target, 1);
  }

  /** KVM_RUN has returned for it: lets the next one in. By the vCPU's thread. */
  void clear() {
    // Volatile, as what was asked for is looked at next.
    HostMemory.putByteVolatile(target, 0);
  }

  /** From here on the page may be unmapped. */
  void close() {
    if (closed) {
      return;
    }
    closed = true;
    HostMemory.putLongVolatile(cell + TARGET, 0);
    while (HostMemory.getIntVolatile(cell + WRITERS) != 0) {
      Thread.onSpinWait();
    }
    FREE.push(cell);
  }
}

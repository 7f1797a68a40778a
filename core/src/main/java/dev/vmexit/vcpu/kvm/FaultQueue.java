package dev.vmexit.vcpu.kvm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.vcpu.VcpuExit;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Page faults of one vCPU on their way from the thread that serves them to the vCPU's own, in the
 * order in which they came. A guest may make any number of them before its vCPU is out and takes
 * them, so the queue grows: by the serving thread's hand, which alone allocates.
 */
final class FaultQueue {
  /** No fault waits. */
  static final long NOTHING = 0;

  /** No fault is served any more: the last that is put in. */
  static final long BROKEN = -1;

  /** A fault: bit 0. */
  static final long FAULT = 1;

  /** Bit 1: a write. */
  static final long WRITE = 2;

  /** Bit 2: to a page that had been read only. */
  static final long WAS_READ = 4;

  /** So many, and the vCPU is called out of the guest. */
  private static final int MANY = 1024;

  private static final int CHUNK = 4 * MANY;
  private static final long FLAGS = 0xFFF;
  private static final VarHandle PUBLISHED;

  static {
    try {
      PUBLISHED = MethodHandles.lookup().findVarHandle(FaultQueue.class, "published", long.class);
    } catch (final ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private static final class Chunk {
    private final long[] faults = new long[CHUNK];
    private Chunk next;
  }

  // The serving thread's.
  private Chunk last = new Chunk();
  private int lastCount;

  // The vCPU's.
  private Chunk first = last;
  private int firstCount;
  private long taken;

  /** How many were put in; what they are is visible to whoever sees this. */
  @SuppressWarnings("UnusedVariable") // through PUBLISHED
  private long published;

  private volatile int thread;
  private volatile VcpuSignal signal;

  /** Names the vCPU's thread, and what calls it out of the guest. */
  void bind(final int vcpuThread, final VcpuSignal vcpuSignal) {
    signal = vcpuSignal;
    thread = vcpuThread;
  }

  /** The thread that {@link #bind} named; 0 before. */
  int thread() {
    return thread;
  }

  /** Adds one: the page's address, and the flags in its low bits. */
  void put(final long fault) {
    if (lastCount == CHUNK) {
      final Chunk added = new Chunk();
      last.next = added;
      last = added;
      lastCount = 0;
    }
    last.faults[lastCount++] = fault;
    final long count = (long) PUBLISHED.get(this) + 1;
    // Pairs with take().
    PUBLISHED.setRelease(this, count);
    final VcpuSignal bound = signal;
    if (bound != null && (count % MANY == 0 || fault == BROKEN)) {
      bound.send();
    }
  }

  /** Takes the next one; {@link #NOTHING} where none waits. */
  long take() {
    // Pairs with put().
    if ((long) PUBLISHED.getAcquire(this) == taken) {
      return NOTHING;
    }
    if (firstCount == CHUNK) {
      first = first.next;
      firstCount = 0;
    }
    taken++;
    return first.faults[firstCount++];
  }

  /** The page of a fault. */
  private static long page(final long fault) {
    return fault & ~FLAGS;
  }

  /** Fills in a fault's exit. */
  static void tell(final long fault, final VcpuExit exit) {
    final boolean wasRead = (fault & WAS_READ) != 0;
    exit.address = wasRead ? ExitEvent.PF_FIRST_WRITE : ExitEvent.PF_FIRST_TOUCH;
    exit.value = page(fault);
    exit.write = (fault & WRITE) != 0;
  }
}

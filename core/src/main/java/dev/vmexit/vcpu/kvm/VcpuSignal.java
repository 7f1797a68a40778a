package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Calls a vCPU's thread out of KVM_RUN, now or at a deadline, and not into nothing: first {@code
 * kvm_run.immediate_exit} is set, then {@link WakeSignal} sent to that one thread.
 *
 * <p>Why no wake-up is lost: a KVM_RUN that begins after the write returns EINTR at once; one that
 * was past its look at the flag is inside the kernel, where the signal interrupts it. The flag
 * stays until KVM_RUN has returned EINTR, and is cleared before anybody looks for what was wanted.
 * A signal that comes late, when its cause was seen already, makes one KVM_RUN return for nothing.
 * The kernel answers one to a thread that has ended with ESRCH.
 *
 * <p>From the write to the return one signal is enough, and real-time signals queue: who finds one
 * on its way sends no other.
 */
final class VcpuSignal {
  // struct itimerspec: interval seconds, ns; value seconds, ns.
  private static final int VALUE_SECONDS = 16;
  private static final int VALUE_NANOS = 24;
  private static final int TIMER_SPEC_SIZE = 32;
  private static final long NANOS = 1_000_000_000L;
  private static final VarHandle CALLED;

  static {
    try {
      CALLED = MethodHandles.lookup().findVarHandle(VcpuSignal.class, "called", boolean.class);
    } catch (final ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final MemorySegment errno;
  private final ImmediateExit immediate;
  private final int process;
  private final int thread;
  private final long timer;
  private final long spec = HostMemory.allocate(TIMER_SPEC_SIZE);

  /** A signal is on its way, and KVM_RUN has not returned for it. */
  @SuppressWarnings("UnusedVariable") // through CALLED
  private boolean called;

  /**
   * Binds the calling thread, for its lifetime, to a vCPU.
   *
   * @param errno room for the errno of this thread's calls
   * @param immediate the vCPU's; closed after this
   */
  VcpuSignal(final MemorySegment errno, final ImmediateExit immediate) {
    this.errno = errno;
    this.immediate = immediate;
    process = Libc.processId();
    thread = Libc.threadId();
    Libc.unblockSignal(WakeSignal.number());
    timer = Libc.createTimer(thread, WakeSignal.number(), immediate.address());
  }

  /** Has the vCPU's thread leave KVM_RUN, or its next one. Any thread. */
  void send() {
    immediate.set();
    // Pairs with returned(): who finds the mark was before it, and what he wants is seen there.
    if ((boolean) CALLED.getAndSet(this, true)) {
      return;
    }
    while (Libc.signalThread(process, thread, WakeSignal.number()) == -Libc.EAGAIN
        && (boolean) CALLED.getVolatile(this)) {
      // This user's queue of signals is full; until there is room the vCPU may come by itself.
      Thread.yield();
    }
  }

  /**
   * Sets the timer.
   *
   * @param nanos from now; {@code Long.MAX_VALUE}: never
   */
  void arm(final long nanos) {
    // A value of zero disarms.
    final long left = nanos == Long.MAX_VALUE ? 0 : Math.max(1, nanos);
    HostMemory.putLong(spec + VALUE_SECONDS, left / NANOS);
    HostMemory.putLong(spec + VALUE_NANOS, left % NANOS);
    // Safe: the struct is ours until close.
    Libc.armTimer(errno, timer, spec);
  }

  /**
   * KVM_RUN has returned EINTR; before anybody looks for what was wanted. The timer may have been
   * it, and is then to be set anew.
   */
  void returned() {
    CALLED.setVolatile(this, false);
    immediate.clear();
  }

  /** Ends the timer. */
  void close() {
    Libc.deleteTimer(timer);
    HostMemory.free(spec);
  }
}

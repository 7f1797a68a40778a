package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import java.lang.foreign.MemorySegment;

/**
 * The signal that makes a running KVM_RUN return, and the timer that sends it at a deadline.
 *
 * <p>No signal handler is installed, as the JVM has its own. The signal, one of the real-time ones
 * that neither the C library nor HotSpot uses, is blocked in the vCPU's thread and unblocked only
 * inside KVM_RUN (KVM_SET_SIGNAL_MASK): there it interrupts, and is blocked again before anything
 * could be delivered. One that comes while the thread is outside stays pending, and the next
 * KVM_RUN returns at once: no wake-up is lost. It is sent to that one thread alone. The process
 * ignores it, as one from the timer may come when the thread has ended; a blocked signal is queued
 * all the same, inside KVM_RUN too.
 */
final class VcpuSignal {
  /** SIGRTMIN as the kernel counts is 32; the C library keeps 32 and 33. */
  private static final int SIGNAL = 41;

  private static final int MASK_SIZE = 8;

  // struct itimerspec: interval seconds, ns; value seconds, ns.
  private static final int VALUE_SECONDS = 16;
  private static final int VALUE_NANOS = 24;
  private static final int TIMER_SPEC_SIZE = 32;
  private static final long NANOS = 1_000_000_000L;

  private final MemorySegment errno;
  private final int process;
  private final int thread;
  private final long timer;
  private final long memory = HostMemory.allocate(Libc.SIGSET_SIZE + 16 + TIMER_SPEC_SIZE);
  private final long set = memory;
  private final long zero = memory + Libc.SIGSET_SIZE;
  private final long spec = zero + 16;

  private long armed = Long.MAX_VALUE;

  /**
   * Binds the calling thread, for its lifetime, to a vCPU.
   *
   * @param errno room for the errno of this thread's calls
   * @param fd the vCPU's descriptor
   */
  VcpuSignal(final MemorySegment errno, final int fd) {
    this.errno = errno;
    process = Libc.processId();
    thread = Libc.threadId();
    Libc.ignoreSignal(SIGNAL);
    HostMemory.putLong(set, 1L << SIGNAL - 1);
    final long old = HostMemory.allocate(Libc.SIGSET_SIZE);
    final long mask = HostMemory.allocate(4 + MASK_SIZE);
    try {
      Libc.blockSignals(set, old);
      HostMemory.putInt(mask, MASK_SIZE);
      HostMemory.putLong(mask + 4, HostMemory.getLong(old) & ~(1L << SIGNAL - 1));
      // Safe: the struct has the 8 bytes of mask that it says, KVM copies it.
      final int result = Libc.ioctl(errno, fd, KvmApi.SET_SIGNAL_MASK, mask);
      if (result < 0) {
        throw Libc.failure("KVM_SET_SIGNAL_MASK", -result);
      }
    } finally {
      HostMemory.free(old);
      HostMemory.free(mask);
    }
    timer = Libc.createTimer(thread, SIGNAL);
  }

  /** Interrupts the vCPU's thread in KVM_RUN, or in its next one. Any thread. */
  void send() {
    Libc.signalThread(process, thread, SIGNAL);
  }

  /**
   * Sets the timer, where it is not set so already.
   *
   * @param deadline names it; {@code Long.MAX_VALUE}: none
   * @param nanos from now
   */
  void arm(final long deadline, final long nanos) {
    if (deadline == armed) {
      return;
    }
    armed = deadline;
    // A value of zero disarms.
    final long left = deadline == Long.MAX_VALUE ? 0 : Math.max(1, nanos);
    HostMemory.putLong(spec + VALUE_SECONDS, left / NANOS);
    HostMemory.putLong(spec + VALUE_NANOS, left % NANOS);
    // Safe: the struct is ours until close.
    Libc.armTimer(errno, timer, spec);
  }

  /** After KVM_RUN was interrupted: takes what is pending; the timer may have been it. */
  void consume() {
    armed = Long.MIN_VALUE;
    // Safe: set and timeout are ours until close.
    while (Libc.takeSignal(errno, set, zero) > 0) {
      // The next one.
    }
  }

  /** Ends the timer; the thread keeps the signal blocked, as a late one may be pending. */
  void close() {
    Libc.deleteTimer(timer);
    HostMemory.free(memory);
  }
}

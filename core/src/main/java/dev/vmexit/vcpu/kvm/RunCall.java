package dev.vmexit.vcpu.kvm;

import java.lang.foreign.MemorySegment;

/**
 * The call into the guest, KVM_RUN, and the ways out of it that are not the guest's: a kick of
 * another thread, a deadline. Belongs to the vCPU's thread, but for {@link #kick} and {@link
 * #call}.
 */
final class RunCall {
  /** No deadline: what the timer is set to may be over. */
  private static final long UNKNOWN = Long.MIN_VALUE;

  private final MemorySegment errno;
  private final int fd;
  private final KickFlag kicks = new KickFlag();
  private final ImmediateExit immediate;

  /** Set by the first entry; {@link #kick} sees it null or whole. */
  private volatile VcpuSignal signal;

  private long deadline = Long.MAX_VALUE;

  /** The deadline that the timer is set to. */
  private long armed = Long.MAX_VALUE;

  /** The machine's clock at the last entry. */
  private long machineNanos;

  /**
   * Makes one.
   *
   * @param errno room for the errno of the vCPU thread's calls
   * @param fd the vCPU's descriptor
   * @param run its kvm_run, mapped until {@link #close}
   */
  RunCall(final MemorySegment errno, final int fd, final long run) {
    this.errno = errno;
    this.fd = fd;
    immediate = new ImmediateExit(run);
  }

  /** Whether {@link #bind} was called. */
  boolean isBound() {
    return signal != null;
  }

  /** The calling thread is the vCPU's, for its lifetime; what calls it out. */
  VcpuSignal bind() {
    final VcpuSignal made = new VcpuSignal(errno, immediate);
    signal = made;
    return made;
  }

  /** Runs the guest; 0, or -errno: EINTR where it was called out. */
  int run() {
    final VcpuSignal bound = signal;
    if (deadline != armed) {
      armed = deadline;
      bound.arm(deadline == Long.MAX_VALUE ? deadline : deadline - machineNanos);
    }
    if (kicks.entering()) {
      // KVM completes what it owes, and leaves.
      immediate.setMine();
    }
    // Safe: a request without an argument; the page that it writes is mapped until close.
    final int result = Libc.quickIoctl(errno, fd, KvmApi.RUN, 0);
    kicks.left();
    if (result == -Libc.EINTR) {
      bound.returned();
      armed = UNKNOWN;
    }
    return result;
  }

  /** Takes the kick, if that is why the guest was left. */
  boolean takeKick() {
    return kicks.take();
  }

  /**
   * Has the guest left, or its next entry end at once, and {@link #takeKick} say so. Any thread.
   */
  void kick() {
    if (kicks.kick()) {
      call();
    }
  }

  /** Has the guest left, or its next entry end at once, for nothing. Any thread. */
  void call() {
    final VcpuSignal bound = signal;
    if (bound != null) {
      bound.send();
    }
  }

  /** When the guest is to be left at the latest, and what the machine's clock shows now; ns. */
  void deadline(final long newDeadline, final long now) {
    deadline = newDeadline;
    machineNanos = now;
  }

  /** The machine's clock at the last entry. */
  long machineNanos() {
    return machineNanos;
  }

  /** From here on kvm_run may be unmapped, whoever kicks. */
  void close() {
    if (signal != null) {
      signal.close();
    }
    immediate.close();
  }
}

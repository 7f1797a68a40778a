package dev.vmexit.vm;

import java.util.concurrent.locks.LockSupport;

/**
 * How a run loop waits outside the guest: it spins first, as what it waits for is often near, then
 * parks until shortly before the next deadline, and spins up to it. Who has news for it wakes it. A
 * wake-up between the loop's last look and its parking is not lost, as the thread keeps the permit.
 * One vCPU's thread waits; any thread wakes it.
 */
final class HaltWait {
  /** How long a loop may wait where there is no deadline: what wakes nobody is seen even so. */
  static final long FAR_NANOS = 10_000_000;

  /** Turns, of some tens of nanoseconds each, before it parks. */
  private static final int SPINS = 200;

  /** A thread is back so much after its time: the kernel's timer slack, and its way to a core. */
  private static final long SLACK_NANOS = 100_000;

  private final long most;
  private volatile Thread waiter;
  private int turns;

  /**
   * @param most that it parks at a time, ns
   */
  HaltWait(final long most) {
    this.most = most;
  }

  /** What was waited for has come. */
  void reset() {
    turns = 0;
  }

  /**
   * Waits a moment; the caller looks for news and comes again.
   *
   * @param nanos until the deadline, ns; may be past
   */
  void await(final long nanos) {
    if (turns < SPINS || nanos <= SLACK_NANOS) {
      turns++;
      Thread.onSpinWait();
      return;
    }
    if (waiter == null) {
      // Of the wake-ups before this the caller has not looked for the news yet.
      waiter = Thread.currentThread();
      return;
    }
    LockSupport.parkNanos(this, Math.min(nanos - SLACK_NANOS, most));
  }

  /** Has the waiting thread look for news, from any thread. */
  void wake() {
    final Thread thread = waiter;
    if (thread != null) {
      LockSupport.unpark(thread);
    }
  }
}

package dev.vmexit.device;

/** A machine's clock that a test winds by hand; timers fire exactly at their deadlines. */
public final class ManualTime implements MachineClock {
  private final TimerQueue timers = new TimerQueue();
  private long nanos;

  @Override
  public long nanos() {
    return nanos;
  }

  public TimerQueue timers() {
    return timers;
  }

  /** Goes on by some ns, stopping at each deadline. */
  public void advance(final long by) {
    to(nanos + by);
  }

  /** Goes on to a time, stopping at each deadline. */
  public void to(final long target) {
    while (timers.nextDeadline() <= target) {
      nanos = Math.max(nanos, timers.nextDeadline());
      timers.run(nanos);
    }
    nanos = target;
  }

  /** Jumps to a time and only then fires what was due, as a late vCPU thread does. */
  public void lateTo(final long target) {
    nanos = target;
    timers.run(target);
  }
}

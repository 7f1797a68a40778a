package dev.vmexit.device;

/**
 * Deadlines of a machine's devices, on its {@link MachineClock}. A handful of timers exist, made at
 * power-on, so a scan beats a heap. Used by the vCPU thread alone.
 */
public final class TimerQueue {
  /** No deadline. */
  public static final long NEVER = Long.MAX_VALUE;

  private Timer[] timers = new Timer[0];
  private long next = NEVER;

  /** The deadline of the timer whose action runs, or {@link #NEVER}. */
  private long firing = NEVER;

  /** One device's deadline. */
  public static final class Timer {
    private final TimerQueue queue;
    private final Runnable action;
    private long deadline = NEVER;

    private Timer(final TimerQueue queue, final Runnable action) {
      this.queue = queue;
      this.action = action;
    }

    /** Arms at a time of the machine's clock in ns, replacing an earlier deadline. */
    public void schedule(final long atNanos) {
      deadline = atNanos;
      queue.refresh();
    }

    public void cancel() {
      deadline = NEVER;
      queue.refresh();
    }

    /** When it will fire, or {@link TimerQueue#NEVER}. */
    public long deadline() {
      return deadline;
    }
  }

  /** Makes a timer, not armed; the action may arm it again. */
  public Timer newTimer(final Runnable action) {
    final Timer timer = new Timer(this, action);
    final Timer[] grown = java.util.Arrays.copyOf(timers, timers.length + 1);
    grown[timers.length] = timer;
    timers = grown;
    return timer;
  }

  /** Forgets all timers: their devices are gone. */
  public void clear() {
    timers = new Timer[0];
    next = NEVER;
  }

  /** The earliest deadline, or {@link #NEVER}. */
  public long nextDeadline() {
    return next;
  }

  /** Fires, in order of their deadlines, all timers that are due. */
  public void run(final long nowNanos) {
    while (next <= nowNanos) {
      Timer due = null;
      for (final Timer timer : timers) {
        if (timer.deadline <= nowNanos && (due == null || timer.deadline < due.deadline)) {
          due = timer;
        }
      }
      if (due == null) {
        refresh();
        break;
      }
      firing = due.deadline;
      due.deadline = NEVER;
      refresh();
      due.action.run();
    }
    firing = NEVER;
  }

  /**
   * A clock that tells when what happens now was due: in a timer's action its deadline, as that may
   * run late, for the vCPU must leave the guest first; outside of any the time of {@code clock}.
   */
  public MachineClock dueTimes(final MachineClock clock) {
    return () -> Math.min(firing, clock.nanos());
  }

  private void refresh() {
    long earliest = NEVER;
    for (final Timer timer : timers) {
      earliest = Math.min(earliest, timer.deadline);
    }
    next = earliest;
  }
}

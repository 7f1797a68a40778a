package dev.vmexit.irq;

import dev.vmexit.device.MachineClock;
import dev.vmexit.device.TimerQueue;

/**
 * The timer of a local APIC (SDM Vol. 3A, 11.5.4): one-shot and periodic from the bus clock through
 * a divider, or a deadline of the time-stamp counter.
 *
 * <p>Bus clock and TSC both run at 1 GHz, so a tick of either is a nanosecond.
 */
final class LapicTimer {
  static final int ONE_SHOT = 0;
  static final int PERIODIC = 1;
  static final int TSC_DEADLINE = 2;

  /**
   * A shorter period is counted right but does not fire more often, lest a guest keep its vCPU
   * thread from ever running an instruction.
   */
  private static final long MIN_PERIOD_NANOS = 1_000;

  private final MachineClock clock;
  private final TimerQueue.Timer timer;
  private final Runnable fire;

  private int mode;
  private long initialCount;
  private int divideConfiguration;
  private int divisor = 2;

  /** When the initial count was loaded, ns. */
  private long startNanos;

  /** Counting: false when the initial count is 0 or the one-shot is over. */
  private boolean running;

  /** The deadline as the guest wrote it; 0 when disarmed. */
  private long tscDeadline;

  private long tscOffset;

  LapicTimer(final MachineClock clock, final TimerQueue timers, final Runnable fire) {
    this.clock = clock;
    this.fire = fire;
    this.timer = timers.newTimer(this::expire);
  }

  void reset() {
    timer.cancel();
    mode = ONE_SHOT;
    initialCount = 0;
    divideConfiguration = 0;
    divisor = 2;
    running = false;
    tscDeadline = 0;
  }

  /** LVT timer bits 18:17; reserved 3 counts as TSC-deadline does: nothing from the bus clock. */
  void mode(final int newMode) {
    if (newMode == mode) {
      return;
    }
    final boolean deadlineInvolved = newMode >= TSC_DEADLINE || mode >= TSC_DEADLINE;
    if (running && mode == PERIODIC) {
      // What goes on is the period in progress.
      final long period = initialCount * divisor;
      startNanos += (clock.nanos() - startNanos) / period * period;
    }
    mode = newMode;
    if (deadlineInvolved) {
      // A change to or from TSC-deadline mode disarms.
      timer.cancel();
      running = false;
      initialCount = 0;
      tscDeadline = 0;
    } else if (running) {
      schedule();
    }
  }

  int mode() {
    return mode;
  }

  void initialCount(final int count) {
    if (mode >= TSC_DEADLINE) {
      return;
    }
    initialCount = count & 0xFFFF_FFFFL;
    startNanos = clock.nanos();
    running = initialCount != 0;
    if (running) {
      schedule();
    } else {
      timer.cancel();
    }
  }

  int initialCount() {
    return (int) initialCount;
  }

  int currentCount() {
    return running ? (int) remaining() : 0;
  }

  private long remaining() {
    final long elapsed = (clock.nanos() - startNanos) / divisor;
    return mode == PERIODIC
        ? initialCount - elapsed % initialCount
        : Math.max(0, initialCount - elapsed);
  }

  int divideConfiguration() {
    return divideConfiguration;
  }

  /** Bits 3, 1, 0; the count in progress goes on from where it is. */
  void divideConfiguration(final int value) {
    final int exponent = ((((value >> 1) & 4) | (value & 3)) + 1) & 7;
    final int newDivisor = 1 << exponent;
    divideConfiguration = value & 0x0B;
    if (newDivisor != divisor) {
      if (running) {
        startNanos = clock.nanos() - (initialCount - remaining()) * newDivisor;
      }
      divisor = newDivisor;
      if (running) {
        schedule();
      }
    }
  }

  /** IA32_TSC_DEADLINE. */
  long tscDeadline() {
    return tscDeadline;
  }

  /** Writes IA32_TSC_DEADLINE: ignored in the other modes, 0 disarms. */
  void tscDeadline(final long value) {
    if (mode != TSC_DEADLINE) {
      return;
    }
    tscDeadline = value;
    armDeadline();
  }

  /** TSC = clock + offset. */
  void tscOffset(final long offset) {
    tscOffset = offset;
    if (mode == TSC_DEADLINE) {
      armDeadline();
    }
  }

  private void armDeadline() {
    if (tscDeadline == 0) {
      timer.cancel();
      return;
    }
    final long now = clock.nanos();
    final long tsc = now + tscOffset;
    if (Long.compareUnsigned(tscDeadline, tsc) <= 0) {
      timer.cancel();
      tscDeadline = 0;
      fire.run();
      return;
    }
    final long wait = tscDeadline - tsc;
    // A wait of over 292 years is for ever.
    if (wait < 0 || wait >= TimerQueue.NEVER - now) {
      timer.cancel();
    } else {
      timer.schedule(now + wait);
    }
  }

  private void schedule() {
    final long period = initialCount * divisor;
    if (mode == PERIODIC) {
      final long now = clock.nanos();
      final long earliest = Math.max(now, startNanos + 1);
      timer.schedule(startNanos + ((earliest - startNanos) / period + 1) * period);
    } else {
      timer.schedule(startNanos + period);
    }
  }

  private void expire() {
    switch (mode) {
      case ONE_SHOT -> running = false;
      case PERIODIC -> {
        final long period = initialCount * divisor;
        final long after = clock.nanos() + MIN_PERIOD_NANOS - Math.min(period, MIN_PERIOD_NANOS);
        timer.schedule(startNanos + ((after - startNanos) / period + 1) * period);
      }
      default -> tscDeadline = 0;
    }
    fire.run();
  }
}

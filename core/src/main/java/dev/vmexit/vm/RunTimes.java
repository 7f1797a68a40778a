package dev.vmexit.vm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.vcpu.Vcpu;
import org.agrona.concurrent.NanoClock;

/**
 * When a run loop left the guest and when it entered it, for the records, and what the machine's
 * clock is told of it. Where nothing is recorded, nobody asks for those times, and the host's clock
 * is read only where a device wants to know, or a timer is set.
 */
final class RunTimes {
  private final RunClock clock;
  private final NanoClock hostClock;

  /** Whether records need to know. */
  private final boolean timed;

  private long started;
  private long entered;
  private long left;

  /** Since the last exit that was not a mere limit. */
  private long guestTime;

  /** The deadline that the vCPU was told last. */
  private long knownDeadline = Long.MIN_VALUE;

  RunTimes(final RunClock clock, final NanoClock hostClock, final boolean timed) {
    this.clock = clock;
    this.hostClock = hostClock;
    this.timed = timed;
  }

  /**
   * The run begins.
   *
   * @param start of the run, by the host's clock
   */
  void start(final long start) {
    started = start;
    entered = start;
    left = start;
  }

  /** When the run began, by the host's clock. */
  long started() {
    return started;
  }

  /** The guest was left; perhaps not yet under the group's lock. */
  void left() {
    if (timed) {
      left = hostClock.nanoTime();
      guestTime += left - entered;
    }
  }

  /** Brings the machine's clock there, or has it look by itself when somebody asks. */
  void leftTold() {
    if (timed) {
      clock.advance(left);
    } else {
      clock.passed();
    }
  }

  /** The guest is about to be entered, unless something is due. */
  void entering() {
    if (timed) {
      entered = hostClock.nanoTime();
      clock.advance(entered);
    }
  }

  /** Tells the vCPU when the first timer is due; {@code Long.MAX_VALUE}: there is none. */
  void tellDeadline(final Vcpu vcpu, final long deadline) {
    final boolean changed = deadline != knownDeadline;
    if (changed && !timed) {
      // The handler that set it took its time.
      clock.passed();
    }
    if (changed || timed || deadline != Long.MAX_VALUE) {
      vcpu.deadline(deadline, clock.nanos());
    }
    knownDeadline = deadline;
  }

  /** After a while in which the vCPU was told nothing. */
  void forgetDeadline() {
    knownDeadline = Long.MIN_VALUE;
  }

  /** Fills in when the guest was left, and how long it had run. */
  void tell(final ExitEvent e) {
    e.hostTime = runTime();
    e.guestTime = guestTime;
  }

  /** When the guest was left, since the run's start. */
  long runTime() {
    return left - started;
  }

  /** The time in the guest belongs to an exit: that of the next one begins. */
  void guestTimeTold() {
    guestTime = 0;
  }

  /** Time in the handler. */
  long sinceLeft() {
    return hostClock.nanoTime() - left;
  }
}

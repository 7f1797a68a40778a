package dev.vmexit.device;

/**
 * Converts between nanoseconds of the machine's clock and ticks of an oscillator.
 *
 * <p>Whole seconds are split off first, so that nothing overflows in the 292 years a clock lasts.
 */
final class ClockRate {
  private static final long SECOND = 1_000_000_000L;

  private final long hertz;

  ClockRate(final long hertz) {
    this.hertz = hertz;
  }

  /** Whole ticks that have passed at a time, in ns from 0 up. */
  long ticksAt(final long nanos) {
    return nanos / SECOND * hertz + nanos % SECOND * hertz / SECOND;
  }

  /** The first nanosecond at which {@link #ticksAt} has reached a number of ticks. */
  long nanosAt(final long ticks) {
    return ticks / hertz * SECOND + (ticks % hertz * SECOND + hertz - 1) / hertz;
  }
}

package dev.vmexit.vm;

import dev.vmexit.device.MachineClock;

/** The machine's clock as the run loop drives it. */
interface RunClock extends MachineClock {
  /** Tells the host's time at an exit or while halted. */
  void advance(long hostNanos);

  /** Time has passed, nobody knows how much: the host's clock is read when somebody asks. */
  void passed();

  /** An exit to a device or to the clock was taken: on real machines these take time. */
  void deviceExit();

  /** How far the vCPU may run before a deadline of this clock. */
  long retiredLimit(long retired, long deadline);

  /**
   * The vCPU is halted until a deadline ({@code Long.MAX_VALUE}: none).
   *
   * @return true where the clock is there now; false where the caller has to wait
   */
  boolean skipTo(long deadline);

  /**
   * 64 random bits for RDRAND and RDSEED: the host's, or with time that follows the guest the same
   * in each run.
   */
  long random();
}

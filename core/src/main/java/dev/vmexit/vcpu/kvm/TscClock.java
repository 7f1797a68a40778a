package dev.vmexit.vcpu.kvm;

/**
 * The guest's TSC, which KVM runs, against the machine's clock: a deadline that the guest gives in
 * one is a time of our local APIC in the other. The two are taken to run alike for a second.
 */
final class TscClock {
  private static final long CALIBRATION_NANOS = 1_000_000_000L;

  private final int kilohertz;

  /** A moment on both clocks. */
  private long nanos = Long.MIN_VALUE;

  private long tsc;

  /** Makes a clock of a frequency; 0: KVM does not tell it, and nothing is converted. */
  TscClock(final int kilohertz) {
    this.kilohertz = kilohertz;
  }

  /** Whether {@link #set} should be called at a moment of the machine's clock, ns. */
  boolean isStale(final long now) {
    return kilohertz > 0 && (nanos == Long.MIN_VALUE || now - nanos > CALIBRATION_NANOS);
  }

  /** Tells both clocks at one moment. */
  void set(final long machineNanos, final long guestTsc) {
    nanos = machineNanos;
    tsc = guestTsc;
  }

  /** A deadline of the guest's TSC on the machine's clock; 0, which disarms, stays 0. */
  long toNanos(final long deadline) {
    return kilohertz == 0 || deadline == 0
        ? deadline
        : Math.max(1, nanos + (long) ((deadline - tsc) * (1e6 / kilohertz)));
  }

  /** The other way round. */
  long toTsc(final long deadline) {
    return kilohertz == 0 || deadline == 0
        ? deadline
        : tsc + (long) ((deadline - nanos) * (kilohertz / 1e6));
  }
}

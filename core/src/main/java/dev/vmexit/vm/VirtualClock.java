package dev.vmexit.vm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;

/**
 * Machine time that follows the guest: one nanosecond an instruction, some for a device's answer,
 * and HLT skips to the next deadline. Two runs of the same guest see the same times.
 */
final class VirtualClock implements RunClock {
  /** A guest that polls a clock or a port gets there in as many polls as on a real machine. */
  private static final long DEVICE_EXIT_NANOS = 250;

  private final long state;
  private final SameNumbers numbers = new SameNumbers();
  private long skipped;

  /**
   * Counts a vCPU's instructions.
   *
   * @param state of the vCPU, which outlives the clock
   */
  VirtualClock(final long state) {
    this.state = state;
  }

  @Override
  public long nanos() {
    return HostMemory.getLong(state + StateLayout.RETIRED) + skipped;
  }

  @Override
  public void advance(final long hostNanos) {
    // The host's time does not matter here.
  }

  @Override
  public void passed() {
    // Nor here.
  }

  @Override
  public void deviceExit() {
    skipped += DEVICE_EXIT_NANOS;
  }

  @Override
  public long retiredLimit(final long retired, final long deadline) {
    return deadline == Long.MAX_VALUE ? Long.MAX_VALUE : retired + Math.max(1, deadline - nanos());
  }

  @Override
  public boolean skipTo(final long deadline) {
    final long now = nanos();
    if (deadline == Long.MAX_VALUE) {
      return false;
    }
    if (deadline > now) {
      skipped += deadline - now;
    }
    return true;
  }

  @Override
  public long random() {
    return numbers.getAsLong();
  }
}

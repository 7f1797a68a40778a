package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;

/**
 * What MONITOR arms and MWAIT waits for (SDM Vol. 2A, MONITOR; 2B, MWAIT): a change of a line of
 * memory. A store of what stands there already is no change, which is one of the ways in which the
 * manual lets software expect no wake-up but test for itself.
 */
final class Monitor {
  /** Bytes of the line, aligned, as CPUID's leaf 5 has it. */
  static final int LINE = 64;

  private static final long NONE = -1;

  private final GuestMemory memory;
  private final long[] content = new long[LINE / 8];

  /** Guest-physical address of the line that MONITOR armed. */
  private long armed = NONE;

  /** That of the line that MWAIT waits for, or did last. */
  private long waiting = NONE;

  private boolean forStore;
  private boolean forMasked;

  Monitor(final GuestMemory memory) {
    this.memory = memory;
  }

  /** Nothing is armed or waited for. */
  void reset() {
    armed = NONE;
    waiting = NONE;
  }

  /** MONITOR of a byte; where no memory is, nothing will be waited for. */
  void arm(final long gpa) {
    armed = gpa & -LINE;
    final long host = memory.hostAddress(armed);
    if (host == 0) {
      armed = NONE;
      return;
    }
    for (int i = 0; i < content.length; i++) {
      content[i] = HostMemory.getLong(host + 8L * i);
    }
  }

  /**
   * MWAIT, which takes the armed line.
   *
   * @param maskedWakes an interrupt ends the wait though RFLAGS.IF masks it
   * @return false where no line is armed, or it has changed already
   */
  boolean beginWait(final boolean maskedWakes) {
    waiting = armed;
    armed = NONE;
    forStore = true;
    forMasked = maskedWakes;
    return !hasChanged();
  }

  /** HLT: interrupts alone end the wait. */
  void beginHalt() {
    forStore = false;
    forMasked = false;
  }

  /** See {@link dev.vmexit.vcpu.Vcpu#wakesForMasked}. */
  boolean wakesForMasked() {
    return forMasked;
  }

  /** See {@link dev.vmexit.vcpu.Vcpu#wakesForStore}. */
  boolean wakesForStore() {
    return forStore && hasChanged();
  }

  /** Whether the line that is waited for is no longer as it was, or there is none. */
  private boolean hasChanged() {
    final long host = waiting == NONE ? 0 : memory.hostAddress(waiting);
    if (host == 0) {
      return true;
    }
    for (int i = 0; i < content.length; i++) {
      if (content[i] != HostMemory.getLong(host + 8L * i)) {
        return true;
      }
    }
    return false;
  }
}

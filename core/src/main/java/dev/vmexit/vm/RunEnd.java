package dev.vmexit.vm;

/** Why a run ended. */
public enum RunEnd {
  /** The guest powered the machine off. */
  POWER_OFF,
  /** The guest reset the machine. */
  RESET,
  /** A fault in the delivery of a double fault. */
  TRIPLE_FAULT,
  /** HLT with interrupts disabled: nothing can wake the guest. */
  HALTED,
  /** The guest wrote the debug-exit port. */
  DEBUG_EXIT,
  /** The user or a signal asked. */
  STOPPED,
  /** The run's time limit is over. */
  TIMEOUT,
  /** The text given by the user appeared on the console. */
  TEXT_SEEN,
  /** The recorder could not go on. */
  RECORDER_FAILED,
  /** The vCPU cannot go on: KVM refuses the guest or an instruction. */
  VCPU_FAILED,
  /** The exit came that the user waited for. */
  TRIGGERED;

  private static final RunEnd[] VALUES = values();

  static RunEnd of(final int ordinal) {
    return VALUES[ordinal];
  }
}

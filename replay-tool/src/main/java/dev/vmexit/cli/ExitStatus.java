package dev.vmexit.cli;

/** Exit statuses of the tool; README and {@code --help} list them. */
final class ExitStatus {
  static final int OK = 0;
  static final int ERROR = 1;
  static final int USAGE = 2;
  static final int REPLAY_DIFFERENCE = 3;
  static final int TRIPLE_FAULT = 4;
  static final int RESET = 5;
  static final int PANIC = 6;
  static final int HALTED = 7;
  static final int TIMEOUT = 8;
  static final int RECORDING_FAILED = 9;
  static final int VCPU_FAILED = 10;

  private ExitStatus() {}
}

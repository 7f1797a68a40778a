package dev.vmexit.vcpu.soft;

/**
 * Leaves an instruction without a fault. Preallocated and stackless: thrown on the exit path. The
 * instances carry no state and may be shared by all vCPUs.
 */
@SuppressWarnings("StaticAssignmentOfThrowable") // stackless, on purpose
final class Unwind extends RuntimeException {
  /** The exit is described in the vCPU's {@code VcpuExit}; rip stays on the instruction. */
  static final Unwind EXIT = new Unwind("exit");

  /** The running block was invalidated; resume at the op that threw. */
  static final Unwind STALE = new Unwind("stale block");

  /** A REP instruction is left between two iterations; it resumes with rip on it. */
  static final Unwind REPEAT = new Unwind("between iterations");

  private static final long serialVersionUID = 1L;

  private Unwind(final String what) {
    super(what, null, false, false);
  }
}

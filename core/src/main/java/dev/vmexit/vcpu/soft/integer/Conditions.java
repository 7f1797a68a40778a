package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.SoftCpu;

/**
 * Condition codes (SDM Vol. 1, appendix B), each testing no more of the lazy flags than it needs.
 * The odd codes are the negations.
 */
final class Conditions {
  private Conditions() {}

  /** O: OF. */
  static boolean overflow(final SoftCpu cpu) {
    return cpu.of();
  }

  /** B: CF. */
  static boolean below(final SoftCpu cpu) {
    return cpu.cf();
  }

  /** E: ZF. */
  static boolean equal(final SoftCpu cpu) {
    return cpu.zf();
  }

  /** BE: CF or ZF. */
  static boolean belowOrEqual(final SoftCpu cpu) {
    return cpu.cf() || cpu.zf();
  }

  /** S: SF. */
  static boolean sign(final SoftCpu cpu) {
    return cpu.sf();
  }

  /** P: PF. */
  static boolean parity(final SoftCpu cpu) {
    return cpu.pf();
  }

  /** L: SF differs from OF. */
  static boolean less(final SoftCpu cpu) {
    // SF and OF are top bits of the sums below, so their difference is one more exclusive or.
    final long s = cpu.state;
    final long carries = HostMemory.getLong(s + StateLayout.FLAG_CARRIES);
    return (HostMemory.getLong(s + StateLayout.FLAG_RESULT)
            ^ (HostMemory.getLong(s + StateLayout.FLAG_AUX) << 56)
            ^ carries
            ^ (carries << 1))
        < 0;
  }

  /** LE: ZF, or SF differs from OF. */
  static boolean lessOrEqual(final SoftCpu cpu) {
    return cpu.zf() || less(cpu);
  }
}

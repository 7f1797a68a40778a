package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/**
 * Cacheability and ordering (SDM Vol. 1, 10.4.6 and 11.4.4). Memory is always consistent here, so
 * fences and prefetches do nothing, and a flush only faults as the read of a byte would.
 */
final class HintOps {
  private HintOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case LFENCE, MFENCE, SFENCE -> new Nothing(insn);
      case CLFLUSH -> new Flush(insn);
      default -> null;
    };
  }

  private static final class Nothing extends Op {
    Nothing(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      // Nothing is reordered or cached.
    }
  }

  private static final class Flush extends Op {
    Flush(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.probeRead(readAddress(cpu, 1), 1);
    }
  }
}

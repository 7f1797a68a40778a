package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;

/** CLC, STC, CMC, CLD, STD, LAHF, SAHF, SALC. */
final class FlagOps {
  private static final int AL = StateLayout.gpr8(Gpr.RAX);
  private static final int AH = StateLayout.gpr8(Gpr.AH);

  /** The flags that LAHF and SAHF move. */
  private static final int LOW_FLAGS = Flags.SF | Flags.ZF | Flags.AF | Flags.PF | Flags.CF;

  private FlagOps() {}

  static final class ClearCarry extends Op {
    ClearCarry(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.setCf(false);
    }
  }

  static final class SetCarry extends Op {
    SetCarry(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.setCf(true);
    }
  }

  static final class ComplementCarry extends Op {
    ComplementCarry(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.setCf(!cpu.cf());
    }
  }

  /** CLD and STD. DF is no flag that the vCPU watches: it goes straight to the state. */
  static final class Direction extends Op {
    private final long flag;

    Direction(final Instruction insn, final boolean down) {
      super(insn);
      flag = down ? Flags.DF : 0;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      HostMemory.putLong(
          cpu.state + StateLayout.RFLAGS, (cpu.systemFlags() & ~(long) Flags.DF) | flag);
    }
  }

  static final class LoadAh extends Op {
    LoadAh(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(AH, (cpu.arithmeticFlags() & LOW_FLAGS) | Flags.RESERVED_1);
    }
  }

  static final class StoreAh extends Op {
    StoreAh(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.setArithmeticFlags((cpu.arithmeticFlags() & Flags.OF) | (cpu.reg8(AH) & LOW_FLAGS));
    }
  }

  /** SALC: AL becomes 0 or FF by CF (AMD64 APM Vol. 3, appendix; not in the SDM). */
  static final class SetAlOnCarry extends Op {
    SetAlOnCarry(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(AL, cpu.cf() ? 0xFF : 0);
    }
  }
}

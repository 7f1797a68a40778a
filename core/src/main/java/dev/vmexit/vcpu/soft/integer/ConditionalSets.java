package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/** SETcc: a class per condition for registers, one for memory. */
final class ConditionalSets {
  private ConditionalSets() {}

  static Op bind(final Instruction insn) {
    if (Forms.isMemory(insn, 0)) {
      return new SetMemory(insn);
    }
    return switch (insn.condition()) {
      case 0 -> new SetO(insn);
      case 1 -> new SetNo(insn);
      case 2 -> new SetB(insn);
      case 3 -> new SetAe(insn);
      case 4 -> new SetE(insn);
      case 5 -> new SetNe(insn);
      case 6 -> new SetBe(insn);
      case 7 -> new SetA(insn);
      case 8 -> new SetS(insn);
      case 9 -> new SetNs(insn);
      case 10 -> new SetP(insn);
      case 11 -> new SetNp(insn);
      case 12 -> new SetL(insn);
      case 13 -> new SetGe(insn);
      case 14 -> new SetLe(insn);
      default -> new SetG(insn);
    };
  }

  static final class SetMemory extends Op {
    private final int condition;

    SetMemory(final Instruction insn) {
      super(insn);
      condition = insn.condition();
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.store8(writeAddress(cpu, 1), cpu.condition(condition) ? 1 : 0);
    }
  }

  static final class SetO extends Forms.Reg {
    SetO(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, Conditions.overflow(cpu) ? 1 : 0);
    }
  }

  static final class SetNo extends Forms.Reg {
    SetNo(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, !Conditions.overflow(cpu) ? 1 : 0);
    }
  }

  static final class SetB extends Forms.Reg {
    SetB(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, Conditions.below(cpu) ? 1 : 0);
    }
  }

  static final class SetAe extends Forms.Reg {
    SetAe(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, !Conditions.below(cpu) ? 1 : 0);
    }
  }

  static final class SetE extends Forms.Reg {
    SetE(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, Conditions.equal(cpu) ? 1 : 0);
    }
  }

  static final class SetNe extends Forms.Reg {
    SetNe(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, !Conditions.equal(cpu) ? 1 : 0);
    }
  }

  static final class SetBe extends Forms.Reg {
    SetBe(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, Conditions.belowOrEqual(cpu) ? 1 : 0);
    }
  }

  static final class SetA extends Forms.Reg {
    SetA(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, !Conditions.belowOrEqual(cpu) ? 1 : 0);
    }
  }

  static final class SetS extends Forms.Reg {
    SetS(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, Conditions.sign(cpu) ? 1 : 0);
    }
  }

  static final class SetNs extends Forms.Reg {
    SetNs(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, !Conditions.sign(cpu) ? 1 : 0);
    }
  }

  static final class SetP extends Forms.Reg {
    SetP(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, Conditions.parity(cpu) ? 1 : 0);
    }
  }

  static final class SetNp extends Forms.Reg {
    SetNp(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, !Conditions.parity(cpu) ? 1 : 0);
    }
  }

  static final class SetL extends Forms.Reg {
    SetL(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, Conditions.less(cpu) ? 1 : 0);
    }
  }

  static final class SetGe extends Forms.Reg {
    SetGe(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, !Conditions.less(cpu) ? 1 : 0);
    }
  }

  static final class SetLe extends Forms.Reg {
    SetLe(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, Conditions.lessOrEqual(cpu) ? 1 : 0);
    }
  }

  static final class SetG extends Forms.Reg {
    SetG(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, !Conditions.lessOrEqual(cpu) ? 1 : 0);
    }
  }
}

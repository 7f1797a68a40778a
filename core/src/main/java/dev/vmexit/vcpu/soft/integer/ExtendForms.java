package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/** MOVZX, MOVSX and MOVSXD, a class per source kind, source size and destination size. */
final class ExtendForms {
  private ExtendForms() {}

  static Op bindZero(final Instruction insn) {
    final boolean memory = Forms.isMemory(insn, 1);
    final boolean narrow = insn.operandSizes[0] == 2;
    if (insn.operandSizes[1] == 1) {
      if (narrow) {
        return memory ? new ZxMem8To16(insn) : new ZxReg8To16(insn);
      }
      // 32 bits clear the upper half: good for 64 too.
      return memory ? new ZxMem8To32(insn) : new ZxReg8To32(insn);
    }
    if (narrow) {
      return MovForms.bind(insn);
    }
    return memory ? new ZxMem16To32(insn) : new ZxReg16To32(insn);
  }

  static Op bindSign(final Instruction insn) {
    final boolean memory = Forms.isMemory(insn, 1);
    final int size = insn.operandSizes[0];
    if (insn.operandSizes[1] == 1) {
      return switch (size) {
        case 2 -> memory ? new SxMem8To16(insn) : new SxReg8To16(insn);
        case 4 -> memory ? new SxMem8To32(insn) : new SxReg8To32(insn);
        default -> memory ? new SxMem8To64(insn) : new SxReg8To64(insn);
      };
    }
    return switch (size) {
      case 2 -> MovForms.bind(insn);
      case 4 -> memory ? new SxMem16To32(insn) : new SxReg16To32(insn);
      default -> memory ? new SxMem16To64(insn) : new SxReg16To64(insn);
    };
  }

  /** MOVSXD: below 64 bits it is a plain move (SDM Vol. 2, MOVSX/MOVSXD). */
  static Op bindSignDoubleword(final Instruction insn) {
    if (insn.operandSizes[0] != 8) {
      return MovForms.bind(insn);
    }
    return Forms.isMemory(insn, 1) ? new SxMem32To64(insn) : new SxReg32To64(insn);
  }

  static final class ZxReg8To16 extends Forms.RegReg {
    ZxReg8To16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg16(dst, cpu.reg8(src));
    }
  }

  static final class ZxReg8To32 extends Forms.RegReg {
    ZxReg8To32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg8(src));
    }
  }

  static final class ZxReg16To32 extends Forms.RegReg {
    ZxReg16To32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg16(src));
    }
  }

  static final class ZxMem8To16 extends Forms.RegMem {
    ZxMem8To16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg16(dst, cpu.load8(readAddress(cpu, 1)));
    }
  }

  static final class ZxMem8To32 extends Forms.RegMem {
    ZxMem8To32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.load8(readAddress(cpu, 1)));
    }
  }

  static final class ZxMem16To32 extends Forms.RegMem {
    ZxMem16To32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.load16(readAddress(cpu, 2)));
    }
  }

  static final class SxReg8To16 extends Forms.RegReg {
    SxReg8To16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg16(dst, (byte) cpu.reg8(src));
    }
  }

  static final class SxReg8To32 extends Forms.RegReg {
    SxReg8To32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (byte) cpu.reg8(src));
    }
  }

  static final class SxReg8To64 extends Forms.RegReg {
    SxReg8To64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, (byte) cpu.reg8(src));
    }
  }

  static final class SxReg16To32 extends Forms.RegReg {
    SxReg16To32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (short) cpu.reg16(src));
    }
  }

  static final class SxReg16To64 extends Forms.RegReg {
    SxReg16To64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, (short) cpu.reg16(src));
    }
  }

  static final class SxMem8To16 extends Forms.RegMem {
    SxMem8To16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg16(dst, (byte) cpu.load8(readAddress(cpu, 1)));
    }
  }

  static final class SxMem8To32 extends Forms.RegMem {
    SxMem8To32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (byte) cpu.load8(readAddress(cpu, 1)));
    }
  }

  static final class SxMem8To64 extends Forms.RegMem {
    SxMem8To64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, (byte) cpu.load8(readAddress(cpu, 1)));
    }
  }

  static final class SxMem16To32 extends Forms.RegMem {
    SxMem16To32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (short) cpu.load16(readAddress(cpu, 2)));
    }
  }

  static final class SxMem16To64 extends Forms.RegMem {
    SxMem16To64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, (short) cpu.load16(readAddress(cpu, 2)));
    }
  }

  static final class SxReg32To64 extends Forms.RegReg {
    SxReg32To64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg32(src));
    }
  }

  static final class SxMem32To64 extends Forms.RegMem {
    SxMem32To64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.load32(readAddress(cpu, 4)));
    }
  }
}

package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/**
 * OR, a class per operand form and size: each leads straight to {@link Alu#or}, which the compiler
 * folds into it.
 */
final class OrForms {
  private OrForms() {}

  /** Binds by operand form; every form that the decoder can give is here. */
  static Op bind(final Instruction insn) {
    return switch (Forms.of(insn)) {
      case Forms.REG_REG + Forms.S8 -> new RegReg8(insn);
      case Forms.REG_REG + Forms.S16 -> new RegReg16(insn);
      case Forms.REG_REG + Forms.S32 -> new RegReg32(insn);
      case Forms.REG_REG + Forms.S64 -> new RegReg64(insn);
      case Forms.REG_MEM + Forms.S8 -> new RegMem8(insn);
      case Forms.REG_MEM + Forms.S16 -> new RegMem16(insn);
      case Forms.REG_MEM + Forms.S32 -> new RegMem32(insn);
      case Forms.REG_MEM + Forms.S64 -> new RegMem64(insn);
      case Forms.MEM_REG + Forms.S8 -> new MemReg8(insn);
      case Forms.MEM_REG + Forms.S16 -> new MemReg16(insn);
      case Forms.MEM_REG + Forms.S32 -> new MemReg32(insn);
      case Forms.MEM_REG + Forms.S64 -> new MemReg64(insn);
      case Forms.REG_IMM + Forms.S8 -> new RegImm8(insn);
      case Forms.REG_IMM + Forms.S16 -> new RegImm16(insn);
      case Forms.REG_IMM + Forms.S32 -> new RegImm32(insn);
      case Forms.REG_IMM + Forms.S64 -> new RegImm64(insn);
      case Forms.MEM_IMM + Forms.S8 -> new MemImm8(insn);
      case Forms.MEM_IMM + Forms.S16 -> new MemImm16(insn);
      case Forms.MEM_IMM + Forms.S32 -> new MemImm32(insn);
      case Forms.MEM_IMM + Forms.S64 -> new MemImm64(insn);
      default -> null;
    };
  }

  static final class RegReg8 extends Forms.RegReg {
    RegReg8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, (int) Alu.or(cpu, cpu.reg8(dst), cpu.reg8(src), Alu.B8));
    }
  }

  static final class RegReg16 extends Forms.RegReg {
    RegReg16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg16(dst, (int) Alu.or(cpu, cpu.reg16(dst), cpu.reg16(src), Alu.B16));
    }
  }

  static final class RegReg32 extends Forms.RegReg {
    RegReg32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (int) Alu.or(cpu, cpu.reg32(dst), cpu.reg32(src), Alu.B32));
    }
  }

  static final class RegReg64 extends Forms.RegReg {
    RegReg64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, Alu.or(cpu, cpu.reg64(dst), cpu.reg64(src), Alu.B64));
    }
  }

  static final class RegMem8 extends Forms.RegMem {
    RegMem8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long b = cpu.load8(readAddress(cpu, 1));
      cpu.reg8(dst, (int) Alu.or(cpu, cpu.reg8(dst), b, Alu.B8));
    }
  }

  static final class RegMem16 extends Forms.RegMem {
    RegMem16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long b = cpu.load16(readAddress(cpu, 2));
      cpu.reg16(dst, (int) Alu.or(cpu, cpu.reg16(dst), b, Alu.B16));
    }
  }

  static final class RegMem32 extends Forms.RegMem {
    RegMem32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long b = cpu.load32(readAddress(cpu, 4));
      cpu.reg32(dst, (int) Alu.or(cpu, cpu.reg32(dst), b, Alu.B32));
    }
  }

  static final class RegMem64 extends Forms.RegMem {
    RegMem64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long b = cpu.load64(readAddress(cpu, 8));
      cpu.reg64(dst, Alu.or(cpu, cpu.reg64(dst), b, Alu.B64));
    }
  }

  static final class MemReg8 extends Forms.MemReg {
    MemReg8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 1);
      final long host = cpu.hostWrite(linear, 1);
      if (host != 0) {
        HostMemory.putByte(
            host, (int) Alu.or(cpu, HostMemory.getByte(host), cpu.reg8(src), Alu.B8));
      } else {
        Rmw.slow(cpu, Rmw.OR, linear, 1, cpu.reg8(src));
      }
    }
  }

  static final class MemReg16 extends Forms.MemReg {
    MemReg16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 2);
      final long host = cpu.hostWrite(linear, 2);
      if (host != 0) {
        HostMemory.putShort(
            host, (int) Alu.or(cpu, HostMemory.getShort(host), cpu.reg16(src), Alu.B16));
      } else {
        Rmw.slow(cpu, Rmw.OR, linear, 2, cpu.reg16(src));
      }
    }
  }

  static final class MemReg32 extends Forms.MemReg {
    MemReg32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 4);
      final long host = cpu.hostWrite(linear, 4);
      if (host != 0) {
        HostMemory.putInt(
            host, (int) Alu.or(cpu, HostMemory.getInt(host), cpu.reg32(src), Alu.B32));
      } else {
        Rmw.slow(cpu, Rmw.OR, linear, 4, cpu.reg32(src));
      }
    }
  }

  static final class MemReg64 extends Forms.MemReg {
    MemReg64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 8);
      final long host = cpu.hostWrite(linear, 8);
      if (host != 0) {
        HostMemory.putLong(host, Alu.or(cpu, HostMemory.getLong(host), cpu.reg64(src), Alu.B64));
      } else {
        Rmw.slow(cpu, Rmw.OR, linear, 8, cpu.reg64(src));
      }
    }
  }

  static final class RegImm8 extends Forms.RegImm {
    RegImm8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, (int) Alu.or(cpu, cpu.reg8(dst), imm, Alu.B8));
    }
  }

  static final class RegImm16 extends Forms.RegImm {
    RegImm16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg16(dst, (int) Alu.or(cpu, cpu.reg16(dst), imm, Alu.B16));
    }
  }

  static final class RegImm32 extends Forms.RegImm {
    RegImm32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (int) Alu.or(cpu, cpu.reg32(dst), imm, Alu.B32));
    }
  }

  static final class RegImm64 extends Forms.RegImm {
    RegImm64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, Alu.or(cpu, cpu.reg64(dst), imm, Alu.B64));
    }
  }

  static final class MemImm8 extends Forms.MemImm {
    MemImm8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 1);
      final long host = cpu.hostWrite(linear, 1);
      if (host != 0) {
        HostMemory.putByte(host, (int) Alu.or(cpu, HostMemory.getByte(host), imm, Alu.B8));
      } else {
        Rmw.slow(cpu, Rmw.OR, linear, 1, imm);
      }
    }
  }

  static final class MemImm16 extends Forms.MemImm {
    MemImm16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 2);
      final long host = cpu.hostWrite(linear, 2);
      if (host != 0) {
        HostMemory.putShort(host, (int) Alu.or(cpu, HostMemory.getShort(host), imm, Alu.B16));
      } else {
        Rmw.slow(cpu, Rmw.OR, linear, 2, imm);
      }
    }
  }

  static final class MemImm32 extends Forms.MemImm {
    MemImm32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 4);
      final long host = cpu.hostWrite(linear, 4);
      if (host != 0) {
        HostMemory.putInt(host, (int) Alu.or(cpu, HostMemory.getInt(host), imm, Alu.B32));
      } else {
        Rmw.slow(cpu, Rmw.OR, linear, 4, imm);
      }
    }
  }

  static final class MemImm64 extends Forms.MemImm {
    MemImm64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 8);
      final long host = cpu.hostWrite(linear, 8);
      if (host != 0) {
        HostMemory.putLong(host, Alu.or(cpu, HostMemory.getLong(host), imm, Alu.B64));
      } else {
        Rmw.slow(cpu, Rmw.OR, linear, 8, imm);
      }
    }
  }
}

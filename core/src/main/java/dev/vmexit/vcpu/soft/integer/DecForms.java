package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/**
 * DEC, a class per operand form and size: each leads straight to {@link Alu#dec}, which the
 * compiler folds into it.
 */
final class DecForms {
  private DecForms() {}

  /** Binds by operand form; every form that the decoder can give is here. */
  static Op bind(final Instruction insn) {
    return switch (Forms.of(insn)) {
      case Forms.REG + Forms.S8 -> new Reg8(insn);
      case Forms.REG + Forms.S16 -> new Reg16(insn);
      case Forms.REG + Forms.S32 -> new Reg32(insn);
      case Forms.REG + Forms.S64 -> new Reg64(insn);
      case Forms.MEM + Forms.S8 -> new Mem8(insn);
      case Forms.MEM + Forms.S16 -> new Mem16(insn);
      case Forms.MEM + Forms.S32 -> new Mem32(insn);
      case Forms.MEM + Forms.S64 -> new Mem64(insn);
      default -> null;
    };
  }

  static final class Reg8 extends Forms.Reg {
    Reg8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg8(dst, (int) Alu.dec(cpu, cpu.reg8(dst), Alu.B8));
    }
  }

  static final class Reg16 extends Forms.Reg {
    Reg16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg16(dst, (int) Alu.dec(cpu, cpu.reg16(dst), Alu.B16));
    }
  }

  static final class Reg32 extends Forms.Reg {
    Reg32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (int) Alu.dec(cpu, cpu.reg32(dst), Alu.B32));
    }
  }

  static final class Reg64 extends Forms.Reg {
    Reg64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, Alu.dec(cpu, cpu.reg64(dst), Alu.B64));
    }
  }

  static final class Mem8 extends Forms.Mem {
    Mem8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 1);
      final long host = cpu.hostWrite(linear, 1);
      if (host != 0) {
        HostMemory.putByte(host, (int) Alu.dec(cpu, HostMemory.getByte(host), Alu.B8));
      } else {
        Rmw.slow(cpu, Rmw.DEC, linear, 1, 0);
      }
    }
  }

  static final class Mem16 extends Forms.Mem {
    Mem16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 2);
      final long host = cpu.hostWrite(linear, 2);
      if (host != 0) {
        HostMemory.putShort(host, (int) Alu.dec(cpu, HostMemory.getShort(host), Alu.B16));
      } else {
        Rmw.slow(cpu, Rmw.DEC, linear, 2, 0);
      }
    }
  }

  static final class Mem32 extends Forms.Mem {
    Mem32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 4);
      final long host = cpu.hostWrite(linear, 4);
      if (host != 0) {
        HostMemory.putInt(host, (int) Alu.dec(cpu, HostMemory.getInt(host), Alu.B32));
      } else {
        Rmw.slow(cpu, Rmw.DEC, linear, 4, 0);
      }
    }
  }

  static final class Mem64 extends Forms.Mem {
    Mem64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, 8);
      final long host = cpu.hostWrite(linear, 8);
      if (host != 0) {
        HostMemory.putLong(host, Alu.dec(cpu, HostMemory.getLong(host), Alu.B64));
      } else {
        Rmw.slow(cpu, Rmw.DEC, linear, 8, 0);
      }
    }
  }
}

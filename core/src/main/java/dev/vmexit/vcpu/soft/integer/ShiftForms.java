package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;

/**
 * Shifts and rotates of 32- and 64-bit registers have a class each where compilers use them;
 * everything else shares one per operand kind.
 */
final class ShiftForms {
  private static final int CL = StateLayout.gpr8(Gpr.RCX);

  private ShiftForms() {}

  /** Binds one of the operations that {@link Shifts} numbers. */
  static Op bind(final Instruction insn, final int operation) {
    if (Forms.isMemory(insn, 0)) {
      return new OfMemory(insn, operation);
    }
    if (insn.operandSizes[0] < 4) {
      return new OfRegister(insn, operation);
    }
    final boolean wide = insn.operandSizes[0] == 8;
    return isImmediate(insn, 1)
        ? bindImmediate(insn, operation, wide)
        : bindCounter(insn, operation, wide);
  }

  private static Op bindImmediate(final Instruction insn, final int operation, final boolean wide) {
    if (immediateCount(insn) == 0) {
      return new OfRegister(insn, operation);
    }
    return switch (operation) {
      case Shifts.SHL -> wide ? new Shl64(insn) : new Shl32(insn);
      case Shifts.SHR -> wide ? new Shr64(insn) : new Shr32(insn);
      case Shifts.SAR -> wide ? new Sar64(insn) : new Sar32(insn);
      case Shifts.ROL -> wide ? new Rol64(insn) : new Rol32(insn);
      case Shifts.ROR -> wide ? new Ror64(insn) : new Ror32(insn);
      default -> new OfRegister(insn, operation);
    };
  }

  private static Op bindCounter(final Instruction insn, final int operation, final boolean wide) {
    return switch (operation) {
      case Shifts.SHL -> wide ? new ShlCl64(insn) : new ShlCl32(insn);
      case Shifts.SHR -> wide ? new ShrCl64(insn) : new ShrCl32(insn);
      case Shifts.SAR -> wide ? new SarCl64(insn) : new SarCl32(insn);
      default -> new OfRegister(insn, operation);
    };
  }

  /** Binds SHLD or SHRD. */
  static Op bindDouble(final Instruction insn, final boolean left) {
    return Forms.isMemory(insn, 0)
        ? new DoubleOfMemory(insn, left)
        : new DoubleOfRegister(insn, left);
  }

  /** Whether the operand that holds the count is no register: an immediate, or D0's and D1's 1. */
  private static boolean isImmediate(final Instruction insn, final int operand) {
    return insn.operandCount <= operand || insn.operandKind[operand] == Instruction.IMMEDIATE;
  }

  private static int immediateCount(final Instruction insn) {
    final int count = insn.operandCount == 1 ? 1 : (int) insn.immediate;
    return count & Shifts.countMask(Alu.shiftOf(insn.operandSizes[0]));
  }

  /** A register by a count that is known and not 0. */
  abstract static class ByImmediate extends Op {
    final int dst;
    final int count;

    ByImmediate(final Instruction insn) {
      super(insn);
      dst = Forms.register(insn, 0);
      count = immediateCount(insn);
    }
  }

  static final class Shl32 extends ByImmediate {
    Shl32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (int) Shifts.shl(cpu, cpu.reg32(dst), count, Alu.B32));
    }
  }

  static final class Shl64 extends ByImmediate {
    Shl64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, Shifts.shl(cpu, cpu.reg64(dst), count, Alu.B64));
    }
  }

  static final class Shr32 extends ByImmediate {
    Shr32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (int) Shifts.shr(cpu, cpu.reg32(dst), count, Alu.B32));
    }
  }

  static final class Shr64 extends ByImmediate {
    Shr64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, Shifts.shr(cpu, cpu.reg64(dst), count, Alu.B64));
    }
  }

  static final class Sar32 extends ByImmediate {
    Sar32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (int) Shifts.sar(cpu, cpu.reg32(dst), count, Alu.B32));
    }
  }

  static final class Sar64 extends ByImmediate {
    Sar64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, Shifts.sar(cpu, cpu.reg64(dst), count, Alu.B64));
    }
  }

  static final class Rol32 extends ByImmediate {
    Rol32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (int) Shifts.rol(cpu, cpu.reg32(dst), count, Alu.B32));
    }
  }

  static final class Rol64 extends ByImmediate {
    Rol64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, Shifts.rol(cpu, cpu.reg64(dst), count, Alu.B64));
    }
  }

  static final class Ror32 extends ByImmediate {
    Ror32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (int) Shifts.ror(cpu, cpu.reg32(dst), count, Alu.B32));
    }
  }

  static final class Ror64 extends ByImmediate {
    Ror64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, Shifts.ror(cpu, cpu.reg64(dst), count, Alu.B64));
    }
  }

  static final class ShlCl32 extends Forms.Reg {
    ShlCl32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int count = cpu.reg8(CL) & 31;
      if (count != 0) {
        cpu.reg32(dst, (int) Shifts.shl(cpu, cpu.reg32(dst), count, Alu.B32));
      } else {
        // Even a shift by nothing writes its register: the upper half goes.
        cpu.reg32(dst, cpu.reg32(dst));
      }
    }
  }

  static final class ShlCl64 extends Forms.Reg {
    ShlCl64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int count = cpu.reg8(CL) & 63;
      if (count != 0) {
        cpu.reg64(dst, Shifts.shl(cpu, cpu.reg64(dst), count, Alu.B64));
      }
    }
  }

  static final class ShrCl32 extends Forms.Reg {
    ShrCl32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int count = cpu.reg8(CL) & 31;
      if (count != 0) {
        cpu.reg32(dst, (int) Shifts.shr(cpu, cpu.reg32(dst), count, Alu.B32));
      } else {
        // Even a shift by nothing writes its register: the upper half goes.
        cpu.reg32(dst, cpu.reg32(dst));
      }
    }
  }

  static final class ShrCl64 extends Forms.Reg {
    ShrCl64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int count = cpu.reg8(CL) & 63;
      if (count != 0) {
        cpu.reg64(dst, Shifts.shr(cpu, cpu.reg64(dst), count, Alu.B64));
      }
    }
  }

  static final class SarCl32 extends Forms.Reg {
    SarCl32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int count = cpu.reg8(CL) & 31;
      if (count != 0) {
        cpu.reg32(dst, (int) Shifts.sar(cpu, cpu.reg32(dst), count, Alu.B32));
      } else {
        // Even a shift by nothing writes its register: the upper half goes.
        cpu.reg32(dst, cpu.reg32(dst));
      }
    }
  }

  static final class SarCl64 extends Forms.Reg {
    SarCl64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int count = cpu.reg8(CL) & 63;
      if (count != 0) {
        cpu.reg64(dst, Shifts.sar(cpu, cpu.reg64(dst), count, Alu.B64));
      }
    }
  }

  /** What the general classes share: the operand size, and a count written out or in CL. */
  abstract static class General extends Op {
    final int size;
    final int shift;
    private final boolean immediate;
    private final int count;

    General(final Instruction insn, final int countOperand) {
      super(insn);
      size = insn.operandSizes[0];
      shift = Alu.shiftOf(size);
      immediate = isImmediate(insn, countOperand);
      count = insn.operandCount == 1 ? 1 : (int) insn.immediate;
    }

    final int count(final SoftCpu cpu) {
      return (immediate ? count : cpu.reg8(CL)) & Shifts.countMask(shift);
    }
  }

  static final class OfRegister extends General {
    private final int operation;
    private final int dst;

    OfRegister(final Instruction insn, final int operation) {
      super(insn, 1);
      this.operation = operation;
      dst = Forms.register(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int count = count(cpu);
      final long a = Registers.read(cpu, dst, size);
      final long r = count != 0 ? Shifts.apply(cpu, operation, a, count, shift) : a;
      Registers.write(cpu, dst, size, r);
    }
  }

  static final class OfMemory extends General {
    private final int operation;

    OfMemory(final Instruction insn, final int operation) {
      super(insn, 1);
      this.operation = operation;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, size);
      final long a = cpu.loadForWrite(linear, size);
      final int count = count(cpu);
      if (count != 0) {
        final long s = cpu.state;
        final long result = HostMemory.getLong(s + StateLayout.FLAG_RESULT);
        final long carries = HostMemory.getLong(s + StateLayout.FLAG_CARRIES);
        final long aux = HostMemory.getLong(s + StateLayout.FLAG_AUX);
        final long r = Shifts.apply(cpu, operation, a, count, shift);
        Rmw.storeAfterFlags(cpu, linear, size, r, result, carries, aux);
      } else {
        cpu.store(linear, size, a);
      }
    }
  }

  static final class DoubleOfRegister extends General {
    private final boolean left;
    private final int dst;
    private final int src;

    DoubleOfRegister(final Instruction insn, final boolean left) {
      super(insn, 2);
      this.left = left;
      dst = Forms.register(insn, 0);
      src = Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int count = count(cpu);
      final long a = Registers.read(cpu, dst, size);
      final long b = Registers.read(cpu, src, size);
      final long r =
          count == 0
              ? a
              : left ? Shifts.shld(cpu, a, b, count, shift) : Shifts.shrd(cpu, a, b, count, shift);
      Registers.write(cpu, dst, size, r);
    }
  }

  static final class DoubleOfMemory extends General {
    private final boolean left;
    private final int src;

    DoubleOfMemory(final Instruction insn, final boolean left) {
      super(insn, 2);
      this.left = left;
      src = Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, size);
      final long a = cpu.loadForWrite(linear, size);
      final int count = count(cpu);
      if (count != 0) {
        final long b = Registers.read(cpu, src, size);
        final long s = cpu.state;
        final long result = HostMemory.getLong(s + StateLayout.FLAG_RESULT);
        final long carries = HostMemory.getLong(s + StateLayout.FLAG_CARRIES);
        final long aux = HostMemory.getLong(s + StateLayout.FLAG_AUX);
        final long r =
            left ? Shifts.shld(cpu, a, b, count, shift) : Shifts.shrd(cpu, a, b, count, shift);
        Rmw.storeAfterFlags(cpu, linear, size, r, result, carries, aux);
      } else {
        cpu.store(linear, size, a);
      }
    }
  }
}

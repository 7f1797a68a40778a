package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;

/**
 * MUL and IMUL. CF and OF say together that the upper half of the product is significant; the other
 * flags, undefined by the SDM, stay as they are, as on AMD's processors.
 */
final class MultiplyOps {
  private static final int RAX = StateLayout.gpr(Gpr.RAX);
  private static final int RDX = StateLayout.gpr(Gpr.RDX);

  private MultiplyOps() {}

  static Op bindUnsigned(final Instruction insn) {
    return new Wide(insn, false);
  }

  static Op bindSigned(final Instruction insn) {
    if (insn.operandCount == 1) {
      return new Wide(insn, true);
    }
    final int size = insn.operandSizes[0];
    final boolean memory = Forms.isMemory(insn, 1);
    if (insn.operandCount == 3) {
      return switch (size) {
        case 8 -> memory ? new MemoryImmediate64(insn) : new RegisterImmediate64(insn);
        case 4 -> memory ? new MemoryImmediate32(insn) : new RegisterImmediate32(insn);
        default -> new Signed16(insn);
      };
    }
    return switch (size) {
      case 8 -> memory ? new Memory64(insn) : new Register64(insn);
      case 4 -> memory ? new Memory32(insn) : new Register32(insn);
      default -> new Signed16(insn);
    };
  }

  /** Sets CF and OF alike. */
  private static void overflow(final SoftCpu cpu, final boolean significant) {
    HostMemory.putLong(cpu.state + StateLayout.FLAG_CARRIES, significant ? Long.MIN_VALUE : 0);
  }

  static int signed32(final SoftCpu cpu, final long a, final long b) {
    final long r = a * b;
    overflow(cpu, r != (int) r);
    return (int) r;
  }

  static long signed64(final SoftCpu cpu, final long a, final long b) {
    final long r = a * b;
    overflow(cpu, Math.multiplyHigh(a, b) != r >> 63);
    return r;
  }

  static final class Register32 extends Forms.RegReg {
    Register32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, signed32(cpu, cpu.reg32(dst), cpu.reg32(src)));
    }
  }

  static final class Register64 extends Forms.RegReg {
    Register64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, signed64(cpu, cpu.reg64(dst), cpu.reg64(src)));
    }
  }

  static final class Memory32 extends Forms.RegMem {
    Memory32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long b = cpu.load32(readAddress(cpu, 4));
      cpu.reg32(dst, signed32(cpu, cpu.reg32(dst), b));
    }
  }

  static final class Memory64 extends Forms.RegMem {
    Memory64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long b = cpu.load64(readAddress(cpu, 8));
      cpu.reg64(dst, signed64(cpu, cpu.reg64(dst), b));
    }
  }

  static final class RegisterImmediate32 extends Forms.RegReg {
    private final long imm;

    RegisterImmediate32(final Instruction insn) {
      super(insn);
      imm = insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, signed32(cpu, cpu.reg32(src), imm));
    }
  }

  static final class RegisterImmediate64 extends Forms.RegReg {
    private final long imm;

    RegisterImmediate64(final Instruction insn) {
      super(insn);
      imm = insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, signed64(cpu, cpu.reg64(src), imm));
    }
  }

  static final class MemoryImmediate32 extends Forms.RegMem {
    private final long imm;

    MemoryImmediate32(final Instruction insn) {
      super(insn);
      imm = insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, signed32(cpu, cpu.load32(readAddress(cpu, 4)), imm));
    }
  }

  static final class MemoryImmediate64 extends Forms.RegMem {
    private final long imm;

    MemoryImmediate64(final Instruction insn) {
      super(insn);
      imm = insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, signed64(cpu, cpu.load64(readAddress(cpu, 8)), imm));
    }
  }

  /** IMUL of 16 bits with two or three operands. */
  static final class Signed16 extends Op {
    private final int dst;

    /** Offset of the source register, or -1: memory. */
    private final int src;

    private final boolean immediate;
    private final int imm;

    Signed16(final Instruction insn) {
      super(insn);
      dst = Forms.register(insn, 0);
      src = Forms.isMemory(insn, 1) ? -1 : Forms.register(insn, 1);
      immediate = insn.operandCount == 3;
      imm = (int) insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int a = (short) (src < 0 ? cpu.load16(readAddress(cpu, 2)) : cpu.reg16(src));
      final int b = immediate ? imm : (short) cpu.reg16(dst);
      final int r = a * b;
      cpu.reg16(dst, r);
      overflow(cpu, r != (short) r);
    }
  }

  /** MUL and IMUL of rAX into rDX:rAX (AL into AX). */
  static final class Wide extends Op {
    private final int size;
    private final boolean signed;

    /** Offset of the source register, or -1: memory. */
    private final int src;

    Wide(final Instruction insn, final boolean signed) {
      super(insn);
      size = insn.operandSizes[0];
      this.signed = signed;
      src = Forms.isMemory(insn, 0) ? -1 : Forms.register(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long value =
          src < 0 ? cpu.load(readAddress(cpu, size), size) : Registers.read(cpu, src, size);
      if (size == 8) {
        multiply64(cpu, value);
      } else {
        multiply(cpu, value);
      }
    }

    private void multiply64(final SoftCpu cpu, final long b) {
      final long a = cpu.reg64(RAX);
      final long low = a * b;
      final long high = signed ? Math.multiplyHigh(a, b) : Math.unsignedMultiplyHigh(a, b);
      cpu.reg64(RAX, low);
      cpu.reg64(RDX, high);
      overflow(cpu, high != (signed ? low >> 63 : 0));
    }

    private void multiply(final SoftCpu cpu, final long b) {
      final long a = Registers.read(cpu, RAX, size);
      // Both are zero-extended and at most 32 bits: no product overflows 64 bits.
      final long r = signed ? Registers.signExtend(a, size) * Registers.signExtend(b, size) : a * b;
      if (size == 1) {
        cpu.reg16(RAX, (int) r);
      } else {
        Registers.write(cpu, RAX, size, r);
        Registers.write(cpu, RDX, size, r >> (8 * size));
      }
      overflow(cpu, signed ? r != Registers.signExtend(r, size) : r >>> (8 * size) != 0);
    }
  }
}

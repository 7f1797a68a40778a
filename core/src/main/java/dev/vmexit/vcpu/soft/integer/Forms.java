package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.x86.decode.Instruction;

/**
 * Operand forms: what a class of ops keeps of its instruction, and the numbers by which binders
 * choose a class.
 *
 * <p>Registers are kept as offsets into the vCPU state, immediates sign-extended to 64 bits.
 */
final class Forms {
  // Sizes, added to a form.
  static final int S8 = 0;
  static final int S16 = 1;
  static final int S32 = 2;
  static final int S64 = 3;

  // Forms of one or two operands, destination first.
  static final int REG = 0;
  static final int MEM = 1 << 2;
  static final int REG_REG = 2 << 2;
  static final int REG_MEM = 3 << 2;
  static final int MEM_REG = 4 << 2;
  static final int REG_IMM = 5 << 2;
  static final int MEM_IMM = 6 << 2;

  /** Operands of other kinds: segment, control or debug registers. */
  static final int OTHER = -1;

  private Forms() {}

  /** Form and size of the first two operands, the size being the first one's. */
  static int of(final Instruction insn) {
    final int size =
        switch (insn.operandSizes[0]) {
          case 1 -> S8;
          case 2 -> S16;
          case 4 -> S32;
          default -> S64;
        };
    final int first = insn.operandKind[0];
    if (insn.operandCount == 1) {
      return first == Instruction.GPR
          ? REG + size
          : first == Instruction.MEMORY ? MEM + size : OTHER;
    }
    final int second = insn.operandKind[1];
    if (first == Instruction.GPR) {
      return switch (second) {
        case Instruction.GPR -> REG_REG + size;
        case Instruction.MEMORY -> REG_MEM + size;
        case Instruction.IMMEDIATE -> REG_IMM + size;
        default -> OTHER;
      };
    }
    if (first == Instruction.MEMORY) {
      return switch (second) {
        case Instruction.GPR -> MEM_REG + size;
        case Instruction.IMMEDIATE -> MEM_IMM + size;
        default -> OTHER;
      };
    }
    return OTHER;
  }

  /** Offset in the vCPU state of an operand that is a general register. */
  static int register(final Instruction insn, final int operand) {
    final int register = insn.operandRegister[operand];
    return insn.operandSizes[operand] == 1 ? StateLayout.gpr8(register) : StateLayout.gpr(register);
  }

  static boolean isMemory(final Instruction insn, final int operand) {
    return insn.operandKind[operand] == Instruction.MEMORY;
  }

  /** One register. */
  abstract static class Reg extends Op {
    final int dst;

    Reg(final Instruction insn) {
      super(insn);
      dst = register(insn, 0);
    }
  }

  /** One memory operand. */
  abstract static class Mem extends Op {
    Mem(final Instruction insn) {
      super(insn);
    }
  }

  abstract static class RegReg extends Op {
    final int dst;
    final int src;

    RegReg(final Instruction insn) {
      super(insn);
      dst = register(insn, 0);
      src = register(insn, 1);
    }
  }

  abstract static class RegMem extends Op {
    final int dst;

    RegMem(final Instruction insn) {
      super(insn);
      dst = register(insn, 0);
    }
  }

  abstract static class MemReg extends Op {
    final int src;

    MemReg(final Instruction insn) {
      super(insn);
      src = register(insn, 1);
    }
  }

  abstract static class RegImm extends Op {
    final int dst;
    final long imm;

    RegImm(final Instruction insn) {
      super(insn);
      dst = register(insn, 0);
      imm = insn.immediate;
    }
  }

  abstract static class MemImm extends Op {
    final long imm;

    MemImm(final Instruction insn) {
      super(insn);
      imm = insn.immediate;
    }
  }
}

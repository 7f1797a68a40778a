package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/**
 * Arithmetic, logic and bit operations with LOCK: as the others, their read and write of memory
 * being one step in the sight of other vCPUs (SDM Vol. 3A, 8.1.2.2). The exchanges, which are so
 * with or without LOCK here, are in {@link ExchangeOps}.
 */
final class LockedOps {
  private static final int NONE = -1;

  private LockedOps() {}

  /** Binds an instruction with LOCK, or null where it has its own class. */
  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case ADD -> new Arithmetic(insn, Rmw.ADD);
      case OR -> new Arithmetic(insn, Rmw.OR);
      case ADC -> new Arithmetic(insn, Rmw.ADC);
      case SBB -> new Arithmetic(insn, Rmw.SBB);
      case AND -> new Arithmetic(insn, Rmw.AND);
      case SUB -> new Arithmetic(insn, Rmw.SUB);
      case XOR -> new Arithmetic(insn, Rmw.XOR);
      case INC -> new Arithmetic(insn, Rmw.INC);
      case DEC -> new Arithmetic(insn, Rmw.DEC);
      case NEG -> new Arithmetic(insn, Rmw.NEG);
      case NOT -> new Arithmetic(insn, Rmw.NOT);
      default -> null;
    };
  }

  static final class Arithmetic extends Op {
    private final int operation;
    private final int size;

    /** Offset of the register that is the second operand, or {@link #NONE}: the immediate. */
    private final int src;

    private final long imm;

    Arithmetic(final Instruction insn, final int operation) {
      super(insn);
      this.operation = operation;
      size = insn.operandSizes[0];
      src =
          insn.operandCount > 1 && insn.operandKind[1] == Instruction.GPR
              ? Forms.register(insn, 1)
              : NONE;
      imm = insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long linear = writeAddress(cpu, size);
      final long b = src == NONE ? imm : Registers.read(cpu, src, size);
      Rmw.locked(cpu, operation, linear, size, b);
    }
  }
}

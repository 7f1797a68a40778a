package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/**
 * The basic arithmetic of the escapes D8, DA, DC and DE: FADD, FMUL, FCOM, FCOMP, FSUB, FSUBR,
 * FDIV, FDIVR with a register or with a number in memory (SDM Vol. 2, B.17).
 */
final class X87Arithmetic extends X87Op {
  private static final int ADD = 0;
  private static final int MULTIPLY = 1;
  private static final int COMPARE = 2;
  private static final int COMPARE_POP = 3;
  private static final int SUBTRACT = 4;
  private static final int SUBTRACT_REVERSED = 5;
  private static final int DIVIDE = 6;

  // Sources.
  private static final int REGISTER = 0;
  private static final int FLOAT = 1;
  private static final int DOUBLE = 2;
  private static final int INTEGER_32 = 3;
  private static final int INTEGER_16 = 4;

  private final int operation;
  private final int source;
  private final int index;
  private final int destination;
  private final int pops;

  private X87Arithmetic(final Instruction insn, final int source) {
    super(insn);
    this.source = source;
    final int escape = insn.opcode & 7;
    operation = insn.modrm >>> 3 & 7;
    index = insn.modrm & 7;
    // DC and DE write ST(i) where their operand is a register; DE pops.
    destination = source == REGISTER && (escape & 4) != 0 ? index : 0;
    if (operation == COMPARE_POP && source == REGISTER && escape == 6) {
      pops = 2;
    } else if (operation == COMPARE_POP || (source == REGISTER && escape == 6)) {
      pops = 1;
    } else {
      pops = 0;
    }
  }

  /** Binds an instruction of these escapes, register forms of DA excepted. */
  static Op bind(final Instruction insn) {
    if (!insn.hasMemory) {
      return new X87Arithmetic(insn, REGISTER);
    }
    return new X87Arithmetic(
        insn,
        switch (insn.opcode & 7) {
          case 0 -> FLOAT;
          case 4 -> DOUBLE;
          case 2 -> INTEGER_32;
          default -> INTEGER_16;
        });
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    final long bits = source == REGISTER ? 0 : load(cpu);
    note(cpu);
    final SoftFloat f = beginControlled(cpu);
    final boolean compares = operation == COMPARE || operation == COMPARE_POP;
    if (X87State.isEmpty(cpu, 0) || (source == REGISTER && X87State.isEmpty(cpu, index))) {
      underflow(f);
      if (compares) {
        finishCompare(cpu, f, Float80.UNORDERED, pops);
      } else {
        finish(cpu, f, destination, pops);
      }
      return;
    }
    final int ea = X87State.exponent(cpu, 0);
    final long ma = X87State.mantissa(cpu, 0);
    if (source == REGISTER) {
      f.packedExponent = X87State.exponent(cpu, index);
      f.packedMantissa = X87State.mantissa(cpu, index);
    } else {
      widen(f, bits);
    }
    final int eb = f.packedExponent;
    final long mb = f.packedMantissa;
    if (compares) {
      finishCompare(cpu, f, Float80.compare(f, ea, ma, eb, mb, false), pops);
      return;
    }
    switch (operation) {
      case ADD -> Float80.add(f, ea, ma, eb, mb);
      case MULTIPLY -> Float80.multiply(f, ea, ma, eb, mb);
      case SUBTRACT -> Float80.subtract(f, ea, ma, eb, mb);
      case SUBTRACT_REVERSED -> Float80.subtract(f, eb, mb, ea, ma);
      case DIVIDE -> Float80.divide(f, ea, ma, eb, mb);
      default -> Float80.divide(f, eb, mb, ea, ma);
    }
    finish(cpu, f, destination, pops);
  }

  private long load(final SoftCpu cpu) {
    return switch (source) {
      case FLOAT, INTEGER_32 -> cpu.load32(readAddress(cpu, 4));
      case DOUBLE -> cpu.load64(readAddress(cpu, 8));
      default -> (short) cpu.load16(readAddress(cpu, 2));
    };
  }

  private void widen(final SoftFloat f, final long bits) {
    switch (source) {
      case FLOAT -> Float80Conversions.widenFloat(f, (int) bits);
      case DOUBLE -> Float80Conversions.widenDouble(f, bits);
      default -> Float80Conversions.fromInteger(f, bits);
    }
  }
}

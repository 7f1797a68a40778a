package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** FCHS, FABS, FTST, FXAM, FSQRT, FRNDINT: what needs ST(0) alone. */
final class X87Unary extends X87Op {
  private final Mnemonic mnemonic;

  X87Unary(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    note(cpu);
    final int exponent = X87State.exponent(cpu, 0);
    final long mantissa = X87State.mantissa(cpu, 0);
    final boolean empty = X87State.isEmpty(cpu, 0);
    if (mnemonic == Mnemonic.FXAM) {
      final int sign = exponent >>> 15 << 9;
      X87State.setStatus(
          cpu,
          (X87State.statusWord(cpu) & ~(Float80.UNORDERED | X87State.C1))
              | sign
              | (empty ? X87State.C3 | X87State.C0 : classOf(exponent, mantissa)));
      return;
    }
    final SoftFloat f = mnemonic == Mnemonic.FSQRT ? beginControlled(cpu) : begin(cpu);
    if (empty) {
      underflow(f);
      if (mnemonic == Mnemonic.FTST) {
        finishCompare(cpu, f, Float80.UNORDERED, 0);
      } else {
        finish(cpu, f, 0, 0);
      }
      return;
    }
    switch (mnemonic) {
      case FTST -> {
        finishCompare(cpu, f, Float80.compare(f, exponent, mantissa, 0, 0, false), 0);
        return;
      }
      case FCHS -> Float80.result(f, exponent ^ 0x8000, mantissa);
      case FABS -> Float80.result(f, exponent & 0x7FFF, mantissa);
      case FSQRT -> Float80.squareRoot(f, exponent, mantissa);
      default -> Float80Conversions.roundToIntegral(f, exponent, mantissa);
    }
    finish(cpu, f, 0, 0);
  }

  /** FXAM's C3, C2, C0 (SDM Vol. 2A, FXAM). */
  private static int classOf(final int exponent, final long mantissa) {
    if (Float80.isUnsupported(exponent, mantissa)) {
      return 0;
    }
    if (Float80.isNan(exponent, mantissa)) {
      return X87State.C0;
    }
    if (Float80.isInfinite(exponent, mantissa)) {
      return X87State.C2 | X87State.C0;
    }
    if (mantissa == 0) {
      return X87State.C3;
    }
    return Float80.isDenormal(exponent, mantissa) ? X87State.C3 | X87State.C2 : X87State.C2;
  }
}

package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** FSCALE, FXTRACT, FPREM and FPREM1: all exact but for FSCALE's overflow and underflow. */
final class X87Scaling extends X87Op {
  private final Mnemonic mnemonic;

  X87Scaling(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    note(cpu);
    final SoftFloat f = begin(cpu);
    if (mnemonic == Mnemonic.FXTRACT) {
      extract(cpu, f);
      return;
    }
    if (X87State.isEmpty(cpu, 0) || X87State.isEmpty(cpu, 1)) {
      underflow(f);
      finish(cpu, f, 0, 0);
      if (mnemonic != Mnemonic.FSCALE) {
        X87State.setStatus(cpu, X87State.statusWord(cpu) & ~X87State.C2);
      }
      return;
    }
    final int ea = X87State.exponent(cpu, 0);
    final long ma = X87State.mantissa(cpu, 0);
    final int eb = X87State.exponent(cpu, 1);
    final long mb = X87State.mantissa(cpu, 1);
    if (mnemonic == Mnemonic.FSCALE) {
      Float80Scaling.scale(f, ea, ma, eb, mb);
      finish(cpu, f, 0, 0);
      return;
    }
    final int condition = Float80Scaling.remainder(f, ea, ma, eb, mb, mnemonic == Mnemonic.FPREM1);
    finish(cpu, f, 0, 0);
    if (condition == Float80Scaling.NO_QUOTIENT || isPrevented(f)) {
      X87State.setStatus(cpu, X87State.statusWord(cpu) & ~X87State.C2);
    } else {
      X87State.setStatus(
          cpu, (X87State.statusWord(cpu) & ~(Float80.UNORDERED | X87State.C1)) | condition);
    }
  }

  private static void extract(final SoftCpu cpu, final SoftFloat f) {
    if (X87State.isEmpty(cpu, 0)) {
      underflow(f);
    } else if (!X87State.isEmpty(cpu, -1)) {
      overflow(f);
    }
    if (f.flags != 0) {
      signal(cpu, f);
      if (!isPrevented(f)) {
        X87State.write(cpu, 0, f.packedExponent, f.packedMantissa);
        X87State.moveTop(cpu, -1);
        X87State.write(cpu, 0, f.packedExponent, f.packedMantissa);
      }
      return;
    }
    final int exponent = X87State.exponent(cpu, 0);
    final long mantissa = X87State.mantissa(cpu, 0);
    Float80Scaling.extractExponent(f, exponent, mantissa);
    final int resultExponent = f.packedExponent;
    final long resultMantissa = f.packedMantissa;
    Float80Scaling.significand(f, exponent, mantissa);
    signal(cpu, f);
    if (!isPrevented(f)) {
      X87State.write(cpu, 0, resultExponent, resultMantissa);
      X87State.moveTop(cpu, -1);
      X87State.write(cpu, 0, f.packedExponent, f.packedMantissa);
    }
  }
}

package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/** FLD1, FLDZ, FLDPI and the logarithms, rounded by RC from longer ones (SDM Vol. 1, 8.3.8). */
final class X87Constant extends X87Op {
  private final int exponent;

  /** The constant cut to 64 bits. */
  private final long mantissa;

  /** Whether what was cut is less than half a unit; meaningless for the exact ones. */
  private final boolean below;

  private final boolean exact;

  X87Constant(final Instruction insn) {
    super(insn);
    boolean isExact = false;
    boolean isBelow = false;
    switch (insn.mnemonic) {
      case FLDL2T -> {
        exponent = 0x4000;
        mantissa = 0xD49A_784B_CD1B_8AFEL;
        isBelow = true;
      }
      case FLDL2E -> {
        exponent = 0x3FFF;
        mantissa = 0xB8AA_3B29_5C17_F0BBL;
      }
      case FLDPI -> {
        exponent = 0x4000;
        mantissa = 0xC90F_DAA2_2168_C234L;
      }
      case FLDLG2 -> {
        exponent = 0x3FFD;
        mantissa = 0x9A20_9A84_FBCF_F798L;
      }
      case FLDLN2 -> {
        exponent = 0x3FFE;
        mantissa = 0xB172_17F7_D1CF_79ABL;
      }
      case FLD1 -> {
        exponent = 0x3FFF;
        mantissa = 1L << 63;
        isExact = true;
      }
      default -> {
        exponent = 0;
        mantissa = 0;
        isExact = true;
      }
    }
    exact = isExact;
    below = isBelow;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    note(cpu);
    final SoftFloat f = begin(cpu);
    if (!X87State.isEmpty(cpu, -1)) {
      overflow(f);
    } else {
      final boolean up =
          !exact && (f.rounding == SoftFloat.UP || (f.rounding == SoftFloat.NEAREST && !below));
      Float80.result(f, exponent, up ? mantissa + 1 : mantissa);
    }
    finishPush(cpu, f);
  }
}

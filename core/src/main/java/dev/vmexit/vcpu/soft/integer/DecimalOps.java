package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/**
 * Decimal adjustments, valid outside 64-bit mode (SDM Vol. 2, AAA to DAS). Flags that the SDM
 * leaves undefined are as on Zen 4.
 */
final class DecimalOps {
  private static final int AL = StateLayout.gpr8(Gpr.RAX);
  private static final int AX = StateLayout.gpr(Gpr.RAX);

  private DecimalOps() {}

  /** SF, ZF and PF of a byte. */
  private static int resultFlags(final int value) {
    final int low = value & 0xFF;
    return (low == 0 ? Flags.ZF : 0)
        | (low & Flags.SF)
        | ((Integer.bitCount(low) & 1) == 0 ? Flags.PF : 0);
  }

  /** DAA and DAS; OF, undefined, is that of the byte addition or subtraction made. */
  static final class AdjustPacked extends Op {
    private final int sign;

    AdjustPacked(final Instruction insn, final boolean subtract) {
      super(insn);
      sign = subtract ? -1 : 1;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int old = cpu.reg8(AL);
      final boolean oldCarry = cpu.cf();
      int al = old;
      boolean carry = false;
      final boolean adjust = (old & 0xF) > 9 || cpu.af();
      if (adjust) {
        al += 6 * sign;
        carry = oldCarry || (al & ~0xFF) != 0;
      }
      if (old > 0x99 || oldCarry) {
        al += 0x60 * sign;
        carry = true;
      }
      cpu.reg8(AL, al);
      final int change = (al - old) * sign;
      final boolean overflow = ((old ^ al) & (sign > 0 ? change ^ al : change ^ old) & 0x80) != 0;
      cpu.setArithmeticFlags(
          resultFlags(al)
              | (adjust ? Flags.AF : 0)
              | (carry ? Flags.CF : 0)
              | (overflow ? Flags.OF : 0));
    }
  }

  /** AAA and AAS. SF, ZF, PF and OF, undefined, are those of the 16-bit change of AX. */
  static final class AdjustUnpacked extends Op {
    private final boolean subtract;

    AdjustUnpacked(final Instruction insn, final boolean subtract) {
      super(insn);
      this.subtract = subtract;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int ax = cpu.reg16(AX);
      final boolean adjust = (ax & 0xF) > 9 || cpu.af();
      final int change = adjust ? 0x106 : 0;
      final long r =
          subtract ? Alu.sub(cpu, ax, change, Alu.B16) : Alu.add(cpu, ax, change, Alu.B16);
      cpu.reg16(AX, (int) r & 0xFF0F);
      final int others = cpu.arithmeticFlags() & ~(Flags.AF | Flags.CF);
      cpu.setArithmeticFlags(others | (adjust ? Flags.AF | Flags.CF : 0));
    }
  }

  /** AAM: #DE for a base of 0. */
  static final class AdjustAfterMultiply extends Op {
    private final int base;

    AdjustAfterMultiply(final Instruction insn) {
      super(insn);
      base = insn.operandCount == 0 ? 10 : (int) insn.immediate & 0xFF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (base == 0) {
        throw cpu.raise(Vector.DE);
      }
      final int al = cpu.reg8(AL);
      cpu.reg16(AX, (al / base) << 8 | al % base);
      cpu.setArithmeticFlags(resultFlags(al % base));
    }
  }

  /** AAD. AF, CF and OF, undefined, are those of the byte addition. */
  static final class AdjustBeforeDivide extends Op {
    private final int base;

    AdjustBeforeDivide(final Instruction insn) {
      super(insn);
      base = insn.operandCount == 0 ? 10 : (int) insn.immediate & 0xFF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int ax = cpu.reg16(AX);
      final long r = Alu.add(cpu, ax & 0xFF, (long) (ax >> 8) * base, Alu.B8);
      cpu.reg16(AX, (int) r & 0xFF);
    }
  }
}

package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** FLD, FILD, FBLD: pushes a number from memory or a copy of a register (SDM Vol. 1, 8.3.3). */
final class X87Load extends X87Op {
  private final Mnemonic mnemonic;

  /** Bytes of the operand; 0 for a register. */
  private final int size;

  private final int index;

  X87Load(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
    size = insn.hasMemory ? insn.memorySize : 0;
    index = insn.modrm & 7;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    long bits = 0;
    int top = 0;
    if (size != 0) {
      final long linear = readAddress(cpu, size);
      bits = size == 10 ? cpu.load64(linear) : cpu.load(linear, size);
      top = size == 10 ? cpu.load16(linear + 8) : 0;
    }
    note(cpu);
    final SoftFloat f = begin(cpu);
    if (size == 0 && X87State.isEmpty(cpu, index)) {
      underflow(f);
    } else if (!X87State.isEmpty(cpu, -1)) {
      overflow(f);
    } else if (size == 0) {
      Float80.result(f, X87State.exponent(cpu, index), X87State.mantissa(cpu, index));
    } else {
      convert(f, bits, top);
    }
    finishPush(cpu, f);
  }

  private void convert(final SoftFloat f, final long bits, final int top) {
    if (mnemonic == Mnemonic.FBLD) {
      Float80Conversions.fromDecimal(f, bits, top);
    } else if (mnemonic == Mnemonic.FILD) {
      final long value =
          switch (size) {
            case 2 -> (short) bits;
            case 4 -> (int) bits;
            default -> bits;
          };
      Float80Conversions.fromInteger(f, value);
    } else if (size == 10) {
      Float80.result(f, top, bits);
    } else {
      if (size == 4) {
        Float80Conversions.widenFloat(f, (int) bits);
      } else {
        Float80Conversions.widenDouble(f, bits);
      }
      Float80Conversions.finishLoad(f);
    }
  }
}

package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * FST, FSTP, FIST, FISTP, FISTTP, FBSTP to memory. The store comes before any change of the x87's
 * state, so that a page fault leaves it as it was.
 */
final class X87Store extends X87Op {
  private final Mnemonic mnemonic;
  private final int size;
  private final boolean integer;
  private final boolean pops;

  X87Store(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
    size = insn.memorySize;
    integer = mnemonic != Mnemonic.FST && mnemonic != Mnemonic.FSTP && mnemonic != Mnemonic.FBSTP;
    pops = mnemonic != Mnemonic.FST && mnemonic != Mnemonic.FIST;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    final SoftFloat f = begin(cpu);
    int exponent = X87State.exponent(cpu, 0);
    long mantissa = X87State.mantissa(cpu, 0);
    final boolean empty = X87State.isEmpty(cpu, 0);
    if (empty) {
      exponent = Float80.INDEFINITE_EXPONENT;
      mantissa = Float80.INDEFINITE_MANTISSA;
    }
    final long bits = convert(f, exponent, mantissa);
    final int top = f.packedExponent;
    if (empty) {
      underflow(f);
    }
    final long linear = writeAddress(cpu, size);
    if (isStorePrevented(f)) {
      // A fault of the memory operand goes before the x87's own.
      cpu.probeWrite(linear, size);
      note(cpu);
      f.flags &= ~SoftFloat.PRECISION;
      f.roundedUp = false;
      signal(cpu, f);
      return;
    }
    if (size == 10) {
      cpu.probeWrite(linear, 10);
      cpu.store64(linear, bits);
      cpu.store16(linear + 8, top);
    } else {
      cpu.store(linear, size, bits);
    }
    note(cpu);
    signal(cpu, f);
    if (pops) {
      X87State.pop(cpu);
    }
  }

  private long convert(final SoftFloat f, final int exponent, final long mantissa) {
    if (mnemonic == Mnemonic.FBSTP) {
      return Float80Conversions.toDecimal(f, exponent, mantissa);
    }
    if (integer) {
      if (mnemonic == Mnemonic.FISTTP) {
        f.rounding = SoftFloat.ZERO;
      }
      return Float80Conversions.toInteger(f, exponent, mantissa, size);
    }
    return switch (size) {
      case 4 -> Float80Conversions.toFloat(f, exponent, mantissa);
      case 8 -> Float80Conversions.toDouble(f, exponent, mantissa);
      default -> {
        f.packedExponent = exponent;
        yield mantissa;
      }
    };
  }
}

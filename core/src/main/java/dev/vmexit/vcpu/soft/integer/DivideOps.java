package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/**
 * DIV and IDIV, with #DE for a divisor of 0 and a quotient that does not fit. The SDM leaves all
 * flags undefined; they are as on Zen 4: CF and OF stay, AF is set, the others are clear.
 */
final class DivideOps {
  private static final int RAX = StateLayout.gpr(Gpr.RAX);
  private static final int RDX = StateLayout.gpr(Gpr.RDX);

  private static final long LOW_32 = 0xFFFF_FFFFL;

  private DivideOps() {}

  static Op bind(final Instruction insn, final boolean signed) {
    return signed ? new Signed(insn) : new Unsigned(insn);
  }

  /** The divisor's place and size. */
  abstract static class Division extends Op {
    final int size;
    private final int src;

    Division(final Instruction insn) {
      super(insn);
      size = insn.operandSizes[0];
      src = Forms.isMemory(insn, 0) ? -1 : Forms.register(insn, 0);
    }

    final long divisor(final SoftCpu cpu) {
      final long divisor =
          src < 0 ? cpu.load(readAddress(cpu, size), size) : Registers.read(cpu, src, size);
      if (divisor == 0) {
        throw cpu.raise(Vector.DE);
      }
      return divisor;
    }

    /** rDX:rAX (AX for 8 bits) of at most 64 bits, zero-extended. */
    final long dividend(final SoftCpu cpu) {
      return size == 1
          ? cpu.reg16(RAX)
          : Registers.read(cpu, RDX, size) << (8 * size) | Registers.read(cpu, RAX, size);
    }

    final void write(final SoftCpu cpu, final long quotient, final long remainder) {
      if (size == 1) {
        cpu.reg16(RAX, (int) ((quotient & 0xFF) | remainder << 8));
      } else {
        Registers.write(cpu, RAX, size, quotient);
        Registers.write(cpu, RDX, size, remainder);
      }
      // A result of 1 clears SF, ZF and PF.
      HostMemory.putLong(cpu.state + StateLayout.FLAG_RESULT, 1);
      HostMemory.putLong(cpu.state + StateLayout.FLAG_AUX, Flags.AF);
    }
  }

  static final class Unsigned extends Division {
    Unsigned(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long divisor = divisor(cpu);
      if (size == 8) {
        final long high = cpu.reg64(RDX);
        final long low = cpu.reg64(RAX);
        if (Long.compareUnsigned(high, divisor) >= 0) {
          throw cpu.raise(Vector.DE);
        }
        final long quotient = divideUnsigned(high, low, divisor);
        write(cpu, quotient, low - quotient * divisor);
        return;
      }
      final long dividend = dividend(cpu);
      final long quotient = Long.divideUnsigned(dividend, divisor);
      if (quotient >>> (8 * size) != 0) {
        throw cpu.raise(Vector.DE);
      }
      write(cpu, quotient, dividend - quotient * divisor);
    }
  }

  static final class Signed extends Division {
    Signed(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long divisor = Registers.signExtend(divisor(cpu), size);
      if (size == 8) {
        divide64(cpu, divisor);
        return;
      }
      final long dividend = size == 4 ? dividend(cpu) : signExtendDouble(dividend(cpu));
      // The one overflow of the host's division, the lowest value by -1, yields that value again,
      // which fits no 32-bit quotient.
      final long quotient = dividend / divisor;
      if (quotient != Registers.signExtend(quotient, size)) {
        throw cpu.raise(Vector.DE);
      }
      write(cpu, quotient, dividend - quotient * divisor);
    }

    private long signExtendDouble(final long value) {
      return Registers.signExtend(value, 2 * size);
    }

    private void divide64(final SoftCpu cpu, final long divisor) {
      final long high = cpu.reg64(RDX);
      final long low = cpu.reg64(RAX);
      final boolean negative = high < 0;
      // The magnitude of the dividend in two words; that of the divisor as an unsigned word.
      final long magnitudeLow = negative ? -low : low;
      final long magnitudeHigh = negative ? ~high + (low == 0 ? 1 : 0) : high;
      final long magnitude = divisor < 0 ? -divisor : divisor;
      if (Long.compareUnsigned(magnitudeHigh, magnitude) >= 0) {
        throw cpu.raise(Vector.DE);
      }
      final long unsigned = divideUnsigned(magnitudeHigh, magnitudeLow, magnitude);
      final boolean opposite = negative != (divisor < 0);
      final long quotient = opposite ? -unsigned : unsigned;
      if (unsigned != 0 && (quotient < 0) != opposite) {
        throw cpu.raise(Vector.DE);
      }
      write(cpu, quotient, low - quotient * divisor);
    }
  }

  /**
   * Divides 128 bits by 64, unsigned. Schoolbook division with digits of 32 bits (Knuth, TAOCP Vol.
   * 2, 4.3.1, algorithm D, for a quotient of two digits).
   *
   * @param high upper half of the dividend, less than the divisor, so that the quotient fits
   */
  static long divideUnsigned(final long high, final long low, final long divisor) {
    if (high == 0) {
      return Long.divideUnsigned(low, divisor);
    }
    // Scaled so that the divisor's top bit is set, a digit's estimate is at most 2 too large.
    final int scale = Long.numberOfLeadingZeros(divisor);
    final long scaledDivisor = divisor << scale;
    final long scaledHigh = scale == 0 ? high : high << scale | low >>> (64 - scale);
    final long scaledLow = low << scale;

    final long upper = digit(scaledHigh, scaledLow >>> 32, scaledDivisor);
    final long rest = (scaledHigh << 32 | scaledLow >>> 32) - upper * scaledDivisor;
    final long lower = digit(rest, scaledLow & LOW_32, scaledDivisor);
    return (upper << 32) + lower;
  }

  /** One 32-bit digit of the quotient of {@code rest:next} by a scaled divisor. */
  private static long digit(final long rest, final long next, final long divisor) {
    final long divisorHigh = divisor >>> 32;
    final long divisorLow = divisor & LOW_32;
    long digit = Long.divideUnsigned(rest, divisorHigh);
    long left = rest - digit * divisorHigh;
    while (digit > LOW_32 || Long.compareUnsigned(digit * divisorLow, left << 32 | next) > 0) {
      digit--;
      left += divisorHigh;
      if (left > LOW_32) {
        break;
      }
    }
    return digit;
  }
}

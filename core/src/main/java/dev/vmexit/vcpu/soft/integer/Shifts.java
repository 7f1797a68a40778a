package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;

/**
 * Shifts and rotates with their flags (SDM Vol. 2, SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD).
 *
 * <p>Counts come masked to 5 or 6 bits; 0 must have been dealt with by the caller, as it changes no
 * flag. {@code shift} is the operand size as {@link Alu} has it. Results carry garbage above the
 * operand size. Where the SDM leaves flags undefined, they are what AMD's Zen 4 gives: OF by the
 * same formula for all counts, AF set by shifts.
 */
final class Shifts {
  static final int ROL = 0;
  static final int ROR = 1;
  static final int RCL = 2;
  static final int RCR = 3;
  static final int SHL = 4;
  static final int SHR = 5;
  static final int SAR = 7;

  private Shifts() {}

  /** Mask of the count for an operand size: 63 for 64 bits, 31 for all others. */
  static int countMask(final int shift) {
    return shift == Alu.B64 ? 63 : 31;
  }

  /** Any of the operations above, by number: what /reg of C0, C1, D0 to D3 says. */
  static long apply(
      final SoftCpu cpu, final int operation, final long a, final int count, final int shift) {
    return switch (operation) {
      case ROL -> rol(cpu, a, count, shift);
      case ROR -> ror(cpu, a, count, shift);
      case RCL -> rcl(cpu, a, count, shift);
      case RCR -> rcr(cpu, a, count, shift);
      case SHL -> shl(cpu, a, count, shift);
      case SHR -> shr(cpu, a, count, shift);
      case SAR -> sar(cpu, a, count, shift);
      default -> throw new IllegalArgumentException("operation=" + operation);
    };
  }

  static long shl(final SoftCpu cpu, final long a, final int count, final int shift) {
    // With the operand at the top of 64 bits, its last bit out stands on bit 63 after count - 1
    // steps (CF), and the result's top bit next to it: their difference is OF.
    final long carries = (a << shift) << (count - 1);
    final long r = carries << 1;
    cpu.setFlags(r >> shift, carries, Flags.AF);
    return r >> shift;
  }

  static long shr(final SoftCpu cpu, final long a, final int count, final int shift) {
    final long before = zeroExtend(a, shift) >>> (count - 1);
    final long r = before >>> 1;
    final long result = (r << shift) >> shift;
    // OF is the result's top bit but one, which can only be set when the count is 1.
    cpu.setFlags(result, carries(before, (r << shift << 1) < 0), Flags.AF);
    return r;
  }

  static long sar(final SoftCpu cpu, final long a, final int count, final int shift) {
    final long before = ((a << shift) >> shift) >> (count - 1);
    final long r = before >> 1;
    // CF with OF clear: both top bits alike.
    cpu.setFlags(r, (before << 63) >> 1, Flags.AF);
    return r;
  }

  static long rol(final SoftCpu cpu, final long a, final int count, final int shift) {
    final int bits = 64 - shift;
    final int n = count & (bits - 1);
    final long value = zeroExtend(a, shift);
    final long r = shift == Alu.B64 ? Long.rotateLeft(a, n) : value << n | value >>> (bits - n);
    // CF is the bit that came round to the bottom, OF its difference from the top bit.
    rotateFlags(cpu, (r & 1) != 0, ((r << shift) < 0) != ((r & 1) != 0));
    return r;
  }

  static long ror(final SoftCpu cpu, final long a, final int count, final int shift) {
    final int bits = 64 - shift;
    final int n = count & (bits - 1);
    final long value = zeroExtend(a, shift);
    final long r = shift == Alu.B64 ? Long.rotateRight(a, n) : value >>> n | value << (bits - n);
    final long top = r << shift;
    // CF is the bit that came round to the top, OF its difference from the next.
    rotateFlags(cpu, top < 0, (top ^ (top << 1)) < 0);
    return r;
  }

  static long rcl(final SoftCpu cpu, final long a, final int count, final int shift) {
    final int bits = 64 - shift;
    final int n = throughCarryCount(count, bits);
    final long value = zeroExtend(a, shift);
    final long carryIn = Alu.carry(cpu);
    final boolean carryOut;
    final long r;
    if (n == 0) {
      r = value;
      carryOut = carryIn != 0;
    } else {
      // The ring is CF above the operand: bits + 1 long. The part below CF takes two steps, as a
      // shift by 64 would be one by 0.
      r = value << (n - 1) << 1 | carryIn << (n - 1) | value >>> (bits - n) >>> 1;
      carryOut = (value >>> (bits - n) & 1) != 0;
    }
    rotateFlags(cpu, carryOut, ((r << shift) < 0) != carryOut);
    return r;
  }

  static long rcr(final SoftCpu cpu, final long a, final int count, final int shift) {
    final int bits = 64 - shift;
    final int n = throughCarryCount(count, bits);
    final long value = zeroExtend(a, shift);
    final long carryIn = Alu.carry(cpu);
    final boolean carryOut;
    final long r;
    if (n == 0) {
      r = value;
      carryOut = carryIn != 0;
    } else {
      r = value >>> (n - 1) >>> 1 | carryIn << (bits - n) | value << (bits - n) << 1;
      carryOut = (value >>> (n - 1) & 1) != 0;
    }
    final long top = r << shift;
    rotateFlags(cpu, carryOut, (top ^ (top << 1)) < 0);
    return r;
  }

  /** SHLD: {@code a} is the destination, {@code b} fills from below. */
  static long shld(
      final SoftCpu cpu, final long a, final long b, final int count, final int shift) {
    final int bits = 64 - shift;
    if (count > bits) {
      return beyond(cpu, Integer.rotateLeft(twice(b), count), false, shift);
    }
    final long low = zeroExtend(b, shift);
    final long carries = (a << shift) << (count - 1);
    final long r = a << (count - 1) << 1 | low >>> (bits - count);
    final boolean carry = carries < 0;
    final long result = (r << shift) >> shift;
    final boolean overflow = count == bits ? carry : (result < 0) != carry;
    cpu.setFlags(result, carries(carry ? 1 : 0, overflow), Flags.AF);
    return r;
  }

  /** SHRD: {@code a} is the destination, {@code b} fills from above. */
  static long shrd(
      final SoftCpu cpu, final long a, final long b, final int count, final int shift) {
    final int bits = 64 - shift;
    if (count > bits) {
      final int r = Integer.rotateRight(twice(b), count);
      return beyond(cpu, r, ((r ^ r << 1) & 0x8000) != 0, shift);
    }
    final long before = zeroExtend(a, shift) >>> (count - 1);
    final long r = before >>> 1 | b << (bits - count);
    final long top = r << shift;
    cpu.setFlags(top >> shift, carries(before, (top ^ (top << 1)) < 0), Flags.AF);
    return r;
  }

  /**
   * A 16-bit double shift by more than 16: undefined. As on Zen 4 the filling operand comes twice
   * and CF is clear.
   */
  private static long beyond(
      final SoftCpu cpu, final long r, final boolean overflow, final int shift) {
    cpu.setFlags((r << shift) >> shift, carries(0, overflow), Flags.AF);
    return r;
  }

  private static int twice(final long b) {
    return (int) b << 16 | ((int) b & 0xFFFF);
  }

  /** RCL and RCR go round in 9, 17, 33 or 65 bits; counts of 32 and 64 bits never reach that. */
  private static int throughCarryCount(final int count, final int bits) {
    return bits == 8 ? count % 9 : bits == 16 ? count % 17 : count;
  }

  private static long zeroExtend(final long a, final int shift) {
    return (a << shift) >>> shift;
  }

  /** The lazy vector of carries with CF from bit 0 of a value. */
  private static long carries(final long carry, final boolean overflow) {
    final long cf = carry << 63;
    return cf >>> 1 ^ cf ^ (overflow ? 1L << 62 : 0);
  }

  /** Rotates change CF and OF alone. */
  private static void rotateFlags(final SoftCpu cpu, final boolean carry, final boolean overflow) {
    HostMemory.putLong(cpu.state + StateLayout.FLAG_CARRIES, carries(carry ? 1 : 0, overflow));
  }
}

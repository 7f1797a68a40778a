package dev.vmexit.vcpu.soft.x87;

/** Scaling by powers of two, taking numbers apart, and remainders (SDM Vol. 2A, FSCALE ff.). */
final class Float80Scaling {
  /** Exponents of more bits overflow or underflow anyway. */
  private static final int SCALE_LIMIT = 0x10000;

  /** {@link #remainder} of NaNs and of invalid operands. */
  static final int NO_QUOTIENT = -1;

  private Float80Scaling() {}

  /** a * 2^trunc(b). */
  static void scale(final SoftFloat f, final int ea, final long ma, final int eb, final long mb) {
    if (Float80.propagate(f, ea, ma, eb, mb)) {
      return;
    }
    final int sign = ea >>> 15 & 1;
    if (Float80.isInfinite(eb, mb)) {
      final boolean shrinks = (eb & 0x8000) != 0;
      if (Float80.isInfinite(ea, ma) ? shrinks : Float80.isZero(ea, ma) && !shrinks) {
        Float80.invalid(f);
        return;
      }
      Float80.denormal(f, ea, ma);
      if (shrinks) {
        Float80.zero(f, sign);
      } else {
        Float80.infinity(f, sign);
      }
      return;
    }
    Float80.denormal(f, ea, ma);
    Float80.denormal(f, eb, mb);
    if (Float80.isInfinite(ea, ma) || Float80.isZero(ea, ma)) {
      Float80.result(f, ea, ma);
      return;
    }
    int by = 0;
    if (!Float80.isZero(eb, mb)) {
      final int exponent = SoftFloat.extendedExponent(eb, mb);
      if (exponent >= 16) {
        by = SCALE_LIMIT;
      } else if (exponent >= 0) {
        by = (int) (SoftFloat.normalize(mb) >>> (63 - exponent));
      }
      by = (eb & 0x8000) != 0 ? -by : by;
    }
    f.set(sign, SoftFloat.extendedExponent(ea, ma) + by, SoftFloat.normalize(ma));
    f.packExtended();
  }

  /** FXTRACT's exponent as a number; sets the exceptions. */
  static void extractExponent(final SoftFloat f, final int exponent, final long mantissa) {
    if (Float80.propagate(f, exponent, mantissa)) {
      return;
    }
    if (Float80.isInfinite(exponent, mantissa)) {
      Float80.infinity(f, 0);
      return;
    }
    if (mantissa == 0) {
      f.flags |= SoftFloat.ZERO_DIVIDE;
      Float80.infinity(f, 1);
      return;
    }
    Float80.denormal(f, exponent, mantissa);
    Float80Conversions.fromInteger(f, SoftFloat.extendedExponent(exponent, mantissa));
  }

  /** FXTRACT's significand. */
  static void significand(final SoftFloat f, final int exponent, final long mantissa) {
    if (Float80.propagate(f, exponent, mantissa)) {
      return;
    }
    if (Float80.isInfinite(exponent, mantissa) || mantissa == 0) {
      Float80.result(f, exponent, mantissa);
    } else {
      Float80.result(
          f, (exponent & 0x8000) | SoftFloat.EXTENDED_BIAS, SoftFloat.normalize(mantissa));
    }
  }

  /**
   * The remainder of a / b, or as much of its computation as one instruction does.
   *
   * @param nearest rounds the quotient to nearest (FPREM1) and not towards zero (FPREM)
   * @return the condition codes: C2 where the reduction is not complete, else the quotient's low
   *     bits, or {@link #NO_QUOTIENT}
   */
  static int remainder(
      final SoftFloat f,
      final int ea,
      final long ma,
      final int eb,
      final long mb,
      final boolean nearest) {
    if (Float80.propagate(f, ea, ma, eb, mb)) {
      return NO_QUOTIENT;
    }
    if (Float80.isInfinite(ea, ma) || Float80.isZero(eb, mb)) {
      Float80.invalid(f);
      return NO_QUOTIENT;
    }
    Float80.denormal(f, ea, ma);
    Float80.denormal(f, eb, mb);
    if (Float80.isZero(ea, ma)) {
      Float80.result(f, ea, ma);
      return 0;
    }
    if (Float80.isInfinite(eb, mb)) {
      // Not as it is: a denormal underflows where that is not masked.
      f.set(ea >>> 15 & 1, SoftFloat.extendedExponent(ea, ma), SoftFloat.normalize(ma));
      f.packExtended();
      return 0;
    }
    final int exponentA = SoftFloat.extendedExponent(ea, ma);
    final int exponentB = SoftFloat.extendedExponent(eb, mb);
    final int difference = exponentA - exponentB;
    int sign = ea >>> 15 & 1;
    if (difference < (nearest ? -1 : 0)) {
      f.set(sign, exponentA, SoftFloat.normalize(ma));
      f.packExtended();
      return 0;
    }
    final boolean complete = difference < 64;
    final int steps = complete ? difference : (difference & 31) | 32;
    final long divisor = SoftFloat.normalize(mb);
    long rest = SoftFloat.normalize(ma);
    long quotient = 0;
    boolean carry = false;
    if (difference < 0) {
      // FPREM1 of a number between a quarter of b and b: aligned to b it loses no bit but one,
      // which half of b has in the same place; comparing with b alone is enough.
      return remainderBelow(f, sign, exponentA, rest, divisor);
    }
    for (int i = steps; i >= 0; i--) {
      quotient <<= 1;
      if (carry || Long.compareUnsigned(rest, divisor) >= 0) {
        rest -= divisor;
        quotient |= 1;
      }
      if (i > 0) {
        carry = rest < 0;
        rest <<= 1;
      }
    }
    int exponent = exponentB;
    if (!complete) {
      exponent += difference - steps;
    } else if (nearest) {
      final int half = Long.compareUnsigned(rest, divisor - rest);
      if (half > 0 || (half == 0 && (quotient & 1) != 0)) {
        rest = divisor - rest;
        sign ^= 1;
        quotient++;
      }
    }
    if (rest == 0) {
      Float80.zero(f, ea >>> 15 & 1);
    } else {
      final int shift = Long.numberOfLeadingZeros(rest);
      f.set(sign, exponent - shift, rest << shift);
      f.packExtended();
    }
    return complete ? conditionOf(quotient) : X87State.C2;
  }

  /** FPREM1 where a's exponent is one below b's: the quotient is 0 or 1. */
  private static int remainderBelow(
      final SoftFloat f,
      final int sign,
      final int exponentA,
      final long mantissa,
      final long divisor) {
    // a > b / 2 when a's mantissa is the greater; then b - a, in units of a's last bit.
    if (Long.compareUnsigned(mantissa, divisor) <= 0) {
      f.set(sign, exponentA, mantissa);
      f.packExtended();
      return 0;
    }
    final long rest = (divisor << 1) - mantissa;
    final int shift = Long.numberOfLeadingZeros(rest);
    f.set(sign ^ 1, exponentA - shift, rest << shift);
    f.packExtended();
    return conditionOf(1);
  }

  /** C1, C3, C0 are the quotient's bits 0, 1, 2. */
  private static int conditionOf(final long quotient) {
    return ((quotient & 1) != 0 ? X87State.C1 : 0)
        | ((quotient & 2) != 0 ? X87State.C3 : 0)
        | ((quotient & 4) != 0 ? X87State.C0 : 0);
  }
}

package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.vcpu.soft.x87.SoftFloat;

/**
 * Multiplication and addition with one rounding, and half-precision numbers, under MXCSR: as {@link
 * SseMath}, whose helpers it uses.
 */
final class FusedMath {
  /**
   * What {@link #combine} returns where the result stands unrounded in the SoftFloat: no result.
   */
  private static final long UNROUNDED = SseMath.DOUBLE_INFINITY | 1;

  private FusedMath() {}

  /** (negated) a * b + or - c; of NaNs, the first one in this order wins. */
  static long multiplyAdd(
      final SoftFloat f,
      final long first,
      final long second,
      final long third,
      final boolean negated,
      final boolean subtracts) {
    final long a = SseMath.operand(f, first);
    final long b = SseMath.operand(f, second);
    final long c = SseMath.operand(f, third);
    final boolean denormal =
        SseMath.isDenormal(a) || SseMath.isDenormal(b) || SseMath.isDenormal(c);
    final long result = combine(f, a, b, c, denormal, negated, subtracts);
    return result == UNROUNDED ? f.packDouble() : result;
  }

  /** As the other one, of floats: all that is not rounding is done on their values as doubles. */
  static int multiplyAdd(
      final SoftFloat f,
      final int first,
      final int second,
      final int third,
      final boolean negated,
      final boolean subtracts) {
    final int a = SseMath.operand(f, first);
    final int b = SseMath.operand(f, second);
    final int c = SseMath.operand(f, third);
    final boolean denormal =
        SseMath.isDenormal(a) || SseMath.isDenormal(b) || SseMath.isDenormal(c);
    final long result = combine(f, wide(a), wide(b), wide(c), denormal, negated, subtracts);
    return result == UNROUNDED ? f.packFloat() : narrow(result);
  }

  /** The same number or NaN, signalling as it was. */
  private static long wide(final int a) {
    return SseMath.isNan(a)
        ? (a & (long) SseMath.FLOAT_SIGN) << 32 | SseMath.DOUBLE_INFINITY | (a & 0x7F_FFFFL) << 29
        : Double.doubleToRawLongBits(Float.intBitsToFloat(a));
  }

  /** Zero, infinity or a NaN that was a float's. */
  private static int narrow(final long a) {
    final int sign = (int) (a >>> 32) & SseMath.FLOAT_SIGN;
    return SseMath.isZero(a) ? sign : sign | SseMath.FLOAT_INFINITY | (int) (a >>> 29) & 0x7F_FFFF;
  }

  private static long combine(
      final SoftFloat f,
      final long a,
      final long b,
      final long c,
      final boolean denormal,
      final boolean negated,
      final boolean subtracts) {
    if (SseMath.isNan(a) || SseMath.isNan(b)) {
      if (SseMath.isSignalling(c)) {
        f.flags |= SoftFloat.INVALID;
      }
      return SseMath.propagate(f, a, b);
    }
    if (SseMath.isNan(c)) {
      return SseMath.propagate(f, c, c);
    }
    final long sign = ((a ^ b) & SseMath.DOUBLE_SIGN) ^ (negated ? SseMath.DOUBLE_SIGN : 0);
    final long signedC = subtracts ? c ^ SseMath.DOUBLE_SIGN : c;
    final boolean infiniteProduct = SseMath.isInfinite(a) || SseMath.isInfinite(b);
    final boolean zeroProduct = SseMath.isZero(a) || SseMath.isZero(b);
    if (infiniteProduct && (zeroProduct || SseMath.isInfinite(c) && (sign ^ signedC) < 0)) {
      return SseMath.invalid(f);
    }
    if (denormal) {
      f.flags |= SoftFloat.DENORMAL;
    }
    if (infiniteProduct) {
      return sign | SseMath.DOUBLE_INFINITY;
    }
    if (SseMath.isInfinite(c)) {
      return signedC;
    }
    if (zeroProduct) {
      if (SseMath.isZero(c)) {
        return sign == (signedC & SseMath.DOUBLE_SIGN)
            ? sign
            : f.rounding == SoftFloat.DOWN ? SseMath.DOUBLE_SIGN : 0;
      }
      SseMath.unpack(f, signedC);
      return UNROUNDED;
    }
    f.multiply(
        (int) (sign >>> 63),
        SoftFloat.doubleExponent(a),
        SoftFloat.normalize(SoftFloat.doubleMantissa(a)),
        SoftFloat.doubleExponent(b),
        SoftFloat.normalize(SoftFloat.doubleMantissa(b)));
    if (!SseMath.isZero(c)) {
      f.accumulate(
          (int) (signedC >>> 63),
          SoftFloat.doubleExponent(c),
          SoftFloat.normalize(SoftFloat.doubleMantissa(c)));
    }
    return UNROUNDED;
  }

  /** Half to single precision: exact; denormals are no exception, DAZ does not touch them. */
  static int fromHalf(final SoftFloat f, final int half) {
    final int sign = (half & 0x8000) << 16;
    final int exponent = half >>> 10 & 0x1F;
    final int fraction = half & 0x3FF;
    if (exponent == 0x1F) {
      if (fraction != 0 && (fraction & 0x200) == 0) {
        f.flags |= SoftFloat.INVALID;
      }
      return sign | SseMath.FLOAT_INFINITY | fraction << 13 | (fraction != 0 ? 1 << 22 : 0);
    }
    // Exact in Java's arithmetic: 2^-24 is the unit of a half's denormals.
    final float magnitude =
        exponent == 0
            ? fraction * 0x1p-24f
            : Float.intBitsToFloat(exponent + 112 << 23 | fraction << 13);
    return sign | Float.floatToRawIntBits(magnitude);
  }

  /** Single to half precision by the rounding mode; FTZ does not count. */
  static int toHalf(final SoftFloat f, final int source) {
    final int a = SseMath.operand(f, source);
    final int sign = a >>> 16 & 0x8000;
    if (SseMath.isNan(a)) {
      return sign | 0x7C00 | SseMath.propagate(f, a, a) >>> 13 & 0x3FF;
    }
    if (SseMath.isInfinite(a)) {
      return sign | 0x7C00;
    }
    if (SseMath.isZero(a)) {
      return sign;
    }
    SseMath.denormals(f, a, a);
    SseMath.unpack(f, a);
    return f.packHalf();
  }
}

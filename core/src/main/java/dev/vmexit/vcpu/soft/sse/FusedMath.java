package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.vcpu.soft.x87.SoftFloat;

/**
 * Multiplication and addition with one rounding, and half-precision numbers, under MXCSR: as {@link
 * SseMath}, whose helpers it uses.
 */
final class FusedMath {
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
    final boolean invalidProduct =
        SseMath.isInfinite(a) && SseMath.isZero(b) || SseMath.isZero(a) && SseMath.isInfinite(b);
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
    if (invalidProduct || infiniteProduct && SseMath.isInfinite(c) && (sign ^ signedC) < 0) {
      return SseMath.invalid(f);
    }
    SseMath.denormals(f, a, b);
    SseMath.denormals(f, c, c);
    if (infiniteProduct) {
      return sign | SseMath.DOUBLE_INFINITY;
    }
    if (SseMath.isInfinite(c)) {
      return signedC;
    }
    if (SseMath.isZero(a) || SseMath.isZero(b)) {
      if (SseMath.isZero(c)) {
        return sign == (signedC & SseMath.DOUBLE_SIGN)
            ? sign
            : f.rounding == SoftFloat.DOWN ? SseMath.DOUBLE_SIGN : 0;
      }
      SseMath.unpack(f, signedC);
      return f.packDouble();
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
    return f.packDouble();
  }

  /** As the other one, of floats. */
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
    final boolean invalidProduct =
        SseMath.isInfinite(a) && SseMath.isZero(b) || SseMath.isZero(a) && SseMath.isInfinite(b);
    if (SseMath.isNan(a) || SseMath.isNan(b)) {
      if (SseMath.isSignalling(c)) {
        f.flags |= SoftFloat.INVALID;
      }
      return SseMath.propagate(f, a, b);
    }
    if (SseMath.isNan(c)) {
      return SseMath.propagate(f, c, c);
    }
    final int sign = ((a ^ b) & SseMath.FLOAT_SIGN) ^ (negated ? SseMath.FLOAT_SIGN : 0);
    final int signedC = subtracts ? c ^ SseMath.FLOAT_SIGN : c;
    final boolean infiniteProduct = SseMath.isInfinite(a) || SseMath.isInfinite(b);
    if (invalidProduct || infiniteProduct && SseMath.isInfinite(c) && (sign ^ signedC) < 0) {
      return SseMath.invalidFloat(f);
    }
    SseMath.denormals(f, a, b);
    SseMath.denormals(f, c, c);
    if (infiniteProduct) {
      return sign | SseMath.FLOAT_INFINITY;
    }
    if (SseMath.isInfinite(c)) {
      return signedC;
    }
    if (SseMath.isZero(a) || SseMath.isZero(b)) {
      if (SseMath.isZero(c)) {
        return sign == (signedC & SseMath.FLOAT_SIGN)
            ? sign
            : f.rounding == SoftFloat.DOWN ? SseMath.FLOAT_SIGN : 0;
      }
      SseMath.unpack(f, signedC);
      return f.packFloat();
    }
    f.multiply(
        sign >>> 31,
        SoftFloat.floatExponent(a),
        SoftFloat.normalize(SoftFloat.floatMantissa(a)),
        SoftFloat.floatExponent(b),
        SoftFloat.normalize(SoftFloat.floatMantissa(b)));
    if (!SseMath.isZero(c)) {
      f.accumulate(
          signedC >>> 31,
          SoftFloat.floatExponent(c),
          SoftFloat.normalize(SoftFloat.floatMantissa(c)));
    }
    return f.packFloat();
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

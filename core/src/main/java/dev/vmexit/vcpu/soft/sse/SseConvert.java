package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.vcpu.soft.x87.SoftFloat;

/** Conversions, rounding to integers and approximations under MXCSR, as {@link SseMath}. */
final class SseConvert {
  private SseConvert() {}

  static long widen(final SoftFloat f, final int source) {
    final int a = SseMath.operand(f, source);
    final long sign = (a & 0x8000_0000L) << 32;
    if (SseMath.isNan(a)) {
      return sign | SseMath.DOUBLE_INFINITY | (SseMath.propagate(f, a, a) & 0x7F_FFFFL) << 29;
    }
    if (SseMath.isDenormal(a)) {
      f.flags |= SoftFloat.DENORMAL;
    }
    return Double.doubleToRawLongBits(Float.intBitsToFloat(a));
  }

  static int narrow(final SoftFloat f, final long source) {
    final long a = SseMath.operand(f, source);
    final int sign = (int) (a >>> 32) & SseMath.FLOAT_SIGN;
    if (SseMath.isNan(a)) {
      return sign
          | SseMath.FLOAT_INFINITY
          | ((int) (SseMath.propagate(f, a, a) >>> 29) & 0x7F_FFFF);
    }
    if (SseMath.isInfinite(a)) {
      return sign | SseMath.FLOAT_INFINITY;
    }
    if (SseMath.isZero(a)) {
      return sign;
    }
    if (SseMath.isDenormal(a)) {
      f.flags |= SoftFloat.DENORMAL;
    }
    SseMath.unpack(f, a);
    return f.packFloat();
  }

  static long doubleFromInteger(final SoftFloat f, final long value) {
    if (value == 0) {
      return 0;
    }
    fromInteger(f, value);
    return f.packDouble();
  }

  static int floatFromInteger(final SoftFloat f, final long value) {
    if (value == 0) {
      return 0;
    }
    fromInteger(f, value);
    return f.packFloat();
  }

  private static void fromInteger(final SoftFloat f, final long value) {
    final long magnitude = Math.abs(value);
    final int shift = Long.numberOfLeadingZeros(magnitude);
    f.set(value < 0 ? 1 : 0, 63 - shift, magnitude << shift);
  }

  /**
   * Rounds to a signed integer.
   *
   * @param bytes 4 or 8
   * @param truncate towards zero, whatever MXCSR says
   * @return the integer, or the smallest one with the invalid exception
   */
  static long toInteger(
      final SoftFloat f, final long source, final int bytes, final boolean truncate) {
    final long a = SseMath.operand(f, source);
    if (SseMath.isZero(a)) {
      return 0;
    }
    final int rounding = f.rounding;
    if (truncate) {
      f.rounding = SoftFloat.ZERO;
    }
    final boolean finite = (a & SseMath.DOUBLE_INFINITY) != SseMath.DOUBLE_INFINITY;
    if (finite) {
      SseMath.unpack(f, a);
    }
    final long result = roundToInteger(f, finite, bytes);
    f.rounding = rounding;
    return result;
  }

  static long toInteger(
      final SoftFloat f, final int source, final int bytes, final boolean truncate) {
    final int a = SseMath.operand(f, source);
    if (SseMath.isZero(a)) {
      return 0;
    }
    final int rounding = f.rounding;
    if (truncate) {
      f.rounding = SoftFloat.ZERO;
    }
    final boolean finite = (a & SseMath.FLOAT_INFINITY) != SseMath.FLOAT_INFINITY;
    if (finite) {
      SseMath.unpack(f, a);
    }
    final long result = roundToInteger(f, finite, bytes);
    f.rounding = rounding;
    return result;
  }

  private static long roundToInteger(final SoftFloat f, final boolean finite, final int bytes) {
    final long indefinite = -1L << (bytes * 8 - 1);
    final int flags = f.flags;
    final boolean fits = finite && f.toInteger(f.sign, f.exponent, f.high);
    final boolean negative = f.sign != 0;
    final long limit = negative ? -indefinite : -(indefinite + 1);
    if (!fits || Long.compareUnsigned(f.high, limit) > 0) {
      f.flags = flags | SoftFloat.INVALID;
      return indefinite;
    }
    return negative ? -f.high : f.high;
  }

  /** ROUNDPD, ROUNDSD: no denormal exception. */
  static long roundToIntegral(final SoftFloat f, final long source) {
    final long a = SseMath.operand(f, source);
    if (SseMath.isNan(a)) {
      return SseMath.propagate(f, a, a);
    }
    final int exponent = (int) (a >>> 52) & 0x7FF;
    if (SseMath.isZero(a) || exponent >= 1023 + 52) {
      return a;
    }
    SseMath.unpack(f, a);
    f.toInteger(f.sign, f.exponent, f.high);
    return (a & SseMath.DOUBLE_SIGN) | Double.doubleToRawLongBits((double) f.high);
  }

  /** ROUNDPS, ROUNDSS. */
  static int roundToIntegral(final SoftFloat f, final int source) {
    final int a = SseMath.operand(f, source);
    if (SseMath.isNan(a)) {
      return SseMath.propagate(f, a, a);
    }
    final int exponent = a >>> 23 & 0xFF;
    if (SseMath.isZero(a) || exponent >= 127 + 23) {
      return a;
    }
    SseMath.unpack(f, a);
    f.toInteger(f.sign, f.exponent, f.high);
    return (a & SseMath.FLOAT_SIGN) | Float.floatToRawIntBits((float) f.high);
  }

  /** RCPPS: within 1.5 * 2^-12, denormals are zeros, no exceptions, MXCSR ignored. */
  static int reciprocal(final int a) {
    if (SseMath.isNan(a)) {
      return a | SseMath.FLOAT_QUIET;
    }
    if (SseMath.isZero(a) || SseMath.isDenormal(a)) {
      return (a & SseMath.FLOAT_SIGN) | SseMath.FLOAT_INFINITY;
    }
    final int result = Float.floatToRawIntBits(1.0f / Float.intBitsToFloat(a));
    return SseMath.isDenormal(result) ? result & SseMath.FLOAT_SIGN : result;
  }

  /** RSQRTPS: as {@link #reciprocal}. */
  static int reciprocalRoot(final int a) {
    if (SseMath.isNan(a)) {
      return a | SseMath.FLOAT_QUIET;
    }
    if (SseMath.isZero(a) || SseMath.isDenormal(a)) {
      return (a & SseMath.FLOAT_SIGN) | SseMath.FLOAT_INFINITY;
    }
    if (a < 0) {
      return SseMath.FLOAT_INDEFINITE;
    }
    return Float.floatToRawIntBits((float) (1.0 / Math.sqrt(Float.intBitsToFloat(a))));
  }
}

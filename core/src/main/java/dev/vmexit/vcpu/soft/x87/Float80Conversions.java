package dev.vmexit.vcpu.soft.x87;

/**
 * Conversions between extended numbers and what x87 instructions find in memory: floats, doubles,
 * integers and packed decimals (SDM Vol. 1, 4.2, 8.1.7 and 8.3.3).
 */
public final class Float80Conversions {
  private static final long DECIMAL_LIMIT = 1_000_000_000_000_000_000L;

  private Float80Conversions() {}

  // ---- into extended ----

  /** Widens as an operand of arithmetic: exact, a signalling NaN stays one. */
  public static void widenFloat(final SoftFloat f, final int bits) {
    final int sign = bits >>> 16 & 0x8000;
    final long mantissa = SoftFloat.floatMantissa(bits);
    if ((bits & 0x7F80_0000) == 0x7F80_0000) {
      Float80.result(f, sign | 0x7FFF, mantissa);
    } else if (mantissa == 0) {
      Float80.result(f, sign, 0);
    } else {
      f.denormalOperand = mantissa > 0;
      Float80.result(
          f,
          sign | SoftFloat.floatExponent(bits) + SoftFloat.EXTENDED_BIAS,
          SoftFloat.normalize(mantissa));
    }
  }

  /** As {@link #widenFloat}, of a double. */
  public static void widenDouble(final SoftFloat f, final long bits) {
    final int sign = (int) (bits >>> 48) & 0x8000;
    final long mantissa = SoftFloat.doubleMantissa(bits);
    if ((bits & 0x7FF0_0000_0000_0000L) == 0x7FF0_0000_0000_0000L) {
      Float80.result(f, sign | 0x7FFF, mantissa);
    } else if (mantissa == 0) {
      Float80.result(f, sign, 0);
    } else {
      f.denormalOperand = mantissa > 0;
      Float80.result(
          f,
          sign | SoftFloat.doubleExponent(bits) + SoftFloat.EXTENDED_BIAS,
          SoftFloat.normalize(mantissa));
    }
  }

  /** Ends a load of a float or double: signalling NaNs become quiet, denormals are noticed. */
  static void finishLoad(final SoftFloat f) {
    if (!Float80.propagate(f, f.packedExponent, f.packedMantissa) && f.denormalOperand) {
      f.flags |= SoftFloat.DENORMAL;
    }
  }

  /** Converts a signed integer, exactly. */
  public static void fromInteger(final SoftFloat f, final long value) {
    fromMagnitude(f, value < 0 ? 1 : 0, value < 0 ? -value : value);
  }

  private static void fromMagnitude(final SoftFloat f, final int sign, final long magnitude) {
    if (magnitude == 0) {
      Float80.zero(f, sign);
    } else {
      final int shift = Long.numberOfLeadingZeros(magnitude);
      Float80.result(f, sign << 15 | SoftFloat.EXTENDED_BIAS + 63 - shift, magnitude << shift);
    }
  }

  /**
   * Converts a packed decimal.
   *
   * @param digits the low eight bytes: sixteen digits
   * @param top the high two bytes: two digits, and the sign in bit 15
   */
  public static void fromDecimal(final SoftFloat f, final long digits, final int top) {
    long value = (top >>> 4 & 0xF) * 10L + (top & 0xF);
    for (int i = 60; i >= 0; i -= 4) {
      value = value * 10 + (digits >>> i & 0xF);
    }
    fromMagnitude(f, top >>> 15 & 1, value);
  }

  // ---- out of extended ----

  /** Rounds to a float's bits; {@link SoftFloat#flags} say whether they may be stored. */
  public static int toFloat(final SoftFloat f, final int exponent, final long mantissa) {
    final int sign = exponent << 16 & 0x8000_0000;
    if (Float80.propagate(f, exponent, mantissa)) {
      return (f.packedExponent << 16 & 0x8000_0000)
          | 0x7F80_0000
          | ((int) (f.packedMantissa >>> 40) & 0x7F_FFFF);
    }
    if (Float80.isInfinite(exponent, mantissa)) {
      return sign | 0x7F80_0000;
    }
    if (mantissa == 0) {
      return sign;
    }
    unpack(f, exponent, mantissa);
    return f.packFloat();
  }

  /** Rounds to a double's bits. */
  public static long toDouble(final SoftFloat f, final int exponent, final long mantissa) {
    final long sign = (exponent & 0x8000L) << 48;
    if (Float80.propagate(f, exponent, mantissa)) {
      return (f.packedExponent & 0x8000L) << 48
          | 0x7FF0_0000_0000_0000L
          | (f.packedMantissa >>> 11 & 0xF_FFFF_FFFF_FFFFL);
    }
    if (Float80.isInfinite(exponent, mantissa)) {
      return sign | 0x7FF0_0000_0000_0000L;
    }
    if (mantissa == 0) {
      return sign;
    }
    unpack(f, exponent, mantissa);
    return f.packDouble();
  }

  private static void unpack(final SoftFloat f, final int exponent, final long mantissa) {
    f.set(
        exponent >>> 15 & 1,
        SoftFloat.extendedExponent(exponent, mantissa),
        SoftFloat.normalize(mantissa));
  }

  /**
   * Rounds to a signed integer by the rounding mode.
   *
   * @param bytes 2, 4 or 8
   * @return the integer, or the smallest one with the invalid exception (integer indefinite)
   */
  public static long toInteger(
      final SoftFloat f, final int exponent, final long mantissa, final int bytes) {
    final long indefinite = -1L << (bytes * 8 - 1);
    if (Float80.isSpecial(exponent, mantissa)) {
      f.flags |= SoftFloat.INVALID;
      return indefinite;
    }
    if (mantissa == 0) {
      return 0;
    }
    final boolean fits =
        f.toInteger(
            exponent >>> 15 & 1,
            SoftFloat.extendedExponent(exponent, mantissa),
            SoftFloat.normalize(mantissa));
    final boolean negative = f.sign != 0;
    final long limit = negative ? -indefinite : -(indefinite + 1);
    if (!fits || Long.compareUnsigned(f.high, limit) > 0) {
      f.flags = (f.flags & ~SoftFloat.PRECISION) | SoftFloat.INVALID;
      f.roundedUp = false;
      return indefinite;
    }
    return negative ? -f.high : f.high;
  }

  /**
   * Rounds to a packed decimal of eighteen digits: the low eight bytes are returned, the high two
   * stand in {@link SoftFloat#packedExponent}.
   */
  public static long toDecimal(final SoftFloat f, final int exponent, final long mantissa) {
    boolean fits = !Float80.isSpecial(exponent, mantissa);
    long value = 0;
    if (fits && mantissa != 0) {
      fits =
          f.toInteger(
                  exponent >>> 15 & 1,
                  SoftFloat.extendedExponent(exponent, mantissa),
                  SoftFloat.normalize(mantissa))
              && Long.compareUnsigned(f.high, DECIMAL_LIMIT) < 0;
      value = f.high;
    }
    if (!fits) {
      f.flags = (f.flags & ~SoftFloat.PRECISION) | SoftFloat.INVALID;
      f.roundedUp = false;
      f.packedExponent = 0xFFFF;
      return 0xC000_0000_0000_0000L;
    }
    long digits = 0;
    for (int i = 0; i < 64; i += 4) {
      digits |= value % 10 << i;
      value /= 10;
    }
    f.packedExponent = (exponent & 0x8000) | (int) ((value / 10) << 4 | value % 10);
    return digits;
  }

  /** Rounds to an integral value (FRNDINT). */
  public static void roundToIntegral(final SoftFloat f, final int exponent, final long mantissa) {
    if (Float80.propagate(f, exponent, mantissa)) {
      return;
    }
    if (Float80.isInfinite(exponent, mantissa) || mantissa == 0) {
      Float80.result(f, exponent, mantissa);
      return;
    }
    Float80.denormal(f, exponent, mantissa);
    final int sign = exponent >>> 15 & 1;
    final int unbiased = SoftFloat.extendedExponent(exponent, mantissa);
    if (unbiased >= 63) {
      Float80.result(f, exponent, mantissa);
      return;
    }
    f.toInteger(sign, unbiased, SoftFloat.normalize(mantissa));
    fromMagnitude(f, sign, f.high);
  }
}

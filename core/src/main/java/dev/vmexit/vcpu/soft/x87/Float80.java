package dev.vmexit.vcpu.soft.x87;

/**
 * Arithmetic on double extended-precision numbers as the x87 does it (SDM Vol. 1, 4.2.2, 4.8 and
 * 8.5): zeros, infinities, NaNs and unsupported encodings here, everything finite in {@link
 * SoftFloat}.
 *
 * <p>An operand is a pair: sign (bit 15) and biased exponent, and the mantissa. Results stand in
 * {@link SoftFloat#packedExponent} and {@link SoftFloat#packedMantissa}, exceptions in {@link
 * SoftFloat#flags}.
 */
public final class Float80 {
  static final long INTEGER_BIT = 1L << 63;
  static final long QUIET_BIT = 1L << 62;

  /** The default NaN: negative, quiet, no payload (SDM Vol. 1, table 4-3). */
  public static final int INDEFINITE_EXPONENT = 0xFFFF;

  public static final long INDEFINITE_MANTISSA = INTEGER_BIT | QUIET_BIT;

  /** Comparison results as the condition codes C0, C2, C3 of the status word. */
  public static final int LESS = 0x0100;

  public static final int EQUAL = 0x4000;
  public static final int GREATER = 0;
  public static final int UNORDERED = 0x4500;

  private Float80() {}

  // ---- classes of numbers ----

  static boolean isZero(final int exponent, final long mantissa) {
    return mantissa == 0 && (exponent & 0x7FFF) == 0;
  }

  /** Denormals, and pseudo-denormals with their integer bit set. */
  static boolean isDenormal(final int exponent, final long mantissa) {
    return (exponent & 0x7FFF) == 0 && mantissa != 0;
  }

  static boolean isInfinite(final int exponent, final long mantissa) {
    return (exponent & 0x7FFF) == 0x7FFF && mantissa == INTEGER_BIT;
  }

  static boolean isNan(final int exponent, final long mantissa) {
    return (exponent & 0x7FFF) == 0x7FFF && mantissa << 1 != 0;
  }

  static boolean isSignalling(final int exponent, final long mantissa) {
    return isNan(exponent, mantissa) && (mantissa & QUIET_BIT) == 0;
  }

  /** Encodings that no processor since the 387 accepts: the integer bit is missing. */
  static boolean isUnsupported(final int exponent, final long mantissa) {
    return (exponent & 0x7FFF) != 0 && mantissa >= 0;
  }

  /** Whether the exponent field is all ones or the encoding unsupported. */
  static boolean isSpecial(final int exponent, final long mantissa) {
    return (exponent & 0x7FFF) == 0x7FFF || isUnsupported(exponent, mantissa);
  }

  // ---- results ----

  static void result(final SoftFloat f, final int exponent, final long mantissa) {
    f.packedExponent = exponent;
    f.packedMantissa = mantissa;
  }

  static void invalid(final SoftFloat f) {
    f.flags |= SoftFloat.INVALID;
    result(f, INDEFINITE_EXPONENT, INDEFINITE_MANTISSA);
  }

  static void zero(final SoftFloat f, final int sign) {
    result(f, sign << 15, 0);
  }

  static void infinity(final SoftFloat f, final int sign) {
    result(f, sign << 15 | 0x7FFF, INTEGER_BIT);
  }

  private static int sign(final int exponent) {
    return exponent >>> 15 & 1;
  }

  private static void denormals(
      final SoftFloat f,
      final int exponentA,
      final long mantissaA,
      final int exponentB,
      final long mantissaB) {
    if (f.denormalOperand || isDenormal(exponentA, mantissaA) || isDenormal(exponentB, mantissaB)) {
      f.flags |= SoftFloat.DENORMAL;
    }
  }

  static void denormal(final SoftFloat f, final int exponent, final long mantissa) {
    if (f.denormalOperand || isDenormal(exponent, mantissa)) {
      f.flags |= SoftFloat.DENORMAL;
    }
  }

  /**
   * Gives the result where an operand is a NaN or unsupported (SDM Vol. 1, table 4-7).
   *
   * @return whether it was so
   */
  static boolean propagate(
      final SoftFloat f, final int ea, final long ma, final int eb, final long mb) {
    if (isUnsupported(ea, ma) || isUnsupported(eb, mb)) {
      invalid(f);
      return true;
    }
    final boolean nanA = isNan(ea, ma);
    final boolean nanB = isNan(eb, mb);
    if (!nanA && !nanB) {
      return false;
    }
    final boolean signallingA = isSignalling(ea, ma);
    final boolean signallingB = isSignalling(eb, mb);
    if (signallingA || signallingB) {
      f.flags |= SoftFloat.INVALID;
    }
    final boolean first;
    if (!nanA || !nanB) {
      first = nanA;
    } else if (signallingA != signallingB) {
      first = signallingB;
    } else {
      final int order = Long.compareUnsigned(ma, mb);
      first = order > 0 || (order == 0 && sign(ea) <= sign(eb));
    }
    result(f, first ? ea : eb, (first ? ma : mb) | QUIET_BIT);
    return true;
  }

  /** As {@link #propagate} for one operand. */
  static boolean propagate(final SoftFloat f, final int exponent, final long mantissa) {
    if (isUnsupported(exponent, mantissa)) {
      invalid(f);
      return true;
    }
    if (!isNan(exponent, mantissa)) {
      return false;
    }
    if ((mantissa & QUIET_BIT) == 0) {
      f.flags |= SoftFloat.INVALID;
    }
    result(f, exponent, mantissa | QUIET_BIT);
    return true;
  }

  // ---- arithmetic ----

  /** a + b. */
  public static void add(
      final SoftFloat f, final int ea, final long ma, final int eb, final long mb) {
    addSigned(f, ea, ma, eb, mb, 0);
  }

  /** a - b. */
  public static void subtract(
      final SoftFloat f, final int ea, final long ma, final int eb, final long mb) {
    addSigned(f, ea, ma, eb, mb, 1);
  }

  private static void addSigned(
      final SoftFloat f,
      final int ea,
      final long ma,
      final int eb,
      final long mb,
      final int negateB) {
    final int signA = sign(ea);
    final int signB = sign(eb) ^ negateB;
    if (isSpecial(ea, ma) || isSpecial(eb, mb)) {
      if (propagate(f, ea, ma, eb, mb)) {
        return;
      }
      final boolean infiniteA = isInfinite(ea, ma);
      if (infiniteA && isInfinite(eb, mb) && signA != signB) {
        invalid(f);
        return;
      }
      denormals(f, ea, ma, eb, mb);
      infinity(f, infiniteA ? signA : signB);
      return;
    }
    denormals(f, ea, ma, eb, mb);
    if (ma == 0 && mb == 0) {
      zero(f, signA == signB ? signA : f.rounding == SoftFloat.DOWN ? 1 : 0);
      return;
    }
    if (ma == 0) {
      f.set(signB, SoftFloat.extendedExponent(eb, mb), SoftFloat.normalize(mb));
    } else if (mb == 0) {
      f.set(signA, SoftFloat.extendedExponent(ea, ma), SoftFloat.normalize(ma));
    } else {
      f.add(
          signA,
          SoftFloat.extendedExponent(ea, ma),
          SoftFloat.normalize(ma),
          signB,
          SoftFloat.extendedExponent(eb, mb),
          SoftFloat.normalize(mb));
    }
    f.packExtended();
  }

  /** a * b. */
  public static void multiply(
      final SoftFloat f, final int ea, final long ma, final int eb, final long mb) {
    final int resultSign = sign(ea ^ eb);
    if (isSpecial(ea, ma) || isSpecial(eb, mb)) {
      if (propagate(f, ea, ma, eb, mb)) {
        return;
      }
      if (isZero(ea, ma) || isZero(eb, mb)) {
        invalid(f);
        return;
      }
      denormals(f, ea, ma, eb, mb);
      infinity(f, resultSign);
      return;
    }
    denormals(f, ea, ma, eb, mb);
    if (ma == 0 || mb == 0) {
      zero(f, resultSign);
      return;
    }
    f.multiply(
        resultSign,
        SoftFloat.extendedExponent(ea, ma),
        SoftFloat.normalize(ma),
        SoftFloat.extendedExponent(eb, mb),
        SoftFloat.normalize(mb));
    f.packExtended();
  }

  /** a / b. */
  public static void divide(
      final SoftFloat f, final int ea, final long ma, final int eb, final long mb) {
    final int resultSign = sign(ea ^ eb);
    if (isSpecial(ea, ma) || isSpecial(eb, mb)) {
      if (propagate(f, ea, ma, eb, mb)) {
        return;
      }
      if (isInfinite(ea, ma)) {
        if (isInfinite(eb, mb)) {
          invalid(f);
          return;
        }
        denormals(f, ea, ma, eb, mb);
        infinity(f, resultSign);
        return;
      }
      denormals(f, ea, ma, eb, mb);
      zero(f, resultSign);
      return;
    }
    if (mb == 0) {
      if (ma == 0) {
        invalid(f);
        return;
      }
      f.flags |= SoftFloat.ZERO_DIVIDE;
      infinity(f, resultSign);
      return;
    }
    denormals(f, ea, ma, eb, mb);
    if (ma == 0) {
      zero(f, resultSign);
      return;
    }
    f.divide(
        resultSign,
        SoftFloat.extendedExponent(ea, ma),
        SoftFloat.normalize(ma),
        SoftFloat.extendedExponent(eb, mb),
        SoftFloat.normalize(mb));
    f.packExtended();
  }

  /** Square root. */
  public static void squareRoot(final SoftFloat f, final int exponent, final long mantissa) {
    if (propagate(f, exponent, mantissa)) {
      return;
    }
    if (isZero(exponent, mantissa)) {
      result(f, exponent, mantissa);
      return;
    }
    if (sign(exponent) != 0) {
      invalid(f);
      return;
    }
    if (isInfinite(exponent, mantissa)) {
      result(f, exponent, mantissa);
      return;
    }
    denormal(f, exponent, mantissa);
    f.squareRoot(SoftFloat.extendedExponent(exponent, mantissa), SoftFloat.normalize(mantissa));
    f.packExtended();
  }

  /**
   * Compares a with b.
   *
   * @param quiet whether a quiet NaN is no invalid operation (FUCOM)
   * @return {@link #LESS}, {@link #EQUAL}, {@link #GREATER} or {@link #UNORDERED}
   */
  public static int compare(
      final SoftFloat f,
      final int ea,
      final long ma,
      final int eb,
      final long mb,
      final boolean quiet) {
    if (isUnsupported(ea, ma) || isUnsupported(eb, mb)) {
      f.flags |= SoftFloat.INVALID;
      return UNORDERED;
    }
    if (isNan(ea, ma) || isNan(eb, mb)) {
      if (!quiet || isSignalling(ea, ma) || isSignalling(eb, mb)) {
        f.flags |= SoftFloat.INVALID;
      }
      return UNORDERED;
    }
    denormals(f, ea, ma, eb, mb);
    if (isZero(ea, ma) && isZero(eb, mb)) {
      return EQUAL;
    }
    final int signA = sign(ea);
    if (signA != sign(eb)) {
      return signA != 0 ? LESS : GREATER;
    }
    // A pseudo-denormal has the value of exponent 1.
    final int magnitudeA = ma < 0 ? Math.max(ea & 0x7FFF, 1) : ea & 0x7FFF;
    final int magnitudeB = mb < 0 ? Math.max(eb & 0x7FFF, 1) : eb & 0x7FFF;
    final int order =
        magnitudeA != magnitudeB
            ? Integer.compare(magnitudeA, magnitudeB)
            : Long.compareUnsigned(ma, mb);
    if (order == 0) {
      return EQUAL;
    }
    return order < 0 == (signA == 0) ? LESS : GREATER;
  }
}

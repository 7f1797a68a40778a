package dev.vmexit.vcpu.soft.x87;

/**
 * Exact binary floating-point arithmetic on unpacked numbers, rounded once: the core that the x87
 * and the SSE instructions share.
 *
 * <p>A finite number other than zero is a sign (0 or 1), an unbiased exponent and a 64-bit mantissa
 * with bit 63 set: {@code (-1)^sign * mantissa / 2^63 * 2^exponent}. An operation leaves its exact
 * result in {@link #sign}, {@link #exponent}, {@link #high} and {@link #low} (64 more mantissa
 * bits, the last of them sticky); {@link #packExtended}, {@link #packDouble} or {@link #packFloat}
 * rounds it and collects the exceptions (SDM Vol. 1, 4.8.4 and 4.9.1). Zeros, infinities and NaNs
 * are the callers' business.
 *
 * <p>One instance per vCPU, used as its scratch: nothing here allocates. Long, because arithmetic
 * and rounding share the unpacked result.
 */
public final class SoftFloat {
  // Exceptions, as in the x87 status word and in MXCSR.
  public static final int INVALID = 1;
  public static final int DENORMAL = 1 << 1;
  public static final int ZERO_DIVIDE = 1 << 2;
  public static final int OVERFLOW = 1 << 3;
  public static final int UNDERFLOW = 1 << 4;
  public static final int PRECISION = 1 << 5;
  public static final int ALL = 0x3F;

  // Rounding, as in the RC fields.
  public static final int NEAREST = 0;
  public static final int DOWN = 1;
  public static final int UP = 2;
  public static final int ZERO = 3;

  /** Added to the exponent of an unmasked underflow's result (SDM Vol. 1, 4.9.1.5). */
  private static final int WRAP = 24576;

  static final int EXTENDED_BIAS = 16383;
  private static final int EXTENDED_MIN = -16382;
  private static final int DOUBLE_BIAS = 1023;
  private static final int FLOAT_BIAS = 127;
  private static final long INTEGER_BIT = 1L << 63;

  /** Rounding mode in force. */
  public int rounding;

  /** Exceptions that are masked. */
  public int masks;

  /** Exceptions of the operation so far; cleared by {@link #begin}. */
  public int flags;

  /** Exceptions of the halves of a 256-bit operation that are done; else 0. */
  public int carried;

  /** More halves of the operation follow: exceptions are to be carried, not yet raised. */
  public boolean unfinished;

  /** Whether the last rounding grew the magnitude (x87's C1). */
  public boolean roundedUp;

  /** Tiny results become zeros (MXCSR.FTZ) while underflow is masked. */
  public boolean flushToZero;

  /** Denormal operands count as zeros (MXCSR.DAZ); the callers' business. */
  public boolean denormalsAreZeros;

  // The exact result; packing replaces it by the rounded one.
  public int sign;
  public int exponent;
  public long high;
  public long low;

  /** Mantissa bits that {@link #packExtended} keeps: 24, 53 or 64. */
  public int precision = 64;

  /** Sign (bit 15) and biased exponent of {@link #packExtended}'s result. */
  public int packedExponent;

  /** Mantissa of {@link #packExtended}'s result. */
  public long packedMantissa;

  /** An operand was a denormal before it was converted to extended (m32fp, m64fp operands). */
  boolean denormalOperand;

  private Elementary elementary;

  /** Scratch of the transcendental functions, made when the guest first uses one. */
  Elementary elementary() {
    if (elementary == null) {
      elementary = new Elementary();
    }
    return elementary;
  }

  /** Starts an operation. */
  public void begin(final int roundingMode, final int exceptionMasks) {
    rounding = roundingMode;
    masks = exceptionMasks;
    flags = 0;
    roundedUp = false;
    flushToZero = false;
    denormalsAreZeros = false;
    denormalOperand = false;
  }

  // ---- unpacking; the operand must be finite and not zero ----

  /** Unbiased exponent of an extended number, denormals and pseudo-denormals normalized. */
  public static int extendedExponent(final int signExponent, final long mantissa) {
    return Math.max(signExponent & 0x7FFF, 1) - EXTENDED_BIAS - Long.numberOfLeadingZeros(mantissa);
  }

  /** Mantissa with its first set bit moved to bit 63. */
  public static long normalize(final long mantissa) {
    return mantissa << Long.numberOfLeadingZeros(mantissa);
  }

  /** Mantissa of a double with the integer bit made explicit, a denormal not yet normalized. */
  public static long doubleMantissa(final long bits) {
    final long fraction = bits << 11 & Long.MAX_VALUE;
    return (bits & 0x7FF0_0000_0000_0000L) != 0 ? fraction | INTEGER_BIT : fraction;
  }

  public static int doubleExponent(final long bits) {
    return Math.max((int) (bits >>> 52) & 0x7FF, 1)
        - DOUBLE_BIAS
        - Long.numberOfLeadingZeros(doubleMantissa(bits));
  }

  /** As {@link #doubleMantissa}, of a float. */
  public static long floatMantissa(final int bits) {
    final long fraction = (bits & 0x7F_FFFFL) << 40;
    return (bits & 0x7F80_0000) != 0 ? fraction | INTEGER_BIT : fraction;
  }

  public static int floatExponent(final int bits) {
    return Math.max(bits >>> 23 & 0xFF, 1)
        - FLOAT_BIAS
        - Long.numberOfLeadingZeros(floatMantissa(bits));
  }

  // ---- exact arithmetic ----

  /** Sets the exact value to a number that needs no arithmetic. */
  public void set(final int newSign, final int newExponent, final long mantissa) {
    sign = newSign;
    exponent = newExponent;
    high = mantissa;
    low = 0;
  }

  /** Adds; a difference of zero gets the sign that the rounding mode gives it. */
  public void add(
      final int signA,
      final int exponentA,
      final long mantissaA,
      final int signB,
      final int exponentB,
      final long mantissaB) {
    final boolean swap =
        exponentA < exponentB
            || (exponentA == exponentB && Long.compareUnsigned(mantissaA, mantissaB) < 0);
    final long big = swap ? mantissaB : mantissaA;
    final long small = swap ? mantissaA : mantissaB;
    final int shift = swap ? exponentB - exponentA : exponentA - exponentB;
    final long smallHigh = shift < 64 ? small >>> shift : 0;
    final long smallLow;
    if (shift == 0) {
      smallLow = 0;
    } else if (shift <= 64) {
      smallLow = small << (64 - shift);
    } else if (shift < 128) {
      smallLow = small >>> (shift - 64) | (small << (128 - shift) != 0 ? 1 : 0);
    } else {
      smallLow = 1;
    }
    sign = swap ? signB : signA;
    exponent = swap ? exponentB : exponentA;
    if (signA == signB) {
      high = big + smallHigh;
      low = smallLow;
      if (Long.compareUnsigned(high, big) < 0) {
        low = high << 63 | low >>> 1 | (low & 1);
        high = high >>> 1 | INTEGER_BIT;
        exponent++;
      }
    } else {
      high = big - smallHigh - (smallLow != 0 ? 1 : 0);
      low = -smallLow;
      normalizeResult();
      if (high == 0) {
        sign = rounding == DOWN ? 1 : 0;
      }
    }
  }

  private void normalizeResult() {
    if (high == 0) {
      high = low;
      low = 0;
      exponent -= 64;
    }
    if (high > 0) {
      final int shift = Long.numberOfLeadingZeros(high);
      high = high << shift | low >>> (64 - shift);
      low <<= shift;
      exponent -= shift;
    }
  }

  /** Multiplies. */
  public void multiply(
      final int resultSign,
      final int exponentA,
      final long mantissaA,
      final int exponentB,
      final long mantissaB) {
    sign = resultSign;
    exponent = exponentA + exponentB + 1;
    high = Math.unsignedMultiplyHigh(mantissaA, mantissaB);
    low = mantissaA * mantissaB;
    if (high > 0) {
      high = high << 1 | low >>> 63;
      low <<= 1;
      exponent--;
    }
  }

  /**
   * Adds a number to the exact value, of which more than 64 bits may count: the second half of a
   * fused multiplication and addition. The last bit is sticky; numbers of up to 53 bits and their
   * products leave room for it below everything that counts.
   */
  public void accumulate(final int signC, final int exponentC, final long mantissaC) {
    final boolean swap =
        exponent < exponentC
            || (exponent == exponentC && Long.compareUnsigned(high, mantissaC) < 0);
    final int signA = sign;
    final long bigHigh = swap ? mantissaC : high;
    final long bigLow = swap ? 0 : low;
    final int bigExponent = swap ? exponentC : exponent;
    final int distance = Math.abs(exponent - exponentC);
    if (!swap) {
      sign = signC;
      high = mantissaC;
      low = 0;
    }
    final int bigSign = swap ? signC : signA;
    shiftRight(distance);
    exponent = bigExponent;
    if (signA == signC) {
      final long sum = bigLow + low;
      final long carry = Long.compareUnsigned(sum, low) < 0 ? 1 : 0;
      final boolean over =
          carry != 0
              ? Long.compareUnsigned(bigHigh + high + 1, bigHigh) <= 0
              : Long.compareUnsigned(bigHigh + high, bigHigh) < 0;
      high = bigHigh + high + carry;
      low = sum;
      if (over) {
        low = high << 63 | low >>> 1 | (low & 1);
        high = high >>> 1 | INTEGER_BIT;
        exponent++;
      }
      sign = bigSign;
    } else {
      final long borrow = Long.compareUnsigned(bigLow, low) < 0 ? 1 : 0;
      high = bigHigh - high - borrow;
      low = bigLow - low;
      sign = (high | low) == 0 ? (rounding == DOWN ? 1 : 0) : bigSign;
      normalizeResult();
    }
  }

  /** Divides: 64 quotient bits, then what the remainder is beside half of the divisor. */
  public void divide(
      final int resultSign,
      final int exponentA,
      final long mantissaA,
      final int exponentB,
      final long mantissaB) {
    sign = resultSign;
    exponent = exponentA - exponentB;
    final long dividendHigh;
    final long dividendLow;
    if (Long.compareUnsigned(mantissaA, mantissaB) >= 0) {
      dividendHigh = mantissaA >>> 1;
      dividendLow = mantissaA << 63;
    } else {
      dividendHigh = mantissaA;
      dividendLow = 0;
      exponent--;
    }
    high = divide128(dividendHigh, dividendLow, mantissaB);
    low = remainderBits(dividendLow - high * mantissaB, mantissaB);
  }

  private static long remainderBits(final long remainder, final long divisor) {
    if (remainder == 0) {
      return 0;
    }
    // 2 * remainder against the divisor, without the overflow.
    final int half = Long.compareUnsigned(remainder, divisor - remainder);
    return half < 0 ? 1 : half == 0 ? INTEGER_BIT : INTEGER_BIT | 1;
  }

  /**
   * Unsigned 128 by 64 bits, in two digits of 32 bits each (Knuth, algorithm D).
   *
   * @param divisor normalized (bit 63 set) and greater than the dividend's high half
   */
  static long divide128(final long dividendHigh, final long dividendLow, final long divisor) {
    final long divisorHigh = divisor >>> 32;
    final long divisorLow = divisor & 0xFFFF_FFFFL;
    final long first = digit(dividendHigh, dividendLow >>> 32, divisorHigh, divisorLow);
    final long rest = (dividendHigh << 32 | dividendLow >>> 32) - first * divisor;
    final long second = digit(rest, dividendLow & 0xFFFF_FFFFL, divisorHigh, divisorLow);
    return first << 32 | second;
  }

  private static long digit(
      final long remainder, final long next, final long divisorHigh, final long divisorLow) {
    long quotient = Long.divideUnsigned(remainder, divisorHigh);
    long rest = remainder - quotient * divisorHigh;
    while (quotient > 0xFFFF_FFFFL
        || Long.compareUnsigned(quotient * divisorLow, rest << 32 | next) > 0) {
      quotient--;
      rest += divisorHigh;
      if (rest > 0xFFFF_FFFFL) {
        break;
      }
    }
    return quotient;
  }

  /** Square root, digit by digit: 64 bits, then a sticky bit or two. */
  public void squareRoot(final int exponentA, final long mantissaA) {
    sign = 0;
    exponent = exponentA >> 1;
    // Radicand in [2^126, 2^128) so that the root has exactly 64 bits.
    long radicandHigh = mantissaA;
    long radicandLow = 0;
    if ((exponentA & 1) == 0) {
      radicandLow = mantissaA << 63;
      radicandHigh = mantissaA >>> 1;
    }
    long root = 0;
    // At most 2 * root: only the last step's needs a 65th bit.
    long restHigh = 0;
    long rest = 0;
    for (int i = 0; i < 64; i++) {
      restHigh = rest >>> 62;
      rest = rest << 2 | radicandHigh >>> 62;
      radicandHigh = radicandHigh << 2 | radicandLow >>> 62;
      radicandLow <<= 2;
      final long trialHigh = root >>> 62;
      final long trial = root << 2 | 1;
      root <<= 1;
      if (restHigh > trialHigh
          || (restHigh == trialHigh && Long.compareUnsigned(rest, trial) >= 0)) {
        restHigh -= trialHigh + (Long.compareUnsigned(rest, trial) < 0 ? 1 : 0);
        rest -= trial;
        root |= 1;
      }
    }
    high = root;
    // A root is never halfway between two 65-bit numbers, so bits below the guard are sticky.
    if (rest == 0 && restHigh == 0) {
      low = 0;
    } else {
      low = restHigh != 0 || Long.compareUnsigned(rest, root) > 0 ? INTEGER_BIT | 1 : 1;
    }
  }

  // ---- rounding ----

  private static final int FINITE = 0;
  private static final int INFINITE = 1;

  /** Whether the value, cut to some bits, is to grow by one unit of the last of them. */
  private boolean increments(final int bits) {
    final long cut = bits == 64 ? low : high << bits | (low != 0 ? 1 : 0);
    if (cut == 0) {
      return false;
    }
    return switch (rounding) {
      case NEAREST -> cut < 0 && (cut != INTEGER_BIT || (high >>> (64 - bits) & 1) != 0);
      case DOWN -> sign != 0;
      case UP -> sign == 0;
      default -> false;
    };
  }

  /**
   * Rounds to some bits in a format with the given exponents.
   *
   * @param wrap whether an unmasked overflow or underflow adjusts the exponent (x87 registers)
   */
  private int round(final int bits, final int minimum, final int maximum, final boolean wrap) {
    final long mask = -1L << (64 - bits);
    boolean tiny = false;
    if (exponent < minimum) {
      // Tininess is judged after rounding with no bound on the exponent.
      tiny = exponent < minimum - 1 || (high & mask) != mask || !increments(bits);
      if (tiny && (masks & UNDERFLOW) == 0 && wrap) {
        exponent += WRAP;
        flags |= UNDERFLOW;
        tiny = false;
        if (exponent < minimum) {
          // Massive underflow, of FSCALE alone: out of range even so.
          flags |= PRECISION;
          high = 0;
          low = 0;
          return FINITE;
        }
      } else if (tiny && flushToZero && (masks & UNDERFLOW) != 0) {
        flags |= UNDERFLOW | PRECISION;
        high = 0;
        low = 0;
        return FINITE;
      } else if (tiny && (masks & UNDERFLOW) == 0) {
        // Nothing is delivered, so what is lost is judged with no bound on the exponent either.
        flags |= UNDERFLOW | (((high & ~mask) | low) != 0 ? PRECISION : 0);
        high = 0;
        low = 0;
        return FINITE;
      } else {
        shiftRight(minimum - exponent);
        exponent = minimum;
      }
    }
    final boolean inexact = ((high & ~mask) | low) != 0;
    final boolean up = increments(bits);
    high &= mask;
    low = 0;
    if (up) {
      high += -mask;
      if (high == 0) {
        high = INTEGER_BIT;
        exponent++;
      }
    }
    if (tiny && inexact) {
      flags |= UNDERFLOW;
    }
    if (inexact) {
      flags |= PRECISION;
      roundedUp = up;
    }
    if (exponent <= maximum) {
      return FINITE;
    }
    flags |= OVERFLOW;
    if ((masks & OVERFLOW) == 0) {
      if (wrap) {
        exponent -= WRAP;
        if (exponent > maximum) {
          flags |= PRECISION;
          roundedUp = true;
          return INFINITE;
        }
      }
      return FINITE;
    }
    flags |= PRECISION;
    final boolean infinite =
        rounding == NEAREST || (rounding == UP && sign == 0) || (rounding == DOWN && sign != 0);
    roundedUp = infinite;
    if (infinite) {
      return INFINITE;
    }
    high = mask;
    exponent = maximum;
    return FINITE;
  }

  /** Shifts the 128-bit mantissa right; what is lost stays in the last bit. */
  private void shiftRight(final int count) {
    if (count == 0) {
      return;
    }
    if (count < 64) {
      low = high << (64 - count) | low >>> count | (low << (64 - count) != 0 ? 1 : 0);
      high >>>= count;
    } else if (count < 128) {
      final int rest = count - 64;
      final long lost = low | (rest == 0 ? 0 : high << (64 - rest));
      low = high >>> rest | (lost != 0 ? 1 : 0);
      high = 0;
    } else {
      low = (high | low) != 0 ? 1 : 0;
      high = 0;
    }
  }

  /** Rounds to {@link #precision} into {@link #packedExponent} and {@link #packedMantissa}. */
  public void packExtended() {
    if ((high | low) == 0) {
      packedExponent = sign << 15;
      packedMantissa = 0;
    } else if (round(precision, EXTENDED_MIN, EXTENDED_BIAS, true) == INFINITE) {
      packedExponent = sign << 15 | 0x7FFF;
      packedMantissa = INTEGER_BIT;
    } else {
      packedExponent = sign << 15 | (high < 0 ? exponent + EXTENDED_BIAS & 0x7FFF : 0);
      packedMantissa = high;
    }
  }

  /** Rounds to a double's bits. */
  public long packDouble() {
    final long signBit = (long) sign << 63;
    if ((high | low) == 0) {
      return signBit;
    }
    if (round(53, 1 - DOUBLE_BIAS, DOUBLE_BIAS, false) == INFINITE) {
      return signBit | 0x7FF0_0000_0000_0000L;
    }
    final long field = high < 0 ? exponent + DOUBLE_BIAS & 0x7FF : 0;
    return signBit | field << 52 | (high & Long.MAX_VALUE) >>> 11;
  }

  /** Rounds to the bits of a half-precision number. */
  public int packHalf() {
    final int signBit = sign << 15;
    if ((high | low) == 0) {
      return signBit;
    }
    if (round(11, -14, 15, false) == INFINITE) {
      return signBit | 0x7C00;
    }
    final int field = high < 0 ? exponent + 15 & 0x1F : 0;
    return signBit | field << 10 | ((int) (high >>> 53) & 0x3FF);
  }

  /** Rounds to a float's bits. */
  public int packFloat() {
    final int signBit = sign << 31;
    if ((high | low) == 0) {
      return signBit;
    }
    if (round(24, 1 - FLOAT_BIAS, FLOAT_BIAS, false) == INFINITE) {
      return signBit | 0x7F80_0000;
    }
    final int field = high < 0 ? exponent + FLOAT_BIAS & 0xFF : 0;
    return signBit | field << 23 | ((int) (high >>> 40) & 0x7F_FFFF);
  }

  /**
   * Rounds a finite number that is not zero to an integer by the rounding mode, into {@link #high}
   * (magnitude) with {@link #sign}; sets the precision exception.
   *
   * @return false where the magnitude needs more than 64 bits
   */
  public boolean toInteger(final int signA, final int exponentA, final long mantissaA) {
    sign = signA;
    exponent = exponentA;
    if (exponentA > 63) {
      return false;
    }
    high = mantissaA;
    low = 0;
    shiftRight(63 - exponentA);
    final boolean up = increments(64);
    if (low != 0) {
      flags |= PRECISION;
      roundedUp = up;
      low = 0;
    }
    if (up) {
      high++;
      return high != 0;
    }
    return true;
  }
}

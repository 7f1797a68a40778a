package dev.vmexit.vcpu.soft.x87;

/**
 * The transcendental functions on finite arguments, by series in 128-bit arithmetic: good to about
 * 100 bits, so that a result rounded to 64 bits is the correctly rounded one but in rare ties. (The
 * SDM promises an error below one unit in the last place, Vol. 1, 8.3.10; real processors differ
 * from each other within it.)
 *
 * <p>One instance per vCPU: its numbers are scratch.
 */
final class Elementary {
  private static final Wide ONE = new Wide(0, Long.MIN_VALUE, 0);
  private static final Wide PI = new Wide(1, 0xC90F_DAA2_2168_C234L, 0xC4C6_628B_80DC_1CD1L);
  private static final Wide LN_2 = new Wide(-1, 0xB172_17F7_D1CF_79ABL, 0xC9E3_B398_03F2_F6AFL);
  private static final Wide LOG2_E = new Wide(0, 0xB8AA_3B29_5C17_F0BBL, 0xBE87_FED0_691D_3E89L);

  /** The square root of 2, about: where logarithms change the power of two they start from. */
  private static final long ROOT_2 = 0xB504_F333_F9DE_6484L;

  /** Arc tangents of eighths, 0 to 8. */
  private static final Wide[] ATAN = {
    new Wide(),
    new Wide(-4, 0xFEAD_D4D5_617B_6E32L, 0xC897_989F_3E88_8EF8L),
    new Wide(-3, 0xFADB_AFC9_6406_EB15L, 0x6DC7_9EF5_F7A2_17E6L),
    new Wide(-2, 0xB7B0_CA0F_26F7_8473L, 0x8AA3_2122_DCFE_4483L),
    new Wide(-2, 0xED63_382B_0DDA_7B45L, 0x6FE4_45EC_BC3A_8D03L),
    new Wide(-1, 0x8F00_5D5E_F7F5_9F9BL, 0x5C83_5E16_65C4_3748L),
    new Wide(-1, 0xA4BC_7D19_34F7_0924L, 0x19A8_7F2A_457D_AC9FL),
    new Wide(-1, 0xB805_3E2B_C231_9E73L, 0xCB2D_A552_10A4_443DL),
    new Wide(-1, 0xC90F_DAA2_2168_C234L, 0xC4C6_628B_80DC_1CD1L),
  };

  /** The x87's pi has 66 bits (SDM Vol. 1, 8.3.8); half of it, as a mantissa. */
  private static final long REDUCTION_HIGH = 0xC90F_DAA2_2168_C234L;

  private static final long REDUCTION_LOW = 0xC000_0000_0000_0000L;

  private static final int TRIGONOMETRIC_TERMS = 13;
  private static final int EXPONENTIAL_TERMS = 28;
  private static final int LOGARITHM_TERMS = 21;
  private static final int ARC_TANGENT_TERMS = 12;

  private final Wide square = new Wide();
  private final Wide argument = new Wide();
  private final Wide power = new Wide();

  /** Second number of an operation; a result of {@link #tangent}'s. */
  private final Wide other = new Wide();

  /** The result. */
  final Wide result = new Wide();

  /**
   * Reduces an angle to at most pi/4 into {@link #argument}.
   *
   * @return the quadrant, 0 to 3
   */
  private int reduce(final int signExponent, final long mantissa) {
    argument.setExtended(signExponent, mantissa);
    final int difference = argument.exponent;
    if (difference < -1) {
      return 0;
    }
    // Pi/2 has exponent 0: long division of the mantissas, the remainder exact.
    long restHigh = argument.high;
    long rest = 0;
    long quotient = 0;
    if (difference == -1) {
      rest = restHigh << 63;
      restHigh >>>= 1;
    }
    boolean carry = false;
    for (int i = Math.max(difference, 0); i >= 0; i--) {
      quotient <<= 1;
      if (carry || Wide.compare(restHigh, rest, REDUCTION_HIGH, REDUCTION_LOW) >= 0) {
        restHigh -= REDUCTION_HIGH + (Long.compareUnsigned(rest, REDUCTION_LOW) < 0 ? 1 : 0);
        rest -= REDUCTION_LOW;
        quotient |= 1;
      }
      if (i > 0) {
        carry = restHigh < 0;
        restHigh = restHigh << 1 | rest >>> 63;
        rest <<= 1;
      }
    }
    int sign = argument.sign;
    long negatedHigh = REDUCTION_HIGH - restHigh;
    negatedHigh -= Long.compareUnsigned(REDUCTION_LOW, rest) < 0 ? 1 : 0;
    final long negated = REDUCTION_LOW - rest;
    if (Wide.compare(restHigh, rest, negatedHigh, negated) > 0) {
      restHigh = negatedHigh;
      rest = negated;
      quotient++;
      sign ^= 1;
    }
    final boolean negative = argument.sign != 0;
    // A division by one normalizes.
    argument.set(sign, 0, restHigh, rest).divide(1);
    return (int) (negative ? -quotient : quotient) & 3;
  }

  /** result = sin or cos of {@link #argument}, which is at most pi/4. */
  private void series(final Wide to, final boolean cosine) {
    square.set(argument).multiply(argument);
    to.set(ONE);
    final int last = 2 * TRIGONOMETRIC_TERMS + (cosine ? 0 : 1);
    for (int k = last; k >= 2; k -= 2) {
      to.multiply(square).divide(k * (k - 1)).negate().add(ONE);
    }
    if (!cosine) {
      to.multiply(argument);
    }
  }

  private void circular(final Wide to, final int quadrant, final boolean cosine) {
    series(to, ((quadrant & 1) != 0) != cosine);
    final int turned = cosine ? quadrant + 1 : quadrant;
    if ((turned & 2) != 0) {
      to.negate();
    }
  }

  void sine(final int signExponent, final long mantissa) {
    circular(result, reduce(signExponent, mantissa), false);
  }

  void cosine(final int signExponent, final long mantissa) {
    circular(result, reduce(signExponent, mantissa), true);
  }

  void tangent(final int signExponent, final long mantissa) {
    final int quadrant = reduce(signExponent, mantissa);
    circular(other, quadrant, true);
    circular(result, quadrant, false);
    result.divide(other);
  }

  /** 2^x - 1 for x between -1 and 1. */
  void exponential(final int signExponent, final long mantissa) {
    argument.setExtended(signExponent, mantissa).multiply(LN_2);
    result.set(ONE);
    for (int k = EXPONENTIAL_TERMS; k >= 2; k--) {
      result.multiply(argument).divide(k).add(ONE);
    }
    result.multiply(argument);
  }

  /** y * log2(x), x positive. */
  void logarithm(
      final int exponentX, final long mantissaX, final int exponentY, final long mantissaY) {
    argument.setExtended(exponentX & 0x7FFF, mantissaX);
    final int base = argument.exponent + (Long.compareUnsigned(argument.high, ROOT_2) > 0 ? 1 : 0);
    argument.exponent -= base;
    // (m - 1) / (m + 1)
    other.set(argument).add(ONE);
    argument.add(power.set(ONE).negate()).divide(other);
    finishLogarithm(base, exponentY, mantissaY);
  }

  /** y * log2(1 + x), x above -1. */
  void logarithmOfSum(
      final int exponentX, final long mantissaX, final int exponentY, final long mantissaY) {
    argument.setExtended(exponentX, mantissaX);
    if (argument.exponent >= -2) {
      other.set(argument).add(ONE);
      final int base = other.exponent + (Long.compareUnsigned(other.high, ROOT_2) > 0 ? 1 : 0);
      other.exponent -= base;
      argument.set(other).add(power.set(ONE).negate());
      other.add(ONE);
      argument.divide(other);
      finishLogarithm(base, exponentY, mantissaY);
    } else {
      // x / (2 + x) keeps all bits of a small x.
      other.set(2).add(argument);
      argument.divide(other);
      finishLogarithm(0, exponentY, mantissaY);
    }
  }

  /** result = y * (base + 2 atanh(argument) / ln 2). */
  private void finishLogarithm(final int base, final int exponentY, final long mantissaY) {
    square.set(argument).multiply(argument);
    result.set(0);
    for (int k = 2 * LOGARITHM_TERMS + 1; k >= 1; k -= 2) {
      result.multiply(square).add(power.set(ONE).divide(k));
    }
    result.multiply(argument).scale(1).multiply(LOG2_E).add(power.set(base));
    result.multiply(other.setExtended(exponentY, mantissaY));
  }

  /** The angle of the point (x, y); neither is zero. */
  void arcTangent(
      final int exponentY, final long mantissaY, final int exponentX, final long mantissaX) {
    final int sign = exponentY >>> 15 & 1;
    final boolean left = (exponentX & 0x8000) != 0;
    argument.setExtended(exponentY & 0x7FFF, mantissaY);
    other.setExtended(exponentX & 0x7FFF, mantissaX);
    final boolean steep = argument.compareMagnitude(other) > 0;
    if (steep) {
      power.set(argument);
      argument.set(other);
      other.set(power);
    }
    argument.divide(other);
    arcTangentOfFraction();
    if (steep) {
      result.negate().add(power.set(PI).scale(-1));
    }
    if (left) {
      result.negate().add(PI);
    }
    result.sign = sign;
  }

  /** result = atan({@link #argument}), between 0 and 1. */
  private void arcTangentOfFraction() {
    // The nearest eighth: atan a = atan c + atan((a - c) / (1 + a c)).
    final int fixed =
        argument.exponent < -4 ? 0 : (int) (argument.high >>> (59 - argument.exponent));
    final int eighth = (fixed + 1) >> 1;
    if (eighth != 0) {
      power.set(eighth).scale(-3);
      other.set(argument).multiply(power).add(ONE);
      argument.add(power.negate()).divide(other);
    }
    square.set(argument).multiply(argument).negate();
    result.set(0);
    for (int k = 2 * ARC_TANGENT_TERMS + 1; k >= 1; k -= 2) {
      result.multiply(square).add(power.set(ONE).divide(k));
    }
    result.multiply(argument).add(ATAN[eighth]);
  }

  /**
   * Gives {@link #result} to be rounded, as inexact: processors report that even of the exact
   * logarithm of a power of two.
   */
  void deliver(final SoftFloat f) {
    f.set(result.sign, result.exponent, result.high);
    f.low = result.low | 1;
  }
}

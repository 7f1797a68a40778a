package dev.vmexit.vcpu.soft.x87;

/**
 * A floating-point number with 128 mantissa bits, changed in place: what the transcendental
 * functions compute with. Results are cut, so an operation is off by some units of the last place,
 * sixty bits below the x87's own.
 *
 * <p>The value is {@code (-1)^sign * (high:low) / 2^127 * 2^exponent} with bit 63 of {@link #high}
 * set; zero has both halves zero.
 */
final class Wide {
  int sign;
  int exponent;
  long high;
  long low;

  Wide() {}

  /** A constant. */
  Wide(final int exponent, final long high, final long low) {
    this.exponent = exponent;
    this.high = high;
    this.low = low;
  }

  boolean isZero() {
    return (high | low) == 0;
  }

  Wide set(final Wide other) {
    return set(other.sign, other.exponent, other.high, other.low);
  }

  Wide set(final int newSign, final int newExponent, final long newHigh, final long newLow) {
    sign = newSign;
    exponent = newExponent;
    high = newHigh;
    low = newLow;
    return this;
  }

  /** A small integer. */
  Wide set(final int value) {
    if (value == 0) {
      return set(0, 0, 0, 0);
    }
    final long magnitude = Math.abs((long) value);
    final int shift = Long.numberOfLeadingZeros(magnitude);
    return set(value < 0 ? 1 : 0, 63 - shift, magnitude << shift, 0);
  }

  /** An extended number that is finite. */
  Wide setExtended(final int signExponent, final long mantissa) {
    if (mantissa == 0) {
      return set(signExponent >>> 15 & 1, 0, 0, 0);
    }
    return set(
        signExponent >>> 15 & 1,
        SoftFloat.extendedExponent(signExponent, mantissa),
        SoftFloat.normalize(mantissa),
        0);
  }

  Wide negate() {
    sign ^= 1;
    return this;
  }

  Wide scale(final int by) {
    exponent += by;
    return this;
  }

  Wide multiply(final Wide b) {
    sign ^= b.sign;
    if (isZero() || b.isZero()) {
      return set(sign, 0, 0, 0);
    }
    final long crossA = Math.unsignedMultiplyHigh(high, b.low);
    final long crossB = Math.unsignedMultiplyHigh(low, b.high);
    long top = Math.unsignedMultiplyHigh(high, b.high);
    long bottom = high * b.high;
    bottom += crossA;
    top += Long.compareUnsigned(bottom, crossA) < 0 ? 1 : 0;
    bottom += crossB;
    top += Long.compareUnsigned(bottom, crossB) < 0 ? 1 : 0;
    exponent += b.exponent + 1;
    high = top;
    low = bottom;
    return normalize();
  }

  /** Divides by a small positive integer. */
  Wide divide(final int divisor) {
    long rest = 0;
    long newHigh = 0;
    long newLow = 0;
    for (int shift = 96; shift >= 0; shift -= 32) {
      final long digit = (shift >= 64 ? high >>> (shift - 64) : low >>> shift) & 0xFFFF_FFFFL;
      final long dividend = rest << 32 | digit;
      final long quotient = dividend / divisor;
      rest = dividend - quotient * divisor;
      if (shift >= 64) {
        newHigh |= quotient << (shift - 64);
      } else {
        newLow |= quotient << shift;
      }
    }
    high = newHigh;
    low = newLow;
    return normalize();
  }

  /** Divides by a number that is not zero, bit by bit. */
  Wide divide(final Wide b) {
    sign ^= b.sign;
    if (isZero()) {
      return this;
    }
    exponent -= b.exponent;
    long restHigh = high;
    long rest = low;
    long newHigh = 0;
    long newLow = 0;
    boolean carry = false;
    for (int i = 0; i < 128; i++) {
      newHigh = newHigh << 1 | newLow >>> 63;
      newLow <<= 1;
      if (carry || compare(restHigh, rest, b.high, b.low) >= 0) {
        restHigh -= b.high + (Long.compareUnsigned(rest, b.low) < 0 ? 1 : 0);
        rest -= b.low;
        newLow |= 1;
      }
      carry = restHigh < 0;
      restHigh = restHigh << 1 | rest >>> 63;
      rest <<= 1;
    }
    high = newHigh;
    low = newLow;
    return normalize();
  }

  Wide add(final Wide b) {
    if (b.isZero()) {
      return this;
    }
    if (isZero()) {
      return set(b);
    }
    final boolean swap =
        exponent < b.exponent || (exponent == b.exponent && compare(high, low, b.high, b.low) < 0);
    final Wide big = swap ? b : this;
    final Wide small = swap ? this : b;
    final int shift = big.exponent - small.exponent;
    final long smallHigh = shift < 64 ? small.high >>> shift : 0;
    final long smallLow;
    if (shift == 0) {
      smallLow = small.low;
    } else if (shift < 64) {
      smallLow = small.low >>> shift | small.high << (64 - shift);
    } else {
      smallLow = shift < 128 ? small.high >>> (shift - 64) : 0;
    }
    final boolean subtracts = sign != b.sign;
    final int newSign = big.sign;
    final int newExponent = big.exponent;
    final long bigHigh = big.high;
    final long bigLow = big.low;
    sign = newSign;
    exponent = newExponent;
    if (subtracts) {
      low = bigLow - smallLow;
      high = bigHigh - smallHigh - (Long.compareUnsigned(bigLow, smallLow) < 0 ? 1 : 0);
      return normalize();
    }
    low = bigLow + smallLow;
    final long carry = Long.compareUnsigned(low, bigLow) < 0 ? 1 : 0;
    high = bigHigh + smallHigh + carry;
    final boolean overflow =
        carry != 0
            ? Long.compareUnsigned(high, bigHigh) <= 0
            : Long.compareUnsigned(high, bigHigh) < 0;
    if (overflow) {
      low = high << 63 | low >>> 1;
      high = high >>> 1 | Long.MIN_VALUE;
      exponent++;
    }
    return this;
  }

  private Wide normalize() {
    if (high == 0) {
      if (low == 0) {
        exponent = 0;
        return this;
      }
      high = low;
      low = 0;
      exponent -= 64;
    }
    final int shift = Long.numberOfLeadingZeros(high);
    if (shift != 0) {
      high = high << shift | low >>> (64 - shift);
      low <<= shift;
      exponent -= shift;
    }
    return this;
  }

  static int compare(final long highA, final long lowA, final long highB, final long lowB) {
    final int order = Long.compareUnsigned(highA, highB);
    return order != 0 ? order : Long.compareUnsigned(lowA, lowB);
  }

  /** Compares magnitudes of numbers that are not zero. */
  int compareMagnitude(final Wide b) {
    return exponent != b.exponent
        ? Integer.compare(exponent, b.exponent)
        : compare(high, low, b.high, b.low);
  }
}

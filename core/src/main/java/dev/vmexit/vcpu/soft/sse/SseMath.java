package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.vcpu.soft.x87.SoftFloat;

/**
 * Single- and double-precision arithmetic under MXCSR: exact, with every flag (SDM Vol. 1, 11.5).
 *
 * <p>Floats travel as their bits. Exceptions are collected in {@link SoftFloat#flags}. The NaN
 * rules are those of SSE, which are not the x87's: the first operand wins, and the default NaN is
 * negative (SDM Vol. 1, table 4-7).
 *
 * <p>Long, because floats and doubles each have their copy of every rule: Java has no way to share
 * it without boxing.
 */
final class SseMath {
  // What an instruction does; chosen when it is bound.
  static final int ADD = 0;
  static final int MULTIPLY = 1;
  static final int SUBTRACT = 2;
  static final int MIN = 3;
  static final int DIVIDE = 4;
  static final int MAX = 5;
  static final int SQUARE_ROOT = 6;

  static final long DOUBLE_SIGN = 1L << 63;
  static final long DOUBLE_INFINITY = 0x7FF0_0000_0000_0000L;
  private static final long DOUBLE_QUIET = 1L << 51;
  static final long DOUBLE_INDEFINITE = 0xFFF8_0000_0000_0000L;
  static final int FLOAT_SIGN = 1 << 31;
  static final int FLOAT_INFINITY = 0x7F80_0000;
  private static final int FLOAT_QUIET = 1 << 22;
  static final int FLOAT_INDEFINITE = 0xFFC0_0000;

  private SseMath() {}

  // ---- classes ----

  static boolean isNan(final long a) {
    return (a & Long.MAX_VALUE) > DOUBLE_INFINITY;
  }

  static boolean isNan(final int a) {
    return (a & Integer.MAX_VALUE) > FLOAT_INFINITY;
  }

  static boolean isSignalling(final long a) {
    return isNan(a) && (a & DOUBLE_QUIET) == 0;
  }

  static boolean isSignalling(final int a) {
    return isNan(a) && (a & FLOAT_QUIET) == 0;
  }

  static boolean isZero(final long a) {
    return a << 1 == 0;
  }

  static boolean isZero(final int a) {
    return a << 1 == 0;
  }

  static boolean isInfinite(final long a) {
    return (a & Long.MAX_VALUE) == DOUBLE_INFINITY;
  }

  static boolean isInfinite(final int a) {
    return (a & Integer.MAX_VALUE) == FLOAT_INFINITY;
  }

  static boolean isDenormal(final long a) {
    return (a & DOUBLE_INFINITY) == 0 && a << 1 != 0;
  }

  static boolean isDenormal(final int a) {
    return (a & FLOAT_INFINITY) == 0 && a << 1 != 0;
  }

  /** An operand as DAZ has it. */
  static long operand(final SoftFloat f, final long a) {
    return f.denormalsAreZeros && isDenormal(a) ? a & DOUBLE_SIGN : a;
  }

  static int operand(final SoftFloat f, final int a) {
    return f.denormalsAreZeros && isDenormal(a) ? a & FLOAT_SIGN : a;
  }

  static void denormals(final SoftFloat f, final long a, final long b) {
    if (isDenormal(a) || isDenormal(b)) {
      f.flags |= SoftFloat.DENORMAL;
    }
  }

  static void denormals(final SoftFloat f, final int a, final int b) {
    if (isDenormal(a) || isDenormal(b)) {
      f.flags |= SoftFloat.DENORMAL;
    }
  }

  /** The NaN that two operands, one of them a NaN, give. */
  static long propagate(final SoftFloat f, final long a, final long b) {
    if (isSignalling(a) || isSignalling(b)) {
      f.flags |= SoftFloat.INVALID;
    }
    return (isNan(a) ? a : b) | DOUBLE_QUIET;
  }

  static int propagate(final SoftFloat f, final int a, final int b) {
    if (isSignalling(a) || isSignalling(b)) {
      f.flags |= SoftFloat.INVALID;
    }
    return (isNan(a) ? a : b) | FLOAT_QUIET;
  }

  static long invalid(final SoftFloat f) {
    f.flags |= SoftFloat.INVALID;
    return DOUBLE_INDEFINITE;
  }

  static int invalidFloat(final SoftFloat f) {
    f.flags |= SoftFloat.INVALID;
    return FLOAT_INDEFINITE;
  }

  private static int signOf(final long a) {
    return (int) (a >>> 63);
  }

  private static int signOf(final int a) {
    return a >>> 31;
  }

  // ---- arithmetic on doubles ----

  /** The operation on two operands; a square root takes the second. */
  static long compute(final SoftFloat f, final int operation, final long first, final long second) {
    final long a = operand(f, first);
    final long b = operand(f, second);
    return switch (operation) {
      case ADD -> add(f, a, b, b);
      case SUBTRACT -> isNan(b) ? propagate(f, a, b) : add(f, a, b ^ DOUBLE_SIGN, b);
      case MULTIPLY -> multiply(f, a, b);
      case DIVIDE -> divide(f, a, b);
      case SQUARE_ROOT -> squareRoot(f, b);
      default -> extreme(f, a, b, operation == MIN);
    };
  }

  private static long add(final SoftFloat f, final long a, final long b, final long unsignedB) {
    if (isNan(a) || isNan(b)) {
      return propagate(f, a, unsignedB);
    }
    if (isInfinite(a) && isInfinite(b) && a != b) {
      return invalid(f);
    }
    denormals(f, a, b);
    if (isInfinite(a) || isInfinite(b)) {
      return isInfinite(a) ? a : b;
    }
    if (isZero(a) && isZero(b)) {
      return a == b ? a : f.rounding == SoftFloat.DOWN ? DOUBLE_SIGN : 0;
    }
    if (isZero(a) || isZero(b)) {
      unpack(f, isZero(a) ? b : a);
    } else {
      f.add(
          signOf(a),
          SoftFloat.doubleExponent(a),
          SoftFloat.normalize(SoftFloat.doubleMantissa(a)),
          signOf(b),
          SoftFloat.doubleExponent(b),
          SoftFloat.normalize(SoftFloat.doubleMantissa(b)));
    }
    return f.packDouble();
  }

  private static long multiply(final SoftFloat f, final long a, final long b) {
    if (isNan(a) || isNan(b)) {
      return propagate(f, a, b);
    }
    if ((isInfinite(a) && isZero(b)) || (isZero(a) && isInfinite(b))) {
      return invalid(f);
    }
    denormals(f, a, b);
    final long sign = (a ^ b) & DOUBLE_SIGN;
    if (isInfinite(a) || isInfinite(b)) {
      return sign | DOUBLE_INFINITY;
    }
    if (isZero(a) || isZero(b)) {
      return sign;
    }
    f.multiply(
        signOf(sign),
        SoftFloat.doubleExponent(a),
        SoftFloat.normalize(SoftFloat.doubleMantissa(a)),
        SoftFloat.doubleExponent(b),
        SoftFloat.normalize(SoftFloat.doubleMantissa(b)));
    return f.packDouble();
  }

  private static long divide(final SoftFloat f, final long a, final long b) {
    if (isNan(a) || isNan(b)) {
      return propagate(f, a, b);
    }
    if ((isInfinite(a) && isInfinite(b)) || (isZero(a) && isZero(b))) {
      return invalid(f);
    }
    final long sign = (a ^ b) & DOUBLE_SIGN;
    if (isZero(b) && !isInfinite(a)) {
      f.flags |= SoftFloat.ZERO_DIVIDE;
      return sign | DOUBLE_INFINITY;
    }
    denormals(f, a, b);
    if (isInfinite(a)) {
      return sign | DOUBLE_INFINITY;
    }
    if (isZero(a) || isInfinite(b)) {
      return sign;
    }
    f.divide(
        signOf(sign),
        SoftFloat.doubleExponent(a),
        SoftFloat.normalize(SoftFloat.doubleMantissa(a)),
        SoftFloat.doubleExponent(b),
        SoftFloat.normalize(SoftFloat.doubleMantissa(b)));
    return f.packDouble();
  }

  private static long squareRoot(final SoftFloat f, final long a) {
    if (isNan(a)) {
      return propagate(f, a, a);
    }
    if (isZero(a)) {
      return a;
    }
    if (a < 0) {
      return invalid(f);
    }
    if (isInfinite(a)) {
      return a;
    }
    denormals(f, a, a);
    f.squareRoot(SoftFloat.doubleExponent(a), SoftFloat.normalize(SoftFloat.doubleMantissa(a)));
    return f.packDouble();
  }

  /** MIN and MAX: the second operand whenever the first is not beyond it. */
  private static long extreme(
      final SoftFloat f, final long a, final long b, final boolean minimum) {
    if (isNan(a) || isNan(b)) {
      f.flags |= SoftFloat.INVALID;
      return b;
    }
    denormals(f, a, b);
    final double x = Double.longBitsToDouble(a);
    final double y = Double.longBitsToDouble(b);
    return (minimum ? x < y : x > y) ? a : b;
  }

  // ---- arithmetic on floats ----

  /** The operation on two operands; a square root takes the second. */
  static int compute(final SoftFloat f, final int operation, final int first, final int second) {
    final int a = operand(f, first);
    final int b = operand(f, second);
    return switch (operation) {
      case ADD -> add(f, a, b, b);
      case SUBTRACT -> isNan(b) ? propagate(f, a, b) : add(f, a, b ^ FLOAT_SIGN, b);
      case MULTIPLY -> multiply(f, a, b);
      case DIVIDE -> divide(f, a, b);
      case SQUARE_ROOT -> squareRoot(f, b);
      default -> extreme(f, a, b, operation == MIN);
    };
  }

  private static int add(final SoftFloat f, final int a, final int b, final int unsignedB) {
    if (isNan(a) || isNan(b)) {
      return propagate(f, a, unsignedB);
    }
    if (isInfinite(a) && isInfinite(b) && a != b) {
      return invalidFloat(f);
    }
    denormals(f, a, b);
    if (isInfinite(a) || isInfinite(b)) {
      return isInfinite(a) ? a : b;
    }
    if (isZero(a) && isZero(b)) {
      return a == b ? a : f.rounding == SoftFloat.DOWN ? FLOAT_SIGN : 0;
    }
    if (isZero(a) || isZero(b)) {
      unpack(f, isZero(a) ? b : a);
    } else {
      f.add(
          signOf(a),
          SoftFloat.floatExponent(a),
          SoftFloat.normalize(SoftFloat.floatMantissa(a)),
          signOf(b),
          SoftFloat.floatExponent(b),
          SoftFloat.normalize(SoftFloat.floatMantissa(b)));
    }
    return f.packFloat();
  }

  private static int multiply(final SoftFloat f, final int a, final int b) {
    if (isNan(a) || isNan(b)) {
      return propagate(f, a, b);
    }
    if ((isInfinite(a) && isZero(b)) || (isZero(a) && isInfinite(b))) {
      return invalidFloat(f);
    }
    denormals(f, a, b);
    final int sign = (a ^ b) & FLOAT_SIGN;
    if (isInfinite(a) || isInfinite(b)) {
      return sign | FLOAT_INFINITY;
    }
    if (isZero(a) || isZero(b)) {
      return sign;
    }
    f.multiply(
        signOf(sign),
        SoftFloat.floatExponent(a),
        SoftFloat.normalize(SoftFloat.floatMantissa(a)),
        SoftFloat.floatExponent(b),
        SoftFloat.normalize(SoftFloat.floatMantissa(b)));
    return f.packFloat();
  }

  private static int divide(final SoftFloat f, final int a, final int b) {
    if (isNan(a) || isNan(b)) {
      return propagate(f, a, b);
    }
    if ((isInfinite(a) && isInfinite(b)) || (isZero(a) && isZero(b))) {
      return invalidFloat(f);
    }
    final int sign = (a ^ b) & FLOAT_SIGN;
    if (isZero(b) && !isInfinite(a)) {
      f.flags |= SoftFloat.ZERO_DIVIDE;
      return sign | FLOAT_INFINITY;
    }
    denormals(f, a, b);
    if (isInfinite(a)) {
      return sign | FLOAT_INFINITY;
    }
    if (isZero(a) || isInfinite(b)) {
      return sign;
    }
    f.divide(
        signOf(sign),
        SoftFloat.floatExponent(a),
        SoftFloat.normalize(SoftFloat.floatMantissa(a)),
        SoftFloat.floatExponent(b),
        SoftFloat.normalize(SoftFloat.floatMantissa(b)));
    return f.packFloat();
  }

  private static int squareRoot(final SoftFloat f, final int a) {
    if (isNan(a)) {
      return propagate(f, a, a);
    }
    if (isZero(a)) {
      return a;
    }
    if (a < 0) {
      return invalidFloat(f);
    }
    if (isInfinite(a)) {
      return a;
    }
    denormals(f, a, a);
    f.squareRoot(SoftFloat.floatExponent(a), SoftFloat.normalize(SoftFloat.floatMantissa(a)));
    return f.packFloat();
  }

  /** MIN and MAX: the second operand whenever the first is not beyond it. */
  private static int extreme(final SoftFloat f, final int a, final int b, final boolean minimum) {
    if (isNan(a) || isNan(b)) {
      f.flags |= SoftFloat.INVALID;
      return b;
    }
    denormals(f, a, b);
    final float x = Float.intBitsToFloat(a);
    final float y = Float.intBitsToFloat(b);
    return (minimum ? x < y : x > y) ? a : b;
  }

  // ---- comparisons ----

  static final int LESS = -1;
  static final int EQUAL = 0;
  static final int GREATER = 1;
  static final int UNORDERED = 2;

  /**
   * Compares.
   *
   * @param quiet whether a quiet NaN is no invalid operation
   */
  static int compare(final SoftFloat f, final long first, final long second, final boolean quiet) {
    final long a = operand(f, first);
    final long b = operand(f, second);
    if (isNan(a) || isNan(b)) {
      if (!quiet || isSignalling(a) || isSignalling(b)) {
        f.flags |= SoftFloat.INVALID;
      }
      return UNORDERED;
    }
    denormals(f, a, b);
    final double x = Double.longBitsToDouble(a);
    final double y = Double.longBitsToDouble(b);
    return x < y ? LESS : x > y ? GREATER : EQUAL;
  }

  static int compare(final SoftFloat f, final int first, final int second, final boolean quiet) {
    final int a = operand(f, first);
    final int b = operand(f, second);
    if (isNan(a) || isNan(b)) {
      if (!quiet || isSignalling(a) || isSignalling(b)) {
        f.flags |= SoftFloat.INVALID;
      }
      return UNORDERED;
    }
    denormals(f, a, b);
    final float x = Float.intBitsToFloat(a);
    final float y = Float.intBitsToFloat(b);
    return x < y ? LESS : x > y ? GREATER : EQUAL;
  }

  /** Whether CMPxx's predicate leaves quiet NaNs alone: LT, LE do not; bit 4 turns it round. */
  private static boolean isQuiet(final int predicate) {
    return ((predicate & 3) == 0 || (predicate & 3) == 3) == (predicate < 16);
  }

  private static boolean holds(final int predicate, final int order) {
    final boolean other = (predicate & 8) != 0;
    final boolean value =
        switch (predicate & 3) {
          case 0 -> order == EQUAL || other && order == UNORDERED;
          case 1 -> order == LESS || other && order == UNORDERED;
          case 2 -> order == LESS || order == EQUAL || other && order == UNORDERED;
          default -> order == UNORDERED && !other;
        };
    return value == ((predicate & 4) == 0);
  }

  /** CMPPD, CMPSD: all ones or zeros. */
  static long compareMask(final SoftFloat f, final int predicate, final long a, final long b) {
    return holds(predicate, compare(f, a, b, isQuiet(predicate))) ? -1 : 0;
  }

  static int compareMask(final SoftFloat f, final int predicate, final int a, final int b) {
    return holds(predicate, compare(f, a, b, isQuiet(predicate))) ? -1 : 0;
  }

  // ---- conversions ----

  static long widen(final SoftFloat f, final int source) {
    final int a = operand(f, source);
    final long sign = (a & 0x8000_0000L) << 32;
    if (isNan(a)) {
      return sign | DOUBLE_INFINITY | (propagate(f, a, a) & 0x7F_FFFFL) << 29;
    }
    if (isDenormal(a)) {
      f.flags |= SoftFloat.DENORMAL;
    }
    return Double.doubleToRawLongBits(Float.intBitsToFloat(a));
  }

  static int narrow(final SoftFloat f, final long source) {
    final long a = operand(f, source);
    final int sign = (int) (a >>> 32) & FLOAT_SIGN;
    if (isNan(a)) {
      return sign | FLOAT_INFINITY | ((int) (propagate(f, a, a) >>> 29) & 0x7F_FFFF);
    }
    if (isInfinite(a)) {
      return sign | FLOAT_INFINITY;
    }
    if (isZero(a)) {
      return sign;
    }
    if (isDenormal(a)) {
      f.flags |= SoftFloat.DENORMAL;
    }
    unpack(f, a);
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

  static void unpack(final SoftFloat f, final long a) {
    f.set(
        (int) (a >>> 63),
        SoftFloat.doubleExponent(a),
        SoftFloat.normalize(SoftFloat.doubleMantissa(a)));
  }

  static void unpack(final SoftFloat f, final int a) {
    f.set(a >>> 31, SoftFloat.floatExponent(a), SoftFloat.normalize(SoftFloat.floatMantissa(a)));
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
    final long a = operand(f, source);
    if (isZero(a)) {
      return 0;
    }
    final int rounding = f.rounding;
    if (truncate) {
      f.rounding = SoftFloat.ZERO;
    }
    final boolean finite = (a & DOUBLE_INFINITY) != DOUBLE_INFINITY;
    if (finite) {
      unpack(f, a);
    }
    final long result = roundToInteger(f, finite, bytes);
    f.rounding = rounding;
    return result;
  }

  static long toInteger(
      final SoftFloat f, final int source, final int bytes, final boolean truncate) {
    final int a = operand(f, source);
    if (isZero(a)) {
      return 0;
    }
    final int rounding = f.rounding;
    if (truncate) {
      f.rounding = SoftFloat.ZERO;
    }
    final boolean finite = (a & FLOAT_INFINITY) != FLOAT_INFINITY;
    if (finite) {
      unpack(f, a);
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
    final long a = operand(f, source);
    if (isNan(a)) {
      return propagate(f, a, a);
    }
    final int exponent = (int) (a >>> 52) & 0x7FF;
    if (isZero(a) || exponent >= 1023 + 52) {
      return a;
    }
    unpack(f, a);
    f.toInteger(f.sign, f.exponent, f.high);
    return (a & DOUBLE_SIGN) | Double.doubleToRawLongBits((double) f.high);
  }

  /** ROUNDPS, ROUNDSS. */
  static int roundToIntegral(final SoftFloat f, final int source) {
    final int a = operand(f, source);
    if (isNan(a)) {
      return propagate(f, a, a);
    }
    final int exponent = a >>> 23 & 0xFF;
    if (isZero(a) || exponent >= 127 + 23) {
      return a;
    }
    unpack(f, a);
    f.toInteger(f.sign, f.exponent, f.high);
    return (a & FLOAT_SIGN) | Float.floatToRawIntBits((float) f.high);
  }

  /** RCPPS: within 1.5 * 2^-12, denormals are zeros, no exceptions, MXCSR ignored. */
  static int reciprocal(final int a) {
    if (isNan(a)) {
      return a | FLOAT_QUIET;
    }
    if (isZero(a) || isDenormal(a)) {
      return (a & FLOAT_SIGN) | FLOAT_INFINITY;
    }
    final int result = Float.floatToRawIntBits(1.0f / Float.intBitsToFloat(a));
    return isDenormal(result) ? result & FLOAT_SIGN : result;
  }

  /** RSQRTPS: as {@link #reciprocal}. */
  static int reciprocalRoot(final int a) {
    if (isNan(a)) {
      return a | FLOAT_QUIET;
    }
    if (isZero(a) || isDenormal(a)) {
      return (a & FLOAT_SIGN) | FLOAT_INFINITY;
    }
    if (a < 0) {
      return FLOAT_INDEFINITE;
    }
    return Float.floatToRawIntBits((float) (1.0 / Math.sqrt(Float.intBitsToFloat(a))));
  }
}

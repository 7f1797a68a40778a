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
  static final long DOUBLE_QUIET = 1L << 51;
  static final long DOUBLE_INDEFINITE = 0xFFF8_0000_0000_0000L;
  static final int FLOAT_SIGN = 1 << 31;
  static final int FLOAT_INFINITY = 0x7F80_0000;
  static final int FLOAT_QUIET = 1 << 22;
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

  static void unpack(final SoftFloat f, final long a) {
    f.set(
        (int) (a >>> 63),
        SoftFloat.doubleExponent(a),
        SoftFloat.normalize(SoftFloat.doubleMantissa(a)));
  }

  static void unpack(final SoftFloat f, final int a) {
    f.set(a >>> 31, SoftFloat.floatExponent(a), SoftFloat.normalize(SoftFloat.floatMantissa(a)));
  }
}

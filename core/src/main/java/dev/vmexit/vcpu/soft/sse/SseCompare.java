package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.vcpu.soft.x87.SoftFloat;

/** Comparisons of floats and doubles under MXCSR, as {@link SseMath}. */
final class SseCompare {
  static final int LESS = -1;
  static final int EQUAL = 0;
  static final int GREATER = 1;
  static final int UNORDERED = 2;

  private SseCompare() {}

  /**
   * Compares.
   *
   * @param quiet whether a quiet NaN is no invalid operation
   */
  static int compare(final SoftFloat f, final long first, final long second, final boolean quiet) {
    final long a = SseMath.operand(f, first);
    final long b = SseMath.operand(f, second);
    if (SseMath.isNan(a) || SseMath.isNan(b)) {
      if (!quiet || SseMath.isSignalling(a) || SseMath.isSignalling(b)) {
        f.flags |= SoftFloat.INVALID;
      }
      return UNORDERED;
    }
    SseMath.denormals(f, a, b);
    final double x = Double.longBitsToDouble(a);
    final double y = Double.longBitsToDouble(b);
    return x < y ? LESS : x > y ? GREATER : EQUAL;
  }

  static int compare(final SoftFloat f, final int first, final int second, final boolean quiet) {
    final int a = SseMath.operand(f, first);
    final int b = SseMath.operand(f, second);
    if (SseMath.isNan(a) || SseMath.isNan(b)) {
      if (!quiet || SseMath.isSignalling(a) || SseMath.isSignalling(b)) {
        f.flags |= SoftFloat.INVALID;
      }
      return UNORDERED;
    }
    SseMath.denormals(f, a, b);
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
}

package dev.vmexit.vcpu.soft;

import java.util.SplittableRandom;

/** Random operands that are often at an edge: of a format, of its rounding, of its range. */
final class FpuOperands {
  private static final long[] DOUBLES = {
    0x0000_0000_0000_0000L, // zero
    0x0000_0000_0000_0001L, // smallest denormal
    0x000F_FFFF_FFFF_FFFFL, // largest denormal
    0x0010_0000_0000_0000L, // smallest normal
    0x0010_0000_0000_0001L,
    0x001F_FFFF_FFFF_FFFFL,
    0x3FEF_FFFF_FFFF_FFFFL,
    0x3FF0_0000_0000_0000L, // one
    0x3FF0_0000_0000_0001L,
    0x3FE0_0000_0000_0000L, // a half
    0x4000_0000_0000_0000L,
    0x41DF_FFFF_FFC0_0000L, // 2^31 - 1
    0x41DF_FFFF_FFE0_0000L, // 2^31 - 0.5
    0x41E0_0000_0000_0000L, // 2^31
    0x41E0_0000_0010_0000L, // 2^31 + 0.5
    0x43E0_0000_0000_0000L, // 2^63
    0x43DF_FFFF_FFFF_FFFFL,
    0x7FEF_FFFF_FFFF_FFFFL, // largest
    0x7FF0_0000_0000_0000L, // infinity
    0x7FF0_0000_0000_0001L, // signalling NaNs
    0x7FF4_0000_0000_0000L,
    0x7FF8_0000_0000_0000L, // quiet NaNs
    0x7FF8_0000_DEAD_BEEFL,
    0x380F_FFFF_FFFF_FFFFL, // around a float's smallest normal
    0x3810_0000_0000_0000L,
    0x36A0_0000_0000_0000L, // a float's smallest denormal
    0x47EF_FFFF_E000_0000L, // a float's largest
    0x47EF_FFFF_F000_0000L,
  };

  private static final int[] FLOATS = {
    0x0000_0000, 0x0000_0001, 0x007F_FFFF, 0x0080_0000, 0x0080_0001, 0x00FF_FFFF, 0x3F7F_FFFF,
    0x3F80_0000, 0x3F80_0001, 0x3F00_0000, 0x4000_0000, 0x4EFF_FFFF, 0x4F00_0000, 0x5EFF_FFFF,
    0x5F00_0000, 0x7F7F_FFFF, 0x7F80_0000, 0x7F80_0001, 0x7FA0_0000, 0x7FC0_0000, 0x7FC0_BEEF,
  };

  private static final int[] EXPONENTS = {
    0, 1, 2, 0x3FFE, 0x3FFF, 0x4000, 0x401E, 0x403D, 0x403E, 0x403F, 0x7FFE, 0x7FFF, 0x3C00, 0x3C01,
    0x3BCC, 0x43FE, 0x43FF, 0x3F80, 0x3F81, 0x3F69, 0x407E, 0x407F
  };

  private final SplittableRandom random;

  FpuOperands(final SplittableRandom random) {
    this.random = random;
  }

  private long bits() {
    final long value = random.nextLong();
    return switch (random.nextInt(6)) {
      case 0 -> value & random.nextLong() & random.nextLong();
      case 1 -> value | random.nextLong() | random.nextLong();
      case 2 -> -1L << random.nextInt(64);
      case 3 -> (1L << random.nextInt(64)) - random.nextInt(2);
      default -> value;
    };
  }

  long doubleBits() {
    final long sign = random.nextLong() & Long.MIN_VALUE;
    return switch (random.nextInt(8)) {
      case 0, 1 -> sign | DOUBLES[random.nextInt(DOUBLES.length)];
      case 2 -> sign | (bits() & 0xF_FFFF_FFFF_FFFFL);
      case 3 -> sign | (bits() & 0xF_FFFF_FFFF_FFFFL) | (long) random.nextInt(0x7FF) << 52;
      case 4 -> sign | (bits() & 0xF_FFFF_FFFF_FFFFL) | (1023L - 40 + random.nextInt(105)) << 52;
      case 5 -> sign | (bits() & 0xF_FFFF_FFFF_FFFFL) | (long) random.nextInt(60) << 52;
      case 6 -> Double.doubleToRawLongBits((random.nextInt(200) - 100) / 2.0);
      default -> sign | (bits() & 0xF_FFFF_FFFF_FFFFL) | (1023L - 130 + random.nextInt(260)) << 52;
    };
  }

  int floatBits() {
    final int sign = random.nextInt() & Integer.MIN_VALUE;
    final int fraction = (int) bits() & 0x7F_FFFF;
    return switch (random.nextInt(7)) {
      case 0, 1 -> sign | FLOATS[random.nextInt(FLOATS.length)];
      case 2 -> sign | fraction;
      case 3 -> sign | fraction | random.nextInt(255) << 23;
      case 4 -> sign | fraction | (127 - 20 + random.nextInt(55)) << 23;
      case 5 -> sign | fraction | random.nextInt(30) << 23;
      default -> Float.floatToRawIntBits((random.nextInt(200) - 100) / 2.0f);
    };
  }

  /** Eight bytes of packed integers, two floats or a double. */
  long packed() {
    return switch (random.nextInt(4)) {
      case 0 -> bits();
      case 1 -> (random.nextLong() & 0x8181_7F7F_0180_FF00L) | (bits() & 0x0F0FL);
      case 2 -> (floatBits() & 0xFFFF_FFFFL) | (long) floatBits() << 32;
      default -> doubleBits();
    };
  }

  /** Eight bytes of strings with few letters, many zeros among them. */
  long letters() {
    final long value = random.nextLong();
    return value & random.nextLong() & 0x0303_0303_0303_0303L;
  }

  int extendedExponent() {
    final int sign = random.nextInt() & 0x8000;
    return switch (random.nextInt(5)) {
      case 0 -> sign | EXPONENTS[random.nextInt(EXPONENTS.length)];
      case 1 -> sign | random.nextInt(0x8000);
      case 2 -> sign | 0x3FFF - 70 + random.nextInt(140);
      case 3 -> sign | random.nextInt(70);
      default -> sign | 0x3FFF - 1030 + random.nextInt(2060);
    };
  }

  /** Mantissa for an exponent: with its integer bit, but for one in thirty. */
  long extendedMantissa(final int exponent) {
    if (random.nextInt(30) == 0) {
      return bits();
    }
    if ((exponent & 0x7FFF) == 0) {
      return random.nextInt(4) == 0 ? 0 : bits() & Long.MAX_VALUE;
    }
    if ((exponent & 0x7FFF) == 0x7FFF && random.nextInt(3) == 0) {
      return Long.MIN_VALUE;
    }
    return switch (random.nextInt(4)) {
      case 0 -> Long.MIN_VALUE;
      case 1 -> (bits() & -1L << 11) | Long.MIN_VALUE;
      default -> bits() | Long.MIN_VALUE;
    };
  }
}

package dev.vmexit.vcpu.soft;

import java.util.random.RandomGenerator;

/** Numbers that floating-point instructions find special, and some that they do not. */
final class FloatValues {
  private static final int[] SINGLES = {
    0,
    0x8000_0000,
    0x3F80_0000,
    0xBF80_0000,
    0x7F80_0000,
    0xFF80_0000,
    0x7FC0_0000,
    0xFFC0_1234,
    0x7F80_0001,
    0xFFA0_0000,
    1,
    0x8000_0001,
    0x007F_FFFF,
    0x0080_0000,
    0x7F7F_FFFF,
    0x4F00_0000,
    0xCF00_0000,
    0x5F00_0000,
    0x4EFF_FFFF,
    0x3F00_0000
  };

  private static final long[] DOUBLES = {
    0,
    Long.MIN_VALUE,
    0x3FF0_0000_0000_0000L,
    0xBFF0_0000_0000_0000L,
    0x7FF0_0000_0000_0000L,
    0xFFF0_0000_0000_0000L,
    0x7FF8_0000_0000_0000L,
    0xFFF8_0000_0000_1234L,
    0x7FF0_0000_0000_0001L,
    0xFFF4_0000_0000_0000L,
    1,
    0x8000_0000_0000_0001L,
    0x000F_FFFF_FFFF_FFFFL,
    0x0010_0000_0000_0000L,
    0x7FEF_FFFF_FFFF_FFFFL,
    0x41E0_0000_0000_0000L,
    0xC1E0_0000_0020_0000L,
    0x43E0_0000_0000_0000L,
    0xC3E0_0000_0000_0000L,
    0x36A0_0000_0000_0000L,
    0x47EF_FFFF_F000_0000L,
    0x3FE0_0000_0000_0000L
  };

  private FloatValues() {}

  static int single(final RandomGenerator random) {
    return switch (random.nextInt(5)) {
      case 0 -> SINGLES[random.nextInt(SINGLES.length)];
      case 1 -> Float.floatToRawIntBits(random.nextInt(-100, 100) / 4f);
      case 2 -> (random.nextInt() & 0x807F_FFFF) | random.nextInt(100, 156) << 23;
      case 3 -> random.nextInt() & 0x80FF_FFFF;
      default -> random.nextInt();
    };
  }

  static long twice(final RandomGenerator random) {
    return switch (random.nextInt(5)) {
      case 0 -> DOUBLES[random.nextInt(DOUBLES.length)];
      case 1 -> Double.doubleToRawLongBits(random.nextInt(-100, 100) / 4.0);
      case 2 ->
          (random.nextLong() & 0x800F_FFFF_FFFF_FFFFL) | (long) random.nextInt(960, 1090) << 52;
      case 3 ->
          (random.nextLong() & 0x800F_FFFF_F000_0000L) | (long) random.nextInt(870, 905) << 52;
      default -> random.nextLong();
    };
  }

  /** Writes an 80-bit number (SDM Vol. 1, 4.2.2), now and then one that no processor makes. */
  static void extended(final RandomGenerator random, final byte[] into, final int at) {
    final int sign = random.nextInt(2) << 15;
    int exponent = random.nextInt(16_300, 16_460);
    long significand = random.nextLong() | Long.MIN_VALUE;
    switch (random.nextInt(10)) {
      case 0 -> {
        exponent = 0;
        significand = 0;
      }
      case 1 -> {
        exponent = 0x7FFF;
        significand = random.nextInt(2) == 0 ? Long.MIN_VALUE : random.nextLong() | Long.MIN_VALUE;
      }
      case 2 -> {
        exponent = 0;
        significand = random.nextLong() >>> random.nextInt(64);
      }
      case 3 -> {
        exponent = 16_383 + random.nextInt(70);
        significand = Long.MIN_VALUE | random.nextLong() << random.nextInt(64);
      }
      case 4 -> exponent = random.nextInt(0x7FFF);
      case 5 -> {
        // A small integer.
        final int value = random.nextInt(1, 1000);
        final int zeros = Long.numberOfLeadingZeros(value);
        exponent = 16_383 + 63 - zeros;
        significand = (long) value << zeros;
      }
      case 6 -> {
        // What a double holds.
        significand &= -1L << 11;
        exponent = 16_383 + random.nextInt(-1100, 1100);
      }
      case 7 -> {
        if (random.nextInt(4) == 0) {
          exponent = random.nextInt(0x8000);
          significand = random.nextLong();
        }
      }
      default -> {}
    }
    for (int i = 0; i < 8; i++) {
      into[at + i] = (byte) (significand >>> (8 * i));
    }
    into[at + 8] = (byte) exponent;
    into[at + 9] = (byte) ((exponent | sign) >> 8);
  }

  static void put(final byte[] into, final int at, final int size, final long value) {
    for (int i = 0; i < size; i++) {
      into[at + i] = (byte) (value >>> (8 * i));
    }
  }
}

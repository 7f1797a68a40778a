package dev.vmexit.vcpu.soft.sse;

/**
 * What packed integer instructions do to 64 bits, element by element: an MMX instruction does it
 * once, an SSE2 instruction to both halves of its register (SDM Vol. 2, each instruction's
 * operation).
 *
 * <p>All elements are worked on at once where carries can be kept apart by masks; where not, one
 * after the other. Long, because it is a table: one short function for each instruction.
 */
final class Lanes {
  private static final long HIGH_BYTES = 0x8080_8080_8080_8080L;
  private static final long HIGH_WORDS = 0x8000_8000_8000_8000L;
  private static final long HIGH_DOUBLEWORDS = 0x8000_0000_8000_0000L;
  private static final long LOW_DOUBLEWORD = 0xFFFF_FFFFL;

  private Lanes() {}

  // ---- wrapping addition and subtraction ----

  private static long add(final long a, final long b, final long high) {
    return ((a & ~high) + (b & ~high)) ^ ((a ^ b) & high);
  }

  private static long subtract(final long a, final long b, final long high) {
    return ((a | high) - (b & ~high)) ^ ((a ^ ~b) & high);
  }

  static long addBytes(final long a, final long b) {
    return add(a, b, HIGH_BYTES);
  }

  static long addWords(final long a, final long b) {
    return add(a, b, HIGH_WORDS);
  }

  static long addDoublewords(final long a, final long b) {
    return add(a, b, HIGH_DOUBLEWORDS);
  }

  static long subtractBytes(final long a, final long b) {
    return subtract(a, b, HIGH_BYTES);
  }

  static long subtractWords(final long a, final long b) {
    return subtract(a, b, HIGH_WORDS);
  }

  static long subtractDoublewords(final long a, final long b) {
    return subtract(a, b, HIGH_DOUBLEWORDS);
  }

  // ---- comparisons: all ones where true ----

  /** Spreads each element's top bit over the element. */
  private static long spread(final long tops, final int bits) {
    return (tops >>> (bits - 1)) * ((1L << bits) - 1);
  }

  private static long equal(final long a, final long b, final long high, final int bits) {
    final long x = a ^ b;
    return spread(~(((x & ~high) + ~high) | x) & high, bits);
  }

  /** Top bits of the elements where a is below b, unsigned. */
  private static long below(final long a, final long b, final long high) {
    final long difference = (a | high) - (b & ~high);
    return ((~a & b) | (~(a ^ b) & ~difference)) & high;
  }

  static long equalBytes(final long a, final long b) {
    return equal(a, b, HIGH_BYTES, 8);
  }

  static long equalWords(final long a, final long b) {
    return equal(a, b, HIGH_WORDS, 16);
  }

  static long equalDoublewords(final long a, final long b) {
    return equal(a, b, HIGH_DOUBLEWORDS, 32);
  }

  static long equalQuadwords(final long a, final long b) {
    return a == b ? -1 : 0;
  }

  // Flipping the top bits turns a signed comparison into an unsigned one.

  static long greaterBytes(final long a, final long b) {
    return spread(below(b ^ HIGH_BYTES, a ^ HIGH_BYTES, HIGH_BYTES), 8);
  }

  static long greaterWords(final long a, final long b) {
    return spread(below(b ^ HIGH_WORDS, a ^ HIGH_WORDS, HIGH_WORDS), 16);
  }

  static long greaterDoublewords(final long a, final long b) {
    return spread(below(b ^ HIGH_DOUBLEWORDS, a ^ HIGH_DOUBLEWORDS, HIGH_DOUBLEWORDS), 32);
  }

  static long greaterQuadwords(final long a, final long b) {
    return a > b ? -1 : 0;
  }

  // ---- minimum, maximum ----

  private static long select(final long mask, final long yes, final long no) {
    return no ^ ((yes ^ no) & mask);
  }

  static long minUnsignedBytes(final long a, final long b) {
    return select(spread(below(a, b, HIGH_BYTES), 8), a, b);
  }

  static long maxUnsignedBytes(final long a, final long b) {
    return select(spread(below(a, b, HIGH_BYTES), 8), b, a);
  }

  static long minSignedBytes(final long a, final long b) {
    return select(greaterBytes(a, b), b, a);
  }

  static long maxSignedBytes(final long a, final long b) {
    return select(greaterBytes(a, b), a, b);
  }

  static long minSignedWords(final long a, final long b) {
    return select(greaterWords(a, b), b, a);
  }

  static long maxSignedWords(final long a, final long b) {
    return select(greaterWords(a, b), a, b);
  }

  static long minUnsignedWords(final long a, final long b) {
    return select(spread(below(a, b, HIGH_WORDS), 16), a, b);
  }

  static long maxUnsignedWords(final long a, final long b) {
    return select(spread(below(a, b, HIGH_WORDS), 16), b, a);
  }

  static long minSignedDoublewords(final long a, final long b) {
    return select(greaterDoublewords(a, b), b, a);
  }

  static long maxSignedDoublewords(final long a, final long b) {
    return select(greaterDoublewords(a, b), a, b);
  }

  static long minUnsignedDoublewords(final long a, final long b) {
    return select(spread(below(a, b, HIGH_DOUBLEWORDS), 32), a, b);
  }

  static long maxUnsignedDoublewords(final long a, final long b) {
    return select(spread(below(a, b, HIGH_DOUBLEWORDS), 32), b, a);
  }

  // ---- saturating addition and subtraction ----

  static long addUnsignedSaturatedBytes(final long a, final long b) {
    final long sum = addBytes(a, b);
    return sum | spread(below(sum, a, HIGH_BYTES), 8);
  }

  static long addUnsignedSaturatedWords(final long a, final long b) {
    final long sum = addWords(a, b);
    return sum | spread(below(sum, a, HIGH_WORDS), 16);
  }

  static long subtractUnsignedSaturatedBytes(final long a, final long b) {
    return subtractBytes(a, b) & ~spread(below(a, b, HIGH_BYTES), 8);
  }

  static long subtractUnsignedSaturatedWords(final long a, final long b) {
    return subtractWords(a, b) & ~spread(below(a, b, HIGH_WORDS), 16);
  }

  /** What a saturates to: the greatest number, or the smallest where a is negative. */
  private static long bound(final long a, final long high, final int bits) {
    return ~high + ((a & high) >>> (bits - 1));
  }

  static long addSignedSaturatedBytes(final long a, final long b) {
    final long sum = addBytes(a, b);
    final long overflow = spread(~(a ^ b) & (a ^ sum) & HIGH_BYTES, 8);
    return select(overflow, bound(a, HIGH_BYTES, 8), sum);
  }

  static long addSignedSaturatedWords(final long a, final long b) {
    final long sum = addWords(a, b);
    final long overflow = spread(~(a ^ b) & (a ^ sum) & HIGH_WORDS, 16);
    return select(overflow, bound(a, HIGH_WORDS, 16), sum);
  }

  static long subtractSignedSaturatedBytes(final long a, final long b) {
    final long difference = subtractBytes(a, b);
    final long overflow = spread((a ^ b) & (a ^ difference) & HIGH_BYTES, 8);
    return select(overflow, bound(a, HIGH_BYTES, 8), difference);
  }

  static long subtractSignedSaturatedWords(final long a, final long b) {
    final long difference = subtractWords(a, b);
    final long overflow = spread((a ^ b) & (a ^ difference) & HIGH_WORDS, 16);
    return select(overflow, bound(a, HIGH_WORDS, 16), difference);
  }

  // ---- averages, rounded up: a + b + 1 >> 1 is (a | b) - (a ^ b >> 1) ----

  static long averageBytes(final long a, final long b) {
    return subtract(a | b, (a ^ b) >>> 1 & ~HIGH_BYTES, HIGH_BYTES);
  }

  static long averageWords(final long a, final long b) {
    return subtract(a | b, (a ^ b) >>> 1 & ~HIGH_WORDS, HIGH_WORDS);
  }

  // ---- products ----

  static int word(final long a, final int shift) {
    return (short) (a >>> shift);
  }

  static long multiplyLowWords(final long a, final long b) {
    long result = 0;
    for (int i = 0; i < 64; i += 16) {
      final int product = word(a, i) * word(b, i);
      result |= (product & 0xFFFFL) << i;
    }
    return result;
  }

  static long multiplyHighWords(final long a, final long b) {
    long result = 0;
    for (int i = 0; i < 64; i += 16) {
      final int product = word(a, i) * word(b, i);
      result |= (product >>> 16 & 0xFFFFL) << i;
    }
    return result;
  }

  static long multiplyHighUnsignedWords(final long a, final long b) {
    long result = 0;
    for (int i = 0; i < 64; i += 16) {
      result |= (((a >>> i & 0xFFFF) * (b >>> i & 0xFFFF)) >>> 16) << i;
    }
    return result;
  }

  /** PMULHRSW: the product's bits 30:15, rounded. */
  static long multiplyRoundedWords(final long a, final long b) {
    long result = 0;
    for (int i = 0; i < 64; i += 16) {
      final int product = word(a, i) * word(b, i);
      result |= (((product >> 14) + 1) >> 1 & 0xFFFFL) << i;
    }
    return result;
  }

  static long multiplyLowDoublewords(final long a, final long b) {
    return (a * b & LOW_DOUBLEWORD) | ((a >>> 32) * (b >>> 32)) << 32;
  }

  static long multiplyUnsignedDoubleword(final long a, final long b) {
    return (a & LOW_DOUBLEWORD) * (b & LOW_DOUBLEWORD);
  }

  static long multiplySignedDoubleword(final long a, final long b) {
    return (long) (int) a * (int) b;
  }

  static long multiplyAddWords(final long a, final long b) {
    final int low = word(a, 0) * word(b, 0) + word(a, 16) * word(b, 16);
    final int high = word(a, 32) * word(b, 32) + word(a, 48) * word(b, 48);
    return (low & LOW_DOUBLEWORD) | (long) high << 32;
  }

  /** PMADDUBSW: a's bytes unsigned, b's signed, pairs added with saturation. */
  static long multiplyAddBytes(final long a, final long b) {
    long result = 0;
    for (int i = 0; i < 64; i += 16) {
      final int sum =
          (int) (a >>> i & 0xFF) * (byte) (b >>> i)
              + (int) (a >>> (i + 8) & 0xFF) * (byte) (b >>> (i + 8));
      result |= (Math.clamp(sum, Short.MIN_VALUE, Short.MAX_VALUE) & 0xFFFFL) << i;
    }
    return result;
  }

  static long sumOfAbsoluteDifferences(final long a, final long b) {
    int sum = 0;
    for (int i = 0; i < 64; i += 8) {
      sum += Math.abs((int) (a >>> i & 0xFF) - (int) (b >>> i & 0xFF));
    }
    return sum;
  }

  // ---- logic ----

  static long and(final long a, final long b) {
    return a & b;
  }

  static long andNot(final long a, final long b) {
    return ~a & b;
  }

  static long or(final long a, final long b) {
    return a | b;
  }

  static long xor(final long a, final long b) {
    return a ^ b;
  }

  // ---- shifts; the count is unsigned, of 64 bits ----

  private static boolean beyond(final long count, final int last) {
    return Long.compareUnsigned(count, last) > 0;
  }

  static long shiftLeftWords(final long a, final long count) {
    final long kept = (0xFFFF >>> count & 0xFFFF) * 0x0001_0001_0001_0001L;
    return beyond(count, 15) ? 0 : (a & kept) << count;
  }

  static long shiftRightWords(final long a, final long count) {
    final long kept = (0xFFFF >>> count & 0xFFFF) * 0x0001_0001_0001_0001L;
    return beyond(count, 15) ? 0 : a >>> count & kept;
  }

  static long shiftLeftDoublewords(final long a, final long count) {
    final long kept = (LOW_DOUBLEWORD >>> count) * 0x0000_0001_0000_0001L;
    return beyond(count, 31) ? 0 : (a & kept) << count;
  }

  static long shiftRightDoublewords(final long a, final long count) {
    final long kept = (LOW_DOUBLEWORD >>> count) * 0x0000_0001_0000_0001L;
    return beyond(count, 31) ? 0 : a >>> count & kept;
  }

  static long shiftLeftQuadword(final long a, final long count) {
    return beyond(count, 63) ? 0 : a << count;
  }

  static long shiftRightQuadword(final long a, final long count) {
    return beyond(count, 63) ? 0 : a >>> count;
  }

  static long shiftArithmeticWords(final long a, final long count) {
    final int by = beyond(count, 15) ? 15 : (int) count;
    long result = 0;
    for (int i = 0; i < 64; i += 16) {
      result |= (word(a, i) >> by & 0xFFFFL) << i;
    }
    return result;
  }

  static long shiftArithmeticDoublewords(final long a, final long count) {
    final int by = beyond(count, 31) ? 31 : (int) count;
    return ((int) a >> by & LOW_DOUBLEWORD) | (a >> 32 >> by) << 32;
  }

  // ---- SSSE3 ----

  /** PSIGNx: b's sign applied to a, for elements of some bits. */
  private static long sign(final long a, final long b, final int bits) {
    long result = 0;
    for (int i = 0; i < 64; i += bits) {
      final long value = a << (64 - bits - i) >> (64 - bits);
      final long by = b << (64 - bits - i) >> (64 - bits);
      final long signed = by < 0 ? -value : by == 0 ? 0 : value;
      result |= (signed & -1L >>> (64 - bits)) << i;
    }
    return result;
  }

  static long signBytes(final long a, final long b) {
    return sign(a, b, 8);
  }

  static long signWords(final long a, final long b) {
    return sign(a, b, 16);
  }

  static long signDoublewords(final long a, final long b) {
    return sign(a, b, 32);
  }

  // PABSx read their source alone.

  static long absoluteBytes(final long a, final long b) {
    return sign(b, b, 8);
  }

  static long absoluteWords(final long a, final long b) {
    return sign(b, b, 16);
  }

  static long absoluteDoublewords(final long a, final long b) {
    return sign(b, b, 32);
  }

  // ---- between elements of 64 bits ----

  /** PMOVMSKB's eight bits. */
  static int byteSigns(final long a) {
    return (int) (((a & HIGH_BYTES) * 0x0002_0408_1020_4081L) >>> 56);
  }

  /** Bytes 0 to 3 of a and b in turn. */
  static long interleaveLowBytes(final long a, final long b) {
    return spreadBytes(a) | spreadBytes(b) << 8;
  }

  static long interleaveHighBytes(final long a, final long b) {
    return spreadBytes(a >>> 32) | spreadBytes(b >>> 32) << 8;
  }

  /** Moves the low four bytes to the even bytes. */
  private static long spreadBytes(final long a) {
    final long words = spreadWords(a);
    return (words | words << 8) & 0x00FF_00FF_00FF_00FFL;
  }

  /** Moves the low two words to the even words. */
  private static long spreadWords(final long a) {
    final long low = a & LOW_DOUBLEWORD;
    return (low | low << 16) & 0x0000_FFFF_0000_FFFFL;
  }

  static long interleaveLowWords(final long a, final long b) {
    return spreadWords(a) | spreadWords(b) << 16;
  }

  static long interleaveHighWords(final long a, final long b) {
    return spreadWords(a >>> 32) | spreadWords(b >>> 32) << 16;
  }

  static long interleaveLowDoublewords(final long a, final long b) {
    return (a & LOW_DOUBLEWORD) | b << 32;
  }

  static long interleaveHighDoublewords(final long a, final long b) {
    return a >>> 32 | (b & ~LOW_DOUBLEWORD);
  }

  private static long saturate(final int value, final int minimum, final int maximum) {
    return Math.max(minimum, Math.min(maximum, value));
  }

  /** Four signed words to bytes in the low 32 bits. */
  static long packSignedWords(final long a) {
    long result = 0;
    for (int i = 0; i < 4; i++) {
      result |= (saturate(word(a, i * 16), -128, 127) & 0xFF) << (i * 8);
    }
    return result;
  }

  static long packUnsignedWords(final long a) {
    long result = 0;
    for (int i = 0; i < 4; i++) {
      result |= saturate(word(a, i * 16), 0, 255) << (i * 8);
    }
    return result;
  }

  /** Two signed doublewords to words in the low 32 bits. */
  static long packSignedDoublewords(final long a) {
    return (saturate((int) a, -32768, 32767) & 0xFFFF)
        | (saturate((int) (a >> 32), -32768, 32767) & 0xFFFF) << 16;
  }

  static long packUnsignedDoublewords(final long a) {
    return saturate((int) a, 0, 65535) | saturate((int) (a >> 32), 0, 65535) << 16;
  }

  /** Words of a picked by the immediate's four fields of two bits. */
  static long shuffleWords(final long a, final int order) {
    return (a >>> ((order & 3) << 4) & 0xFFFF)
        | (a >>> ((order >> 2 & 3) << 4) & 0xFFFF) << 16
        | (a >>> ((order >> 4 & 3) << 4) & 0xFFFF) << 32
        | a >>> ((order >> 6 & 3) << 4) << 48;
  }

  /** One doubleword of a register's two halves, zero-extended. */
  static long doubleword(final long low, final long high, final int index) {
    return (index & 2) == 0
        ? low >>> ((index & 1) << 5) & LOW_DOUBLEWORD
        : high >>> ((index & 1) << 5) & LOW_DOUBLEWORD;
  }

  // ---- SSSE3: sums and differences of neighbouring words, into the low 32 bits ----

  static long addWordPairs(final long a) {
    return (word(a, 0) + word(a, 16) & 0xFFFFL) | (word(a, 32) + word(a, 48) & 0xFFFFL) << 16;
  }

  static long subtractWordPairs(final long a) {
    return (word(a, 0) - word(a, 16) & 0xFFFFL) | (word(a, 32) - word(a, 48) & 0xFFFFL) << 16;
  }

  private static long saturatedPair(final int first, final int second) {
    return (saturate(first, -32768, 32767) & 0xFFFF)
        | (saturate(second, -32768, 32767) & 0xFFFF) << 16;
  }

  static long addWordPairsSaturated(final long a) {
    return saturatedPair(word(a, 0) + word(a, 16), word(a, 32) + word(a, 48));
  }

  static long subtractWordPairsSaturated(final long a) {
    return saturatedPair(word(a, 0) - word(a, 16), word(a, 32) - word(a, 48));
  }

  /** Eight bytes of PSHUFB: of a register's halves, picked by the low four bits of each index. */
  static long shuffleBytes(final long low, final long high, final long indexes) {
    long result = 0;
    for (int i = 0; i < 64; i += 8) {
      final int index = (int) (indexes >>> i) & 0xFF;
      if (index < 0x80) {
        final long half = (index & 8) == 0 ? low : high;
        result |= (half >>> ((index & 7) * 8) & 0xFF) << i;
      }
    }
    return result;
  }

  /** Bits from a position on, of 128 bits. */
  static long extract(final long low, final long high, final int bits) {
    if (bits == 0) {
      return low;
    }
    if (bits < 64) {
      return low >>> bits | high << (64 - bits);
    }
    return bits < 128 ? high >>> (bits - 64) : 0;
  }
}

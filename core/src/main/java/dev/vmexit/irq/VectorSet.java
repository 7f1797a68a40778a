package dev.vmexit.irq;

/** A set of the 256 vectors, as IRR, ISR and TMR are. */
final class VectorSet {
  private long word0;
  private long word1;
  private long word2;
  private long word3;

  boolean get(final int vector) {
    return (word(vector >> 6) & 1L << (vector & 63)) != 0;
  }

  void set(final int vector) {
    put(vector >> 6, word(vector >> 6) | 1L << (vector & 63));
  }

  void clear(final int vector) {
    put(vector >> 6, word(vector >> 6) & ~(1L << (vector & 63)));
  }

  void clear() {
    word0 = 0;
    word1 = 0;
    word2 = 0;
    word3 = 0;
  }

  /** The highest vector in it, or -1. */
  int highest() {
    if (word3 != 0) {
      return 255 - Long.numberOfLeadingZeros(word3);
    }
    if (word2 != 0) {
      return 191 - Long.numberOfLeadingZeros(word2);
    }
    if (word1 != 0) {
      return 127 - Long.numberOfLeadingZeros(word1);
    }
    return word0 == 0 ? -1 : 63 - Long.numberOfLeadingZeros(word0);
  }

  /** One of the eight 32-bit registers that show it. */
  int register(final int index) {
    return (int) (word(index >> 1) >>> (32 * (index & 1)));
  }

  private long word(final int index) {
    return switch (index) {
      case 0 -> word0;
      case 1 -> word1;
      case 2 -> word2;
      default -> word3;
    };
  }

  private void put(final int index, final long word) {
    switch (index) {
      case 0 -> word0 = word;
      case 1 -> word1 = word;
      case 2 -> word2 = word;
      default -> word3 = word;
    }
  }
}

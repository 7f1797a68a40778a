package dev.vmexit.x86.decode;

import java.util.SplittableRandom;

/**
 * Byte sequences that look like instructions: prefixes, an opcode of every map in turn, then random
 * ModRM, SIB, displacement and immediate bytes. The same seed gives the same sequences.
 */
final class CodeGenerator {
  /** Bytes of a sequence: what a processor looks at, at most. */
  static final int LENGTH = 15;

  private static final int[] PREFIXES = {
    0x66, 0x66, 0x66, 0x67, 0x67, 0xF2, 0xF2, 0xF3, 0xF3, 0xF0, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65
  };

  private final SplittableRandom random;
  private final int codeSize;
  private int turn;

  CodeGenerator(final long seed, final int codeSize) {
    random = new SplittableRandom(seed);
    this.codeSize = codeSize;
  }

  /** Fills {@link #LENGTH} bytes. */
  void next(final byte[] bytes) {
    random.nextBytes(bytes);
    int pos = 0;
    while (pos < 4 && random.nextInt(5) < 2) {
      bytes[pos++] = (byte) PREFIXES[random.nextInt(PREFIXES.length)];
    }
    if (codeSize == 8 && random.nextInt(3) == 0) {
      bytes[pos++] = (byte) (0x40 | random.nextInt(16));
    }
    // Every opcode of the one-byte and the 0F map comes in turn, the sparser maps now and then.
    final int slot = turn++ % 640;
    if (slot < 256) {
      bytes[pos++] = (byte) slot;
    } else if (slot < 512) {
      bytes[pos++] = 0x0F;
      bytes[pos++] = (byte) slot;
    } else if (slot < 576) {
      bytes[pos++] = 0x0F;
      bytes[pos++] = (byte) ((slot & 1) != 0 ? 0x38 : 0x3A);
      pos++;
    } else if (slot < 608) {
      bytes[pos] = (byte) ((slot & 1) != 0 ? 0xC4 : 0xC5);
      if ((slot & 1) != 0) {
        bytes[pos + 1] = (byte) (bytes[pos + 1] & 0xE0 | 1 + random.nextInt(3));
      }
      if (random.nextBoolean()) {
        // vvvv = 1111b, as most instructions with two operands ask.
        final int last = pos + ((slot & 1) != 0 ? 2 : 1);
        bytes[last] |= 0x78;
      }
      pos += 3;
    } else {
      bytes[pos++] = (byte) (0xD8 | slot & 7);
    }
    // Register forms are rarer in random bytes than in code.
    if (random.nextInt(4) == 0 && pos < LENGTH) {
      bytes[pos] |= (byte) 0xC0;
    }
  }
}

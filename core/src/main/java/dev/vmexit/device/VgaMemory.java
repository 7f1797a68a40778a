package dev.vmexit.device;

/**
 * The memory of a VGA behind its data path (IBM PS/2 Hardware Interface Technical Reference, "Video
 * Subsystem"): four planes of 64 KiB, the latches, and what the sequencer and the graphics
 * controller do to a byte on its way.
 */
final class VgaMemory implements MmioDevice {
  /** Where the window may be, and how long it is at most. */
  static final long BASE = 0xA_0000;

  static final int LENGTH = 0x2_0000;

  private static final int PLANE = 0x1_0000;
  private static final int CHAIN_4 = 1 << 3;
  private static final int NO_ODD_EVEN = 1 << 2;

  /** The bytes of an address, one of each plane, plane 0 lowest. */
  private final int[] cells = new int[PLANE];

  private final byte[] sequencer;
  private final byte[] graphics;
  private final Runnable changed;
  private int latch;

  /**
   * @param sequencer its registers
   * @param graphics those of the graphics controller
   * @param changed told after each store
   */
  VgaMemory(final byte[] sequencer, final byte[] graphics, final Runnable changed) {
    this.sequencer = sequencer;
    this.graphics = graphics;
    this.changed = changed;
  }

  /** Character and attribute at an address of planes 0 and 1, as they stand in text modes. */
  int text(final int address) {
    return cells[address & PLANE - 1] & 0xFFFF;
  }

  /** Offset into the window, or -1 where it does not reach. */
  private int window(final long offset) {
    final int at = (int) offset;
    return switch (graphics[6] >> 2 & 3) {
      case 0 -> at & PLANE - 1;
      case 1 -> at < 0x1_0000 ? at : -1;
      case 2 -> at >= 0x1_0000 && at < 0x1_8000 ? at - 0x1_0000 : -1;
      default -> at >= 0x1_8000 ? at - 0x1_8000 : -1;
    };
  }

  private boolean isChained() {
    return (sequencer[4] & CHAIN_4) != 0;
  }

  private boolean isOddEven() {
    return (sequencer[4] & NO_ODD_EVEN) == 0;
  }

  @Override
  public long readMmio(final long offset, final int size) {
    long value = 0;
    for (int i = 0; i < size; i++) {
      value |= (long) read(window(offset + i)) << 8 * i;
    }
    return value;
  }

  private int read(final int at) {
    if (at < 0) {
      return 0xFF;
    }
    if (isChained()) {
      latch = cells[at & ~3];
      return latch >>> 8 * (at & 3) & 0xFF;
    }
    if (isOddEven()) {
      latch = cells[at & ~1];
      return latch >>> 8 * (graphics[4] & 2 | at & 1) & 0xFF;
    }
    latch = cells[at];
    if ((graphics[5] & 8) == 0) {
      return latch >>> 8 * (graphics[4] & 3) & 0xFF;
    }
    // Colour compare: a bit for each pixel that is equal in the planes that matter.
    final int differing = (latch ^ expand(graphics[2])) & expand(graphics[7]);
    return ~(differing | differing >>> 8 | differing >>> 16 | differing >>> 24) & 0xFF;
  }

  @Override
  public void writeMmio(final long offset, final int size, final long value) {
    for (int i = 0; i < size; i++) {
      final int at = window(offset + i);
      if (at >= 0) {
        write(at, (int) (value >>> 8 * i) & 0xFF);
      }
    }
    changed.run();
  }

  private void write(final int at, final int value) {
    int planes = sequencer[2] & 0xF;
    int address = at;
    if (isChained()) {
      planes &= 1 << (at & 3);
      address = at & ~3;
    } else if (isOddEven()) {
      planes &= (at & 1) != 0 ? 0xA : 0x5;
      address = at & ~1;
    }
    final int mask = expand(planes);
    cells[address] = cells[address] & ~mask | data(value) & mask;
  }

  /** What comes out of the data path for a byte of the processor's, in all four planes. */
  private int data(final int value) {
    final int bits = repeat(graphics[8] & 0xFF);
    final int rotation = graphics[3] & 7;
    final int rotated = (value >>> rotation | value << 8 - rotation) & 0xFF;
    switch (graphics[5] & 3) {
      case 0 -> {
        final int set = expand(graphics[1]);
        final int source = repeat(rotated) & ~set | expand(graphics[0]) & set;
        return logic(source) & bits | latch & ~bits;
      }
      case 1 -> {
        return latch;
      }
      case 2 -> {
        return logic(expand(value)) & bits | latch & ~bits;
      }
      default -> {
        final int masked = bits & repeat(rotated);
        return expand(graphics[0]) & masked | latch & ~masked;
      }
    }
  }

  private int logic(final int source) {
    return switch (graphics[3] >> 3 & 3) {
      case 1 -> source & latch;
      case 2 -> source | latch;
      case 3 -> source ^ latch;
      default -> source;
    };
  }

  private static int repeat(final int value) {
    return value * 0x0101_0101;
  }

  /** A byte of ones for each of the low four bits. */
  private static int expand(final int bits) {
    int value = 0;
    for (int plane = 0; plane < 4; plane++) {
      value |= (bits >> plane & 1) * 0xFF << 8 * plane;
    }
    return value;
  }
}

package dev.vmexit.irq;

import dev.vmexit.device.MachineClock;
import dev.vmexit.exit.VectorState;

/**
 * One 8259A (Intel datasheet, order number 231468).
 *
 * <p>An edge stays latched until it is acknowledged, even when the line falls before: devices of a
 * VMM may pulse a line for no time at all. Nothing here looks at the other chip of the pair.
 */
final class Pic8259 {
  private static final int ICW1 = 1 << 4;
  private static final int ICW1_NEEDS_ICW4 = 1;
  private static final int ICW1_SINGLE = 1 << 1;
  private static final int ICW1_LEVEL = 1 << 3;
  private static final int ICW4_AUTO_EOI = 1 << 1;
  private static final int ICW4_FULLY_NESTED = 1 << 4;
  private static final int OCW3 = 1 << 3;
  private static final int SPURIOUS = 7;
  private static final int NONE = 8;

  private final MachineClock clock;

  /** Lines that another chip's INT drives: they do not block it in special fully nested mode. */
  private final int cascades;

  private final long[] raisedAt = new long[8];

  private int lines;
  private int irr;

  /** All masked at power-on, as firmware leaves it; ICW1 clears it. */
  private int imr = 0xFF;

  private int isr;

  /** Lines that are level-triggered by ELCR. */
  private int elcr;

  private boolean levelMode;
  private int vectorBase;
  private boolean autoEoi;
  private boolean rotateOnAutoEoi;
  private boolean specialMask;
  private boolean fullyNested;
  private boolean readIsr;
  private boolean poll;

  /** The line with the highest priority: 0 after initialization. */
  private int top;

  /** Which ICW the odd port expects next: 2, 3 or 4; 0 when initialized. */
  private int nextIcw;

  private boolean needsIcw4;
  private boolean single;
  private boolean output;

  Pic8259(final MachineClock clock, final int cascades) {
    this.clock = clock;
    this.cascades = cascades;
  }

  // ---- wires ----

  /** Drives an input. */
  void setLine(final int line, final boolean level) {
    final int bit = 1 << line;
    if (level) {
      if ((lines & bit) == 0) {
        lines |= bit;
        if ((irr & bit) == 0) {
          irr |= bit;
          raisedAt[line] = clock.nanos();
        }
        update();
      }
    } else if ((lines & bit) != 0) {
      lines &= ~bit;
      if (levelTriggered(bit)) {
        irr &= ~bit;
      }
      update();
    }
  }

  /** INT. */
  boolean output() {
    return output;
  }

  /**
   * The processor acknowledges.
   *
   * @return the line, or -1 if none asks any more: the spurious interrupt of line 7, which sets no
   *     in-service bit
   */
  int acknowledge() {
    final int line = highestRequest();
    if (line == NONE) {
      return -1;
    }
    final int bit = 1 << line;
    if (!levelTriggered(bit)) {
      irr &= ~bit;
    }
    if (autoEoi) {
      if (rotateOnAutoEoi) {
        top = (line + 1) & 7;
      }
    } else {
      isr |= bit;
    }
    update();
    return line;
  }

  /** The vector of a line; of line 7 for -1. */
  int vector(final int line) {
    return vectorBase | (line < 0 ? SPURIOUS : line);
  }

  /** Clock time, in ns, of the request that a line last latched. */
  long raisedAt(final int line) {
    return raisedAt[line];
  }

  int elcr() {
    return elcr;
  }

  void elcr(final int value) {
    elcr = value;
    irr = (irr & ~elcr) | (lines & elcr);
    update();
  }

  /** Writes what {@link VectorState} says of one 8259. */
  void save(final byte[] to, final int at) {
    to[at + VectorState.PIC_BASE] = (byte) vectorBase;
    to[at + VectorState.PIC_IMR] = (byte) imr;
    to[at + VectorState.PIC_NEXT_ICW] = (byte) nextIcw;
    to[at + VectorState.PIC_FLAGS] =
        (byte)
            ((single ? VectorState.PIC_SINGLE : 0) | (needsIcw4 ? VectorState.PIC_NEEDS_ICW4 : 0));
  }

  // ---- ports ----

  int read(final boolean odd) {
    if (poll) {
      poll = false;
      final int line = acknowledge();
      return line < 0 ? 0 : 0x80 | line;
    }
    return odd ? imr : readIsr ? isr : irr;
  }

  void write(final boolean odd, final int value) {
    if (odd) {
      writeOdd(value);
    } else if ((value & ICW1) != 0) {
      initialize(value);
    } else if ((value & OCW3) != 0) {
      writeOcw3(value);
    } else {
      writeOcw2(value);
    }
    update();
  }

  private void initialize(final int value) {
    levelMode = (value & ICW1_LEVEL) != 0;
    single = (value & ICW1_SINGLE) != 0;
    needsIcw4 = (value & ICW1_NEEDS_ICW4) != 0;
    // The edge sense is reset: a line that is high must fall and rise again.
    irr = levelMode ? lines : lines & elcr;
    imr = 0;
    isr = 0;
    top = 0;
    autoEoi = false;
    rotateOnAutoEoi = false;
    fullyNested = false;
    specialMask = false;
    readIsr = false;
    poll = false;
    nextIcw = 2;
  }

  private void writeOdd(final int value) {
    switch (nextIcw) {
      case 2 -> {
        vectorBase = value & 0xF8;
        nextIcw = single ? (needsIcw4 ? 4 : 0) : 3;
      }
      // Which line the other chip sits on is soldered here.
      case 3 -> nextIcw = needsIcw4 ? 4 : 0;
      case 4 -> {
        autoEoi = (value & ICW4_AUTO_EOI) != 0;
        fullyNested = (value & ICW4_FULLY_NESTED) != 0;
        nextIcw = 0;
      }
      default -> imr = value;
    }
  }

  private void writeOcw2(final int value) {
    final int line = value & 7;
    switch (value >> 5) {
      case 0 -> rotateOnAutoEoi = false;
      case 4 -> rotateOnAutoEoi = true;
      case 1 -> endOfInterrupt(false);
      case 5 -> endOfInterrupt(true);
      case 3 -> isr &= ~(1 << line);
      case 7 -> {
        isr &= ~(1 << line);
        top = (line + 1) & 7;
      }
      case 6 -> top = (line + 1) & 7;
      default -> {
        // 2: no operation.
      }
    }
  }

  private void endOfInterrupt(final boolean rotate) {
    // With the special mask, levels that are masked are not ended by a non-specific EOI.
    final int line = highest(specialMask ? isr & ~imr : isr);
    if (line != NONE) {
      isr &= ~(1 << line);
      if (rotate) {
        top = (line + 1) & 7;
      }
    }
  }

  private void writeOcw3(final int value) {
    poll = (value & 4) != 0;
    if ((value & 2) != 0) {
      readIsr = (value & 1) != 0;
    }
    if ((value & 0x40) != 0) {
      specialMask = (value & 0x20) != 0;
    }
  }

  // ---- priorities ----

  private boolean levelTriggered(final int bit) {
    return levelMode || (elcr & bit) != 0;
  }

  private void update() {
    output = nextIcw == 0 && highestRequest() != NONE;
  }

  /** The line to serve now, or NONE. */
  private int highestRequest() {
    final int request = highest(irr & ~imr);
    if (request == NONE) {
      return NONE;
    }
    int blocking = isr;
    if (specialMask) {
      blocking &= ~imr;
    }
    if (fullyNested) {
      blocking &= ~cascades;
    }
    final int serving = highest(blocking);
    return serving == NONE || rank(request) < rank(serving) ? request : NONE;
  }

  private int highest(final int set) {
    if (set == 0) {
      return NONE;
    }
    final int rotated = ((set >> top) | (set << (8 - top))) & 0xFF;
    return (Integer.numberOfTrailingZeros(rotated) + top) & 7;
  }

  private int rank(final int line) {
    return (line - top) & 7;
  }
}

package dev.vmexit.device;

/**
 * One counter of an 8254, as a function of time: nothing runs between accesses, the counting
 * element and OUT are computed from the tick at which the counter was last loaded.
 *
 * <p>All times are ticks of the 1.193182 MHz input clock since power-on. What is written at a tick
 * is loaded at the next one, as the datasheet has it (Intel 8254, order number 231164).
 */
final class PitChannel {
  /** No edge will come by itself. */
  static final long NEVER = Long.MAX_VALUE;

  private static final int ACCESS_LOW = 1;
  private static final int ACCESS_HIGH = 2;

  private int access = 3;
  private int mode;
  private boolean bcd;
  private boolean gate;

  /** Number of states of the counting element: 65,536 or 10,000. */
  private int modulus = 0x1_0000;

  /** The count register, 1 to modulus; 0 until one was written after the control word. */
  private int reload;

  /** A count that modes 2 and 3 take at {@link #switchTick}; 0 if none. */
  private int nextReload;

  private long switchTick;

  /** Whether the counting element was, or at {@link #loadTick} will be, loaded. */
  private boolean loaded;

  private long loadTick;

  /** The counting element at {@link #loadTick}: 1 to modulus right after a load. */
  private int loadValue;

  /** In mode 3: whether the half cycle that began at {@link #loadTick} is the low one. */
  private boolean lowHalf;

  /** Whether clock pulses count: false with the gate low, or between two bytes in mode 0. */
  private boolean counting;

  /** Terminal count was passed before {@link #loadTick}. */
  private boolean expired;

  /** What stood before {@link #loadTick}, while that lies ahead. */
  private boolean heldOut;

  private int heldValue;

  private boolean writeHighNext;
  private int lowByte;
  private boolean readHighNext;
  private boolean countLatched;
  private int latchedCount;
  private boolean statusLatched;
  private int latchedStatus;

  PitChannel(final boolean gate) {
    this.gate = gate;
    this.heldOut = true;
  }

  // ---- programming ----

  /** A control word for this counter, other than the latch command. */
  void writeControl(final int word, final long tick) {
    heldValue = value(tick);
    access = word >> 4 & 3;
    final int code = word >> 1 & 7;
    mode = code > 5 ? code - 4 : code;
    bcd = (word & 1) != 0;
    modulus = bcd ? 10_000 : 0x1_0000;
    heldOut = mode != 0;
    loaded = false;
    counting = gate;
    expired = false;
    lowHalf = false;
    reload = 0;
    nextReload = 0;
    writeHighNext = false;
    readHighNext = false;
    countLatched = false;
    statusLatched = false;
  }

  void writeData(final int value, final long tick) {
    sync(tick);
    if (access == ACCESS_LOW) {
      writeCount(value, tick);
    } else if (access == ACCESS_HIGH) {
      writeCount(value << 8, tick);
    } else if (!writeHighNext) {
      writeHighNext = true;
      lowByte = value;
      if (mode == 0) {
        // The first byte stops counting and lowers OUT at once.
        heldValue = value(tick);
        heldOut = false;
        loaded = false;
      }
    } else {
      writeHighNext = false;
      writeCount(value << 8 | lowByte, tick);
    }
  }

  private void writeCount(final int written, final long tick) {
    final int count = fromRegister(written);
    switch (mode) {
      case 0, 4 -> {
        reload = count;
        if (mode == 0) {
          heldValue = value(tick);
          heldOut = false;
        }
        load(tick, mode != 0);
      }
      case 1, 5 -> reload = count;
      default -> {
        if (loaded && gate && tick < loadTick) {
          // The count before this one was not even loaded.
          reload = count;
          loadValue = count;
        } else if (loaded && gate) {
          nextReload = count;
          switchTick = nextReloadTick(tick);
        } else {
          reload = count;
          if (gate) {
            load(tick, true);
          }
        }
      }
    }
  }

  /** Loads the counting element at the next clock pulse. */
  private void load(final long tick, final boolean hold) {
    if (hold) {
      heldOut = out(tick);
      heldValue = value(tick);
    }
    loaded = true;
    loadTick = tick + 1;
    loadValue = reload;
    expired = false;
    lowHalf = false;
    counting = gate || mode == 1 || mode == 5;
  }

  void setGate(final boolean level, final long tick) {
    if (level == gate) {
      return;
    }
    sync(tick);
    switch (mode) {
      case 0, 4 -> {
        if (loaded) {
          pauseOrResume(level, tick);
        }
        counting = level;
      }
      case 1, 5 -> {
        if (level && reload != 0) {
          load(tick, true);
        }
      }
      default -> {
        if (!level) {
          // OUT goes high at once and counting stops.
          heldValue = value(tick);
          heldOut = true;
          if (nextReload != 0) {
            reload = nextReload;
            nextReload = 0;
          }
          loaded = false;
        } else if (reload != 0) {
          gate = true;
          load(tick, true);
        }
        counting = level;
      }
    }
    gate = level;
  }

  private void pauseOrResume(final boolean level, final long tick) {
    if (level) {
      loadTick = Math.max(loadTick, tick);
    } else if (tick >= loadTick) {
      final int left = value(tick);
      final long elapsed = tick - loadTick;
      final boolean strobes = mode == 4 && !expired && elapsed == loadValue;
      expired = expired || elapsed >= loadValue;
      loadValue = left;
      loadTick = tick;
      if (strobes) {
        // The strobe that is out now lasts until the next clock pulse all the same.
        heldOut = false;
        heldValue = left;
        loadTick = tick + 1;
      }
    }
  }

  // ---- reading ----

  int readData(final long tick) {
    if (statusLatched) {
      statusLatched = false;
      return latchedStatus;
    }
    final int count;
    if (countLatched) {
      count = latchedCount;
    } else {
      sync(tick);
      count = toRegister(value(tick));
    }
    if (access == ACCESS_LOW) {
      countLatched = false;
      return count & 0xFF;
    }
    if (access == ACCESS_HIGH) {
      countLatched = false;
      return count >> 8;
    }
    if (!readHighNext) {
      readHighNext = true;
      return count & 0xFF;
    }
    readHighNext = false;
    countLatched = false;
    return count >> 8;
  }

  /** The counter latch command; a latch not yet read stays. */
  void latchCount(final long tick) {
    if (!countLatched) {
      sync(tick);
      countLatched = true;
      latchedCount = toRegister(value(tick));
    }
  }

  /** The status half of the read-back command; a latch not yet read stays. */
  void latchStatus(final long tick) {
    if (!statusLatched) {
      sync(tick);
      final boolean nullCount =
          reload == 0
              || nextReload != 0
              || !loaded
              || tick < loadTick
              || ((mode == 1 || mode == 5) && loadValue != reload);
      statusLatched = true;
      latchedStatus =
          (out(tick) ? 0x80 : 0) | (nullCount ? 0x40 : 0) | access << 4 | mode << 1 | (bcd ? 1 : 0);
    }
  }

  boolean gate() {
    return gate;
  }

  /** The level of OUT. */
  boolean outAt(final long tick) {
    sync(tick);
    return out(tick);
  }

  /** The first tick after this one at which OUT rises by itself, or {@link #NEVER}. */
  long nextRise(final long tick) {
    sync(tick);
    if (loaded && tick < loadTick && !heldOut && out(loadTick)) {
      // A strobe that is out ends with the next pulse, whatever else that one does.
      return loadTick;
    }
    if (!loaded || !counting) {
      return NEVER;
    }
    final long rise;
    switch (mode) {
      case 0, 1 -> rise = expired ? NEVER : loadTick + loadValue;
      case 2 -> {
        if (reload == 1) {
          rise = NEVER;
        } else {
          final long from = Math.max(tick, loadTick);
          rise = loadTick + ((from - loadTick) / reload + 1) * reload;
        }
      }
      case 3 -> rise = reload == 1 ? NEVER : nextHighHalf(tick);
      default -> rise = expired ? NEVER : loadTick + loadValue + 1;
    }
    return rise > tick ? rise : NEVER;
  }

  private long nextHighHalf(final long tick) {
    final long start = lowHalf ? loadTick - highHalf() : loadTick;
    final long from = Math.max(tick, loadTick);
    final long rise = start + ((from - start) / reload + 1) * reload;
    if (nextReload != 0 && switchTick < rise) {
      // The low half that starts then has the new length.
      return switchTick + nextReload / 2;
    }
    return rise;
  }

  // ---- the counter as a function of time ----

  /** Applies a new count whose time has come (modes 2 and 3). */
  private void sync(final long tick) {
    if (nextReload != 0 && tick >= switchTick) {
      if (mode == 3) {
        lowHalf = !halfIsHigh(switchTick);
      }
      loadTick = switchTick;
      reload = nextReload;
      loadValue = reload;
      nextReload = 0;
    }
  }

  /** When the counter reloads next: at the end of a cycle, in mode 3 of a half cycle. */
  private long nextReloadTick(final long tick) {
    if (mode == 2) {
      return loadTick + ((tick - loadTick) / reload + 1) * reload;
    }
    final long start = lowHalf ? loadTick - highHalf() : loadTick;
    final long cycle = start + (tick - start) / reload * reload;
    return tick - cycle < highHalf() ? cycle + highHalf() : cycle + reload;
  }

  private int highHalf() {
    return (reload + 1) / 2;
  }

  /** Position in the cycle of mode 3, which begins with its high half. */
  private int phase(final long tick) {
    return (int) ((tick - loadTick + (lowHalf ? highHalf() : 0)) % reload);
  }

  private boolean halfIsHigh(final long tick) {
    return phase(tick) < highHalf();
  }

  private boolean out(final long tick) {
    if (!loaded || tick < loadTick) {
      return heldOut;
    }
    final long elapsed = counting ? tick - loadTick : 0;
    return switch (mode) {
      case 0, 1 -> expired || elapsed >= loadValue;
      case 2 -> elapsed % reload != reload - 1;
      case 3 -> halfIsHigh(tick);
      default -> expired || elapsed != loadValue;
    };
  }

  /** The counting element, 0 to modulus - 1. */
  private int value(final long tick) {
    if (!loaded || tick < loadTick) {
      return heldValue;
    }
    final long elapsed = counting ? tick - loadTick : 0;
    return switch (mode) {
      case 2 -> (int) (reload - elapsed % reload) % modulus;
      case 3 -> {
        final int phase = phase(tick);
        final int inHalf = phase < highHalf() ? phase : phase - highHalf();
        // Even counts step by two from the count; odd ones from the count less one.
        yield ((reload & ~1) - 2 * inHalf) % modulus;
      }
      default -> (int) Math.floorMod(loadValue - elapsed, (long) modulus);
    };
  }

  private int fromRegister(final int written) {
    int count = written;
    if (bcd) {
      count =
          (written >> 12 & 15) * 1000
              + (written >> 8 & 15) * 100
              + (written >> 4 & 15) * 10
              + (written & 15);
    }
    count %= modulus;
    return count == 0 ? modulus : count;
  }

  private int toRegister(final int count) {
    return bcd
        ? count / 1000 % 10 << 12 | count / 100 % 10 << 8 | count / 10 % 10 << 4 | count % 10
        : count & 0xFFFF;
  }
}

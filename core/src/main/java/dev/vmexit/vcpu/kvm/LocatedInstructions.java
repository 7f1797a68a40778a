package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.x86.decode.Instruction;

/**
 * Instructions that were found at or before some rip, with what all bytes around it were then: a
 * loop's exits come from the same few places. A place is forgotten when another takes its slot.
 */
final class LocatedInstructions {
  private static final int SLOTS = 256;
  private static final int HASH_SHIFT = 56;
  private static final long HASH = 0x9E37_79B9_7F4A_7C15L;
  private static final int WINDOW = InstructionLocator.WINDOW;

  /** Words of a window; the last one overlaps the one before it. */
  private static final int WORDS = (WINDOW + 7) / 8;

  private final Place[] places = new Place[SLOTS];

  /** What is known of a place. */
  static final class Place {
    final Instruction instruction = new Instruction();

    /** How far before rip the instruction begins. */
    int behind;

    private final long[] words = new long[WORDS];
    private long rip;
    private int codeSize;
  }

  private static int slot(final long rip) {
    return (int) (rip * HASH >>> HASH_SHIFT);
  }

  private static long word(final long window, final int i) {
    return HostMemory.getLong(window + Math.min(8 * i, WINDOW - 8));
  }

  /**
   * What was found there before, or null.
   *
   * @param window where the bytes around rip are in this process
   */
  Place find(final long rip, final int codeSize, final long window) {
    final Place place = places[slot(rip)];
    if (place == null || place.rip != rip || place.codeSize != codeSize) {
      return null;
    }
    long difference = 0;
    for (int i = 0; i < WORDS; i++) {
      difference |= place.words[i] ^ word(window, i);
    }
    return difference == 0 ? place : null;
  }

  /** Keeps a place, whose instruction the caller fills in; allocates in a slot never used. */
  Place add(final long rip, final int codeSize, final long window, final int behind) {
    final int slot = slot(rip);
    if (places[slot] == null) {
      places[slot] = new Place();
    }
    final Place place = places[slot];
    place.rip = rip;
    place.codeSize = codeSize;
    place.behind = behind;
    for (int i = 0; i < WORDS; i++) {
      place.words[i] = word(window, i);
    }
    return place;
  }
}

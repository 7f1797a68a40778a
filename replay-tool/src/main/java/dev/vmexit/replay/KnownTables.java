package dev.vmexit.replay;

import dev.vmexit.mmu.TlbControl;
import org.agrona.collections.Long2ObjectHashMap;

/**
 * What the trace has told about guest frames that are shadowed as page tables.
 *
 * <p>No store to such a frame goes unseen, so that an entry has at each walk the value that it had
 * at the last one, or that was stored since. This finds damage in bits of an entry that no
 * translation depends on. A frame is forgotten when it is shadowed anew: between being a table and
 * being one again it may have been written unseen.
 */
final class KnownTables implements TlbControl {
  private static final int WORDS = 1024;

  private final Long2ObjectHashMap<Frame> frames = new Long2ObjectHashMap<>();

  /** One frame as words of four bytes, of which some are known. */
  private static final class Frame {
    private final int[] word = new int[WORDS];
    private final long[] isKnown = new long[WORDS / 64];

    boolean knows(final int index) {
      return (isKnown[index >> 6] >>> index & 1) != 0;
    }

    void put(final int index, final int value) {
      word[index] = value;
      isKnown[index >> 6] |= 1L << index;
    }

    void forget(final int index) {
      isKnown[index >> 6] &= ~(1L << index);
    }
  }

  /** Takes note of an entry's value. */
  void learned(final long gpa, final int size, final long value) {
    final long gfn = gpa >>> 12;
    Frame frame = frames.get(gfn);
    if (frame == null) {
      frame = new Frame();
      frames.put(gfn, frame);
    }
    final int index = (int) (gpa & 0xFFF) >> 2;
    frame.put(index, (int) value);
    if (size == 8) {
      frame.put(index + 1, (int) (value >>> 32));
    }
  }

  /** Whether an entry of a shadowed frame is known. */
  boolean knows(final long gpa, final int size) {
    final Frame frame = frames.get(gpa >>> 12);
    final int index = (int) (gpa & 0xFFF) >> 2;
    return frame != null && frame.knows(index) && (size == 4 || frame.knows(index + 1));
  }

  /** Value of an entry that is known. */
  long value(final long gpa, final int size) {
    final Frame frame = frames.get(gpa >>> 12);
    final int index = (int) (gpa & 0xFFF) >> 2;
    final long low = frame.word[index] & 0xFFFF_FFFFL;
    return size == 4 ? low : low | (long) frame.word[index + 1] << 32;
  }

  /** Takes note of a store; one that is not of whole words makes its words unknown. */
  void stored(final long gpa, final int size, final long value) {
    final long last = gpa + size - 1;
    if (gpa >>> 12 != last >>> 12) {
      forgetWords(gpa, (gpa | 0xFFF));
      forgetWords(last & -4096L, last);
      return;
    }
    final Frame frame = frames.get(gpa >>> 12);
    if (frame == null) {
      return;
    }
    final int index = (int) (gpa & 0xFFF) >> 2;
    if ((gpa & 3) == 0 && (size == 4 || size == 8)) {
      frame.put(index, (int) value);
      if (size == 8) {
        frame.put(index + 1, (int) (value >>> 32));
      }
    } else {
      forgetWords(gpa, last);
    }
  }

  private void forgetWords(final long first, final long last) {
    final Frame frame = frames.get(first >>> 12);
    if (frame != null) {
      for (int i = (int) (first & 0xFFF) >> 2; i <= (int) (last & 0xFFF) >> 2; i++) {
        frame.forget(i);
      }
    }
  }

  // ---- what the shadow MMU tells ----

  @Override
  public void writeProtectFrame(final long gfn) {
    frames.remove(gfn);
  }

  @Override
  public void flushAll() {}

  @Override
  public void flushNonGlobal() {}

  @Override
  public void flushPage(final long gva) {}

  @Override
  public void flushFrame(final long gfn) {}
}

package dev.vmexit.vcpu;

/**
 * Writes of one emulated instruction to write-protected guest tables, in order. Reused.
 *
 * <p>The first few are kept as they were made. An instruction that makes more of them (FXSAVE,
 * PUSHA, an interrupt's frame) has the rest put together, page by page: a range that covers them
 * all, with no value.
 */
public final class TableWrites {
  public static final int CAPACITY = 8;

  /** Pages that one instruction may be permitted to write: one range each is always left. */
  static final int MAX_PAGES = 4;

  private static final int MIN_RANGE = 9;

  private final long[] gpas = new long[CAPACITY];
  private final int[] sizes = new int[CAPACITY];
  private final long[] values = new long[CAPACITY];
  private int count;

  public void clear() {
    count = 0;
  }

  public int count() {
    return count;
  }

  public long gpa(final int index) {
    return gpas[index];
  }

  /** Bytes: 1 to 8, or the length of a range within one page. */
  public int size(final int index) {
    return sizes[index];
  }

  /** What was written, where {@link #size} is at most 8. */
  public long value(final int index) {
    return values[index];
  }

  /** Adds a write that lies within one page. */
  public void add(final long gpa, final int size, final long value) {
    for (int i = CAPACITY - MAX_PAGES; i < count; i++) {
      if (gpas[i] >>> 12 == gpa >>> 12) {
        extend(i, gpa, size);
        return;
      }
    }
    if (count == CAPACITY) {
      throw new IllegalStateException("writes to more than " + MAX_PAGES + " permitted pages");
    }
    gpas[count] = gpa;
    sizes[count] = size;
    values[count] = value;
    count++;
  }

  private void extend(final int index, final long gpa, final int size) {
    final long start = Math.min(gpas[index], gpa);
    final long end = Math.max(gpas[index] + sizes[index], gpa + size);
    gpas[index] = start;
    // Never the size of a single write: what is in a range must not be taken for a value.
    sizes[index] = (int) Math.max(end - start, MIN_RANGE);
    if ((start & 0xFFF) + sizes[index] > 0x1000) {
      gpas[index] = (start | 0xFFF) + 1 - sizes[index];
    }
    values[index] = 0;
  }
}

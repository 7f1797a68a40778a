package dev.vmexit.vcpu;

/** Writes of one emulated instruction to write-protected guest tables, in order. Reused. */
public final class TableWrites {
  /** Most that one instruction (one iteration of a string) can make. */
  public static final int CAPACITY = 8;

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

  /** Bytes: 1 to 8. */
  public int size(final int index) {
    return sizes[index];
  }

  public long value(final int index) {
    return values[index];
  }

  /** Adds a write; false when there is no room. */
  public boolean add(final long gpa, final int size, final long value) {
    if (count == CAPACITY) {
      return false;
    }
    gpas[count] = gpa;
    sizes[count] = size;
    values[count] = value;
    count++;
    return true;
  }
}

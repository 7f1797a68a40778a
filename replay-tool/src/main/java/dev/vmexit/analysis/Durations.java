package dev.vmexit.analysis;

import java.util.Arrays;
import org.HdrHistogram.Histogram;

/**
 * Nanoseconds of one row: exact while there are few, which most rows of a trace are; then a
 * histogram of three digits.
 */
final class Durations {
  private static final int DIGITS = 3;
  private static final int FEW = 64;

  private long[] few = new long[4];
  private int count;
  private Histogram many;
  private long total;
  private long max;

  void add(final long nanos) {
    // A clock that goes back would be a fault of the recording host, not of its reader.
    final long value = Math.max(0, nanos);
    total += value;
    max = Math.max(max, value);
    if (many != null) {
      many.recordValue(value);
      return;
    }
    if (count == FEW) {
      many = new Histogram(DIGITS);
      many.setAutoResize(true);
      for (final long old : few) {
        many.recordValue(old);
      }
      few = null;
      many.recordValue(value);
      return;
    }
    if (count == few.length) {
      few = Arrays.copyOf(few, count * 2);
    }
    few[count++] = value;
  }

  long total() {
    return total;
  }

  long max() {
    return max;
  }

  /** The value that a share of all values do not exceed. */
  long percentile(final double percent) {
    if (many != null) {
      return Math.min(max, many.getValueAtPercentile(percent));
    }
    if (count == 0) {
      return 0;
    }
    final long[] sorted = Arrays.copyOf(few, count);
    Arrays.sort(sorted);
    final int rank = (int) Math.ceil(percent / 100 * count);
    return sorted[Math.max(0, rank - 1)];
  }
}

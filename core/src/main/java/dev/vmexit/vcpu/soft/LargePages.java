package dev.vmexit.vcpu.soft;

import java.util.Arrays;

/**
 * Remembers which regions of linear addresses the TLB holds pieces of large guest pages for: a
 * filter, that may say yes for a region that has none.
 */
final class LargePages {
  private static final int REGION_SHIFT = 21;
  private static final int GIGABYTE_SHIFT = 30;
  private static final int WORDS = 64;

  /** One bit per 2 MiB, modulo 8 GiB. */
  private final long[] regions = new long[WORDS];

  /** One bit per 1 GiB, modulo 64 GiB, for pages of that size. */
  private long gigabytes;

  private boolean any;

  /** Adds the large page of an address; {@code shift} is the log2 of its size. */
  void add(final long linear, final int shift) {
    any = true;
    if (shift >= GIGABYTE_SHIFT) {
      gigabytes |= 1L << (linear >>> GIGABYTE_SHIFT);
      return;
    }
    final long first = linear >>> shift << (shift - REGION_SHIFT);
    final long last = first + (1L << (shift - REGION_SHIFT)) - 1;
    for (long region = first; region <= last; region++) {
      regions[word(region)] |= 1L << region;
    }
  }

  /** Whether an address may be in a large page that the TLB has a piece of. */
  boolean mayHold(final long linear) {
    final long region = linear >>> REGION_SHIFT;
    return any
        && ((regions[word(region)] >>> region & 1) != 0
            || (gigabytes >>> (linear >>> GIGABYTE_SHIFT) & 1) != 0);
  }

  private static int word(final long region) {
    return (int) (region >>> 6) & WORDS - 1;
  }

  /** The TLB is empty. */
  void clear() {
    if (any) {
      Arrays.fill(regions, 0);
      gigabytes = 0;
      any = false;
    }
  }
}

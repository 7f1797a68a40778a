package dev.vmexit.vm;

import java.util.function.LongSupplier;

/**
 * Numbers that look random and are the same in each run: SplitMix64 (Steele, Lea, Flood, "Fast
 * splittable pseudorandom number generators", 2014). No secret may hang on them.
 */
final class SameNumbers implements LongSupplier {
  private static final long GAMMA = 0x9E37_79B9_7F4A_7C15L;
  private long state = 2006;

  @Override
  public long getAsLong() {
    state += GAMMA;
    long z = state;
    z = (z ^ z >>> 30) * 0xBF58_476D_1CE4_E5B9L;
    z = (z ^ z >>> 27) * 0x94D0_49BB_1331_11EBL;
    return z ^ z >>> 31;
  }
}

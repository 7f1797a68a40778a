package dev.vmexit.trace;

/** When a recording is brought to the disk itself, so that a power cut leaves it there. */
public enum Durability {
  /** When the kernel likes to: a killed process loses nothing, a power cut what is not written. */
  NONE,
  /** Each batch before it leaves its exit ring: a power cut loses what was in the rings. */
  BATCH,
  /** Once a second, the rings too: a power cut loses about the last second. */
  INTERVAL;

  /** From one time to the next of {@link #INTERVAL}. */
  static final long INTERVAL_NANOS = 1_000_000_000L;
}

package dev.vmexit.trace;

import dev.vmexit.exit.OnFull;

/**
 * How a run is recorded.
 *
 * @param ringCapacity bytes of each vCPU's ring, a power of two
 * @param onFull what a vCPU does when its ring is full
 */
public record RecorderOptions(int ringCapacity, OnFull onFull) {
  /** Nothing is missing from the trace. */
  public static RecorderOptions blocking(final int ringCapacity) {
    return new RecorderOptions(ringCapacity, OnFull.BLOCK);
  }
}

package dev.vmexit.trace;

/** Hears how a recording fares, on the recorder's thread. */
@FunctionalInterface
public interface RecorderListener {
  /** The recording cannot go on; called at most once. */
  void failed(String reason);

  /** The disk is full: the recorder waits for room, and then so does the guest. */
  default void paused(final String reason) {}

  /** There is room again. */
  default void resumed() {}

  /** A new file of the queue was begun, and old ones may have been taken away. */
  default void rolled() {}

  /** All records of a vCPU below a number are in the queue; called for each batch. */
  default void appended(final long nextSequence) {}
}

package dev.vmexit.exit;

/** What a vCPU does when its exit ring is full. */
public enum OnFull {
  /** It waits for the recorder: nothing is missing from the trace, and the guest slows down. */
  BLOCK,
  /** It goes on, and a GAP in the trace says which records are missing. */
  DROP
}

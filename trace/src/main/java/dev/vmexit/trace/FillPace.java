package dev.vmexit.trace;

import java.util.concurrent.TimeUnit;

/**
 * When a ring that nobody empties yet should be: before it is full, as its vCPU must not wait, and
 * not before, as what empties it takes time of the same cores. Belongs to the recorder's thread.
 */
final class FillPace {
  /** From one {@link #look} to the next, or a little more. */
  static final long LOOK_NANOS = TimeUnit.MILLISECONDS.toNanos(4);

  /** So many looks are half of the time that the pace is taken over, a quarter of a second. */
  private static final int LOOKS = 62;

  /** What came in that time is to find room so many times: to open a queue may take as long. */
  private static final int SPARE = 2;

  private final long capacity;
  private long older;
  private long newer;
  private int looks;

  /**
   * Of an empty ring.
   *
   * @param capacity its bytes
   */
  FillPace(final long capacity) {
    this.capacity = capacity;
  }

  /**
   * Takes a look.
   *
   * @param backlog bytes in the ring
   * @return whether three quarters are full, or will all be too soon at this pace
   */
  boolean look(final long backlog) {
    if (++looks == LOOKS) {
      looks = 0;
      older = newer;
      newer = backlog;
    }
    return backlog >= capacity / 4 * 3 || SPARE * (backlog - older) >= capacity - backlog;
  }
}

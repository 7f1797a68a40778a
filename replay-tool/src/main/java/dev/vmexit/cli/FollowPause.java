package dev.vmexit.cli;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.trace.TraceFollower;
import java.util.concurrent.locks.LockSupport;

/** Waits for the next record of a trace that is being recorded. */
final class FollowPause {
  /** A look at a ring costs its recorder nothing, but us a core: so not too often. */
  private static final long PAUSE_NANOS = 20_000_000;

  private FollowPause() {}

  /**
   * Reads the next record as soon as there is one.
   *
   * @param idle done whenever there is none yet
   * @return false when the recording has ended
   */
  static boolean next(final TraceFollower follower, final ExitEvent event, final Runnable idle) {
    while (!follower.next(event)) {
      idle.run();
      if (follower.ended() || Thread.currentThread().isInterrupted()) {
        return false;
      }
      LockSupport.parkNanos(PAUSE_NANOS);
    }
    return true;
  }
}

package dev.vmexit.trace;

import java.util.List;

/** What every view of a trace can say about it. */
public interface TraceView {
  /** What the trace is of. */
  TraceManifest manifest();

  /**
   * Whether it was being recorded when it was opened, by one who does not follow it: files and ends
   * of rings then change under its hands, and what is damaged may not be so.
   */
  default boolean recording() {
    return false;
  }

  /** Records delivered, without gaps. */
  long records();

  /** Records known to be missing so far. */
  long gaps();

  /** Records so far that were taken away, as only the end of the run was to be kept. */
  long notKept();

  /** What could not be read so far. */
  List<TraceDamage> damages();
}

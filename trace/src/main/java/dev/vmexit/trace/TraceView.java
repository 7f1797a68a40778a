package dev.vmexit.trace;

import java.util.List;

/** What every view of a trace can say about it. */
public interface TraceView {
  /** What the trace is of. */
  TraceManifest manifest();

  /** Records delivered, without gaps. */
  long records();

  /** Records known to be missing so far. */
  long gaps();

  /** Records so far that were taken away, as only the end of the run was to be kept. */
  long notKept();

  /** What could not be read so far. */
  List<TraceDamage> damages();
}

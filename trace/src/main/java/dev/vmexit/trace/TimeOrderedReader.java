package dev.vmexit.trace;

import dev.vmexit.exit.ExitEvent;
import java.nio.file.Path;
import java.util.List;

/**
 * Reads a trace of several vCPUs in the order of the host's time, in which their rings' batches do
 * not lie. Each vCPU has a reader of its own, so the trace is read once for each. Not thread-safe.
 */
public final class TimeOrderedReader implements TraceView, AutoCloseable {
  private final TraceReader[] readers;
  private final ExitEvent[] heads;
  private final boolean[] has;
  private long records;

  private TimeOrderedReader(final TraceReader first, final Path folder) {
    final int vcpus = first.manifest().vcpus();
    readers = new TraceReader[vcpus];
    heads = new ExitEvent[vcpus];
    has = new boolean[vcpus];
    readers[0] = first;
    boolean opened = false;
    try {
      for (int i = 0; i < vcpus; i++) {
        if (i > 0) {
          readers[i] = TraceReader.open(folder);
        }
        heads[i] = new ExitEvent();
        advance(i);
      }
      opened = true;
    } finally {
      if (!opened) {
        close();
      }
    }
  }

  /**
   * Opens a trace, finished or not.
   *
   * @throws TraceException as {@link TraceReader#open} does
   */
  public static TimeOrderedReader open(final Path folder) {
    return new TimeOrderedReader(TraceReader.open(folder), folder);
  }

  private void advance(final int vcpu) {
    do {
      has[vcpu] = readers[vcpu].next(heads[vcpu]);
    } while (has[vcpu] && heads[vcpu].vcpu != vcpu);
  }

  /**
   * Fills in the earliest record that is left; of one vCPU they keep their order.
   *
   * @return false at the end
   */
  public boolean next(final ExitEvent to) {
    int earliest = -1;
    for (int i = 0; i < heads.length; i++) {
      if (has[i] && (earliest < 0 || heads[i].hostTime < heads[earliest].hostTime)) {
        earliest = i;
      }
    }
    if (earliest < 0) {
      return false;
    }
    ExitEvents.copy(heads[earliest], to);
    advance(earliest);
    records++;
    return true;
  }

  @Override
  public TraceManifest manifest() {
    return readers[0].manifest();
  }

  @Override
  public long records() {
    return records;
  }

  // Each reader goes through the whole trace, and meets all that is missing.

  @Override
  public long gaps() {
    return readers[0].gaps();
  }

  @Override
  public long notKept() {
    return readers[0].notKept();
  }

  @Override
  public List<TraceDamage> damages() {
    return readers[0].damages();
  }

  @Override
  public void close() {
    for (final TraceReader reader : readers) {
      if (reader != null) {
        reader.close();
      }
    }
  }
}

package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.trace.ExitFormatter;
import java.util.ArrayList;
import java.util.List;

/** Keeps the first difference of a replay, and the exits before it. */
final class Findings {
  /** Exits shown with a difference. A power of two. */
  private static final int HISTORY = 8;

  private final ExitEvent[] history = new ExitEvent[HISTORY];
  private long seen;
  private Difference first;

  Findings() {
    for (int i = 0; i < HISTORY; i++) {
      history[i] = new ExitEvent();
    }
  }

  /** Where the next record is to be put. */
  ExitEvent slot() {
    return history[(int) (seen & HISTORY - 1)];
  }

  /** Takes note that the record in the slot is checked from now on. */
  void next() {
    seen++;
  }

  boolean any() {
    return first != null;
  }

  Difference first() {
    return first;
  }

  /** Compares two values; false where they differ. */
  boolean same(final String field, final long recorded, final long replayed) {
    if (recorded != replayed) {
      differ(field, hex(recorded), hex(replayed));
      return false;
    }
    return true;
  }

  /** Keeps a difference of the current record, if it is the first; always false. */
  boolean differ(final String field, final String recorded, final String replayed) {
    if (first != null) {
      return false;
    }
    final ExitEvent event = history[(int) (seen - 1 & HISTORY - 1)];
    final ExitFormatter formatter = new ExitFormatter();
    final StringBuilder text = new StringBuilder();
    formatter.disassembly(event, text);
    final String disassembly = text.toString();
    final List<String> lines = new ArrayList<>();
    for (long i = Math.max(0, seen - HISTORY); i < seen; i++) {
      text.setLength(0);
      formatter.line(history[(int) (i & HISTORY - 1)], text);
      lines.add(text.toString());
    }
    first =
        new Difference(event.sequence, event.kind, field, recorded, replayed, disassembly, lines);
    return false;
  }

  static String hex(final long value) {
    return "0x" + Long.toHexString(value);
  }
}

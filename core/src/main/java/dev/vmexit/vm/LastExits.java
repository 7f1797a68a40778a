package dev.vmexit.vm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The last exits of a vCPU, kept for the report of a guest that died. */
final class LastExits {
  private static final int COUNT = 16;

  // A line of 64 bytes an exit.
  private static final int WORDS = 8;
  private static final int RIP = 1;
  private static final int ADDRESS = 2;
  private static final int VALUE = 3;
  private static final int RETIRED = 4;
  private static final ExitKind[] KINDS = ExitKind.values();

  private final long[] words = new long[COUNT * WORDS];
  private long added;

  /** Fills in what is kept here of an exit that is not recorded; the payload comes with it. */
  static void brief(final ExitEvent e, final ExitKind kind, final long rip, final long retired) {
    e.kind = kind;
    e.rip = rip;
    e.retired = retired;
  }

  void add(final ExitEvent event) {
    final int at = (int) (added++ % COUNT) * WORDS;
    final long[] w = words;
    w[at] = event.kind.ordinal();
    w[at + RIP] = event.rip;
    w[at + ADDRESS] = event.address;
    w[at + VALUE] = event.value;
    w[at + RETIRED] = event.retired;
  }

  /** One line an exit, oldest first. */
  List<String> lines() {
    final List<String> lines = new ArrayList<>();
    for (long i = Math.max(0, added - COUNT); i < added; i++) {
      final int at = (int) (i % COUNT) * WORDS;
      lines.add(
          String.format(
              Locale.ROOT,
              "%12d %-10s rip %016x  %x %x",
              words[at + RETIRED],
              KINDS[(int) words[at]],
              words[at + RIP],
              words[at + ADDRESS],
              words[at + VALUE]));
    }
    return lines;
  }
}

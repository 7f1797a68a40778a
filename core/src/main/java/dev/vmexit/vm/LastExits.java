package dev.vmexit.vm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** The last exits of a vCPU, kept for the report of a guest that died. */
final class LastExits {
  private static final int COUNT = 16;

  private final ExitKind[] kinds = new ExitKind[COUNT];
  private final long[] rips = new long[COUNT];
  private final long[] addresses = new long[COUNT];
  private final long[] values = new long[COUNT];
  private final long[] retired = new long[COUNT];
  private long added;

  /** Fills in what is kept here of an exit that is not recorded; the payload comes with it. */
  static void brief(final ExitEvent e, final ExitKind kind, final long rip, final long retired) {
    e.kind = kind;
    e.rip = rip;
    e.retired = retired;
  }

  void add(final ExitEvent event) {
    final int at = (int) (added++ % COUNT);
    kinds[at] = event.kind;
    rips[at] = event.rip;
    addresses[at] = event.address;
    values[at] = event.value;
    retired[at] = event.retired;
  }

  /** One line an exit, oldest first. */
  List<String> lines() {
    final List<String> lines = new ArrayList<>();
    for (long i = Math.max(0, added - COUNT); i < added; i++) {
      final int at = (int) (i % COUNT);
      lines.add(
          String.format(
              Locale.ROOT,
              "%12d %-10s rip %016x  %x %x",
              retired[at],
              kinds[at],
              rips[at],
              addresses[at],
              values[at]));
    }
    return lines;
  }
}

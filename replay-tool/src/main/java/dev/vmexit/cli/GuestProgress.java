package dev.vmexit.cli;

import java.io.PrintStream;
import java.util.Locale;

/** Says what is going on while a guest is fetched: lines, and on a terminal a bar too. */
final class GuestProgress {
  private static final int BAR = 30;

  private final PrintStream out;
  private final boolean terminal;
  private int drawn;

  /**
   * @param terminal whether a line may be drawn over
   */
  GuestProgress(final PrintStream out, final boolean terminal) {
    this.out = out;
    this.terminal = terminal;
  }

  /** Prints a line, over the bar where there is one. */
  void line(final String text) {
    clear();
    out.println(text);
  }

  /** Draws the bar; nothing off a terminal. */
  void bar(final String what, final long done, final long total) {
    if (!terminal || total <= 0) {
      return;
    }
    final long shown = Math.clamp(done, 0, total);
    final int full = (int) (shown * BAR / total);
    final String text =
        String.format(
            Locale.ROOT,
            "%s [%s%s] %3d %% of %.1f MB",
            what,
            "#".repeat(full),
            " ".repeat(BAR - full),
            shown * 100 / total,
            total / 1e6);
    out.print("\r" + text + " ".repeat(Math.max(0, drawn - text.length())));
    out.flush();
    drawn = text.length();
  }

  /** Takes the bar away. */
  void clear() {
    if (drawn > 0) {
      out.print("\r" + " ".repeat(drawn) + "\r");
      out.flush();
      drawn = 0;
    }
  }
}

package dev.vmexit.analysis;

import dev.vmexit.analysis.ExitStatistics.Row;
import dev.vmexit.analysis.ExitStatistics.Times;
import java.util.List;
import java.util.Locale;

/** Statistics as text: two tables, and a third where interrupts were injected; 80 columns wide. */
public final class StatisticsTable {
  /** Width of every line. */
  public static final int WIDTH = 80;

  private static final int KEY = 16;
  private static final int COUNT = 10;
  private static final int SHARE = 6;
  private static final int TIME = 8;
  private static final String[] UNITS = {"ns", "us", "ms", "s"};

  /** What a table is of. */
  private enum Section {
    HANDLER("Time in the handler"),
    GUEST("Time in the guest, before the exit"),
    INJECTION("Time from an interrupt's request to its injection");

    private final String title;

    Section(final String title) {
      this.title = title;
    }

    long count(final Row row) {
      return this == INJECTION ? row.injections() : row.count();
    }

    Times times(final Row row) {
      return switch (this) {
        case HANDLER -> row.handler();
        case GUEST -> row.guest();
        case INJECTION -> row.injection();
      };
    }
  }

  private StatisticsTable() {}

  /**
   * Formats rows and their total.
   *
   * @param top rows to show at most
   */
  public static String format(
      final ExitStatistics statistics, final ExitStatistics.Order order, final int top) {
    final List<Row> rows = statistics.rows(order);
    final StringBuilder out = new StringBuilder();
    // An injection takes place at an entry: it has neither a handler nor time before it.
    final boolean injectionsAlone =
        statistics.dimension() == Dimension.VECTOR && statistics.total().injections() > 0;
    if (!injectionsAlone) {
      section(statistics, rows, top, Section.HANDLER, out);
      out.append('\n');
      section(statistics, rows, top, Section.GUEST, out);
    }
    if (statistics.total().injections() > 0) {
      out.append(injectionsAlone ? "" : "\n");
      section(
          statistics,
          rows.stream().filter(row -> row.injections() > 0).toList(),
          top,
          Section.INJECTION,
          out);
    }
    return out.toString();
  }

  private static void section(
      final ExitStatistics statistics,
      final List<Row> rows,
      final int top,
      final Section section,
      final StringBuilder out) {
    out.append(section.title).append('\n');
    left(statistics.dimension().toString(), KEY, out);
    right("COUNT", COUNT, out);
    right("%", SHARE, out);
    for (final String column : new String[] {"TOTAL", "MEAN", "P50", "P99", "P99.9", "MAX"}) {
      right(column, TIME, out);
    }
    out.append('\n');
    for (int i = 0; i < Math.min(top, rows.size()); i++) {
      row(rows.get(i), section, statistics, out);
    }
    if (rows.size() > top) {
      out.append("and ").append(rows.size() - top).append(" more\n");
    }
    row(statistics.total(), section, statistics, out);
  }

  private static void row(
      final Row row,
      final Section section,
      final ExitStatistics statistics,
      final StringBuilder out) {
    left(row.key(), KEY, out);
    final long count = section.count(row);
    final long all = section.count(statistics.total());
    right(Long.toString(count), COUNT, out);
    right(String.format(Locale.ROOT, "%.1f", all == 0 ? 0 : 100.0 * count / all), SHARE, out);
    final Times times = section.times(row);
    right(duration(times.total()), TIME, out);
    right(duration(times.mean()), TIME, out);
    right(duration(times.p50()), TIME, out);
    right(duration(times.p99()), TIME, out);
    right(duration(times.p999()), TIME, out);
    right(duration(times.max()), TIME, out);
    out.append('\n');
  }

  /** Nanoseconds in three digits and a unit: {@code 999ns}, {@code 1.23us}, {@code 45.6ms}. */
  public static String duration(final long nanos) {
    if (nanos < 1000) {
      return nanos + UNITS[0];
    }
    double value = nanos;
    int unit = 0;
    while (unit < UNITS.length - 1 && value >= 999.5) {
      value /= 1000;
      unit++;
    }
    final String format = value < 9.995 ? "%.2f" : value < 99.95 ? "%.1f" : "%.0f";
    return String.format(Locale.ROOT, format, value) + UNITS[unit];
  }

  private static void left(final String text, final int width, final StringBuilder out) {
    out.append(text).repeat(' ', Math.max(0, width - text.length()));
  }

  private static void right(final String text, final int width, final StringBuilder out) {
    out.repeat(' ', Math.max(0, width - text.length())).append(text);
  }
}

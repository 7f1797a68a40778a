package dev.vmexit.analysis;

import dev.vmexit.analysis.ExitStatistics.Row;
import dev.vmexit.analysis.ExitStatistics.Times;
import java.util.List;
import java.util.Locale;

/** Statistics as text: two tables, each 80 columns wide. */
public final class StatisticsTable {
  /** Width of every line. */
  public static final int WIDTH = 80;

  private static final int KEY = 16;
  private static final int COUNT = 10;
  private static final int SHARE = 6;
  private static final int TIME = 8;
  private static final String[] UNITS = {"ns", "us", "ms", "s"};

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
    section(statistics, rows, top, "in the handler", true, out);
    out.append('\n');
    section(statistics, rows, top, "in the guest, before the exit", false, out);
    return out.toString();
  }

  private static void section(
      final ExitStatistics statistics,
      final List<Row> rows,
      final int top,
      final String where,
      final boolean handler,
      final StringBuilder out) {
    out.append("Time ").append(where).append('\n');
    left(statistics.dimension().toString(), KEY, out);
    right("COUNT", COUNT, out);
    right("%", SHARE, out);
    for (final String column : new String[] {"TOTAL", "MEAN", "P50", "P99", "P99.9", "MAX"}) {
      right(column, TIME, out);
    }
    out.append('\n');
    for (int i = 0; i < Math.min(top, rows.size()); i++) {
      row(rows.get(i), handler, out);
    }
    if (rows.size() > top) {
      out.append("and ").append(rows.size() - top).append(" more\n");
    }
    row(statistics.total(), handler, out);
  }

  private static void row(final Row row, final boolean handler, final StringBuilder out) {
    left(row.key(), KEY, out);
    right(Long.toString(row.count()), COUNT, out);
    right(String.format(Locale.ROOT, "%.1f", row.share() * 100), SHARE, out);
    final Times times = handler ? row.handler() : row.guest();
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

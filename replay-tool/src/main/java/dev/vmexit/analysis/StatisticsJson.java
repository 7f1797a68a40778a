package dev.vmexit.analysis;

import dev.vmexit.analysis.ExitStatistics.Row;
import dev.vmexit.analysis.ExitStatistics.Times;
import java.util.Locale;

/** Statistics as one JSON object; times in nanoseconds. */
public final class StatisticsJson {
  private StatisticsJson() {}

  /** Formats all rows and their total. */
  public static String format(
      final ExitStatistics statistics,
      final ExitStatistics.Order order,
      final String guest,
      final String clockSource,
      final long gaps) {
    final StringBuilder out = new StringBuilder();
    final JsonWriter json = new JsonWriter(out);
    json.object();
    json.name("guest").value(guest);
    json.name("times").value(clockSource);
    json.name("by").value(statistics.dimension().toString().toLowerCase(Locale.ROOT));
    json.name("missing").value(gaps);
    if (statistics.lostEvents() > 0) {
      json.name("lostEvents").value(statistics.lostEvents());
    }
    json.name("rows").array();
    for (final Row row : statistics.rows(order)) {
      row(row, json);
    }
    json.endArray();
    json.name("total");
    row(statistics.total(), json);
    json.endObject();
    return out.toString();
  }

  private static void row(final Row row, final JsonWriter json) {
    json.object();
    json.name("key").value(row.key());
    json.name("count").value(row.count());
    json.name("share").value(row.share());
    json.name("handler");
    times(row.handler(), json);
    json.name("guest");
    times(row.guest(), json);
    if (row.injections() > 0) {
      json.name("injections").value(row.injections());
      json.name("injection");
      times(row.injection(), json);
    }
    json.endObject();
  }

  private static void times(final Times times, final JsonWriter json) {
    json.object();
    json.name("total").value(times.total());
    json.name("mean").value(times.mean());
    json.name("p50").value(times.p50());
    json.name("p99").value(times.p99());
    json.name("p99.9").value(times.p999());
    json.name("max").value(times.max());
    json.endObject();
  }
}

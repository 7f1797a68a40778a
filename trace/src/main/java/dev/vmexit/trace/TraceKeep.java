package dev.vmexit.trace;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * How much of a recording's end is kept. Whole files are taken away, the oldest first: of records
 * and of time there is at least as much as was asked for, of bytes at most.
 *
 * @param unit what it is measured in
 * @param value records, nanoseconds or bytes; 0 where all is kept
 */
public record TraceKeep(Unit unit, long value) {
  private static final Pattern TEXT = Pattern.compile("(\\d{1,12})(|ms|s|min|h|M|G|T)");

  /** What is counted. */
  public enum Unit {
    /** Nothing is taken away. */
    ALL,
    RECORDS,
    TIME,
    BYTES
  }

  /** Keeps everything. */
  public static final TraceKeep ALL = new TraceKeep(Unit.ALL, 0);

  /**
   * Reads {@code 1000000} (records), {@code 30s} (also ms, min, h) or {@code 512M} (bytes; also G,
   * T).
   *
   * @throws IllegalArgumentException if it is none of them
   */
  public static TraceKeep parse(final String text) {
    final Matcher matcher = TEXT.matcher(text);
    if (!matcher.matches() || Long.parseLong(matcher.group(1)) == 0) {
      throw new IllegalArgumentException(
          "'" + text + "' is nothing to keep; write exits like 1000000, 30s or 512M");
    }
    final String suffix = matcher.group(2);
    final Unit unit =
        switch (suffix) {
          case "" -> Unit.RECORDS;
          case "M", "G", "T" -> Unit.BYTES;
          default -> Unit.TIME;
        };
    final long scale =
        switch (suffix) {
          case "" -> 1;
          case "ms" -> 1_000_000;
          case "s" -> 1_000_000_000;
          case "min" -> 60_000_000_000L;
          case "h" -> 3_600_000_000_000L;
          case "M" -> 1L << 20;
          case "G" -> 1L << 30;
          default -> 1L << 40;
        };
    try {
      return new TraceKeep(unit, Math.multiplyExact(Long.parseLong(matcher.group(1)), scale));
    } catch (final ArithmeticException e) {
      throw new IllegalArgumentException("'" + text + "' is too much to keep", e);
    }
  }

  /** Whether files are taken away at all. */
  public boolean isBounded() {
    return unit != Unit.ALL;
  }

  /** For people; empty where all is kept. */
  @Override
  public String toString() {
    return switch (unit) {
      case ALL -> "";
      case RECORDS -> value + " exits";
      case TIME -> String.format(Locale.ROOT, "%.1f s", value / 1e9);
      case BYTES -> String.format(Locale.ROOT, "%d MiB", value >> 20);
    };
  }
}

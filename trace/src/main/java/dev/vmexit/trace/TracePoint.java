package dev.vmexit.trace;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import java.math.BigDecimal;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A place in a trace.
 *
 * @param unit what the place is measured in
 * @param value not negative
 */
public record TracePoint(Unit unit, long value) {
  private static final Pattern TEXT =
      Pattern.compile("(\\d{1,18}(?:\\.\\d{1,9})?)(|[kMG]?insn|ns|us|ms|s)");

  /** What a place is measured in. */
  public enum Unit {
    /** Number of the record. */
    SEQUENCE,
    /** Instructions retired before the exit. */
    RETIRED,
    /** Host time of the exit, in ns since the run began. */
    TIME
  }

  /** The start of every trace. */
  public static final TracePoint START = new TracePoint(Unit.SEQUENCE, 0);

  /** Behind the end of every trace. */
  public static final TracePoint END = new TracePoint(Unit.SEQUENCE, Long.MAX_VALUE);

  /**
   * Reads {@code 1000} (a record), {@code 5Minsn} (retired instructions; also insn, kinsn, Ginsn)
   * or {@code 12.5s} (time; also ms, us, ns).
   *
   * @throws IllegalArgumentException if it is none of them
   */
  public static TracePoint parse(final String text) {
    final Matcher matcher = TEXT.matcher(text);
    if (!matcher.matches()) {
      throw wrong(text);
    }
    final String suffix = matcher.group(2);
    final long scale =
        switch (suffix) {
          case "", "insn", "ns" -> 1;
          case "kinsn", "us" -> 1_000;
          case "Minsn", "ms" -> 1_000_000;
          default -> 1_000_000_000;
        };
    final Unit unit =
        suffix.isEmpty() ? Unit.SEQUENCE : suffix.endsWith("n") ? Unit.RETIRED : Unit.TIME;
    try {
      return new TracePoint(
          unit,
          new BigDecimal(matcher.group(1)).multiply(BigDecimal.valueOf(scale)).longValueExact());
    } catch (final ArithmeticException e) {
      throw wrong(text);
    }
  }

  private static IllegalArgumentException wrong(final String text) {
    return new IllegalArgumentException(
        "'" + text + "' is no place in a trace; write a record like 1000, 5Minsn or 12.5s");
  }

  /** Whether an exit is at this place or behind it. */
  public boolean isReached(final ExitEvent event) {
    return key(event) >= value;
  }

  /** Whether an exit is behind this place. */
  public boolean isPassed(final ExitEvent event) {
    return (unit == Unit.SEQUENCE ? event.sequence : key(event)) > value;
  }

  private long key(final ExitEvent event) {
    return switch (unit) {
      // A gap reaches to the last record that it stands for.
      case SEQUENCE ->
          event.kind == ExitKind.GAP ? event.sequence + event.value - 1 : event.sequence;
      case RETIRED -> event.retired;
      case TIME -> event.hostTime;
    };
  }

  /** As {@link #parse} reads it. */
  @Override
  public String toString() {
    return switch (unit) {
      case SEQUENCE -> Long.toString(value);
      case RETIRED -> String.format(Locale.ROOT, "%dinsn", value);
      case TIME -> String.format(Locale.ROOT, "%dns", value);
    };
  }
}

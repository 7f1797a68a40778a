package dev.vmexit.exit;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What an exit has to be like for something to be done at it: terms with {@code and} between them.
 *
 * <table>
 * <caption>Terms</caption>
 * <tr><td>{@code kind=pio,mmio}</td><td>one of these kinds</td></tr>
 * <tr><td>{@code port=0x3f8}, {@code port=0x3f8-0x3ff}</td><td>PIO at a port</td></tr>
 * <tr><td>{@code gpa=}</td><td>MMIO, DMA or a page fault at a guest-physical address</td></tr>
 * <tr><td>{@code gva=}</td><td>a page fault or INVLPG at a virtual address</td></tr>
 * <tr><td>{@code msr=}, {@code vector=}</td><td>an MSR; an injection</td></tr>
 * <tr><td>{@code rip=}</td><td>at any instruction of a range</td></tr>
 * <tr><td>{@code handler>100us}</td><td>more time in the handler (ns, us, ms, s)</td></tr>
 * <tr><td>{@code count=1000}</td><td>the so many-th exit of which all else is true</td></tr>
 * </table>
 *
 * Counts, so it belongs to one vCPU. Not thread-safe.
 */
public final class ExitCondition {
  private static final Pattern TERM = Pattern.compile("([a-z]+)([=>])(\\S+)");
  private static final Pattern TIME = Pattern.compile("(\\d{1,15})(ns|us|ms|s)");
  private static final String ALLOWED =
      "; terms, with 'and' between them, are kind=pio,mmio port=0x3f8-0x3ff gpa= gva= msr= vector="
          + " rip= handler>100us count=1000";
  private static final int ALL_KINDS = -1;

  /** What is compared with a range. */
  private enum Field {
    PORT(ExitKind.PIO),
    GPA(ExitKind.MMIO, ExitKind.DMA, ExitKind.PAGE_FAULT),
    GVA(ExitKind.PAGE_FAULT, ExitKind.INVLPG),
    MSR(ExitKind.MSR),
    VECTOR(ExitKind.INJECT),
    RIP,
    HANDLER;

    private final int kinds;

    Field(final ExitKind... of) {
      int mask = of.length == 0 ? ALL_KINDS : 0;
      for (final ExitKind kind : of) {
        mask |= 1 << kind.ordinal();
      }
      kinds = mask;
    }

    long of(final ExitEvent event) {
      return switch (this) {
        case PORT, GVA, MSR, VECTOR -> event.address;
        case GPA -> event.kind == ExitKind.PAGE_FAULT ? event.value : event.address;
        case RIP -> event.rip;
        case HANDLER -> event.handlerTime;
      };
    }
  }

  private final Field[] fields;
  private final long[] low;
  private final long[] high;
  private final int kinds;
  private final long count;
  private long seen;

  private ExitCondition(final List<Range> ranges, final int kinds, final long count) {
    fields = ranges.stream().map(Range::field).toArray(Field[]::new);
    low = ranges.stream().mapToLong(Range::low).toArray();
    high = ranges.stream().mapToLong(Range::high).toArray();
    this.kinds = kinds;
    this.count = count;
  }

  private record Range(Field field, long low, long high) {}

  /**
   * Reads terms.
   *
   * @throws IllegalArgumentException if one is wrong: the message names it and says what is allowed
   */
  public static ExitCondition parse(final String text) {
    final List<Range> ranges = new ArrayList<>();
    int kinds = ALL_KINDS;
    long count = 1;
    for (final String term : text.trim().split("\\s+and\\s+|\\s*&&\\s*", -1)) {
      final Matcher matcher = TERM.matcher(term);
      if (!matcher.matches()) {
        throw wrong(term, "is no term");
      }
      final String name = matcher.group(1);
      final String value = matcher.group(3);
      if (matcher.group(2).equals(">") != name.equals("handler")) {
        throw wrong(term, "has the wrong sign");
      }
      switch (name) {
        case "kind" -> kinds &= kinds(term, value);
        case "count" -> count = number(term, value);
        case "handler" ->
            ranges.add(new Range(Field.HANDLER, nanos(term, value) + 1, Long.MAX_VALUE));
        case "port", "gpa", "gva", "msr", "vector", "rip" -> {
          final Range range = range(term, Field.valueOf(name.toUpperCase(Locale.ROOT)), value);
          ranges.add(range);
          kinds &= range.field.kinds;
        }
        default -> throw wrong(term, "is no term");
      }
    }
    if (kinds == 0 || count < 1) {
      throw new IllegalArgumentException("'" + text + "' is true of no exit" + ALLOWED);
    }
    return new ExitCondition(ranges, kinds, count);
  }

  private static int kinds(final String term, final String names) {
    int mask = 0;
    for (final String name : names.split(",", -1)) {
      try {
        mask |= 1 << ExitKind.valueOf(name.toUpperCase(Locale.ROOT).replace('-', '_')).ordinal();
      } catch (final IllegalArgumentException e) {
        throw wrong(term, "names no kind of exit: " + name);
      }
    }
    return mask;
  }

  private static Range range(final String term, final Field field, final String value) {
    final int dash = value.indexOf('-');
    final long first = number(term, dash < 0 ? value : value.substring(0, dash));
    final long last = dash < 0 ? first : number(term, value.substring(dash + 1));
    if (Long.compareUnsigned(first, last) > 0) {
      throw wrong(term, "ends before it begins");
    }
    return new Range(field, first, last);
  }

  private static long number(final String term, final String text) {
    try {
      return text.startsWith("0x")
          ? Long.parseUnsignedLong(text.substring(2), 16)
          : Long.parseUnsignedLong(text);
    } catch (final NumberFormatException e) {
      throw wrong(term, "has no number: '" + text + "'");
    }
  }

  private static long nanos(final String term, final String text) {
    final Matcher matcher = TIME.matcher(text);
    if (!matcher.matches()) {
      throw wrong(term, "has no time: '" + text + "'");
    }
    final long scale =
        switch (matcher.group(2)) {
          case "ns" -> 1;
          case "us" -> 1_000;
          case "ms" -> 1_000_000;
          default -> 1_000_000_000;
        };
    final long value = Long.parseLong(matcher.group(1));
    if (value > Long.MAX_VALUE / 2 / scale) {
      throw wrong(term, "is longer than any run");
    }
    return value * scale;
  }

  private static IllegalArgumentException wrong(final String term, final String what) {
    return new IllegalArgumentException("'" + term + "' " + what + ALLOWED);
  }

  /** Whether this is the exit. Allocates nothing. */
  public boolean isMet(final ExitEvent event) {
    if ((kinds >>> event.kind.ordinal() & 1) == 0) {
      return false;
    }
    for (int i = 0; i < fields.length; i++) {
      final long value = fields[i].of(event);
      if (Long.compareUnsigned(value, low[i]) < 0 || Long.compareUnsigned(value, high[i]) > 0) {
        return false;
      }
    }
    return ++seen == count;
  }
}

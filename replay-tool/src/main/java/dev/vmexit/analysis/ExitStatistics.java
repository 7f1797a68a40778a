package dev.vmexit.analysis;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.KernelEvent;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import org.agrona.collections.Long2ObjectHashMap;

/** Counts exits and their times by one dimension. Not thread-safe. */
public final class ExitStatistics {
  private final Dimension dimension;
  private final Long2ObjectHashMap<Entry> entries = new Long2ObjectHashMap<>();
  private final Entry all = new Entry(0);
  private long lostEvents;

  /** Order of rows. */
  public enum Order {
    /** Most exits first. */
    COUNT,
    /** Most time in the handler first. */
    TOTAL
  }

  /**
   * Times in nanoseconds.
   *
   * @param total of all exits
   * @param mean of them
   * @param p50 median
   * @param p99 99th percentile
   * @param p999 99.9th percentile
   * @param max longest
   */
  public record Times(long total, long mean, long p50, long p99, long p999, long max) {
    static Times of(final Durations durations, final long count) {
      return new Times(
          durations.total(),
          count == 0 ? 0 : durations.total() / count,
          durations.percentile(50),
          durations.percentile(99),
          durations.percentile(99.9),
          durations.max());
    }
  }

  /**
   * One row.
   *
   * @param key as text
   * @param count of exits
   * @param share of all counted exits, 0 to 1
   * @param handler time from the exit to the end of its handling
   * @param guest time in the guest before the exit
   * @param injections interrupts injected, of those that tell when they were requested
   * @param injection time from the request of an interrupt to its injection
   */
  public record Row(
      String key,
      long count,
      double share,
      Times handler,
      Times guest,
      long injections,
      Times injection) {}

  private static final class Entry {
    private final long key;
    private final Durations handler = new Durations();
    private final Durations guest = new Durations();
    private final Durations injection = new Durations();
    private long count;
    private long injections;

    Entry(final long key) {
      this.key = key;
    }

    void add(final ExitEvent event) {
      count++;
      handler.add(event.handlerTime);
      guest.add(event.guestTime);
      if (event.kind == ExitKind.INJECT && event.value >= 0) {
        injections++;
        injection.add(event.value);
      }
    }
  }

  /** Starts counting. */
  public ExitStatistics(final Dimension dimension) {
    this.dimension = dimension;
  }

  /** Counts a record, if the dimension covers it. */
  public void add(final ExitEvent event) {
    if (event.kind == ExitKind.KERNEL && event.detail == KernelEvent.LOST.ordinal()) {
      lostEvents += Math.max(1, event.value);
    }
    if (!dimension.covers(event)) {
      return;
    }
    final long key = dimension.key(event);
    Entry entry = entries.get(key);
    if (entry == null) {
      entry = new Entry(key);
      entries.put(key, entry);
    }
    entry.add(event);
    all.add(event);
  }

  /** What is counted by. */
  public Dimension dimension() {
    return dimension;
  }

  /** Exits counted. */
  public long count() {
    return all.count;
  }

  /** Events of the kernel's tracepoints that were lost while the trace was recorded, at least. */
  public long lostEvents() {
    return lostEvents;
  }

  /** All rows; those that are equal in the order come by key. */
  public List<Row> rows(final Order order) {
    final List<Entry> sorted = new ArrayList<>(entries.values());
    final Comparator<Entry> first =
        order == Order.COUNT
            ? Comparator.comparingLong((final Entry e) -> -e.count)
            : Comparator.comparingLong((final Entry e) -> -e.handler.total());
    sorted.sort(first.thenComparing((a, b) -> Long.compareUnsigned(a.key, b.key)));
    final List<Row> rows = new ArrayList<>(sorted.size());
    for (final Entry entry : sorted) {
      rows.add(row(dimension.name(entry.key), entry));
    }
    return rows;
  }

  /** All exits in one row. */
  public Row total() {
    return row("all", all);
  }

  private Row row(final String name, final Entry entry) {
    return new Row(
        name,
        entry.count,
        all.count == 0 ? 0 : (double) entry.count / all.count,
        Times.of(entry.handler, entry.count),
        Times.of(entry.guest, entry.count),
        entry.injections,
        Times.of(entry.injection, entry.injections));
  }
}

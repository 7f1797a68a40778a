package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.Slot;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * The memory map as the BIOS call INT 15h, AX=E820h reports it (ACPI specification, 15.1): RAM, and
 * what must not be used as RAM. What it does not name is free for devices.
 *
 * @param entries in ascending order, not overlapping
 */
public record E820(List<Entry> entries) {
  /** Memory that the guest may use. */
  public static final int RAM = 1;

  /** Memory that the guest must leave alone. */
  public static final int RESERVED = 2;

  /**
   * One range.
   *
   * @param base guest-physical address
   * @param length in bytes
   * @param type {@link #RAM} or {@link #RESERVED}
   */
  public record Entry(long base, long length, int type) {
    /** First address after the range. */
    public long end() {
      return base + length;
    }
  }

  public E820 {
    entries = List.copyOf(entries);
  }

  /**
   * The map of a machine: its RAM, its ROMs as reserved, and the range from the EBDA to 1 MiB as
   * reserved, because the EBDA and the ACPI tables are in it.
   */
  public static E820 of(final GuestMemory memory) {
    final List<Entry> map = new ArrayList<>();
    map.add(new Entry(LowMemory.EBDA, LowMemory.HIGH - LowMemory.EBDA, RESERVED));
    for (final Slot slot : memory.slots()) {
      final int type = slot.readOnly() ? RESERVED : RAM;
      add(map, slot.gpa(), Math.min(slot.end(), LowMemory.EBDA), type);
      add(map, Math.max(slot.gpa(), LowMemory.HIGH), slot.end(), type);
    }
    map.sort(Comparator.comparingLong(Entry::base));
    return new E820(merge(map));
  }

  private static void add(final List<Entry> map, final long start, final long end, final int type) {
    if (start < end) {
      map.add(new Entry(start, end - start, type));
    }
  }

  private static List<Entry> merge(final List<Entry> map) {
    final List<Entry> merged = new ArrayList<>();
    for (final Entry entry : map) {
      final Entry last = merged.isEmpty() ? null : merged.getLast();
      if (last != null && last.end() == entry.base() && last.type() == entry.type()) {
        merged.set(
            merged.size() - 1, new Entry(last.base(), last.length() + entry.length(), last.type()));
      } else {
        merged.add(entry);
      }
    }
    return merged;
  }

  /** End of the RAM that starts at 1 MiB, or 1 MiB where there is none. */
  public long lowRamEnd() {
    for (final Entry entry : entries) {
      if (entry.type() == RAM && entry.base() <= LowMemory.HIGH && entry.end() > LowMemory.HIGH) {
        return entry.end();
      }
    }
    return LowMemory.HIGH;
  }
}

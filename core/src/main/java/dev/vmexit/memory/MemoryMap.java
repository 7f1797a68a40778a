package dev.vmexit.memory;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/**
 * Which memory answers at a guest-physical address: RAM and ROM as they were built, but for what a
 * PC's chipset puts in front of them. Below 1 MiB it chooses for each area whether reads and writes
 * reach RAM or the bus behind it (82441FX datasheet 290549, "PAM registers"); with the A20 line
 * held low the second megabyte is the first one again.
 *
 * <p>All of that is one word, which a trace has a record of whenever it changes: the slots of a
 * machine and of its replay are made from it here, in the same manner.
 *
 * <pre>
 *   bits 31:0   two for each 16 KiB from 0xC0000 on, the lowest address in the lowest bits:
 *               01 reads reach RAM, 10 writes do; what is read elsewhere is the BIOS's ROM, of
 *               which the last 128 KiB are seen from 0xE0000 on
 *   bit 32      A20 is held low: 0x100000 to 0x1FFFFF are 0 to 0xFFFFF
 * </pre>
 *
 * <p>A real A20 line is one of the processor's and makes every odd megabyte an even one, for it
 * alone; here it is the second megabyte, for everybody.
 */
public final class MemoryMap {
  /** Everything as it was built: RAM below 1 MiB, A20 passed. */
  public static final long PLAIN = 0xFFFF_FFFFL;

  /** Bit of the state: A20 is held low. */
  public static final long A20_LOW = 1L << 32;

  /** First address that the chipset chooses for. */
  public static final long AREAS = 0xC_0000;

  /** Bytes from {@link #AREAS} on. */
  public static final int AREAS_BYTES = 0x4_0000;

  /** Bytes of an area. */
  public static final int AREA_BYTES = 0x4000;

  /** Bit of an area: reads reach RAM. */
  public static final int READS_RAM = 1;

  /** Bit of an area: writes reach RAM. */
  public static final int WRITES_RAM = 2;

  private static final int AREA_MASK = 3;
  private static final String[] ACCESS = {"ROM", "RAM, read only", "ROM, writes to RAM", "RAM"};
  private static final long MIB = 1 << 20;
  private static final long FOUR_GIB = 1L << 32;

  /** How much of the ROM's end is seen below 1 MiB. */
  private static final int ROM_BELOW = 128 * 1024;

  private MemoryMap() {}

  /** Whether all bits of a state mean something. */
  public static boolean isState(final long state) {
    return (state & ~(PLAIN | A20_LOW)) == 0;
  }

  /** READS_RAM and WRITES_RAM as they are at an address inside the areas. */
  public static int access(final long state, final long gpa) {
    return (int) (state >>> 2 * ((gpa - AREAS) / AREA_BYTES)) & AREA_MASK;
  }

  /** A state whose areas are all RAM, or none. */
  public static long areas(final long state, final int first, final int count, final int access) {
    long result = state;
    for (int i = first; i < first + count; i++) {
      result = result & ~((long) AREA_MASK << 2 * i) | (long) access << 2 * i;
    }
    return result;
  }

  /**
   * The slots that there are in a state, by ascending address.
   *
   * @param built those of {@link #PLAIN}; RAM that is not seen keeps what it holds
   */
  public static List<Slot> slots(final List<Slot> built, final long state) {
    if (state == PLAIN) {
      return built;
    }
    final List<Slot> slots = new ArrayList<>();
    for (final Slot slot : built) {
      addPart(slots, slot, 0, AREAS);
      addPart(slots, slot, AREAS + AREAS_BYTES, Long.MAX_VALUE);
    }
    for (long gpa = AREAS; gpa < AREAS + AREAS_BYTES; gpa += AREA_BYTES) {
      addArea(slots, built, gpa, access(state, gpa));
    }
    if ((state & A20_LOW) != 0) {
      lowerA20(slots);
    }
    slots.sort(Comparator.comparingLong(Slot::gpa));
    return merge(slots);
  }

  /** A state in words, for people. */
  public static String text(final long state) {
    final StringBuilder out = new StringBuilder();
    long from = AREAS;
    for (long gpa = AREAS + AREA_BYTES; gpa <= AREAS + AREAS_BYTES; gpa += AREA_BYTES) {
      if (gpa == AREAS + AREAS_BYTES || access(state, gpa) != access(state, from)) {
        out.append(String.format(Locale.ROOT, "0x%x-0x%x ", from, gpa - 1));
        out.append(ACCESS[access(state, from)]).append(", ");
        from = gpa;
      }
    }
    return out.append((state & A20_LOW) == 0 ? "A20 on" : "A20 off").toString();
  }

  private static void addPart(
      final List<Slot> to, final Slot slot, final long from, final long end) {
    final long first = Math.max(slot.gpa(), from);
    final long last = Math.min(slot.end(), end);
    if (first < last) {
      to.add(new Slot(first, last - first, slot.host() + first - slot.gpa(), slot.readOnly()));
    }
  }

  private static void addArea(
      final List<Slot> to, final List<Slot> built, final long gpa, final int access) {
    final boolean ram = (access & READS_RAM) != 0;
    final long at = ram ? gpa : gpa >= MIB - ROM_BELOW ? FOUR_GIB - MIB + gpa : -1;
    for (final Slot slot : built) {
      if (slot.readOnly() != ram && at >= slot.gpa() && at + AREA_BYTES <= slot.end()) {
        final boolean readOnly = access != (READS_RAM | WRITES_RAM);
        to.add(new Slot(gpa, AREA_BYTES, slot.host() + at - slot.gpa(), readOnly));
      }
    }
  }

  private static void lowerA20(final List<Slot> slots) {
    final List<Slot> all = List.copyOf(slots);
    slots.clear();
    for (final Slot slot : all) {
      addPart(slots, slot, 0, MIB);
    }
    for (final Slot low : List.copyOf(slots)) {
      slots.add(new Slot(low.gpa() + MIB, low.bytes(), low.host(), low.readOnly()));
    }
    for (final Slot slot : all) {
      addPart(slots, slot, 2 * MIB, Long.MAX_VALUE);
    }
  }

  /** Joins neighbours that lie side by side in this process too. */
  private static List<Slot> merge(final List<Slot> slots) {
    final List<Slot> merged = new ArrayList<>();
    for (final Slot slot : slots) {
      final Slot last = merged.isEmpty() ? null : merged.getLast();
      if (last != null
          && last.end() == slot.gpa()
          && last.host() + last.bytes() == slot.host()
          && last.readOnly() == slot.readOnly()) {
        merged.set(
            merged.size() - 1,
            new Slot(last.gpa(), last.bytes() + slot.bytes(), last.host(), last.readOnly()));
      } else {
        merged.add(slot);
      }
    }
    return List.copyOf(merged);
  }
}

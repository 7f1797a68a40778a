package dev.vmexit.memory;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/** Where the slots of a memory are to lie, before it exists. */
final class SlotLayout {
  private static final int PAGE_SIZE = GuestMemory.PAGE_SIZE;
  private static final long PAGE_OFFSET = PAGE_SIZE - 1;
  private static final long MAX_GPA = GuestMemory.MAX_GPA;
  private static final long VGA_HOLE = 0xA_0000;
  private static final long VGA_HOLE_END = 0xC_0000;
  private static final long PCI_HOLE = 0xC000_0000L;
  private static final long FOUR_GIB = 1L << 32;

  private static final class Region {
    final long gpa;
    final long bytes;

    /** What a ROM holds; null for RAM. */
    final byte[] content;

    Region(final long gpa, final long bytes, final byte[] content) {
      this.gpa = gpa;
      this.bytes = bytes;
      this.content = content;
    }

    boolean overlaps(final Region other) {
      return gpa < other.gpa + other.bytes && other.gpa < gpa + bytes;
    }

    @Override
    public String toString() {
      return String.format(
          Locale.ROOT, "%s 0x%x-0x%x", content == null ? "RAM" : "ROM", gpa, gpa + bytes - 1);
    }
  }

  private final List<Region> regions = new ArrayList<>();
  private final List<Region> carved = new ArrayList<>();

  void addRam(final long gpa, final long bytes) {
    checkRange("RAM", gpa, bytes);
    if ((bytes & PAGE_OFFSET) != 0) {
      throw new IllegalArgumentException(
          "RAM size=" + bytes + " bytes, allowed: multiples of " + PAGE_SIZE);
    }
    regions.add(new Region(gpa, bytes, null));
  }

  /** See {@link GuestMemory.Builder#ramWithHole}. */
  void addPcRam(final long bytes) {
    checkRange("memory", 0, bytes);
    if ((bytes & PAGE_OFFSET) != 0) {
      throw new IllegalArgumentException(
          "memory size=" + bytes + " bytes, allowed: multiples of " + PAGE_SIZE);
    }
    final long low = Math.min(bytes, PCI_HOLE);
    carved.add(new Region(0, Math.min(low, VGA_HOLE), null));
    if (low > VGA_HOLE_END) {
      carved.add(new Region(VGA_HOLE_END, low - VGA_HOLE_END, null));
    }
    if (bytes > low) {
      checkRange("memory above 4 GiB", FOUR_GIB, bytes - low);
      carved.add(new Region(FOUR_GIB, bytes - low, null));
    }
  }

  void addRom(final long gpa, final byte[] content) {
    final long bytes = (content.length + PAGE_OFFSET) & -PAGE_SIZE;
    checkRange("ROM", gpa, bytes);
    regions.add(new Region(gpa, bytes, content.clone()));
  }

  private static void checkRange(final String what, final long gpa, final long bytes) {
    if (bytes <= 0) {
      throw new IllegalArgumentException(what + " size=" + bytes + " bytes, allowed: above 0");
    }
    if ((gpa & PAGE_OFFSET) != 0) {
      throw new IllegalArgumentException(
          String.format(
              Locale.ROOT, "%s at gpa=0x%x, allowed: multiples of %d", what, gpa, PAGE_SIZE));
    }
    if (gpa < 0 || gpa >= MAX_GPA || bytes > MAX_GPA - gpa) {
      throw new IllegalArgumentException(
          String.format(
              Locale.ROOT,
              "%s at gpa=0x%x, size=%d bytes, allowed: to end at or below 0x%x (%d GiB)",
              what,
              gpa,
              bytes,
              MAX_GPA,
              MAX_GPA >> 30));
    }
  }

  /**
   * Maps everything, or nothing where the host refuses a part.
   *
   * @param views takes a second view of each slot, in the slots' order; null: there are none
   */
  List<Slot> map(final boolean hugePages, final List<SecondView> views) {
    final List<Region> all = new ArrayList<>(regions);
    for (final Region ram : carved) {
      carve(ram, all);
    }
    if (all.isEmpty()) {
      throw new IllegalArgumentException("memory has no slots, allowed: at least one");
    }
    all.sort(Comparator.comparingLong(region -> region.gpa));
    for (int i = 1; i < all.size(); i++) {
      if (all.get(i - 1).overlaps(all.get(i))) {
        throw new IllegalArgumentException(
            "slots overlap: " + all.get(i - 1) + " and " + all.get(i));
      }
    }
    final List<Slot> slots = new ArrayList<>();
    try {
      for (final Region region : all) {
        slots.add(mapRegion(region, hugePages, views));
      }
    } catch (final RuntimeException e) {
      for (int i = 0; i < slots.size(); i++) {
        HostMapping.unmap(slots.get(i).host(), slots.get(i).bytes());
        if (views != null) {
          views.get(i).close(slots.get(i).bytes());
        }
      }
      throw e;
    }
    return slots;
  }

  /** Adds what ROMs leave of a piece of RAM. */
  private void carve(final Region ram, final List<Region> all) {
    List<Region> pieces = List.of(ram);
    for (final Region rom : regions) {
      if (rom.content == null) {
        continue;
      }
      final List<Region> next = new ArrayList<>();
      for (final Region piece : pieces) {
        if (!piece.overlaps(rom)) {
          next.add(piece);
          continue;
        }
        if (piece.gpa < rom.gpa) {
          next.add(new Region(piece.gpa, rom.gpa - piece.gpa, null));
        }
        final long romEnd = rom.gpa + rom.bytes;
        if (romEnd < piece.gpa + piece.bytes) {
          next.add(new Region(romEnd, piece.gpa + piece.bytes - romEnd, null));
        }
      }
      pieces = next;
    }
    all.addAll(pieces);
  }

  private static Slot mapRegion(
      final Region region, final boolean hugePages, final List<SecondView> views) {
    final boolean rom = region.content != null;
    final long address;
    if (views == null) {
      address = HostMapping.map(region.bytes, region.gpa, hugePages && !rom);
    } else {
      final SecondView view = SecondView.create(region.bytes);
      try {
        address = HostMapping.mapFile(view.file(), region.bytes);
      } catch (final RuntimeException e) {
        view.close(region.bytes);
        throw e;
      }
      views.add(view);
    }
    if (rom) {
      // Safe: the mapping is new, and as long as the content rounded up.
      HostMemory.copyIn(region.content, 0, address, region.content.length);
    }
    return new Slot(region.gpa, region.bytes, address, rom);
  }
}

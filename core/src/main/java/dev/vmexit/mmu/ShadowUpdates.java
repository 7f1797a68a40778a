package dev.vmexit.mmu;

import dev.vmexit.x86.Pte;
import java.util.Objects;

/** Brings shadow pages up to date with stores to the guest tables that they stand for. */
final class ShadowUpdates {
  private final ShadowPages pages;
  private final SlotView slots;
  private final int floodThreshold;

  long entriesWritten;
  long prefetched;
  long flooded;

  ShadowUpdates(final ShadowPages pages, final SlotView slots, final int floodThreshold) {
    this.pages = pages;
    this.slots = Objects.requireNonNull(slots, "slots");
    this.floodThreshold = floodThreshold;
  }

  /** What a leaf must say about the frame that it maps. */
  long frameBits(final long gpa) {
    if (!slots.isBacked(gpa)) {
      return Spte.MMIO;
    }
    return (slots.isReadOnly(gpa) ? Spte.ROM : 0)
        | (pages.isShadowed(gpa >>> 12) ? Spte.WRITE_PROTECTED : 0);
  }

  /**
   * Bytes of one frame were written.
   *
   * @param whole {@code newValue} is all that was written
   */
  void frameWritten(final long gpa, final int size, final long newValue, final boolean whole) {
    final long gfn = gpa >>> 12;
    boolean flood = false;
    for (int page = pages.firstOf(gfn); page != ShadowPages.NONE; page = pages.nextOf(page)) {
      flood |= pages.countWrite(page) >= floodThreshold;
    }
    if (flood) {
      flooded++;
      pages.zapFrame(gfn);
      return;
    }
    final int offset = (int) gpa & 4095;
    for (int page = pages.firstOf(gfn); page != ShadowPages.NONE; page = pages.nextOf(page)) {
      if (ShadowRole.mode(pages.role(page)) == PagingMode.BITS32) {
        written32(page, offset, size, newValue, whole);
      } else {
        written64(page, offset, size, newValue, whole);
      }
    }
  }

  private void written64(
      final int page, final int offset, final int size, final long value, final boolean whole) {
    final int first = offset >> 3;
    if (whole && size == 8 && (offset & 7) == 0) {
      entryWritten(page, first, value);
      return;
    }
    for (int i = first; i <= (offset + size - 1) >> 3; i++) {
      drop(page, i);
    }
  }

  private void written32(
      final int page, final int offset, final int size, final long value, final boolean whole) {
    final int role = pages.role(page);
    final int quadrant = ShadowRole.quadrant(role);
    for (int i = offset >> 2; i <= (offset + size - 1) >> 2; i++) {
      if (ShadowRole.level(role) == 2) {
        if (i >> 8 == quadrant) {
          drop(page, (i & 255) << 1);
          drop(page, (i & 255) << 1 | 1);
        }
      } else if (i >> 9 == quadrant) {
        if (whole && size == 4 && (offset & 3) == 0) {
          entryWritten(page, i & 511, value & 0xFFFF_FFFFL);
        } else {
          drop(page, i & 511);
        }
      }
    }
  }

  private void drop(final int page, final int index) {
    entriesWritten++;
    pages.clear(page, index);
  }

  /** Takes a new last-level entry over if the guest has marked it accessed; else drops the spte. */
  private void entryWritten(final int page, final int index, final long entry) {
    final int role = pages.role(page);
    final long ready = Pte.PRESENT | Pte.ACCESSED;
    if (ShadowRole.level(role) != 1
        || (entry & ready) != ready
        || GuestWalker.isReserved(ShadowRole.mode(role), ShadowRole.nxe(role), entry)) {
      drop(page, index);
      return;
    }
    entriesWritten++;
    prefetched++;
    final long gpa = entry & PagingContext.ADDRESS_MASK;
    pages.setLeaf(
        page,
        index,
        gpa
            | frameBits(gpa)
            | Spte.PRESENT
            | (entry & (Spte.RIGHTS | Spte.KEY | Spte.DIRTY | Spte.GLOBAL)));
  }
}

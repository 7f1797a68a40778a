package dev.vmexit.mmu;

import dev.vmexit.x86.Pte;

/**
 * Layout of a shadow page-table entry. The guest's own bits stay where the guest has them; 0 is an
 * absent entry.
 *
 * <pre>
 *   63  62..59  58..40  39..12                    11..9  8  7     6      5      4    3     2  1  0
 *   XD  key     0       frame (leaf) or page (link) 0    G  LINK  DIRTY  WPROT  ROM  MMIO  U  W  1
 * </pre>
 */
final class Spte {
  static final long PRESENT = 1;

  /** The guest's R/W. */
  static final long WRITABLE = Pte.WRITABLE;

  /** The guest's U/S. */
  static final long USER = Pte.USER;

  /** Leaf: no slot backs the frame. */
  static final long MMIO = 1 << 3;

  /** Leaf: a read-only slot backs the frame. */
  static final long ROM = 1 << 4;

  /** Leaf: the frame is a shadowed guest table; stores to it must be seen. */
  static final long WRITE_PROTECTED = 1 << 5;

  /** Leaf: the guest's D is set; a store needs no walk to set it. */
  static final long DIRTY = Pte.DIRTY;

  /** Points to a shadow page of the next level. */
  static final long LINK = 1 << 7;

  static final long GLOBAL = Pte.GLOBAL;
  static final long NO_EXECUTE = Pte.NO_EXECUTE;

  /** The protection key; of a large page in the link above its direct page. */
  static final long KEY = Pte.PROTECTION_KEY;

  /** The guest's bits that entries of every level share. */
  static final long RIGHTS = WRITABLE | USER | NO_EXECUTE;

  /** Rights of an entry that no guest entry stands behind. */
  static final long ALL_RIGHTS = WRITABLE | USER;

  private static final int SHIFT = 12;

  private Spte() {}

  static long link(final int page, final long rights) {
    return (long) page << SHIFT | rights | LINK | PRESENT;
  }

  static int page(final long spte) {
    return (int) (spte >>> SHIFT);
  }

  static long gfn(final long spte) {
    return (spte & PagingContext.ADDRESS_MASK) >>> SHIFT;
  }

  /** Whether stores go through with no exit, the guest's R/W aside: such leaves are in the rmap. */
  static boolean takesStores(final long spte) {
    return (spte & (DIRTY | WRITE_PROTECTED | ROM | MMIO | LINK)) == DIRTY;
  }
}

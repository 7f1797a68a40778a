package dev.vmexit.mmu;

import dev.vmexit.x86.Pte;

/**
 * Ways through the shadow tables, from the root of the current context to the page that holds the
 * leaf of an address: found again, or built from the entries of a walk.
 */
final class ShadowPaths {
  private final PagingContext context;
  private final ShadowPages pages;
  private int roleBase;

  ShadowPaths(final PagingContext context, final ShadowPages pages) {
    this.context = context;
    this.pages = pages;
    enter();
  }

  /** Finds what is still there of the context's tables; builds nothing. */
  void enter() {
    roleBase = ShadowRole.base(context);
    switch (context.mode()) {
      case NONE -> pages.root = ShadowPages.ROOT_IDENTITY;
      case BITS32, PAE -> {
        pages.root = ShadowPages.ROOT_LEGACY;
        for (int i = 0; i < PagingContext.PDPTES; i++) {
          relinkGigabyte(i);
        }
      }
      case LEVEL4 -> {
        final int role = ShadowRole.table(roleBase, 4, 0);
        pages.root = pages.find(context.tableBase() >>> 12, role);
        if (pages.root != ShadowPages.NONE) {
          pages.touch(pages.root);
        }
      }
    }
  }

  /** The last-level page for an address that a walk has translated; missing pages are made. */
  int toLeaf(final long gva, final Walk walk) {
    return switch (context.mode()) {
      case NONE -> identityPath(gva);
      case BITS32 -> path32(gva, walk);
      case PAE -> path64(gva & 0xFFFF_FFFFL, walk, gigabyte(gva), 2);
      case LEVEL4 -> path64(gva, walk, rootLevel4(), 4);
    };
  }

  /** Marks the shadow pages on the way to an address as used, as far as there are any. */
  void touch(final long gva) {
    int page = pages.root;
    int shift = 39;
    long at = gva;
    if (context.mode() != PagingMode.LEVEL4) {
      at &= 0xFFFF_FFFFL;
      shift = 30;
    }
    while (page != ShadowPages.NONE) {
      pages.touch(page);
      final long spte = pages.spte(page, (int) (at >>> shift) & 511);
      page = (spte & Spte.LINK) != 0 ? Spte.page(spte) : ShadowPages.NONE;
      shift -= 9;
    }
  }

  private int rootLevel4() {
    if (pages.root == ShadowPages.NONE) {
      pages.root = pages.obtain(context.tableBase() >>> 12, ShadowRole.table(roleBase, 4, 0));
    } else {
      pages.touch(pages.root);
    }
    return pages.root;
  }

  private int gigabyte(final long gva) {
    final int index = (int) (gva >>> 30) & 3;
    return pages.link(
        ShadowPages.ROOT_LEGACY, index, gigabyteGfn(index), gigabyteRole(index), Spte.ALL_RIGHTS);
  }

  private int path64(final long gva, final Walk walk, final int top, final int topLevel) {
    int page = top;
    int level = topLevel;
    for (int i = 0; i < walk.count - 1; i++) {
      final long entry = walk.entryValue[i];
      page =
          pages.link(
              page,
              (int) (gva >>> (3 + 9 * level)) & 511,
              (entry & PagingContext.ADDRESS_MASK) >>> 12,
              ShadowRole.table(roleBase, level - 1, 0),
              entry & Spte.RIGHTS);
      level--;
    }
    long rights = walk.entryValue[walk.count - 1] & (Spte.RIGHTS | Spte.KEY);
    while (level > 1) {
      page = direct(page, level, gva, walk.gpa, rights);
      rights = Spte.ALL_RIGHTS;
      level--;
    }
    return page;
  }

  private int path32(final long gva, final Walk walk) {
    final int directory = gigabyte(gva);
    final long pde = walk.entryValue[0];
    final long rights = pde & Spte.RIGHTS;
    if (walk.count == 1) {
      return direct(directory, 2, gva, walk.gpa, rights);
    }
    return pages.link(
        directory,
        (int) (gva >>> 21) & 511,
        (pde & 0xFFFF_F000L) >>> 12,
        ShadowRole.table(roleBase, 1, (int) (gva >>> 21) & 1),
        rights);
  }

  private int identityPath(final long gva) {
    final long at = gva & 0xFFFF_FFFFL;
    final int directory = direct(ShadowPages.ROOT_IDENTITY, 3, at, at, Spte.ALL_RIGHTS);
    return direct(directory, 2, at, at, Spte.ALL_RIGHTS);
  }

  /** Steps from a level through a direct page to the level below. */
  private int direct(
      final int page, final int level, final long gva, final long gpa, final long rights) {
    final int shift = 3 + 9 * level;
    return pages.linkDirect(
        page, (int) (gva >>> shift) & 511, gpa >>> shift << (shift - 12), level - 1, rights);
  }

  private void relinkGigabyte(final int index) {
    final int known =
        isGigabyteMapped(index)
            ? pages.find(gigabyteGfn(index), gigabyteRole(index))
            : ShadowPages.NONE;
    if (known == ShadowPages.NONE) {
      pages.clear(ShadowPages.ROOT_LEGACY, index);
    } else {
      pages.relink(ShadowPages.ROOT_LEGACY, index, known, Spte.ALL_RIGHTS);
      pages.touch(known);
    }
  }

  private boolean isGigabyteMapped(final int index) {
    return context.mode() == PagingMode.BITS32 || (context.pdpte(index) & Pte.PRESENT) != 0;
  }

  private long gigabyteGfn(final int index) {
    final long table =
        context.mode() == PagingMode.BITS32 ? context.tableBase() : context.pdpte(index);
    return (table & PagingContext.ADDRESS_MASK) >>> 12;
  }

  private int gigabyteRole(final int index) {
    return ShadowRole.table(roleBase, 2, context.mode() == PagingMode.BITS32 ? index : 0);
  }
}

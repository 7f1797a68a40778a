package dev.vmexit.mmu;

import java.util.Arrays;

/**
 * The pool of shadow pages and all that ties them together: guest frame to shadow pages, shadow
 * page to the sptes that link to it, guest frame to the leaves that may store to it (the rmap), and
 * the order of last use.
 *
 * <p>Everything is primitive and allocated once, the two tables by frame aside, which grow to what
 * the guest uses. An spte is on at most one list: a link on its child's list of parents, a leaf
 * that takes stores on its frame's rmap; so one array of successors serves both.
 *
 * <p>A shadow page with no parents stays findable by its frame and stays in step with the guest's
 * table until it is reused: that makes a CR3 switch back cheap. A direct page has exactly one
 * parent and goes with it.
 */
final class ShadowPages {
  static final int NONE = -1;
  static final int ENTRIES = 512;
  static final int ENTRY_SHIFT = 9;

  /** Top page while paging is off: 4 entries of 1 GiB. Outside the pool, as the next one. */
  static final int ROOT_IDENTITY = 0;

  /** Top page of 32-bit and PAE paging: 4 entries of 1 GiB. */
  static final int ROOT_LEGACY = 1;

  private static final int FIRST = 2;

  private final long[] sptes;
  private final int[] next;
  private final long[] gfns;
  private final int[] roles;
  private final int[] parents;
  private final int[] sameFrame;
  private final int[] floods;

  // A ring through entry 0, which stands for both ends; free pages are chained by newer.
  private final int[] older;
  private final int[] newer;
  private int free = NONE;

  private final FrameTable frames = new FrameTable();
  private final FrameTable rmap = new FrameTable();

  private TlbControl tlb;

  /** The page that the current context starts from, or NONE. */
  int root = NONE;

  long created;
  long zapped;
  long evicted;
  int used;

  ShadowPages(final int maxPages, final TlbControl tlb) {
    final int pages = FIRST + maxPages;
    this.tlb = tlb;
    sptes = new long[pages << ENTRY_SHIFT];
    next = new int[pages << ENTRY_SHIFT];
    gfns = new long[pages];
    roles = new int[pages];
    parents = new int[pages];
    sameFrame = new int[pages];
    floods = new int[pages];
    older = new int[pages];
    newer = new int[pages];
    Arrays.fill(parents, NONE);
    Arrays.fill(sameFrame, NONE);
    for (int page = pages - 1; page >= FIRST; page--) {
      newer[page] = free;
      free = page;
    }
  }

  void attach(final TlbControl control) {
    tlb = control;
  }

  long[] sptes() {
    return sptes;
  }

  long spte(final int page, final int index) {
    return sptes[(page << ENTRY_SHIFT) + index];
  }

  int role(final int page) {
    return roles[page];
  }

  /** Whether the one parent of a direct page is a direct page too: both split a 1 GiB page. */
  boolean isSplitGigabyte(final int page) {
    return parents[page] != NONE && ShadowRole.isDirect(roles[parents[page] >>> ENTRY_SHIFT]);
  }

  // ---- pages ----

  boolean isShadowed(final long gfn) {
    return frames.get(gfn) != NONE;
  }

  /** First shadow page of a frame, or NONE. */
  int firstOf(final long gfn) {
    return frames.get(gfn);
  }

  /** Next shadow page of the same frame, or NONE. */
  int nextOf(final int page) {
    return sameFrame[page];
  }

  /** The shadow page of a frame in a role, or NONE. */
  int find(final long gfn, final int role) {
    int page = firstOf(gfn);
    while (page != NONE && roles[page] != role) {
      page = sameFrame[page];
    }
    return page;
  }

  /** The shadow page of a frame in a role; a new one write-protects the frame. */
  int obtain(final long gfn, final int role) {
    final int known = find(gfn, role);
    if (known != NONE) {
      touch(known);
      return known;
    }
    final int page = allocate(gfn, role);
    // Looked up only now: the allocation may have zapped another page of this frame.
    final int head = firstOf(gfn);
    sameFrame[page] = head;
    frames.put(gfn, page);
    if (head == NONE) {
      writeProtect(gfn);
    }
    return page;
  }

  /** A new page with no guest table behind it. */
  int obtainDirect(final long gfn, final int level) {
    return allocate(gfn, ShadowRole.direct(level));
  }

  private int allocate(final long gfn, final int role) {
    if (free == NONE) {
      // The pages of the walk at hand were touched on the way down: the oldest is none of them.
      evicted++;
      zap(newer[0]);
    }
    final int page = free;
    free = newer[page];
    gfns[page] = gfn;
    roles[page] = role;
    floods[page] = 0;
    created++;
    used++;
    insertNewest(page);
    return page;
  }

  /** Frees a page: its entries, the links to it and, when it is its frame's last, protection. */
  void zap(final int page) {
    final int first = page << ENTRY_SHIFT;
    for (int s = first; s < first + ENTRIES; s++) {
      if (sptes[s] != 0) {
        clear(s);
      }
    }
    int s = parents[page];
    while (s != NONE) {
      sptes[s] = 0;
      s = next[s];
    }
    parents[page] = NONE;
    if (!ShadowRole.isDirect(roles[page])) {
      leaveFrame(page);
    }
    if (page == root) {
      root = NONE;
    }
    remove(page);
    newer[page] = free;
    free = page;
    zapped++;
    used--;
  }

  /** Frees all pages of a frame, which loses its write protection with that. */
  void zapFrame(final long gfn) {
    int page = firstOf(gfn);
    while (page != NONE) {
      zap(page);
      page = firstOf(gfn);
    }
  }

  void zapAll() {
    while (newer[0] != 0) {
      zap(newer[0]);
    }
  }

  private void leaveFrame(final int page) {
    final long gfn = gfns[page];
    final int after = sameFrame[page];
    sameFrame[page] = NONE;
    int before = firstOf(gfn);
    if (before == page) {
      frames.put(gfn, after);
      return;
    }
    while (sameFrame[before] != page) {
      before = sameFrame[before];
    }
    sameFrame[before] = after;
  }

  /** Counts a write to the guest table behind a page; answers the count since its last use. */
  int countWrite(final int page) {
    return ++floods[page];
  }

  // ---- order of last use ----

  /** Makes a page the newest and forgets the writes to its table. */
  void touch(final int page) {
    floods[page] = 0;
    if (older[0] != page && page >= FIRST) {
      remove(page);
      insertNewest(page);
    }
  }

  private void insertNewest(final int page) {
    final int last = older[0];
    older[page] = last;
    newer[page] = 0;
    newer[last] = page;
    older[0] = page;
  }

  private void remove(final int page) {
    newer[older[page]] = newer[page];
    older[newer[page]] = older[page];
  }

  // ---- entries ----

  /** Links to the shadow of a guest table, keeping the link that is there where it is the same. */
  int link(final int page, final int index, final long gfn, final int role, final long rights) {
    final int s = (page << ENTRY_SHIFT) + index;
    final int present = sameLink(s, gfn, role, rights);
    if (present != NONE) {
      touch(present);
      return present;
    }
    clear(s);
    final int child = obtain(gfn, role);
    setLink(s, child, rights);
    return child;
  }

  /** Links to a direct page, keeping the one that is there where it is the same. */
  int linkDirect(
      final int page, final int index, final long gfn, final int level, final long rights) {
    final int s = (page << ENTRY_SHIFT) + index;
    final int present = sameLink(s, gfn, ShadowRole.direct(level), rights);
    if (present != NONE) {
      touch(present);
      return present;
    }
    clear(s);
    final int child = obtainDirect(gfn, level);
    setLink(s, child, rights);
    return child;
  }

  /** Links a page that is known to exist. */
  void relink(final int page, final int index, final int child, final long rights) {
    final int s = (page << ENTRY_SHIFT) + index;
    clear(s);
    setLink(s, child, rights);
  }

  private int sameLink(final int s, final long gfn, final int role, final long rights) {
    final long spte = sptes[s];
    if (spte == 0) {
      return NONE;
    }
    final int child = Spte.page(spte);
    return spte == Spte.link(child, rights) && gfns[child] == gfn && roles[child] == role
        ? child
        : NONE;
  }

  private void setLink(final int s, final int child, final long rights) {
    sptes[s] = Spte.link(child, rights);
    next[s] = parents[child];
    parents[child] = s;
  }

  /** Installs a leaf; one that takes stores enters the rmap. */
  void setLeaf(final int page, final int index, final long spte) {
    final int s = (page << ENTRY_SHIFT) + index;
    if (sptes[s] == spte) {
      return;
    }
    clear(s);
    sptes[s] = spte;
    if (Spte.takesStores(spte)) {
      final long gfn = Spte.gfn(spte);
      next[s] = rmap.get(gfn);
      rmap.put(gfn, s);
    }
  }

  /** Empties an entry of a page; a direct page that it linked to goes too. */
  void clear(final int page, final int index) {
    clear((page << ENTRY_SHIFT) + index);
  }

  private void clear(final int s) {
    final long spte = sptes[s];
    if (spte == 0) {
      return;
    }
    sptes[s] = 0;
    if ((spte & Spte.LINK) != 0) {
      final int child = Spte.page(spte);
      if (parents[child] == s) {
        parents[child] = next[s];
      } else {
        unchain(parents[child], s);
      }
      if (ShadowRole.isDirect(roles[child])) {
        zap(child);
      }
    } else if (Spte.takesStores(spte)) {
      final long gfn = Spte.gfn(spte);
      final int head = rmap.get(gfn);
      if (head != s) {
        unchain(head, s);
      } else {
        rmap.put(gfn, next[s]);
      }
    }
  }

  private void unchain(final int head, final int s) {
    int before = head;
    while (next[before] != s) {
      before = next[before];
    }
    next[before] = next[s];
  }

  /** Takes stores away from all leaves of a frame, and from the TLB. */
  private void writeProtect(final long gfn) {
    int s = rmap.get(gfn);
    if (s != NONE) {
      rmap.put(gfn, NONE);
    }
    while (s != NONE) {
      sptes[s] |= Spte.WRITE_PROTECTED;
      s = next[s];
    }
    tlb.writeProtectFrame(gfn);
  }
}

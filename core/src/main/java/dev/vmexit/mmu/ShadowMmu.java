package dev.vmexit.mmu;

import dev.vmexit.memory.WriteListener;
import dev.vmexit.x86.PageFaultError;
import java.util.Objects;

/**
 * Shadow paging: the vCPU sees tables of our making, filled fault by fault from the guest's own,
 * which are write-protected so that no store to them goes unseen.
 *
 * <p>Shadow tables have 512 entries and map 4 KiB whatever the guest does. A large guest page is
 * split by direct pages, filled lazily. The guest's accessed bits are set when an spte is filled; a
 * leaf takes stores only once the guest's dirty bit is set. Sptes of a frame with no slot are kept
 * too, so that MMIO costs one fault only.
 *
 * <p>Sptes are always in step with the guest's tables: whoever stores to a shadowed frame tells
 * {@link #tableWritten} (the vCPU's stores, one by one) or {@link #memoryWritten} (devices). So a
 * switch of CR3 finds the tables of an address space as it left them, and INVLPG concerns the TLB
 * alone.
 *
 * <p>What it does depends on its construction, the calls made and the entries that the walk of the
 * very fault read, on nothing else: not on {@link #translate}, which changes nothing, nor on what
 * guest memory holds at any other time. A replay that makes the same calls gets the same answers.
 *
 * <p>One vCPU, one thread. The fault path allocates nothing once its tables by frame have grown.
 */
public final class ShadowMmu implements Mmu, WriteListener {
  /** Shadow pages that {@link #ShadowMmu(TableMemory, SlotView)} allows. */
  public static final int DEFAULT_MAX_PAGES = 4096;

  /** Writes to a table without a use of it that make it no table any more. */
  public static final int DEFAULT_FLOOD_THRESHOLD = 4;

  /** Fewer shadow pages than this cannot hold the path of one walk. */
  public static final int MIN_PAGES = 16;

  /**
   * Bit of {@link Translation.Result#errorCode} beside the architecture's: the supervisor access
   * that missed had SMAP held off by EFLAGS.AC. Kept in the record, never injected.
   */
  public static final int ERROR_SMAP_OVERRIDE = 1 << 16;

  /**
   * Bits beside the architecture's of a store that missed where no spte is: some protection key
   * other than 0, and key 0, forbids something. The walk does not set the dirty bit then, as the
   * page's key, seen once its spte stands, may forbid the store.
   */
  public static final int ERROR_KEYS = 1 << 17;

  public static final int ERROR_KEY_0 = 1 << 18;

  private static final TlbControl NO_TLB =
      new TlbControl() {
        @Override
        public void flushAll() {}

        @Override
        public void flushPage(final long gva) {}

        @Override
        public void writeProtectFrame(final long gfn) {}

        @Override
        public void flushFrame(final long gfn) {}
      };

  private static final long IDENTITY = Spte.PRESENT | Spte.WRITABLE | Spte.USER | Spte.DIRTY;

  private final PagingContext context = new PagingContext();
  private final TableMemory tables;
  private final GuestWalker walker;
  private final ShadowPages pages;
  private final ShadowPaths paths;
  private final ShadowUpdates updates;

  private TlbControl tlb = NO_TLB;

  private long filled;
  private long reflected;
  private long tableWrites;
  private long noSlot;
  private long readOnly;

  public ShadowMmu(final TableMemory tables, final SlotView slots) {
    this(tables, slots, DEFAULT_MAX_PAGES, DEFAULT_FLOOD_THRESHOLD);
  }

  /**
   * Makes an MMU with paging off and empty tables.
   *
   * @param maxPages bound of the pool of shadow pages, 6 KiB each
   * @param floodThreshold writes to a table without a use of it that make it no table any more
   */
  public ShadowMmu(
      final TableMemory tables,
      final SlotView slots,
      final int maxPages,
      final int floodThreshold) {
    if (maxPages < MIN_PAGES || maxPages > 1 << 21) {
      throw new IllegalArgumentException(
          "maxPages=" + maxPages + ", allowed: " + MIN_PAGES + " to " + (1 << 21));
    }
    if (floodThreshold < 1) {
      throw new IllegalArgumentException("floodThreshold=" + floodThreshold + ", allowed: above 0");
    }
    this.tables = Objects.requireNonNull(tables, "tables");
    this.walker = new GuestWalker(tables);
    this.pages = new ShadowPages(maxPages, NO_TLB);
    this.paths = new ShadowPaths(context, pages);
    this.updates = new ShadowUpdates(pages, slots, floodThreshold);
  }

  /** Names the TLBs that are filled from here; none before this call. */
  public void attach(final TlbControl control) {
    tlb = Objects.requireNonNull(control, "control");
    pages.attach(control);
  }

  @Override
  public PagingContext context() {
    return context;
  }

  /**
   * Takes the paging registers after a write to any of them, flushes the TLB as that write does and
   * finds the shadow tables of the new context where they still exist.
   */
  @Override
  public boolean setContext(final long cr0, final long cr3, final long cr4, final long efer) {
    final boolean sameRules =
        cr0 == context.cr0() && cr4 == context.cr4() && efer == context.efer();
    if (!context.set(cr0, cr3, cr4, efer, tables)) {
      return false;
    }
    paths.enter();
    if (sameRules) {
      tlb.flushNonGlobal();
    } else {
      tlb.flushAll();
    }
    return true;
  }

  /** Looks up the shadow tables; changes nothing. */
  @Override
  public void translate(final long gva, final int access, final Result result) {
    final long[] sptes = pages.sptes();
    int page = pages.root;
    long at = gva;
    int shift = 39;
    if (context.mode() != PagingMode.LEVEL4) {
      at &= 0xFFFF_FFFFL;
      shift = 30;
    } else if (page == ShadowPages.NONE) {
      miss(access, 0, result);
      return;
    }
    long allSet = Spte.ALL_RIGHTS;
    long anySet = 0;
    long spte;
    while (true) {
      spte = sptes[(page << ShadowPages.ENTRY_SHIFT) + ((int) (at >>> shift) & 511)];
      if (spte == 0) {
        miss(access, 0, result);
        return;
      }
      allSet &= spte;
      anySet |= spte;
      if ((spte & Spte.LINK) == 0) {
        break;
      }
      page = Spte.page(spte);
      shift -= 9;
    }
    int rights =
        context.rights(
            access, (allSet & Spte.WRITABLE) != 0, (allSet & Spte.USER) != 0, anySet < 0);
    if (result.pkru != 0 && (allSet & Spte.USER) != 0) {
      final int left =
          context.keyRights(PagingContext.MAY_ALL, access, anySet & Spte.KEY, result.pkru);
      if ((left & PagingContext.needed(access)) == 0) {
        result.outcome = Result.GUEST_FAULT;
        result.errorCode =
            context.errorCode(access) | PageFaultError.PRESENT | PageFaultError.PROTECTION_KEY;
        return;
      }
      rights &= left;
    }
    final boolean write = (access & WRITE) != 0;
    if ((rights & PagingContext.needed(access)) == 0 || (write && (spte & Spte.DIRTY) == 0)) {
      miss(access, PageFaultError.PRESENT, result);
      return;
    }
    result.gpa = (spte & PagingContext.ADDRESS_MASK) | (gva & 0xFFF);
    if ((spte & Spte.MMIO) != 0 || (write && (spte & Spte.ROM) != 0)) {
      result.outcome = Result.NO_SLOT;
      return;
    }
    final boolean takesStores = Spte.takesStores(spte);
    if (write && !takesStores) {
      miss(access, PageFaultError.PRESENT, result);
      return;
    }
    result.outcome = Result.OK;
    result.readable = (rights & PagingContext.MAY_READ) != 0;
    result.writable = (rights & PagingContext.MAY_WRITE) != 0 && takesStores;
    result.executable = (rights & PagingContext.MAY_FETCH) != 0;
    result.global = (spte & Spte.GLOBAL) != 0 && context.pge();
    result.pageShift = ShadowRole.isDirect(pages.role(page)) ? largeShift(page) : 12;
  }

  /** The size of the large page that a direct page is part of, or one that contains it. */
  private int largeShift(final int page) {
    return switch (context.mode()) {
      case NONE -> 12;
      case BITS32 -> 22;
      case PAE -> 21;
      case LEVEL4 -> pages.isSplitGigabyte(page) ? 30 : 21;
    };
  }

  private void miss(final int access, final int present, final Result result) {
    int code = present;
    if ((access & WRITE) != 0) {
      code |= PageFaultError.WRITE;
    }
    if ((access & USER) != 0) {
      code |= PageFaultError.USER;
    }
    // Always told, also where the architecture hides it: the walk must know what was tried.
    if ((access & FETCH) != 0) {
      code |= PageFaultError.FETCH;
    }
    if ((access & SMAP_OVERRIDE) != 0 && context.smap()) {
      code |= ERROR_SMAP_OVERRIDE;
    }
    if (present == 0 && (access & WRITE) != 0) {
      code |=
          ((result.pkru & ~3) != 0 ? ERROR_KEYS : 0) | ((result.pkru & 3) != 0 ? ERROR_KEY_0 : 0);
    }
    result.outcome = Result.MISS;
    result.errorCode = code;
  }

  /**
   * Handles a miss of {@link #translate}: walks the guest's tables and installs an spte, or tells
   * why not.
   *
   * @param errorCode as the miss had it
   * @param out filled with the outcome, the address and the entries read
   * @return {@link Fault#outcome}
   */
  public int handleFault(final long gva, final int errorCode, final Fault out) {
    final int access = accessOf(errorCode);
    final Walk walk = out.walk;
    walk.suspectKeys =
        ((errorCode & ERROR_KEY_0) != 0 ? 1 : 0) | ((errorCode & ERROR_KEYS) != 0 ? 2 : 0);
    walker.walk(context, gva, access, walk);
    if (!walk.ok) {
      paths.touch(gva);
      reflected++;
      out.gpa = 0;
      out.errorCode = walk.errorCode;
      out.outcome = Fault.REFLECTED;
      return Fault.REFLECTED;
    }
    out.gpa = walk.gpa;
    out.errorCode = 0;
    final int leafPage = paths.toLeaf(gva, walk);
    // After the path: its tables are shadowed by now, and one of them may be the target.
    out.outcome = install(leafPage, (int) (gva >>> 12) & 511, walk, (walk.access & WRITE) != 0);
    return out.outcome;
  }

  /** A PKRU that makes {@link #translate} miss with such an error code, for a replay. */
  public static int pkruOf(final int errorCode) {
    return ((errorCode & ERROR_KEYS) != 0 ? ~3 : 0) | ((errorCode & ERROR_KEY_0) != 0 ? 3 : 0);
  }

  private static int accessOf(final int errorCode) {
    int access = READ;
    if ((errorCode & PageFaultError.WRITE) != 0) {
      access |= WRITE;
    }
    if ((errorCode & PageFaultError.USER) != 0) {
      access |= USER;
    }
    if ((errorCode & PageFaultError.FETCH) != 0) {
      access |= FETCH;
    }
    if ((errorCode & ERROR_SMAP_OVERRIDE) != 0) {
      access |= SMAP_OVERRIDE;
    }
    return access;
  }

  private int install(final int leafPage, final int index, final Walk walk, final boolean write) {
    final long gpa = walk.gpa;
    long spte;
    if (walk.count == 0) {
      spte = IDENTITY;
    } else {
      final long entry = walk.entryValue[walk.count - 1];
      // Above a direct page the rights stand in the link.
      spte =
          Spte.PRESENT
              | (walk.pageShift == 12 ? entry & (Spte.RIGHTS | Spte.KEY) : Spte.ALL_RIGHTS);
      spte |= entry & Spte.GLOBAL;
      spte |= walk.dirty ? Spte.DIRTY : 0;
    }
    spte |= gpa & PagingContext.ADDRESS_MASK;
    spte |= updates.frameBits(gpa);
    pages.setLeaf(leafPage, index, spte);
    if ((spte & Spte.MMIO) != 0) {
      noSlot++;
      return Fault.NO_SLOT;
    }
    if (write && (spte & Spte.ROM) != 0) {
      readOnly++;
      return Fault.READ_ONLY;
    }
    if (write && (spte & Spte.WRITE_PROTECTED) != 0) {
      tableWrites++;
      return Fault.TABLE_WRITE;
    }
    filled++;
    return Fault.FILLED;
  }

  /** Whether stores to a frame must be told to {@link #tableWritten}. */
  public boolean isShadowed(final long gfn) {
    return pages.isShadowed(gfn);
  }

  /**
   * A store to guest memory has happened; does nothing where the frame is not shadowed. A
   * page-table entry written whole is taken over at once, other sptes that the bytes stand for are
   * dropped. Written often without a use in between, the frame is no longer taken for a table.
   *
   * @param size 1 to 16 bytes, may cross into the next page
   * @param newValue what was stored, where {@code size} is at most 8
   */
  public void tableWritten(final long gpa, final int size, final long newValue) {
    final int here = (int) Math.min(size, 4096 - (gpa & 4095));
    updates.frameWritten(gpa, here, newValue, here == size);
    if (here < size) {
      updates.frameWritten(gpa + here, size - here, 0, false);
    }
  }

  /**
   * A device has stored to guest memory: frames that were tables are tables no more. To be called
   * for stores that go past the vCPU, and for no other.
   */
  @Override
  public void memoryWritten(final long gpa, final long length) {
    if (length <= 0) {
      return;
    }
    final long last = (gpa + length - 1) >>> 12;
    for (long gfn = gpa >>> 12; gfn <= last; gfn++) {
      if (pages.isShadowed(gfn)) {
        pages.zapFrame(gfn);
      }
    }
  }

  /** INVLPG. Sptes are in step with the guest's tables already; the TLB need not be. */
  public void invalidatePage(final long gva) {
    tlb.flushPage(gva);
  }

  /** Forgets all shadow tables, and empties the TLB. */
  public void flushAll() {
    pages.zapAll();
    tlb.flushAll();
  }

  /** Counts since construction. */
  public ShadowStats stats() {
    return new ShadowStats(
        filled,
        reflected,
        tableWrites,
        noSlot,
        readOnly,
        updates.entriesWritten,
        updates.prefetched,
        updates.flooded,
        pages.created,
        pages.zapped,
        pages.evicted,
        pages.used);
  }
}

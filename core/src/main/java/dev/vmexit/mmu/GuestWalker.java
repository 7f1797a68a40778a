package dev.vmexit.mmu;

import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Pte;

/**
 * Walks the guest's page tables in all four modes (SDM Vol. 3A, 4.3 to 4.5): present and reserved
 * bits at each level in turn, then the access rights of the page, then accessed and dirty bits,
 * which are stored only where the access is allowed. Canonical form is the caller's to check.
 * Allocates nothing; not thread-safe.
 */
public final class GuestWalker {
  private static final long PHYSICAL_END = 1L << PagingContext.PHYSICAL_BITS;

  /** Bits 51:MAXPHYADDR. */
  private static final long RESERVED_LEVEL4 = (1L << 52) - PHYSICAL_END;

  /** Bits 62:MAXPHYADDR. */
  private static final long RESERVED_PAE = Long.MAX_VALUE - (PHYSICAL_END - 1);

  /** Bit 12 of an entry that maps a large page is PAT; those from here to the address are zero. */
  private static final int LARGE_RESERVED_FROM = 13;

  /** PSE-36 puts address bits 39:32 into 20:13; bit 21 is reserved. */
  private static final long PSE36_RESERVED = 1L << 21;

  private final TableMemory memory;

  public GuestWalker(final TableMemory memory) {
    this.memory = memory;
  }

  /**
   * Translates for an access and sets accessed and dirty bits as the processor would.
   *
   * @param access bits of {@link Translation}
   */
  public void walk(final PagingContext context, final long gva, final int access, final Walk walk) {
    probe(context, gva, access, walk);
    if (walk.ok) {
      setAccessed(walk.access, walk);
    }
  }

  /** The same with no store to the guest's tables; {@link Walk#dirty} is as the tables have it. */
  public void probe(
      final PagingContext context, final long gva, final int access, final Walk walk) {
    walk.count = 0;
    walk.access = access;
    switch (context.mode()) {
      case NONE -> identity(gva, walk);
      case BITS32 -> walk32(context, gva, access, walk);
      case PAE -> {
        final long pdpte = context.pdpte((int) (gva >>> 30) & 3);
        if ((pdpte & Pte.PRESENT) == 0) {
          fault(walk, context.errorCode(access));
        } else {
          walk64(context, gva & 0xFFFF_FFFFL, access, pdpte, 2, RESERVED_PAE, walk);
        }
      }
      case LEVEL4 -> walk64(context, gva, access, context.cr3(), 4, RESERVED_LEVEL4, walk);
    }
  }

  /** Whether a present entry of 8 bytes that maps a 4 KiB page has a reserved bit set. */
  static boolean isReserved(final PagingMode mode, final boolean nxe, final long entry) {
    return switch (mode) {
      case NONE, BITS32 -> false;
      case PAE -> (entry & (nxe ? RESERVED_PAE : RESERVED_PAE | Pte.NO_EXECUTE)) != 0;
      case LEVEL4 -> (entry & (nxe ? RESERVED_LEVEL4 : RESERVED_LEVEL4 | Pte.NO_EXECUTE)) != 0;
    };
  }

  private static void identity(final long gva, final Walk walk) {
    walk.ok = true;
    walk.errorCode = 0;
    walk.gpa = gva & 0xFFFF_FFFFL;
    walk.pageShift = 12;
    walk.writable = true;
    walk.user = true;
    walk.noExecute = false;
    walk.global = false;
    walk.dirty = true;
    walk.rights = PagingContext.MAY_ALL;
    walk.entrySize = 8;
  }

  private void walk64(
      final PagingContext context,
      final long gva,
      final int access,
      final long top,
      final int levels,
      final long reservedAlways,
      final Walk walk) {
    walk.entrySize = 8;
    final long reserved = context.nxe() ? reservedAlways : reservedAlways | Pte.NO_EXECUTE;
    long table = top & PagingContext.ADDRESS_MASK;
    long allSet = Pte.WRITABLE | Pte.USER;
    long anySet = 0;
    int shift = 12 + 9 * (levels - 1);
    while (true) {
      final long entry = read(table + ((gva >>> shift & 511) << 3), 8, walk);
      if ((entry & Pte.PRESENT) == 0) {
        fault(walk, context.errorCode(access));
        return;
      }
      boolean leaf = shift == 12;
      long bad = entry & reserved;
      if (!leaf && (entry & Pte.PAGE_SIZE) != 0) {
        leaf = true;
        // PS is reserved in a PML4E; elsewhere the page's own address must be aligned.
        bad |= shift > 30 ? Pte.PAGE_SIZE : entry & ((1L << shift) - (1L << LARGE_RESERVED_FROM));
      }
      if (bad != 0) {
        fault(walk, context.errorCode(access) | PageFaultError.PRESENT | PageFaultError.RESERVED);
        return;
      }
      allSet &= entry;
      anySet |= entry;
      if (leaf) {
        final long offset = (1L << shift) - 1;
        walk.gpa = (entry & PagingContext.ADDRESS_MASK & ~offset) | (gva & offset);
        walk.pageShift = shift;
        finish(context, access, entry, allSet, anySet < 0, walk);
        return;
      }
      table = entry & PagingContext.ADDRESS_MASK;
      shift -= 9;
    }
  }

  private void walk32(
      final PagingContext context, final long gva, final int access, final Walk walk) {
    walk.entrySize = 4;
    final long pde = read((context.cr3() & 0xFFFF_F000L) + ((gva >>> 22 & 1023) << 2), 4, walk);
    if ((pde & Pte.PRESENT) == 0) {
      fault(walk, context.errorCode(access));
      return;
    }
    if ((pde & Pte.PAGE_SIZE) != 0 && context.pse()) {
      if ((pde & PSE36_RESERVED) != 0) {
        fault(walk, context.errorCode(access) | PageFaultError.PRESENT | PageFaultError.RESERVED);
        return;
      }
      walk.gpa = (pde & 0xFFC0_0000L) | (pde >>> 13 & 0xFF) << 32 | (gva & 0x3F_FFFF);
      walk.pageShift = 22;
      finish(context, access, pde, pde, false, walk);
      return;
    }
    final long pte = read((pde & 0xFFFF_F000L) + ((gva >>> 12 & 1023) << 2), 4, walk);
    if ((pte & Pte.PRESENT) == 0) {
      fault(walk, context.errorCode(access));
      return;
    }
    walk.gpa = (pte & 0xFFFF_F000L) | (gva & 0xFFF);
    walk.pageShift = 12;
    finish(context, access, pte, pde & pte, false, walk);
  }

  private long read(final long gpa, final int size, final Walk walk) {
    final long entry;
    if (memory.isBacked(gpa)) {
      entry = memory.read(gpa, size);
    } else {
      entry = size == 8 ? -1L : 0xFFFF_FFFFL;
    }
    final int i = walk.count;
    walk.entryAddress[i] = gpa;
    walk.entryValue[i] = entry;
    walk.count = i + 1;
    return entry;
  }

  private static void finish(
      final PagingContext context,
      final int asked,
      final long leaf,
      final long allSet,
      final boolean noExecute,
      final Walk walk) {
    walk.writable = (allSet & Pte.WRITABLE) != 0;
    walk.user = (allSet & Pte.USER) != 0;
    final int access = isSuspect(leaf, walk) ? asked & ~Translation.WRITE : asked;
    walk.access = access;
    walk.noExecute = noExecute;
    walk.global = (leaf & Pte.GLOBAL) != 0 && context.pge();
    walk.dirty = (leaf & Pte.DIRTY) != 0;
    walk.rights = context.rights(access, walk.writable, walk.user, noExecute);
    int error = PageFaultError.PRESENT;
    if (walk.pkru != 0 && walk.user) {
      final int left = context.keyRights(PagingContext.MAY_ALL, access, leaf, walk.pkru);
      walk.rights &= left;
      error |= (left & PagingContext.needed(access)) == 0 ? PageFaultError.PROTECTION_KEY : 0;
    }
    if ((walk.rights & PagingContext.needed(access)) == 0) {
      fault(walk, context.errorCode(access) | error);
    } else {
      walk.ok = true;
      walk.errorCode = 0;
    }
  }

  private static boolean isSuspect(final long leaf, final Walk walk) {
    return walk.suspectKeys != 0
        && walk.user
        && (walk.suspectKeys & ((leaf & Pte.PROTECTION_KEY) == 0 ? 1 : 2)) != 0;
  }

  private static void fault(final Walk walk, final int errorCode) {
    walk.ok = false;
    walk.errorCode = errorCode;
  }

  private void setAccessed(final int access, final Walk walk) {
    final int last = walk.count - 1;
    for (int i = 0; i <= last; i++) {
      final long old = walk.entryValue[i];
      long entry = old | Pte.ACCESSED;
      if (i == last && (access & Translation.WRITE) != 0) {
        entry |= Pte.DIRTY;
        walk.dirty = true;
      }
      if (entry != old) {
        memory.write(walk.entryAddress[i], walk.entrySize, entry);
      }
    }
  }
}

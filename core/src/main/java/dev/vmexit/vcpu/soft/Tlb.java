package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.Translation;
import dev.vmexit.vcpu.StateLayout;

/**
 * The entries of the soft TLB in the vCPU's state: filled and dropped here, looked up where an
 * access is made. A page may be written through it only while no code of it is cached and its frame
 * is marked dirty.
 */
final class Tlb {
  private static final long PAGE_MASK = -4096L;
  private static final int SMALL_FLUSH = 1024;

  private final long state;
  private final GuestMemory memory;
  private final BlockCache code;

  /** Offsets of entries filled since the last flush that a CR3 write must drop. */
  private final int[] localEntries = new int[SMALL_FLUSH];

  private int localCount;

  /** Which parts of a guest's large pages the TLB may hold. */
  private final LargePages largePages = new LargePages();

  Tlb(final long state, final GuestMemory memory, final BlockCache code) {
    this.state = state;
    this.memory = memory;
    this.code = code;
    flushAll();
  }

  /**
   * Enters a page.
   *
   * @param context address of the entries of the privilege that the page was translated for
   * @param host of the byte at {@code linear}
   * @param kind Translation.READ, WRITE or FETCH: what the page is needed for now
   */
  void fill(
      final long context,
      final long linear,
      final long host,
      final int kind,
      final Translation.Result result) {
    final long page = linear & PAGE_MASK;
    final int offset =
        (int) (context - state)
            + (int) (linear >>> 12 & StateLayout.TLB_ENTRIES - 1) * StateLayout.TLB_ENTRY_SIZE;
    final long entry = state + offset;
    final long addend = host - linear;
    if (result.pageShift != 12) {
      largePages.add(linear, result.pageShift);
    }
    if (HostMemory.getLong(entry + StateLayout.TLB_ADDEND) != addend || !holdsPage(entry, page)) {
      HostMemory.putLong(entry + StateLayout.TLB_READ, StateLayout.TLB_NO_PAGE);
      HostMemory.putLong(entry + StateLayout.TLB_WRITE, StateLayout.TLB_NO_PAGE);
      HostMemory.putLong(entry + StateLayout.TLB_FETCH, StateLayout.TLB_NO_PAGE);
      HostMemory.putLong(entry + StateLayout.TLB_ADDEND, addend);
    }
    if (!result.global) {
      if (localCount < SMALL_FLUSH) {
        localEntries[localCount] = offset;
      }
      localCount++;
    }
    if (result.readable) {
      HostMemory.putLong(entry + StateLayout.TLB_READ, page);
    }
    if (result.executable) {
      HostMemory.putLong(entry + StateLayout.TLB_FETCH, page);
    }
    if (result.writable && !code.hasCode(host) && !memory.isReadOnly(result.gpa)) {
      if (kind == Translation.WRITE) {
        memory.markDirty(result.gpa);
        HostMemory.putLong(entry + StateLayout.TLB_WRITE, page);
      } else if (!memory.isDirtyLogging() || memory.isDirty(result.gpa >>> 12)) {
        HostMemory.putLong(entry + StateLayout.TLB_WRITE, page);
      }
    }
  }

  private static boolean holdsPage(final long entry, final long page) {
    return HostMemory.getLong(entry + StateLayout.TLB_READ) == page
        || HostMemory.getLong(entry + StateLayout.TLB_WRITE) == page
        || HostMemory.getLong(entry + StateLayout.TLB_FETCH) == page;
  }

  /** Drops all. */
  void flushAll() {
    // All ones is TLB_NO_PAGE in each tag; an addend is read only under a tag that hit.
    HostMemory.fill(
        state + StateLayout.TLB,
        (long) StateLayout.TLB_CONTEXTS * StateLayout.TLB_CONTEXT_SIZE,
        0xFF);
    localCount = 0;
    largePages.clear();
  }

  /** Drops what a CR3 write drops: all entries but global ones. */
  void flushNonGlobal() {
    if (localCount > SMALL_FLUSH) {
      flushAll();
      return;
    }
    for (int i = 0; i < localCount; i++) {
      dropEntry(state + localEntries[i]);
    }
    localCount = 0;
  }

  private static void dropEntry(final long entry) {
    HostMemory.putLong(entry + StateLayout.TLB_READ, StateLayout.TLB_NO_PAGE);
    HostMemory.putLong(entry + StateLayout.TLB_WRITE, StateLayout.TLB_NO_PAGE);
    HostMemory.putLong(entry + StateLayout.TLB_FETCH, StateLayout.TLB_NO_PAGE);
  }

  /** Drops what INVLPG drops. */
  void flushPage(final long gva) {
    if (largePages.mayHold(gva)) {
      // INVLPG drops the whole of a large page, which is here in pieces of 4 KiB.
      flushAll();
      return;
    }
    final long first =
        state
            + StateLayout.TLB
            + (gva >>> 12 & StateLayout.TLB_ENTRIES - 1) * StateLayout.TLB_ENTRY_SIZE;
    for (int i = 0; i < StateLayout.TLB_CONTEXTS; i++) {
      dropEntry(first + (long) i * StateLayout.TLB_CONTEXT_SIZE);
    }
  }

  /** Takes the write permission of a frame away wherever it is mapped. */
  void writeProtectFrame(final long gfn) {
    final long host = memory.hostAddress(gfn << 12);
    if (host != 0) {
      dropWriteMappings(host);
    }
  }

  /** Drops a frame wherever it is mapped. */
  void flushFrame(final long gfn) {
    final long host = memory.hostAddress(gfn << 12);
    if (host == 0) {
      return;
    }
    final long end = state + StateLayout.SIZE;
    for (long entry = state + StateLayout.TLB; entry < end; entry += StateLayout.TLB_ENTRY_SIZE) {
      final long addend = HostMemory.getLong(entry + StateLayout.TLB_ADDEND);
      if (holdsPage(entry, host - addend)) {
        dropEntry(entry);
      }
    }
  }

  /** Takes the write permission of a host page out of the TLB. */
  void dropWriteMappings(final long hostPage) {
    final long end = state + StateLayout.SIZE;
    for (long entry = state + StateLayout.TLB; entry < end; entry += StateLayout.TLB_ENTRY_SIZE) {
      final long page = HostMemory.getLong(entry + StateLayout.TLB_WRITE);
      if (page != StateLayout.TLB_NO_PAGE
          && page + HostMemory.getLong(entry + StateLayout.TLB_ADDEND) == hostPage) {
        HostMemory.putLong(entry + StateLayout.TLB_WRITE, StateLayout.TLB_NO_PAGE);
      }
    }
  }
}

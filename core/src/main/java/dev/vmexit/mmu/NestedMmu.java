package dev.vmexit.mmu;

import dev.vmexit.memory.GuestMemory;

/**
 * Two-level translation: each TLB miss walks the guest's own tables, then looks up the slot; only
 * the latter can exit. Keeps nothing between calls, so that INVLPG and writes to guest tables are
 * no concern of it. Belongs to one vCPU's thread.
 */
public final class NestedMmu implements Mmu {
  private final PagingContext context = new PagingContext();
  private final Walk walk = new Walk();
  private final GuestMemory memory;
  private final TableMemory tables;
  private final GuestWalker walker;

  public NestedMmu(final GuestMemory memory) {
    this.memory = memory;
    this.tables = TableMemory.of(memory);
    this.walker = new GuestWalker(tables);
  }

  @Override
  public boolean setContext(final long cr0, final long cr3, final long cr4, final long efer) {
    return context.set(cr0, cr3, cr4, efer, tables);
  }

  @Override
  public PagingContext context() {
    return context;
  }

  @Override
  public void translate(final long gva, final int access, final Result result) {
    final Walk w = walk;
    w.pkru = result.pkru;
    walker.walk(context, gva, access, w);
    if (!w.ok) {
      result.outcome = Result.GUEST_FAULT;
      result.errorCode = w.errorCode;
      return;
    }
    final long gpa = w.gpa;
    result.gpa = gpa;
    final boolean readOnly = memory.isReadOnly(gpa);
    if (!memory.isBacked(gpa) || (readOnly && (access & WRITE) != 0)) {
      result.outcome = Result.NO_SLOT;
      return;
    }
    final int rights = w.rights;
    result.outcome = Result.OK;
    result.readable = (rights & PagingContext.MAY_READ) != 0;
    // A page whose dirty bit is still clear must come back here on its first store.
    result.writable = (rights & PagingContext.MAY_WRITE) != 0 && w.dirty && !readOnly;
    result.executable = (rights & PagingContext.MAY_FETCH) != 0;
    result.global = w.global;
    result.pageShift = w.pageShift;
  }
}

package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.GuestWalker;
import dev.vmexit.mmu.PagingContext;
import dev.vmexit.mmu.PagingMode;
import dev.vmexit.mmu.TableMemory;
import dev.vmexit.mmu.Translation;
import dev.vmexit.mmu.Walk;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Seg;

/**
 * Where the guest's code is in this process, by the guest's own tables, in which nothing is marked
 * as accessed: the guest does not see that somebody looked. Belongs to the vCPU's thread.
 */
final class CodeMemory {
  private static final int DPL_SHIFT = 5;
  private static final int DPL_USER = 3;

  private final GuestMemory memory;
  private final long state;
  private final TableMemory tables;
  private final GuestWalker walker;
  private final PagingContext context = new PagingContext();
  private final Walk walk = new Walk();

  // What the context was set from: it is looked at for a walk only.
  private long cr0;
  private long cr3;
  private long cr4;
  private long efer;
  private PagingMode mode = PagingMode.NONE;

  CodeMemory(final GuestMemory memory, final long state) {
    this.memory = memory;
    this.state = state;
    tables = TableMemory.of(memory);
    walker = new GuestWalker(tables);
  }

  /** Takes the paging registers of the state block. */
  void begin() {
    final long newCr0 = HostMemory.getLong(state + StateLayout.CR0);
    final long newCr3 = HostMemory.getLong(state + StateLayout.CR3);
    final long newCr4 = HostMemory.getLong(state + StateLayout.CR4);
    final long newEfer = HostMemory.getLong(state + StateLayout.EFER);
    final long changed = cr0 ^ newCr0 | cr3 ^ newCr3 | cr4 ^ newCr4 | efer ^ newEfer;
    // PAE's four entries may have been loaded anew from the same address.
    if (changed == 0 && mode != PagingMode.PAE) {
      return;
    }
    context.set(newCr0, newCr3, newCr4, newEfer, tables);
    cr0 = context.cr0();
    cr3 = context.cr3();
    cr4 = context.cr4();
    efer = context.efer();
    mode = context.mode();
  }

  /** Host address of a linear page that can be fetched from, or 0. */
  long host(final long page) {
    if (mode == PagingMode.NONE) {
      return memory.hostAddress(page & 0xFFFF_FFFFL);
    }
    final int rights =
        HostMemory.getInt(state + StateLayout.segment(Seg.SS) + StateLayout.SEG_RIGHTS);
    final int user = (rights >> DPL_SHIFT & DPL_USER) == DPL_USER ? Translation.USER : 0;
    walker.probe(context, page, Translation.FETCH | user, walk);
    return walk.ok ? memory.hostAddress(walk.gpa) : 0;
  }
}

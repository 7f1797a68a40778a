package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;

/**
 * The pages that one vCPU has written, in a ring that KVM fills and we empty (KVM API,
 * KVM_CAP_DIRTY_LOG_RING). Unlike the dirty log's bitmap, which is as long as the memory, it costs
 * what was written; and it says which vCPU wrote.
 *
 * <pre>
 *   struct kvm_dirty_gfn   0 flags 4: 1 dirty (KVM's), 2 harvested (ours)   4 slot 4   8 page 8
 * </pre>
 *
 * <p>Belongs to the thread that runs the vCPU, or to any while it does not run.
 */
final class KvmDirtyRing {
  static final int ENTRY = 16;
  static final int SLOT = 4;
  static final int PAGE = 8;

  private final MemorySegment errno = Libc.errnoState();
  private final int vm;
  private final long ring;
  private final int bytes;
  private final GuestMemory memory;
  private int next;

  private KvmDirtyRing(final int vm, final long ring, final int bytes, final GuestMemory memory) {
    this.vm = vm;
    this.ring = ring;
    this.bytes = bytes;
    this.memory = memory;
  }

  /** Maps the ring of a vCPU whose VM has rings of so many bytes. */
  static KvmDirtyRing map(final int vm, final int vcpu, final int bytes, final GuestMemory memory) {
    final long offset = (long) KvmApi.DIRTY_LOG_PAGE_OFFSET * GuestMemory.PAGE_SIZE;
    final long address = Libc.map(vcpu, bytes, offset);
    if (address < 0 && address > -4096) {
      throw Libc.failure("mmap(dirty ring, " + bytes + ")", (int) -address);
    }
    return new KvmDirtyRing(vm, address, bytes, memory);
  }

  /**
   * Marks what was written since the last call in the memory's dirty log, and hands the entries
   * back to KVM, which then watches those pages again.
   *
   * @return how many entries there were
   */
  int harvest() {
    int count = 0;
    while (true) {
      // Safe: inside the mapping, which lives until close.
      final long at = ring + next;
      final boolean dirty = (HostMemory.getInt(at) & KvmApi.DIRTY_GFN_F_DIRTY) != 0;
      // Pairs with KVM's release of the flag: slot and page were written before it.
      VarHandle.acquireFence();
      if (!dirty) {
        break;
      }
      final int slot = HostMemory.getInt(at + SLOT);
      memory.markDirty(
          memory.slots().get(slot).gpa()
              + (HostMemory.getLong(at + PAGE) << GuestMemory.PAGE_SHIFT));
      // Pairs with KVM's acquire: the entry has been read.
      VarHandle.releaseFence();
      HostMemory.putInt(at, KvmApi.DIRTY_GFN_F_RESET);
      next = (next + ENTRY) % bytes;
      count++;
    }
    if (count > 0) {
      // Safe: a request without an argument.
      final int result = Libc.ioctl(errno, vm, KvmApi.RESET_DIRTY_RINGS, 0);
      if (result < 0) {
        throw Libc.failure("KVM_RESET_DIRTY_RINGS", -result);
      }
    }
    return count;
  }

  void close() {
    Libc.unmap(ring, bytes);
  }
}

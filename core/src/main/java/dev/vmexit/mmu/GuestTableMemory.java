package dev.vmexit.mmu;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;

/**
 * Paging-structure entries in guest memory. Accessed and dirty bits are stored past the write
 * listeners: the MMU itself makes these stores and has them in its shadow already.
 */
final class GuestTableMemory implements TableMemory {
  private final GuestMemory memory;

  GuestTableMemory(final GuestMemory memory) {
    this.memory = memory;
  }

  @Override
  public long read(final long gpa, final int size) {
    // Safe: an aligned entry never crosses a page, and slots are whole pages.
    final long host = memory.hostAddress(gpa);
    if (host == 0) {
      return size == 8 ? -1L : 0xFFFF_FFFFL;
    }
    return size == 8 ? HostMemory.getLong(host) : HostMemory.getUnsignedInt(host);
  }

  @Override
  public boolean isBacked(final long gpa) {
    return memory.isBacked(gpa);
  }

  @Override
  public void write(final long gpa, final int size, final long value) {
    if (memory.isRam(gpa)) {
      // Safe: as in read.
      HostMemory.put(memory.hostAddress(gpa), size, value);
      memory.markDirty(gpa);
    }
  }
}

package dev.vmexit.mmu;

import dev.vmexit.memory.GuestMemory;

/**
 * Where guest memory has slots; a replay has this from the manifest and the records alone. It
 * changes only while no shadow table stands: {@link ShadowMmu#flushAll} goes with it.
 */
public interface SlotView {
  /** Whether a slot of either kind holds this byte. */
  boolean isBacked(long gpa);

  /** Whether a read-only slot holds this byte. */
  boolean isReadOnly(long gpa);

  /** The slots of a guest memory. */
  static SlotView of(final GuestMemory memory) {
    return new SlotView() {
      @Override
      public boolean isBacked(final long gpa) {
        return memory.isBacked(gpa);
      }

      @Override
      public boolean isReadOnly(final long gpa) {
        return memory.isReadOnly(gpa);
      }
    };
  }
}

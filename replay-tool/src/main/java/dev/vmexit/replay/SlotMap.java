package dev.vmexit.replay;

import dev.vmexit.mmu.SlotView;
import dev.vmexit.trace.TraceManifest;
import java.util.List;

/** The slots of guest memory as the manifest has them. */
final class SlotMap implements SlotView {
  private final long[] gpa;
  private final long[] bytes;
  private final boolean[] readOnly;

  SlotMap(final List<TraceManifest.MemorySlot> slots) {
    gpa = new long[slots.size()];
    bytes = new long[slots.size()];
    readOnly = new boolean[slots.size()];
    for (int i = 0; i < gpa.length; i++) {
      gpa[i] = slots.get(i).gpa();
      bytes[i] = slots.get(i).bytes();
      readOnly[i] = slots.get(i).readOnly();
    }
  }

  private int indexOf(final long address) {
    for (int i = 0; i < gpa.length; i++) {
      if (Long.compareUnsigned(address - gpa[i], bytes[i]) < 0) {
        return i;
      }
    }
    return -1;
  }

  @Override
  public boolean isBacked(final long address) {
    return indexOf(address) >= 0;
  }

  @Override
  public boolean isReadOnly(final long address) {
    final int index = indexOf(address);
    return index >= 0 && readOnly[index];
  }
}

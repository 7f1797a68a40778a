package dev.vmexit.replay;

import dev.vmexit.memory.MemoryMap;
import dev.vmexit.memory.Slot;
import dev.vmexit.mmu.SlotView;
import dev.vmexit.trace.TraceManifest;
import java.util.List;

/** The slots of guest memory: as the manifest has them, and as records say that they change. */
final class SlotMap implements SlotView {
  private static final long TWO_MIB = 2 << 20;

  private final List<Slot> built;
  private List<Slot> slots;

  /** A record of a change may be missing. */
  private boolean uncertain;

  SlotMap(final List<TraceManifest.MemorySlot> manifest) {
    // Nothing is behind them here; apart they lie as the guest sees them.
    built =
        manifest.stream().map(s -> new Slot(s.gpa(), s.bytes(), s.gpa(), s.readOnly())).toList();
    slots = built;
  }

  /** Takes a state of {@link MemoryMap} over. */
  void map(final long state) {
    slots = MemoryMap.slots(built, state);
    uncertain = false;
  }

  /** From here on the state is not known, until the next one. */
  void forget() {
    uncertain = true;
  }

  private Slot find(final long address) {
    for (final Slot slot : slots) {
      if (Long.compareUnsigned(address - slot.gpa(), slot.bytes()) < 0) {
        return slot;
      }
    }
    return null;
  }

  @Override
  public boolean isBacked(final long address) {
    return find(address) != null && !mayHaveChanged(address);
  }

  @Override
  public boolean isReadOnly(final long address) {
    final Slot slot = find(address);
    return slot != null && slot.readOnly() && !mayHaveChanged(address);
  }

  private boolean mayHaveChanged(final long address) {
    return uncertain && address >= MemoryMap.AREAS && address < TWO_MIB;
  }
}

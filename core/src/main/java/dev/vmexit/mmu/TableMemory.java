package dev.vmexit.mmu;

import dev.vmexit.memory.GuestMemory;

/**
 * Where a walk finds the guest's paging-structure entries: guest memory while the guest runs, the
 * recorded entries in a replay.
 */
public interface TableMemory {
  /**
   * Reads one entry.
   *
   * @param gpa aligned to {@code size}
   * @param size 4 or 8 bytes; 4 come back zero-extended
   */
  long read(long gpa, int size);

  /** Whether memory is there; an entry where none is reads as all ones, as from an idle bus. */
  boolean isBacked(long gpa);

  /** Stores an entry with its accessed or dirty bit set. A store to ROM has no effect. */
  void write(long gpa, int size, long value);

  /** The entries in guest memory itself. */
  static TableMemory of(final GuestMemory memory) {
    return new GuestTableMemory(memory);
  }
}

package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.mmu.TableMemory;

/**
 * The guest's paging-structure entries as one record has them: the only guest memory that a replay
 * knows. Whatever else the MMU asks for is a difference.
 */
final class RecordedTables implements TableMemory {
  private static final long NOTHING = -1;

  private final SlotMap slots;
  private final KnownTables known;
  private ExitEvent event;
  private int used;
  private long missing = NOTHING;

  RecordedTables(final SlotMap slots, final KnownTables known) {
    this.slots = slots;
    this.known = known;
  }

  /** Serves the entries of a record from now on. */
  void serve(final ExitEvent record) {
    event = record;
    used = 0;
    missing = NOTHING;
  }

  /** Entries of the record that were asked for, counted from the first; they come in order. */
  int used() {
    return used;
  }

  /** Whether an entry was asked for that the record lacks. */
  boolean isMissing() {
    return missing != NOTHING;
  }

  /** Address of the first such entry. */
  long missing() {
    return missing;
  }

  @Override
  public long read(final long gpa, final int size) {
    final int at = used;
    if (at < event.walkCount && event.walkAddress[at] == gpa) {
      used = at + 1;
      return event.walkValue[at];
    }
    if (missing == NOTHING) {
      missing = gpa;
    }
    return 0;
  }

  @Override
  public boolean isBacked(final long gpa) {
    if (slots.isBacked(gpa)) {
      return true;
    }
    // The walker notes an entry outside memory without reading it.
    if (used < event.walkCount && event.walkAddress[used] == gpa) {
      used++;
    }
    return false;
  }

  @Override
  public void write(final long gpa, final int size, final long value) {
    if (!slots.isReadOnly(gpa)) {
      known.stored(gpa, size, value);
    }
  }
}

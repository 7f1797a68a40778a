package dev.vmexit.vcpu.kvm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.KernelEvent;
import dev.vmexit.memory.HostMemory;
import java.util.Arrays;

/** One tracepoint of this host's KVM, and the way of its events into records. */
final class Tracepoint {
  private static final int NONE = -1;
  private static final int FLAG_PROTECTED = 1;
  private static final int FLAG_CODE_32 = 4;
  private static final int FLAG_CODE_64 = 8;

  private final KernelEvent event;
  private final int id;

  /** By place: where the field is in the raw data, and its size; -1 where there is none. */
  private final int[] offsets = new int[KernelEvent.Place.values().length];

  private final int[] sizes = new int[offsets.length];

  /** Bytes of raw data that all of these fields lie in. */
  private final int extent;

  Tracepoint(final KernelEvent event, final TracepointFormat format) {
    this.event = event;
    id = format.id();
    Arrays.fill(offsets, NONE);
    int end = 0;
    for (final KernelEvent.Place place : KernelEvent.Place.values()) {
      final TracepointFormat.Field field =
          event.field(place).map(format.fields()::get).orElse(null);
      final boolean bytes = place == KernelEvent.Place.BYTES;
      if (field != null && (bytes || isNumber(field.size()))) {
        offsets[place.ordinal()] = field.offset();
        sizes[place.ordinal()] = field.size();
        end = Math.max(end, field.offset() + field.size());
      }
    }
    extent = end;
  }

  private static boolean isNumber(final int size) {
    return size == 1 || size == 2 || size == 4 || size == 8;
  }

  /** The tracepoint's number on this host. */
  int id() {
    return id;
  }

  KernelEvent event() {
    return event;
  }

  /**
   * Fills in a record.
   *
   * @param raw address of the event's data, {@code length} bytes long
   */
  void fill(final long raw, final int length, final ExitEvent to) {
    to.detail = event.ordinal();
    if (length < extent) {
      // Shorter than the kernel itself says: nothing of it is believed.
      return;
    }
    to.address = number(raw, KernelEvent.Place.ADDRESS);
    to.value = number(raw, KernelEvent.Place.VALUE);
    to.size = (int) number(raw, KernelEvent.Place.SIZE) & 0xFF;
    to.write = number(raw, KernelEvent.Place.WRITE) != 0;
    to.errorCode = (int) number(raw, KernelEvent.Place.ERROR);
    if (offsets[KernelEvent.Place.RIP.ordinal()] != NONE) {
      to.rip = number(raw, KernelEvent.Place.RIP);
    }
    if (offsets[KernelEvent.Place.BYTES.ordinal()] != NONE) {
      instruction(raw, to);
    }
  }

  private void instruction(final long raw, final ExitEvent to) {
    if (offsets[KernelEvent.Place.CS_BASE.ordinal()] != NONE) {
      to.csBase = number(raw, KernelEvent.Place.CS_BASE);
    }
    if (offsets[KernelEvent.Place.MODE.ordinal()] != NONE) {
      final int flags = (int) number(raw, KernelEvent.Place.MODE);
      final int codeSize = (flags & FLAG_CODE_64) != 0 ? 8 : (flags & FLAG_CODE_32) != 0 ? 4 : 2;
      to.mode = to.mode & ~ExitEvent.MODE_CODE_SIZE | codeSize;
      if ((flags & FLAG_PROTECTED) == 0) {
        to.mode &= ExitEvent.MODE_CODE_SIZE;
      }
    }
    final int at = KernelEvent.Place.BYTES.ordinal();
    final int room = Math.min(sizes[at], ExitEvent.MAX_INSTRUCTION);
    to.instructionLength = (int) Math.min(number(raw, KernelEvent.Place.LENGTH), room);
    // Safe: inside the data, whose length was looked at.
    HostMemory.copyOut(raw + offsets[at], to.instruction, 0, to.instructionLength);
  }

  private long number(final long raw, final KernelEvent.Place place) {
    final int at = place.ordinal();
    return offsets[at] == NONE ? 0 : HostMemory.get(raw + offsets[at], sizes[at]);
  }
}

package dev.vmexit.analysis;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import java.util.Locale;

/** What exits are counted by. */
public enum Dimension {
  /** All exits, by their kind. */
  KIND,
  /** All exits, by the instruction that exits. */
  RIP,
  /** MMIO by address; page faults, where they have a frame, by frame. */
  GPA,
  /** Port I/O, by port. */
  PORT,
  /** Injections, by vector. */
  VECTOR,
  /** All exits, by vCPU. */
  VCPU;

  private static final long FRAME = ~0xFFFL;

  /** Whether an exit counts here. */
  boolean covers(final ExitEvent event) {
    if (event.kind == ExitKind.GAP) {
      return false;
    }
    return switch (this) {
      case KIND, RIP, VCPU -> true;
      case GPA ->
          event.kind == ExitKind.MMIO
              || event.kind == ExitKind.DMA
              || (event.kind == ExitKind.PAGE_FAULT && event.detail != ExitEvent.PF_REFLECTED);
      case PORT -> event.kind == ExitKind.PIO;
      case VECTOR -> event.kind == ExitKind.INJECT;
    };
  }

  /** The key of an exit that counts here. */
  long key(final ExitEvent event) {
    return switch (this) {
      case KIND -> event.kind.ordinal();
      case RIP -> event.rip;
      case GPA -> event.kind == ExitKind.PAGE_FAULT ? event.value & FRAME : event.address;
      case PORT, VECTOR -> event.address;
      case VCPU -> event.vcpu;
    };
  }

  /** A key as text of at most 16 characters. */
  String name(final long key) {
    return switch (this) {
      case KIND -> ExitKind.of((int) key).toString();
      case RIP -> String.format(Locale.ROOT, "%016x", key);
      case GPA, PORT, VECTOR -> "0x" + Long.toHexString(key);
      case VCPU -> Long.toString(key);
    };
  }
}

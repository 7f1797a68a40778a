package dev.vmexit.analysis;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.KernelEvent;
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
  VCPU,
  /** What KVM did itself, by its tracepoint. */
  TRACEPOINT;

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
      case TRACEPOINT -> event.kind == ExitKind.KERNEL;
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
      case TRACEPOINT -> event.detail;
    };
  }

  /** A key as text of at most 16 characters. */
  String name(final long key) {
    return switch (this) {
      case KIND -> ExitKind.of((int) key).toString();
      case RIP -> String.format(Locale.ROOT, "%016x", key);
      case GPA, PORT, VECTOR -> "0x" + Long.toHexString(key);
      case VCPU -> Long.toString(key);
      case TRACEPOINT ->
          KernelEvent.of((int) key).map(KernelEvent::shortName).orElse(Long.toString(key));
    };
  }
}

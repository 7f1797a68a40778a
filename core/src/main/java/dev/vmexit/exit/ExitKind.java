package dev.vmexit.exit;

/** Kinds of exits, neutral to VMX, SVM and software. The order is that of the trace format. */
public enum ExitKind {
  /** Port I/O: IN, OUT, INS, OUTS. */
  PIO,
  /** Access to guest-physical memory that no slot backs, or a write to ROM. */
  MMIO,
  /** Shadow or second-level page fault. */
  PAGE_FAULT,
  /** Control register written. */
  CR,
  /** Model-specific register read or written. */
  MSR,
  CPUID,
  HLT,
  INVLPG,
  /** Time-stamp counter read, or a random number; the address says which instruction asked. */
  TSC,
  /** Interrupt, exception or NMI injected at an entry. */
  INJECT,
  /** The guest became able to take an interrupt. */
  IRQ_WINDOW,
  /** A device wrote guest memory. */
  DMA,
  DEBUG,
  /** Triple fault, or the guest asked to power off or reset. */
  SHUTDOWN,
  /** Left guest mode because another thread asked. */
  KICK,
  /** Records are missing here. */
  GAP,
  /** No exit: what KVM itself did before the exit behind, by a tracepoint of its own. */
  KERNEL;

  private static final ExitKind[] VALUES = values();

  /** The kind by its number in a trace; throws where the number is none. */
  public static ExitKind of(final int ordinal) {
    return VALUES[ordinal];
  }
}

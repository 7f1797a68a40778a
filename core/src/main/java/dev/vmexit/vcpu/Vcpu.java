package dev.vmexit.vcpu;

/**
 * A virtual processor: runs guest code until something needs the machine. All methods but {@link
 * #kick} belong to the vCPU's own thread.
 */
public interface Vcpu extends AutoCloseable {
  /** Address of the state block described by {@link StateLayout}; current whenever out of guest. */
  long state();

  /** The reused description of the last exit. */
  VcpuExit exit();

  /**
   * Enters guest mode: completes the last exit's request, delivers what was injected, runs.
   *
   * @param retiredLimit leave with {@link VcpuExit#LIMIT} when {@link StateLayout#RETIRED} reaches
   *     this
   * @return the reason, a constant of {@link VcpuExit}
   */
  int enter(long retiredLimit);

  /**
   * Executes the one instruction at rip, a write to the page of {@code gva} going to {@code gpa}
   * though the MMU forbids it; {@link #tableWrites} then lists what was written.
   *
   * @return {@link VcpuExit#EMULATED}, or the reason why it could not complete
   */
  int emulate(long gva, long gpa);

  /** Writes that {@link #emulate} made to permitted pages. */
  TableWrites tableWrites();

  /** Whether an external interrupt may be injected: IF set, no shadow, nothing else waiting. */
  boolean interruptible();

  /** Whether an NMI may be injected. */
  boolean nmiInjectable();

  /** Bits of {@code ExitEvent.INTERRUPT_*} as they stand. */
  int interruptState();

  /** Delivers an external interrupt at the next entry; the caller saw {@link #interruptible}. */
  void injectInterrupt(int vector);

  void injectNmi();

  /** Delivers an exception at the next entry, with the rules for double and triple faults. */
  void injectException(int vector, boolean hasErrorCode, int errorCode);

  /** Asks for an IRQ_WINDOW exit as soon as {@link #interruptible} would hold. */
  void requestInterruptWindow(boolean wanted);

  /**
   * Tells when the machine wants its thread back, for a vCPU that does not count instructions: such
   * a one leaves with {@link VcpuExit#LIMIT} about then. Others need not heed it.
   *
   * @param deadline of the machine's clock, ns; {@code Long.MAX_VALUE}: none
   * @param now on the machine's clock, which must follow the host's time for such a vCPU
   */
  default void deadline(final long deadline, final long now) {}

  /** Why the last {@link #enter} left with {@link VcpuExit#FAILED}, for the user; else empty. */
  default String failure() {
    return "";
  }

  /** After an exit of HLT: whether an interrupt ends the wait though RFLAGS.IF masks it. */
  default boolean wakesForMasked() {
    return false;
  }

  /** After an exit of HLT: whether what it waits for in memory has come (MWAIT). */
  default boolean wakesForStore() {
    return false;
  }

  /** Makes a running or the next {@link #enter} leave with KICK soon. Any thread. */
  void kick();

  /** RFLAGS with all flags materialised. */
  long rflags();

  /** What the CPU model answers: eax, ebx, ecx, edx. */
  void cpuid(int leaf, int subleaf, int[] out);

  /** Bits of {@code ExitEvent.MODE_*} as they stand. */
  int mode();

  /** Reads an MSR held by the vCPU into the answer's value; false where it has none such. */
  boolean readMsr(int index, VcpuExit answer);

  /** Writes an MSR held by the vCPU; false where it has none such or the value is reserved. */
  boolean writeMsr(int index, long value);

  /** Tells that state fields were changed from outside (boot, tests): caches are rebuilt. */
  void stateChanged();

  /** Tells that guest-physical addresses have other memory behind them now. */
  void memoryChanged();

  @Override
  void close();

  /**
   * What the host's kernel tells of its own work for this vCPU; null where nobody asked for that,
   * or there is no kernel in it. The same for ever.
   */
  default KernelEvents kernelEvents() {
    return null;
  }
}

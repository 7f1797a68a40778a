package dev.vmexit.vcpu.kvm;

/**
 * Offsets of {@code struct kvm_run}, the page that KVM and the VMM share (KVM API, 5).
 *
 * <pre>
 *   0    request_interrupt_window 1    immediate_exit 1
 *   8    exit_reason 4    ready_for_interrupt_injection 1    if_flag 1    flags 2
 *   16   cr8 8            apic_base 8
 *   32   what the exit reason says, 256 bytes
 *   288  kvm_valid_regs 8    kvm_dirty_regs 8
 *   304  kvm_sync_regs: kvm_regs 144, kvm_sregs 312, kvm_vcpu_events 64
 * </pre>
 */
final class KvmRun {
  static final int REQUEST_INTERRUPT_WINDOW = 0;
  static final int IMMEDIATE_EXIT = 1;
  static final int EXIT_REASON = 8;
  static final int READY_FOR_INTERRUPT_INJECTION = 12;
  static final int IF_FLAG = 13;
  static final int FLAGS = 14;
  static final int CR8 = 16;
  static final int APIC_BASE = 24;

  /** UNKNOWN, FAIL_ENTRY: 8 bytes, the hardware's own reason. */
  static final int HARDWARE_REASON = 32;

  // IO: the data is count * size bytes at data_offset from the start of this struct.
  static final int IO_DIRECTION = 32;
  static final int IO_OUT = 1;
  static final int IO_SIZE = 33;
  static final int IO_PORT = 34;
  static final int IO_COUNT = 36;
  static final int IO_DATA_OFFSET = 40;

  static final int MMIO_GPA = 32;
  static final int MMIO_DATA = 40;
  static final int MMIO_LENGTH = 48;
  static final int MMIO_IS_WRITE = 52;

  static final int DEBUG_EXCEPTION = 32;
  static final int DEBUG_PC = 40;
  static final int DEBUG_DR6 = 48;
  static final int DEBUG_DR7 = 56;

  static final int INTERNAL_SUBERROR = 32;
  static final int INTERNAL_DATA_COUNT = 36;
  static final int INTERNAL_DATA = 40;

  static final int SYSTEM_EVENT_TYPE = 32;

  static final int MSR_ERROR = 32;
  static final int MSR_REASON = 40;
  static final int MSR_INDEX = 44;
  static final int MSR_DATA = 48;

  static final int VALID_REGISTERS = 288;
  static final int DIRTY_REGISTERS = 296;

  /** {@code kvm_regs} as {@link dev.vmexit.vcpu.StateLayout} begins: 16 registers, rip, rflags. */
  static final int REGS = 304;

  static final int REGS_SIZE = 144;
  static final int SREGS = REGS + REGS_SIZE;
  static final int EVENTS = SREGS + KvmSregs.SIZE;

  private KvmRun() {}
}

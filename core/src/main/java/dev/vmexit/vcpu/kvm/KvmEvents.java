package dev.vmexit.vcpu.kvm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.memory.HostMemory;

/**
 * Offsets of {@code struct kvm_vcpu_events} (KVM API, 4.31): what is about to be delivered.
 *
 * <pre>
 *   0   exception: injected nr has_error_code pending, 1 each; error_code 4
 *   8   interrupt: injected nr soft shadow, 1 each
 *   12  nmi: injected pending masked pad, 1 each
 *   20  flags 4: which fields a write sets
 * </pre>
 */
final class KvmEvents {
  static final int SIZE = 64;
  static final int EXCEPTION_INJECTED = 0;
  static final int EXCEPTION_VECTOR = 1;
  static final int EXCEPTION_HAS_ERROR_CODE = 2;
  static final int EXCEPTION_ERROR_CODE = 4;
  static final int INTERRUPT_INJECTED = 8;
  static final int INTERRUPT_SHADOW = 11;
  static final int NMI_INJECTED = 12;
  static final int NMI_PENDING = 13;
  static final int NMI_MASKED = 14;
  static final int FLAGS = 20;

  private KvmEvents() {}

  /** Whether an NMI would be taken at the next entry. */
  static boolean isNmiInjectable(final long events) {
    return HostMemory.getByte(events + NMI_MASKED) == 0
        && HostMemory.getByte(events + NMI_PENDING) == 0
        && HostMemory.getByte(events + INTERRUPT_SHADOW) == 0;
  }

  /** Those bits of {@code ExitEvent.INTERRUPT_*} that are here. */
  static int interruptState(final long events) {
    return (HostMemory.getByte(events + INTERRUPT_SHADOW) != 0 ? ExitEvent.INTERRUPT_SHADOW : 0)
        | (HostMemory.getByte(events + NMI_MASKED) != 0 ? ExitEvent.INTERRUPT_NMI_BLOCKED : 0);
  }

  /** Puts in an exception to be delivered at the next entry. */
  static void putException(
      final long events, final int vector, final boolean hasErrorCode, final int errorCode) {
    HostMemory.putByte(events + EXCEPTION_INJECTED, 1);
    HostMemory.putByte(events + EXCEPTION_VECTOR, vector);
    HostMemory.putByte(events + EXCEPTION_HAS_ERROR_CODE, hasErrorCode ? 1 : 0);
    HostMemory.putInt(events + EXCEPTION_ERROR_CODE, errorCode);
  }
}

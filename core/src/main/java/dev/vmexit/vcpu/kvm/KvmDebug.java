package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import java.lang.foreign.MemorySegment;

/**
 * {@code struct kvm_guest_debug} (KVM API, 4.87): single steps and up to four breakpoints on
 * execution, in debug registers that the guest does not see.
 *
 * <pre>
 *   0   control 4, pad 4
 *   8   debugreg 8 x 8
 * </pre>
 */
final class KvmDebug {
  static final int CONTROL = 0;
  static final int REGISTERS = 8;
  static final int SIZE = 72;
  static final int BREAKPOINTS = 4;

  private static final int DR7 = REGISTERS + 7 * 8;

  /** Global enable of a breakpoint; type and length 0 mean execution of one byte. */
  private static final int DR7_GLOBAL = 2;

  /** Fixed to 1. */
  private static final int DR7_BIT_10 = 1 << 10;

  private KvmDebug() {}

  /** Gives a vCPU's descriptor its single steps and breakpoints. */
  static void set(
      final MemorySegment errno,
      final int fd,
      final boolean singleStep,
      final long... breakpoints) {
    final long struct = HostMemory.allocate(SIZE);
    try {
      write(struct, singleStep, breakpoints);
      // Safe: the struct has the request's size and outlives the call, KVM copies it.
      final int result = Libc.ioctl(errno, fd, KvmApi.SET_GUEST_DEBUG, struct);
      if (result < 0) {
        throw Libc.failure("KVM_SET_GUEST_DEBUG", -result);
      }
    } finally {
      HostMemory.free(struct);
    }
  }

  private static void write(
      final long struct, final boolean singleStep, final long... breakpoints) {
    if (breakpoints.length > BREAKPOINTS) {
      throw new IllegalArgumentException(
          "breakpoints=" + breakpoints.length + ", allowed: 0 to " + BREAKPOINTS);
    }
    int control = 0;
    if (singleStep) {
      control |= KvmApi.GUESTDBG_ENABLE | KvmApi.GUESTDBG_SINGLESTEP;
    }
    if (breakpoints.length > 0) {
      control |= KvmApi.GUESTDBG_ENABLE | KvmApi.GUESTDBG_USE_HW_BP;
    }
    HostMemory.putInt(struct + CONTROL, control);
    long dr7 = DR7_BIT_10;
    for (int i = 0; i < breakpoints.length; i++) {
      HostMemory.putLong(struct + REGISTERS + 8L * i, breakpoints[i]);
      dr7 |= (long) DR7_GLOBAL << 2 * i;
    }
    HostMemory.putLong(struct + DR7, dr7);
  }
}

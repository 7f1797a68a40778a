package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;

/**
 * {@code struct kvm_xsave}: the legacy region of XSAVE as FXSAVE64 lays it out (SDM Vol. 1, 10.5.1
 * and 13.4), its header at 512, the upper halves of YMM at 576 (13.5.4, standard format), and how
 * they map to {@link StateLayout}.
 */
final class KvmXsave {
  static final int SIZE = 4096;

  /** XSTATE_BV: which components are not in their initial state. */
  private static final int XSTATE_BV = 512;

  private static final int COMPONENTS_X87_SSE = 3;
  private static final int COMPONENT_AVX = 1 << 2;
  private static final int YMM_UPPER = 576;

  private static final int CONTROL = 0;
  private static final int STATUS = 2;
  private static final int TAGS = 4;
  private static final int OPCODE = 6;
  private static final int INSTRUCTION_POINTER = 8;
  private static final int DATA_POINTER = 16;
  private static final int MXCSR = 24;
  private static final int REGISTERS = 32;
  private static final int XMM = 160;
  private static final int REGISTER_SIZE = 16;

  private KvmXsave() {}

  static void load(final long area, final long state) {
    final int status = HostMemory.getShort(area + STATUS);
    HostMemory.putInt(state + StateLayout.FPU_CONTROL, HostMemory.getShort(area + CONTROL));
    HostMemory.putInt(state + StateLayout.FPU_STATUS, status);
    HostMemory.putInt(state + StateLayout.FPU_TAGS, HostMemory.getByte(area + TAGS));
    HostMemory.putInt(state + StateLayout.FPU_OPCODE, HostMemory.getShort(area + OPCODE));
    HostMemory.putLong(state + StateLayout.FPU_IP, HostMemory.getLong(area + INSTRUCTION_POINTER));
    HostMemory.putLong(state + StateLayout.FPU_DP, HostMemory.getLong(area + DATA_POINTER));
    HostMemory.putInt(state + StateLayout.MXCSR, HostMemory.getInt(area + MXCSR));
    final int top = status >> 11 & 7;
    for (int i = 0; i < 8; i++) {
      // FXSAVE orders them by stack position, the state by their own number.
      HostMemory.copy(
          area + REGISTERS + (long) i * REGISTER_SIZE,
          state + StateLayout.FPU_REGISTERS + (long) (top + i & 7) * StateLayout.FPU_REGISTER_SIZE,
          10);
    }
    for (int i = 0; i < 16; i++) {
      HostMemory.copy(
          area + XMM + (long) i * REGISTER_SIZE,
          state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE,
          REGISTER_SIZE);
      HostMemory.copy(
          area + YMM_UPPER + (long) i * REGISTER_SIZE,
          state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE + REGISTER_SIZE,
          REGISTER_SIZE);
    }
  }

  static void store(final long state, final long area) {
    final int status = HostMemory.getInt(state + StateLayout.FPU_STATUS);
    HostMemory.putShort(area + CONTROL, HostMemory.getInt(state + StateLayout.FPU_CONTROL));
    HostMemory.putShort(area + STATUS, status);
    HostMemory.putByte(area + TAGS, HostMemory.getInt(state + StateLayout.FPU_TAGS));
    HostMemory.putShort(area + OPCODE, HostMemory.getInt(state + StateLayout.FPU_OPCODE));
    HostMemory.putLong(area + INSTRUCTION_POINTER, HostMemory.getLong(state + StateLayout.FPU_IP));
    HostMemory.putLong(area + DATA_POINTER, HostMemory.getLong(state + StateLayout.FPU_DP));
    HostMemory.putInt(area + MXCSR, HostMemory.getInt(state + StateLayout.MXCSR));
    final int top = status >> 11 & 7;
    for (int i = 0; i < 8; i++) {
      HostMemory.copy(
          state + StateLayout.FPU_REGISTERS + (long) (top + i & 7) * StateLayout.FPU_REGISTER_SIZE,
          area + REGISTERS + (long) i * REGISTER_SIZE,
          10);
    }
    for (int i = 0; i < 16; i++) {
      HostMemory.copy(
          state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE,
          area + XMM + (long) i * REGISTER_SIZE,
          REGISTER_SIZE);
    }
    // Without these bits XRSTOR would put the initial state in place of what stands above.
    long components = COMPONENTS_X87_SSE;
    if ((HostMemory.getLong(state + StateLayout.XCR0) & COMPONENT_AVX) != 0) {
      components |= COMPONENT_AVX;
      for (int i = 0; i < 16; i++) {
        HostMemory.copy(
            state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE + REGISTER_SIZE,
            area + YMM_UPPER + (long) i * REGISTER_SIZE,
            REGISTER_SIZE);
      }
    }
    HostMemory.putLong(area + XSTATE_BV, HostMemory.getLong(area + XSTATE_BV) | components);
  }
}

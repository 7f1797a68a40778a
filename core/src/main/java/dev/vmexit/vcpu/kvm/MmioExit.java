package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.VcpuExit;

/** An access to memory that no slot backs: {@code kvm_run}'s words for it, and ours. */
final class MmioExit {
  private MmioExit() {}

  /**
   * Says in our terms what the shared page says; whether {@link #answer} must be called.
   *
   * @param run address of kvm_run
   */
  static boolean tell(final long run, final VcpuExit exit) {
    exit.address = HostMemory.getLong(run + KvmRun.MMIO_GPA);
    exit.size = HostMemory.getInt(run + KvmRun.MMIO_LENGTH);
    exit.write = HostMemory.getByte(run + KvmRun.MMIO_IS_WRITE) != 0;
    if (exit.write) {
      final long data = HostMemory.getLong(run + KvmRun.MMIO_DATA);
      exit.value = exit.size == 8 ? data : data & (1L << exit.size * 8) - 1;
    }
    return !exit.write;
  }

  /** Hands over what was read. */
  static void answer(final long run, final VcpuExit exit) {
    HostMemory.putLong(run + KvmRun.MMIO_DATA, exit.value);
  }
}

package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.VcpuExit;

/**
 * An access to a port: {@code kvm_run}'s words for it, and ours. A string instruction moves several
 * items at once, which KVM puts behind {@code kvm_run}: each written is an exit of its own, those
 * to be read are asked for together.
 */
final class PortExit {
  private final long run;
  private int item;

  PortExit(final long run) {
    this.run = run;
  }

  /** Says in our terms what the shared page says, but for the items. */
  void tell(final VcpuExit exit) {
    exit.write = HostMemory.getByte(run + KvmRun.IO_DIRECTION) == KvmRun.IO_OUT;
    exit.size = HostMemory.getByte(run + KvmRun.IO_SIZE);
    exit.address = HostMemory.getShort(run + KvmRun.IO_PORT);
    item = 0;
  }

  /** Goes on to the next item, or items; whether {@link #answer} must be called for them. */
  boolean next(final VcpuExit exit) {
    final int left = HostMemory.getInt(run + KvmRun.IO_COUNT) - item;
    exit.reason = VcpuExit.PIO;
    exit.value = exit.write ? HostMemory.get(itemAddress(exit), exit.size) : 0;
    exit.count = exit.write ? 1 : Math.min(left, VcpuExit.MAX_DATA / exit.size);
    return !exit.write || left > 1;
  }

  /** Hands over the answer; whether there are items left. */
  boolean answer(final VcpuExit exit) {
    if (exit.count > 1) {
      // Safe: KVM's items lie inside the mapping, and these are some of them.
      HostMemory.copyIn(exit.data, 0, itemAddress(exit), (long) exit.count * exit.size);
    } else if (!exit.write) {
      HostMemory.put(itemAddress(exit), exit.size, exit.value);
    }
    item += exit.count;
    return item < HostMemory.getInt(run + KvmRun.IO_COUNT);
  }

  private long itemAddress(final VcpuExit exit) {
    // KVM puts the items behind kvm_run, inside the mapping.
    return run + HostMemory.getLong(run + KvmRun.IO_DATA_OFFSET) + (long) item * exit.size;
  }
}

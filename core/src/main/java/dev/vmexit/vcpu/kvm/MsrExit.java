package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Msr;

/**
 * An access to an MSR that KVM leaves to us: {@code kvm_run}'s words for it, and ours. The guest
 * gives a deadline in its TSC's time, the local APIC takes one in the machine's.
 */
final class MsrExit {
  private final long run;
  private final TscClock tsc;

  MsrExit(final long run, final TscClock tsc) {
    this.run = run;
    this.tsc = tsc;
  }

  /** Says in our terms what the shared page says. */
  void tell(final VcpuExit exit) {
    exit.write = HostMemory.getInt(run + KvmRun.EXIT_REASON) == KvmApi.EXIT_X86_WRMSR;
    exit.address = HostMemory.getUnsignedInt(run + KvmRun.MSR_INDEX);
    exit.size = 8;
    exit.refused = false;
    if (exit.write) {
      final long value = HostMemory.getLong(run + KvmRun.MSR_DATA);
      exit.value = exit.address == Msr.TSC_DEADLINE ? tsc.toNanos(value) : value;
    }
  }

  /** Hands over the answer. */
  void answer(final VcpuExit exit) {
    HostMemory.putByte(run + KvmRun.MSR_ERROR, exit.refused ? 1 : 0);
    if (!exit.write) {
      HostMemory.putLong(
          run + KvmRun.MSR_DATA,
          HostMemory.getInt(run + KvmRun.MSR_INDEX) == Msr.TSC_DEADLINE
              ? tsc.toTsc(exit.value)
              : exit.value);
    }
  }
}

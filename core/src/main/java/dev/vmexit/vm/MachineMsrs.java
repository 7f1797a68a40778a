package dev.vmexit.vm;

import dev.vmexit.irq.Irqchip;
import dev.vmexit.irq.LocalApic;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Msr;

/** MSRs that are the machine's: of the local APIC and the clock. The others the vCPU has itself. */
final class MachineMsrs {
  private static final int CPUID_1_ECX_X2APIC = 1 << 21;

  private final int number;
  private final Vcpu vcpu;
  private final long state;
  private final Irqchip irqchip;
  private final RunClock clock;
  private final int[] cpuid = new int[4];

  MachineMsrs(final int number, final Vcpu vcpu, final Irqchip irqchip, final RunClock clock) {
    this.number = number;
    this.vcpu = vcpu;
    this.state = vcpu.state();
    this.irqchip = irqchip;
    this.clock = clock;
  }

  /** Reads into the answer's value; false where the guest must get #GP. */
  boolean read(final int index, final VcpuExit answer) {
    switch (index) {
      case Msr.APIC_BASE -> answer.value = irqchip.apicBase(number);
      case Msr.TSC_DEADLINE -> answer.value = irqchip.tscDeadline(number);
      case Msr.TSC ->
          answer.value = clock.nanos() + HostMemory.getLong(state + StateLayout.TSC_OFFSET);
      default -> {
        if (index < Msr.X2APIC_FIRST || index > Msr.X2APIC_LAST) {
          return vcpu.readMsr(index, answer);
        }
        if (!irqchip.x2apicReadable(number, index)) {
          return false;
        }
        answer.value = irqchip.x2apic(number, index);
      }
    }
    return true;
  }

  /** Writes; false where the guest must get #GP. */
  boolean write(final int index, final long value) {
    switch (index) {
      case Msr.APIC_BASE -> {
        if ((value & LocalApic.BASE_X2APIC) != 0 && !offersX2apic()) {
          return false;
        }
        return irqchip.apicBase(number, value);
      }
      case Msr.TSC_DEADLINE -> irqchip.tscDeadline(number, value);
      case Msr.TSC -> {
        final long offset = value - clock.nanos();
        HostMemory.putLong(state + StateLayout.TSC_OFFSET, offset);
        irqchip.tscOffset(number, offset);
      }
      default -> {
        if (index < Msr.X2APIC_FIRST || index > Msr.X2APIC_LAST) {
          return vcpu.writeMsr(index, value);
        }
        final boolean written = irqchip.x2apic(number, index, value);
        HostMemory.putLong(state + StateLayout.CR8, irqchip.cr8(number));
        return written;
      }
    }
    return true;
  }

  private boolean offersX2apic() {
    vcpu.cpuid(1, 0, cpuid);
    return (cpuid[2] & CPUID_1_ECX_X2APIC) != 0;
  }
}

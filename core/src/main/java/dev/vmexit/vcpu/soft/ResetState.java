package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;

/** State after RESET (SDM Vol. 3A, table 9-1). */
final class ResetState {
  private static final int DATA_RIGHTS = 0x93;
  private static final int LDT_RIGHTS = 0x82;
  private static final int TSS_RIGHTS = 0x8B;
  private static final long APIC_BASE_ENABLED_BSP = 0xFEE0_0900L;

  private ResetState() {}

  static void apply(final long s, final int signature) {
    HostMemory.fill(s, StateLayout.TLB, 0);
    for (int segment = Seg.ES; segment <= Seg.GS; segment++) {
      segment(s, segment, 0, 0, DATA_RIGHTS);
    }
    segment(s, Seg.CS, 0xF000, 0xFFFF_0000L, DATA_RIGHTS);
    segment(s, Seg.LDTR, 0, 0, LDT_RIGHTS);
    segment(s, Seg.TR, 0, 0, TSS_RIGHTS);
    HostMemory.putLong(s + StateLayout.RIP, 0xFFF0);
    HostMemory.putLong(s + StateLayout.RFLAGS, Flags.RESERVED_1);
    HostMemory.putLong(s + StateLayout.FLAG_RESULT, 1);
    HostMemory.putLong(s + StateLayout.gpr(Gpr.RDX), signature);
    HostMemory.putLong(
        s + StateLayout.CR0,
        ControlRegisters.CR0_CD | ControlRegisters.CR0_NW | ControlRegisters.CR0_ET);
    HostMemory.putLong(s + StateLayout.GDTR_LIMIT, 0xFFFF);
    HostMemory.putLong(s + StateLayout.IDTR_LIMIT, 0xFFFF);
    HostMemory.putLong(s + StateLayout.DR6, 0xFFFF_0FF0L);
    HostMemory.putLong(s + StateLayout.DR7, 0x400);
    HostMemory.putLong(s + StateLayout.PAT, 0x0007_0406_0007_0406L);
    HostMemory.putLong(s + StateLayout.APIC_BASE, APIC_BASE_ENABLED_BSP);
    HostMemory.putLong(s + StateLayout.MISC_ENABLE, 1);
    HostMemory.putLong(s + StateLayout.XCR0, 1);
    HostMemory.putInt(s + StateLayout.FPU_CONTROL, 0x37F);
    HostMemory.putInt(s + StateLayout.MXCSR, 0x1F80);
  }

  private static void segment(
      final long s, final int segment, final int selector, final long base, final int rights) {
    final long at = s + StateLayout.segment(segment);
    HostMemory.putLong(at + StateLayout.SEG_BASE, base);
    HostMemory.putLong(at + StateLayout.SEG_LIMIT, 0xFFFF);
    HostMemory.putInt(at + StateLayout.SEG_RIGHTS, rights);
    HostMemory.putInt(at + StateLayout.SEG_SELECTOR, selector);
  }
}

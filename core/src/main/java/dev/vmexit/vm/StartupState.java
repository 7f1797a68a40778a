package dev.vmexit.vm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Seg;

/** A processor's state after INIT and a start-up IPI (SDM Vol. 3A, table 10-1 and 9.4.4). */
final class StartupState {
  private static final int CODE_RIGHTS = 0x9B;
  private static final int DATA_RIGHTS = 0x93;
  private static final int LDT_RIGHTS = 0x82;
  private static final int TSS_RIGHTS = 0x8B;
  private static final long LIMIT = 0xFFFF;
  private static final long DR6 = 0xFFFF_0FF0L;
  private static final long DR7 = 0x400;

  private StartupState() {}

  /**
   * Puts a processor at the start of a page below 1 MiB, in real mode. INIT leaves x87, SSE and
   * MSRs but EFER as they are.
   *
   * @param s its state block
   * @param vector the page's number, 0 to 255
   */
  static void apply(final long s, final int vector) {
    HostMemory.fill(s + StateLayout.GPR, 16 * Long.BYTES, 0);
    HostMemory.putLong(s + StateLayout.RIP, 0);
    HostMemory.putLong(s + StateLayout.RFLAGS, Flags.RESERVED_1);
    HostMemory.putLong(
        s + StateLayout.CR0,
        ControlRegisters.CR0_CD | ControlRegisters.CR0_NW | ControlRegisters.CR0_ET);
    HostMemory.putLong(s + StateLayout.CR2, 0);
    HostMemory.putLong(s + StateLayout.CR3, 0);
    HostMemory.putLong(s + StateLayout.CR4, 0);
    HostMemory.putLong(s + StateLayout.CR8, 0);
    HostMemory.putLong(s + StateLayout.EFER, 0);
    HostMemory.putLong(s + StateLayout.GDTR_BASE, 0);
    HostMemory.putLong(s + StateLayout.GDTR_LIMIT, LIMIT);
    HostMemory.putLong(s + StateLayout.IDTR_BASE, 0);
    HostMemory.putLong(s + StateLayout.IDTR_LIMIT, LIMIT);
    HostMemory.fill(s + StateLayout.DR0, 4 * Long.BYTES, 0);
    HostMemory.putLong(s + StateLayout.DR6, DR6);
    HostMemory.putLong(s + StateLayout.DR7, DR7);
    for (int segment = Seg.ES; segment <= Seg.GS; segment++) {
      segment(s, segment, 0, DATA_RIGHTS);
    }
    segment(s, Seg.CS, vector << 8, CODE_RIGHTS);
    segment(s, Seg.LDTR, 0, LDT_RIGHTS);
    segment(s, Seg.TR, 0, TSS_RIGHTS);
  }

  private static void segment(
      final long s, final int segment, final int selector, final int rights) {
    final long at = s + StateLayout.segment(segment);
    HostMemory.putLong(at + StateLayout.SEG_BASE, (long) selector << 4);
    HostMemory.putLong(at + StateLayout.SEG_LIMIT, LIMIT);
    HostMemory.putInt(at + StateLayout.SEG_RIGHTS, rights);
    HostMemory.putInt(at + StateLayout.SEG_SELECTOR, selector);
  }
}

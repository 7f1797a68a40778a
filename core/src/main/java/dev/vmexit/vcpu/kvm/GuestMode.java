package dev.vmexit.vcpu.kvm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Seg;

/** What mode a state block is in: what a record and the decoder need of it. */
final class GuestMode {
  private static final int RIGHTS_L = 1 << 13;
  private static final int RIGHTS_DB = 1 << 14;

  private GuestMode() {}

  /** Bytes of a default operand, 8 for 64-bit code. */
  static int codeSize(final long state) {
    final int rights =
        HostMemory.getInt(state + StateLayout.segment(Seg.CS) + StateLayout.SEG_RIGHTS);
    if ((HostMemory.getLong(state + StateLayout.EFER) & ControlRegisters.EFER_LMA) != 0
        && (rights & RIGHTS_L) != 0) {
      return 8;
    }
    return (rights & RIGHTS_DB) != 0 ? 4 : 2;
  }

  /** Bits of {@code ExitEvent.MODE_*}. */
  static int bits(final long state) {
    final long cr0 = HostMemory.getLong(state + StateLayout.CR0);
    final boolean vm86 =
        (cr0 & ControlRegisters.CR0_PE) != 0
            && (HostMemory.getLong(state + StateLayout.RFLAGS) & Flags.VM) != 0;
    int cpl = 0;
    if ((cr0 & ControlRegisters.CR0_PE) != 0) {
      cpl =
          HostMemory.getInt(state + StateLayout.segment(Seg.SS) + StateLayout.SEG_RIGHTS) >> 5 & 3;
    }
    return codeSize(state)
        | (vm86 ? 3 : cpl) << ExitEvent.MODE_CPL_SHIFT
        | ((cr0 & ControlRegisters.CR0_PG) != 0 ? ExitEvent.MODE_PAGING : 0)
        | (vm86 ? ExitEvent.MODE_VM86 : 0);
  }
}

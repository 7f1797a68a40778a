package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.Seg;

/** Model-specific registers that live in the vCPU; the run loop asks for them on an MSR exit. */
final class Msrs {
  private static final long EFER_WRITABLE =
      ControlRegisters.EFER_SCE | ControlRegisters.EFER_LME | ControlRegisters.EFER_NXE;

  private final SoftVcpu cpu;

  Msrs(final SoftVcpu cpu) {
    this.cpu = cpu;
  }

  private static int offset(final int index) {
    return switch (index) {
      case Msr.STAR -> StateLayout.STAR;
      case Msr.LSTAR -> StateLayout.LSTAR;
      case Msr.CSTAR -> StateLayout.CSTAR;
      case Msr.SFMASK -> StateLayout.SFMASK;
      case Msr.FS_BASE -> StateLayout.segment(Seg.FS) + StateLayout.SEG_BASE;
      case Msr.GS_BASE -> StateLayout.segment(Seg.GS) + StateLayout.SEG_BASE;
      case Msr.KERNEL_GS_BASE -> StateLayout.KERNEL_GS_BASE;
      case Msr.TSC_AUX -> StateLayout.TSC_AUX;
      case Msr.SYSENTER_CS -> StateLayout.SYSENTER_CS;
      case Msr.SYSENTER_ESP -> StateLayout.SYSENTER_ESP;
      case Msr.SYSENTER_EIP -> StateLayout.SYSENTER_EIP;
      case Msr.PAT -> StateLayout.PAT;
      case Msr.MISC_ENABLE -> StateLayout.MISC_ENABLE;
      case Msr.EFER -> StateLayout.EFER;
      default -> -1;
    };
  }

  /** Puts the value into the answer; false where there is no such register. */
  boolean read(final int index, final VcpuExit answer) {
    final int offset = offset(index);
    if (offset >= 0) {
      answer.value = HostMemory.getLong(cpu.state + offset);
      return true;
    }
    switch (index) {
      case Msr.PLATFORM_ID, Msr.UCODE_REV, Msr.MCG_CAP, Msr.MCG_STATUS -> {
        answer.value = 0;
        return true;
      }
      default -> {
        return false;
      }
    }
  }

  /** Writes; false where there is no such register or the value is reserved. */
  boolean write(final int index, final long value) {
    switch (index) {
      case Msr.EFER -> {
        return writeEfer(value);
      }
      case Msr.PAT -> {
        if (!validPat(value)) {
          return false;
        }
      }
      case Msr.LSTAR,
          Msr.CSTAR,
          Msr.FS_BASE,
          Msr.GS_BASE,
          Msr.KERNEL_GS_BASE,
          Msr.SYSENTER_ESP,
          Msr.SYSENTER_EIP -> {
        if (value != value << 16 >> 16) {
          return false;
        }
      }
      case Msr.TSC_AUX -> {
        if (value >>> 32 != 0) {
          return false;
        }
      }
      case Msr.UCODE_REV, Msr.MCG_STATUS -> {
        return true;
      }
      default -> {}
    }
    final int offset = offset(index);
    if (offset < 0) {
      return false;
    }
    HostMemory.putLong(cpu.state + offset, value);
    return true;
  }

  /** Every byte a memory type: UC, WC, WT, WP, WB, UC- (SDM Vol. 3A, 12.12.2). */
  private static boolean validPat(final long value) {
    for (int i = 0; i < 8; i++) {
      final int type = (int) (value >>> i * 8) & 0xFF;
      if (type > 7 || type == 2 || type == 3) {
        return false;
      }
    }
    return true;
  }

  private boolean writeEfer(final long value) {
    final long s = cpu.state;
    final long old = HostMemory.getLong(s + StateLayout.EFER);
    final boolean paging = (HostMemory.getLong(s + StateLayout.CR0) & ControlRegisters.CR0_PG) != 0;
    if ((value & ~(EFER_WRITABLE | ControlRegisters.EFER_LMA)) != 0
        || paging && ((value ^ old) & ControlRegisters.EFER_LME) != 0) {
      return false;
    }
    HostMemory.putLong(
        s + StateLayout.EFER, value & EFER_WRITABLE | old & ControlRegisters.EFER_LMA);
    cpu.controlChanged(true);
    return true;
  }
}

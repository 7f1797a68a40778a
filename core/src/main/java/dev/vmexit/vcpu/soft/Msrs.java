package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.Seg;

/** Model-specific registers that live in the vCPU; the run loop asks for them on an MSR exit. */
final class Msrs {
  /** VCNT 8, FIX, WC (SDM Vol. 3A, 12.11.1). */
  private static final long MTRR_CAPABILITIES = 8 | 1 << 8 | 1 << 10;

  private static final int MTRR_VARIABLE_LAST = Msr.MTRR_VARIABLE_FIRST + 15;

  /** Locked with neither VMX nor anything else that it could enable. */
  private static final long FEATURE_CONTROL_LOCKED = 1;

  /** Bus ratio 10 of 100 MHz, the lowest and the highest alike. */
  private static final long PLATFORM_RATIOS = 10L << 8 | 10L << 40;

  private static final long PERFORMANCE_RATIO = 10 << 8;

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
      case Msr.MTRR_DEF_TYPE -> StateLayout.MTRR_DEF_TYPE;
      case Msr.MTRR_FIX64K_00000 -> StateLayout.MTRR_FIXED;
      case Msr.MTRR_FIX16K_80000, Msr.MTRR_FIX16K_A0000 ->
          StateLayout.MTRR_FIXED + 8 * (1 + index - Msr.MTRR_FIX16K_80000);
      default -> {
        if (index >= Msr.MTRR_FIX4K_FIRST && index < Msr.MTRR_FIX4K_FIRST + 8) {
          yield StateLayout.MTRR_FIXED + 8 * (3 + index - Msr.MTRR_FIX4K_FIRST);
        }
        yield index >= Msr.MTRR_VARIABLE_FIRST && index <= MTRR_VARIABLE_LAST
            ? StateLayout.MTRR_VARIABLE + 8 * (index - Msr.MTRR_VARIABLE_FIRST)
            : -1;
      }
    };
  }

  /** Whether the model has what a register belongs to. */
  private boolean offered(final int index) {
    final CpuFeature feature =
        switch (index) {
          case Msr.STAR, Msr.SFMASK -> CpuFeature.SYSCALL;
          case Msr.LSTAR, Msr.CSTAR, Msr.FS_BASE, Msr.GS_BASE, Msr.KERNEL_GS_BASE -> CpuFeature.LM;
          case Msr.EFER -> CpuFeature.NX;
          case Msr.TSC_AUX -> CpuFeature.RDTSCP;
          case Msr.SYSENTER_CS, Msr.SYSENTER_ESP, Msr.SYSENTER_EIP -> CpuFeature.SEP;
          case Msr.PAT -> CpuFeature.PAT;
          case Msr.MCG_CAP, Msr.MCG_STATUS -> CpuFeature.MCE;
          case Msr.MISC_ENABLE, Msr.PLATFORM_INFO, Msr.PERF_STATUS -> CpuFeature.SSE2;
          case Msr.FEATURE_CONTROL, Msr.PERF_CTL, Msr.THERM_STATUS -> CpuFeature.SSE2;
          default -> isMtrr(index) ? CpuFeature.MTRR : CpuFeature.MSR;
        };
    return cpu.model().has(feature);
  }

  private static boolean isMtrr(final int index) {
    return index == Msr.MTRR_CAP
        || index >= Msr.MTRR_VARIABLE_FIRST && index <= Msr.MTRR_DEF_TYPE && index != Msr.PAT;
  }

  /** Puts the value into the answer; false where there is no such register. */
  boolean read(final int index, final VcpuExit answer) {
    if (!offered(index)) {
      return false;
    }
    final int offset = offset(index);
    if (offset >= 0) {
      answer.value = HostMemory.getLong(cpu.state + offset);
      return true;
    }
    switch (index) {
      case Msr.PLATFORM_ID,
          Msr.UCODE_REV,
          Msr.MCG_CAP,
          Msr.MCG_STATUS,
          Msr.THERM_STATUS,
          Msr.DEBUGCTL ->
          answer.value = 0;
      case Msr.FEATURE_CONTROL -> answer.value = FEATURE_CONTROL_LOCKED;
      case Msr.PLATFORM_INFO -> answer.value = PLATFORM_RATIOS;
      case Msr.PERF_STATUS, Msr.PERF_CTL -> answer.value = PERFORMANCE_RATIO;
      case Msr.MTRR_CAP -> answer.value = MTRR_CAPABILITIES;
      default -> {
        return false;
      }
    }
    return true;
  }

  /** Writes; false where there is no such register or the value is reserved. */
  boolean write(final int index, final long value) {
    if (!offered(index) || isMtrr(index) && !validMtrr(index, value)) {
      return false;
    }
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
      case Msr.DEBUGCTL -> {
        // Neither last branches nor performance counters are there to be enabled.
        return value == 0;
      }
      case Msr.UCODE_REV, Msr.MCG_STATUS, Msr.PERF_CTL -> {
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

  /** Memory types and reserved bits (SDM Vol. 3A, 12.11.2). */
  private static boolean validMtrr(final int index, final long value) {
    final long address = (1L << CpuModel.PHYSICAL_BITS) - 4096;
    if (index == Msr.MTRR_CAP) {
      return false;
    }
    if (index == Msr.MTRR_DEF_TYPE) {
      return (value & ~0xCFFL) == 0 && isMtrrType(value & 0xFF);
    }
    if (index > MTRR_VARIABLE_LAST) {
      for (int i = 0; i < 8; i++) {
        if (!isMtrrType(value >>> i * 8 & 0xFF)) {
          return false;
        }
      }
      return true;
    }
    return (index & 1) == 0
        ? (value & ~(address | 0xFF)) == 0 && isMtrrType(value & 0xFF)
        : (value & ~(address | 0x800)) == 0;
  }

  private static boolean isMtrrType(final long type) {
    return type <= 6 && type != 2 && type != 3;
  }

  private boolean writeEfer(final long value) {
    final long s = cpu.state;
    final long old = HostMemory.getLong(s + StateLayout.EFER);
    final boolean paging = (HostMemory.getLong(s + StateLayout.CR0) & ControlRegisters.CR0_PG) != 0;
    final long writable = cpu.model().allowedEfer();
    if ((value & ~(writable | ControlRegisters.EFER_LMA)) != 0
        || paging && ((value ^ old) & ControlRegisters.EFER_LME) != 0) {
      return false;
    }
    HostMemory.putLong(s + StateLayout.EFER, value & writable | old & ControlRegisters.EFER_LMA);
    cpu.controlChanged(true);
    return true;
  }
}

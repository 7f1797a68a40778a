package dev.vmexit.vcpu.soft;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;

/** Writes to control registers: checks, effect, notice (SDM Vol. 3A, 2.5; Vol. 2B, MOV to CR). */
final class ControlWrites {
  private static final long CR0_DEFINED =
      ControlRegisters.CR0_PE
          | ControlRegisters.CR0_MP
          | ControlRegisters.CR0_EM
          | ControlRegisters.CR0_TS
          | ControlRegisters.CR0_ET
          | ControlRegisters.CR0_NE
          | ControlRegisters.CR0_WP
          | ControlRegisters.CR0_AM
          | ControlRegisters.CR0_NW
          | ControlRegisters.CR0_CD
          | ControlRegisters.CR0_PG;

  /** Bits that select how linear addresses are translated. */
  private static final long CR0_PAGING =
      ControlRegisters.CR0_PG | ControlRegisters.CR0_WP | ControlRegisters.CR0_PE;

  /** Bits of CR3 that name a process context while CR4.PCIDE is set. */
  private static final long PCID = 0xFFF;

  /** Set in the type of a TSS of 32 or 64 bits. */
  private static final int TSS32 = 8;

  private ControlWrites() {}

  static void cr0(final SoftVcpu cpu, final long requested) {
    final long old = cpu.reg64(StateLayout.CR0);
    final long value = requested & CR0_DEFINED | ControlRegisters.CR0_ET;
    final boolean paging = (value & ControlRegisters.CR0_PG) != 0;
    if (requested >>> 32 != 0
        || paging && (value & ControlRegisters.CR0_PE) == 0
        || (value & ControlRegisters.CR0_NW) != 0 && (value & ControlRegisters.CR0_CD) == 0
        || !paging && (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_PCIDE) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    long efer = cpu.reg64(StateLayout.EFER);
    if (((value ^ old) & ControlRegisters.CR0_PG) != 0) {
      if (!paging) {
        if (cpu.longMode64()) {
          throw cpu.raise(Vector.GP, 0);
        }
        efer &= ~ControlRegisters.EFER_LMA;
      } else if ((efer & ControlRegisters.EFER_LME) != 0) {
        if ((cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_PAE) == 0
            || (cpu.rights(Seg.CS) & Descriptor.LONG) != 0
            || (cpu.rights(Seg.TR) & TSS32) == 0) {
          throw cpu.raise(Vector.GP, 0);
        }
        efer |= ControlRegisters.EFER_LMA;
      }
    }
    cpu.reg64(StateLayout.EFER, efer);
    cpu.reg64(StateLayout.CR0, value);
    if (((value ^ old) & CR0_PAGING) != 0) {
      cpu.controlChanged(true);
    }
    cpu.notice(VcpuExit.CR, 0, value);
  }

  static void cr3(final SoftVcpu cpu, final long value) {
    final boolean contexts = (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_PCIDE) != 0;
    // The entries of the new PCID may stay, which is not to say that they must.
    final long root = contexts ? value & ~ControlRegisters.CR3_NO_FLUSH : value;
    if (cpu.isLong() && root >>> CpuModel.PHYSICAL_BITS != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    cpu.reg64(StateLayout.CR3, root);
    cpu.controlChanged(false);
    cpu.notice(VcpuExit.CR, 3, root);
  }

  static void cr4(final SoftVcpu cpu, final long value) {
    if ((value & ~cpu.model().allowedCr4()) != 0
        || cpu.isLong() && (value & ControlRegisters.CR4_PAE) == 0
        || startsContexts(cpu, value)
            && (!cpu.isLong() || (cpu.reg64(StateLayout.CR3) & PCID) != 0)) {
      throw cpu.raise(Vector.GP, 0);
    }
    cpu.reg64(StateLayout.CR4, value);
    cpu.controlChanged(true);
    cpu.notice(VcpuExit.CR, 4, value);
  }

  private static boolean startsContexts(final SoftVcpu cpu, final long value) {
    return (value & ~cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_PCIDE) != 0;
  }

  static void cr8(final SoftVcpu cpu, final long value) {
    if (value >>> 4 != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    cpu.reg64(StateLayout.CR8, value);
    cpu.notice(VcpuExit.CR, 8, value);
  }
}

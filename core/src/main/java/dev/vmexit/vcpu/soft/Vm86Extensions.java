package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;

/**
 * The virtual interrupt flag: what the instructions that depend on IOPL do in VM86 code with
 * CR4.VME and in protected mode with CR4.PVI (SDM Vol. 3B, 21.3 and 21.4).
 */
final class Vm86Extensions {
  private static final int TSS_IO_MAP = 102;
  private static final int REDIRECTION_BYTES = 32;
  private static final long IOPL_3 = 3L << Flags.IOPL_SHIFT;

  private Vm86Extensions() {}

  private static boolean has(final SoftVcpu cpu, final long bit) {
    return (cpu.reg64(StateLayout.CR4) & bit) != 0;
  }

  /** Whether VM86 code below IOPL 3 has a virtual interrupt flag. */
  static boolean inVm86(final SoftVcpu cpu) {
    return has(cpu, ControlRegisters.CR4_VME);
  }

  /**
   * CLI or STI without the right to IF: on VIF, or #GP.
   *
   * @return whether it was done
   */
  static boolean interruptFlag(final SoftVcpu cpu, final boolean set) {
    final boolean virtual =
        cpu.isVm86() ? inVm86(cpu) : cpu.cpl() == 3 && has(cpu, ControlRegisters.CR4_PVI);
    if (!virtual) {
      return false;
    }
    final long flags = cpu.systemFlags();
    if (set && (flags & Flags.VIP) != 0) {
      return false;
    }
    HostMemory.putLong(
        cpu.state + StateLayout.RFLAGS, set ? flags | Flags.VIF : flags & ~(long) Flags.VIF);
    return true;
  }

  /** The image that PUSHF and INT push below IOPL 3: IF is VIF, IOPL is 3. */
  static long image(final SoftVcpu cpu) {
    final long flags = cpu.rflags() & ~(long) (Flags.RF | Flags.VM);
    return flags & ~(long) Flags.IF | IOPL_3 | ((flags & Flags.VIF) != 0 ? Flags.IF : 0);
  }

  /** Flags that POPF and IRET of 16 bits load below IOPL 3; #GP where an interrupt would come. */
  static long merge(final SoftVcpu cpu, final long image) {
    final long old = cpu.rflags();
    final boolean enables = (image & Flags.IF) != 0;
    if ((image & Flags.TF) != 0 || enables && (old & Flags.VIP) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long mask = Flags.ARITHMETIC | Flags.TF | Flags.DF | Flags.NT;
    return old & ~(mask | Flags.VIF | Flags.RF) | image & mask | (enables ? Flags.VIF : 0);
  }

  /**
   * INT n by the interrupt table of the VM86 task, where the TSS says so.
   *
   * @return whether it was done; else it goes to protected mode, with the right to
   */
  static boolean interrupt(final SoftVcpu cpu, final int vector) {
    if (!inVm86(cpu) || !redirects(cpu, vector)) {
      return false;
    }
    final long entry = cpu.load(vector * 4L, 4);
    final boolean owner = cpu.iopl() == 3;
    final long image = owner ? cpu.rflags() : image(cpu);
    cpu.probeWrite(cpu.stackAddress(-6, 2, true), 2);
    cpu.probeWrite(cpu.stackAddress(-4, 2, true), 2);
    cpu.push(image & 0xFFFF, 2);
    cpu.push(cpu.selector(Seg.CS), 2);
    cpu.push(cpu.nextRip(), 2);
    final int selector = (int) (entry >>> 16);
    cpu.setSegment(Seg.CS, selector, (long) selector << 4, 0xFFFF, cpu.rights(Seg.CS));
    cpu.setRip(entry & 0xFFFF);
    cpu.setRflags(cpu.rflags() & ~(long) (Flags.TF | Flags.NT | (owner ? Flags.IF : Flags.VIF)));
    cpu.modeChanged();
    return true;
  }

  /** A clear bit in the map below the I/O bitmap leaves the interrupt to the task. */
  private static boolean redirects(final SoftVcpu cpu, final int vector) {
    final long limit = cpu.segmentLimit(Seg.TR);
    final long tss = cpu.segmentBase(Seg.TR);
    if ((cpu.rights(Seg.TR) & 8) == 0 || limit < TSS_IO_MAP + 1) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long at = cpu.loadSystem(tss + TSS_IO_MAP, 2) - REDIRECTION_BYTES + (vector >> 3);
    if (at < 0 || at > limit) {
      throw cpu.raise(Vector.GP, 0);
    }
    return (cpu.loadSystem(tss + at, 1) >> (vector & 7) & 1) == 0;
  }
}

package dev.vmexit.vcpu.soft;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/** Binds system instructions that came with later processors (SDM Vol. 2A and 2B). */
final class FeatureOps {
  private static final int DESCRIPTOR_BYTES = 16;

  /** MWAIT's only extension, in ECX. */
  private static final int MASKED_INTERRUPTS_WAKE = 1;

  // Types of INVPCID.
  private static final int ONE_ADDRESS = 0;
  private static final int ONE_CONTEXT = 1;
  private static final int ALL_WITH_GLOBAL = 2;
  private static final int ALL = 3;

  private FeatureOps() {}

  /** Binds an instruction, or null where it is not of this group. */
  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case CLAC -> new SystemOp(insn, true, (c, o) -> alignmentFlag(c, false));
      case STAC -> new SystemOp(insn, true, (c, o) -> alignmentFlag(c, true));
      case INVPCID -> new SystemOp(insn, true, FeatureOps::invalidateContext);
      case RDRAND -> new SystemOp(insn, true, (c, o) -> random(c, o, ExitEvent.TSC_RDRAND));
      case RDSEED -> new SystemOp(insn, true, (c, o) -> random(c, o, ExitEvent.TSC_RDSEED));
      case MONITOR -> new SystemOp(insn, true, FeatureOps::monitor);
      case MWAIT -> new SystemOp(insn, true, FeatureOps::monitorWait);
      case RDPKRU -> new SystemOp(insn, false, FeatureOps::readKeys);
      case WRPKRU -> new SystemOp(insn, true, FeatureOps::writeKeys);
      case RDPID -> new SystemOp(insn, false, FeatureOps::readProcessor);
      default -> null;
    };
  }

  /** Opens or closes user pages to the supervisor; beyond CPL 0 there is no such instruction. */
  private static void alignmentFlag(final SoftVcpu cpu, final boolean open) {
    if (cpu.cpl() != 0) {
      throw cpu.undefined();
    }
    final long flags = cpu.systemFlags() & ~(long) Flags.AC;
    HostMemory.putLong(cpu.state + StateLayout.RFLAGS, flags | (open ? Flags.AC : 0));
    cpu.contextChanged();
  }

  /**
   * INVPCID: more is dropped from the TLB than asked for, which is allowed; translations of other
   * contexts are never kept.
   */
  private static void invalidateContext(final SoftVcpu cpu, final SystemOp op) {
    if (cpu.cpl() != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final int register = StateLayout.gpr(op.register0);
    final long type = op.codeSize == 8 ? cpu.reg64(register) : cpu.reg32(register) & 0xFFFF_FFFFL;
    final long at = op.address(cpu, DESCRIPTOR_BYTES, false);
    final long context = cpu.load(at, 8);
    final long address = cpu.load(at + 8, 8);
    final boolean contexts = (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_PCIDE) != 0;
    if (type < ONE_ADDRESS
        || type > ALL
        || context >>> 12 != 0
        || type <= ONE_CONTEXT && !contexts && context != 0
        || type == ONE_ADDRESS && address != address << 16 >> 16) {
      throw cpu.raise(Vector.GP, 0);
    }
    if (type == ONE_ADDRESS) {
      cpu.flushPage(address);
      cpu.notice(VcpuExit.INVLPG, address, 0);
    } else if (type == ALL_WITH_GLOBAL) {
      cpu.flushAll();
    } else {
      cpu.flushNonGlobal();
    }
  }

  private static void random(final SoftVcpu cpu, final SystemOp op, final int form) {
    if (!cpu.answered()) {
      cpu.describe(form, 8, false, 0);
    }
    final long value = cpu.request(VcpuExit.RANDOM);
    SystemOp.writeRegister(cpu, op.register0, op.operandSize, value);
    cpu.setArithmeticFlags(Flags.CF);
  }

  private static void monitor(final SoftVcpu cpu, final SystemOp op) {
    if (cpu.cpl() != 0) {
      throw cpu.undefined();
    }
    if (cpu.reg32(StateLayout.gpr(Gpr.RCX)) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long rax = cpu.reg64(StateLayout.gpr(Gpr.RAX));
    final long offset =
        op.addressSize == 8 ? rax : rax & (op.addressSize == 4 ? 0xFFFF_FFFFL : 0xFFFFL);
    final long linear = cpu.stringAddress(op.segment, offset, 1, false, op.legacy);
    cpu.monitor().arm(cpu.physicalAddress(linear));
  }

  /**
   * Waits as HLT does, where something can end it: an interrupt that IF lets through, or that ECX
   * bit 0 lets end the wait though IF is clear. Else it ends at once, as it may at any time.
   */
  private static void monitorWait(final SoftVcpu cpu, final SystemOp op) {
    if (cpu.cpl() != 0) {
      throw cpu.undefined();
    }
    final int extensions = cpu.reg32(StateLayout.gpr(Gpr.RCX));
    if ((extensions & ~MASKED_INTERRUPTS_WAKE) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final boolean masked = extensions != 0;
    final boolean wakeable = masked || (cpu.systemFlags() & Flags.IF) != 0;
    final boolean waits = cpu.monitor().beginWait(masked);
    if (waits && wakeable && !cpu.stepping()) {
      cpu.notice(VcpuExit.HLT, 0, 0);
    }
  }

  /** At every privilege level (SDM Vol. 2B, RDPKRU and WRPKRU). */
  private static void checkKeys(final SoftVcpu cpu) {
    if ((cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_PKE) == 0) {
      throw cpu.undefined();
    }
    if (cpu.reg32(StateLayout.gpr(Gpr.RCX)) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
  }

  private static void readKeys(final SoftVcpu cpu, final SystemOp op) {
    checkKeys(cpu);
    cpu.reg32(StateLayout.gpr(Gpr.RAX), cpu.reg32(StateLayout.PKRU));
    cpu.reg32(StateLayout.gpr(Gpr.RDX), 0);
  }

  private static void writeKeys(final SoftVcpu cpu, final SystemOp op) {
    checkKeys(cpu);
    if (cpu.reg32(StateLayout.gpr(Gpr.RDX)) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    HostMemory.putInt(cpu.state + StateLayout.PKRU, cpu.reg32(StateLayout.gpr(Gpr.RAX)));
    cpu.keysChanged();
  }

  private static void readProcessor(final SoftVcpu cpu, final SystemOp op) {
    SystemOp.writeRegister(
        cpu, op.register0, op.codeSize == 8 ? 8 : 4, cpu.reg32(StateLayout.TSC_AUX) & 0xFFFF_FFFFL);
  }
}

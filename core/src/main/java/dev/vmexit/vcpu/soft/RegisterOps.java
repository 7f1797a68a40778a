package dev.vmexit.vcpu.soft;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/** Binds CPUID, MSRs, the TSC, control and debug registers. */
final class RegisterOps {
  private static final int RAX = StateLayout.gpr(Gpr.RAX);
  private static final int RBX = StateLayout.gpr(Gpr.RBX);
  private static final int RCX = StateLayout.gpr(Gpr.RCX);
  private static final int RDX = StateLayout.gpr(Gpr.RDX);

  private RegisterOps() {}

  /** Binds an instruction, or null where it is not of this group. */
  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case MOV -> bindMove(insn);
      case CPUID -> SystemOps.ending(insn, RegisterOps::cpuid);
      case RDMSR -> SystemOps.ending(insn, RegisterOps::readMsr);
      case WRMSR -> SystemOps.ending(insn, RegisterOps::writeMsr);
      case RDTSC -> SystemOps.ending(insn, (c, o) -> readTsc(c, 0));
      case RDTSCP -> SystemOps.ending(insn, RegisterOps::readTscp);
      // There are no counters: any number is a bad one.
      case RDPMC -> SystemOps.protectionFault(insn);
      case INVLPG -> SystemOps.ending(insn, RegisterOps::invalidatePage);
      case INVD, WBINVD -> SystemOps.plain(insn, (c, o) -> SystemOps.privileged(c));
      case CLTS -> SystemOps.ending(insn, RegisterOps::clearTaskSwitched);
      case LMSW -> SystemOps.ending(insn, RegisterOps::loadStatusWord);
      case SMSW -> SystemOps.plain(insn, RegisterOps::storeStatusWord);
      default -> null;
    };
  }

  private static Op bindMove(final Instruction insn) {
    if (insn.operandKind[0] == Instruction.CONTROL) {
      return SystemOps.ending(insn, RegisterOps::moveToControl);
    }
    if (insn.operandKind[1] == Instruction.CONTROL) {
      return SystemOps.plain(insn, RegisterOps::moveFromControl);
    }
    if (insn.operandKind[0] == Instruction.DEBUG) {
      return SystemOps.ending(insn, RegisterOps::moveToDebug);
    }
    if (insn.operandKind[1] == Instruction.DEBUG) {
      return SystemOps.plain(insn, RegisterOps::moveFromDebug);
    }
    return null;
  }

  private static void cpuid(final SoftVcpu cpu, final SystemOp op) {
    if (!cpu.answered()) {
      cpu.describe(cpu.reg32(RAX) & 0xFFFF_FFFFL, 0, false, cpu.reg32(RCX) & 0xFFFF_FFFFL);
    }
    cpu.request(VcpuExit.CPUID);
    final int[] answer = cpu.exit().cpuid;
    cpu.reg32(RAX, answer[0]);
    cpu.reg32(RBX, answer[1]);
    cpu.reg32(RCX, answer[2]);
    cpu.reg32(RDX, answer[3]);
  }

  private static void readMsr(final SoftVcpu cpu, final SystemOp op) {
    SystemOps.privileged(cpu);
    if (!cpu.answered()) {
      cpu.describe(cpu.reg32(RCX) & 0xFFFF_FFFFL, 8, false, 0);
    }
    final long value = cpu.request(VcpuExit.MSR);
    if (cpu.exit().refused) {
      throw cpu.raise(Vector.GP, 0);
    }
    cpu.reg32(RAX, (int) value);
    cpu.reg32(RDX, (int) (value >>> 32));
  }

  private static void writeMsr(final SoftVcpu cpu, final SystemOp op) {
    SystemOps.privileged(cpu);
    if (!cpu.answered()) {
      final long value = cpu.reg32(RAX) & 0xFFFF_FFFFL | (long) cpu.reg32(RDX) << 32;
      cpu.describe(cpu.reg32(RCX) & 0xFFFF_FFFFL, 8, true, value);
    }
    cpu.request(VcpuExit.MSR);
    if (cpu.exit().refused) {
      throw cpu.raise(Vector.GP, 0);
    }
  }

  private static void readTsc(final SoftVcpu cpu, final int form) {
    if ((cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_TSD) != 0 && cpu.cpl() != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    if (!cpu.answered()) {
      cpu.describe(form, 8, false, 0);
    }
    final long value = cpu.request(VcpuExit.TSC);
    cpu.reg32(RAX, (int) value);
    cpu.reg32(RDX, (int) (value >>> 32));
  }

  private static void readTscp(final SoftVcpu cpu, final SystemOp op) {
    readTsc(cpu, 1);
    cpu.reg32(RCX, cpu.reg32(StateLayout.TSC_AUX));
  }

  // ---- control and debug registers ----

  private static void moveFromControl(final SoftVcpu cpu, final SystemOp op) {
    SystemOps.privileged(cpu);
    final int offset =
        switch (op.register1) {
          case 0 -> StateLayout.CR0;
          case 2 -> StateLayout.CR2;
          case 3 -> StateLayout.CR3;
          case 4 -> StateLayout.CR4;
          case 8 -> StateLayout.CR8;
          default -> throw cpu.undefined();
        };
    SystemOp.writeRegister(cpu, op.register0, op.codeSize == 8 ? 8 : 4, cpu.reg64(offset));
  }

  private static void moveToControl(final SoftVcpu cpu, final SystemOp op) {
    SystemOps.privileged(cpu);
    final int source = StateLayout.gpr(op.register1);
    final long value = op.codeSize == 8 ? cpu.reg64(source) : cpu.reg32(source) & 0xFFFF_FFFFL;
    switch (op.register0) {
      case 0 -> ControlWrites.cr0(cpu, value);
      case 2 -> cpu.reg64(StateLayout.CR2, value);
      case 3 -> ControlWrites.cr3(cpu, value);
      case 4 -> ControlWrites.cr4(cpu, value);
      case 8 -> ControlWrites.cr8(cpu, value);
      default -> throw cpu.undefined();
    }
  }

  private static void clearTaskSwitched(final SoftVcpu cpu, final SystemOp op) {
    SystemOps.privileged(cpu);
    cpu.reg64(StateLayout.CR0, cpu.reg64(StateLayout.CR0) & ~ControlRegisters.CR0_TS);
  }

  private static void storeStatusWord(final SoftVcpu cpu, final SystemOp op) {
    SystemOps.userMayStore(cpu);
    op.writeSelector(cpu, cpu.reg64(StateLayout.CR0));
  }

  private static void loadStatusWord(final SoftVcpu cpu, final SystemOp op) {
    SystemOps.privileged(cpu);
    final int word = op.read16(cpu, op.kind0, op.register0);
    final long old = cpu.reg64(StateLayout.CR0);
    // PE can be set but not cleared.
    ControlWrites.cr0(cpu, old & ~0xEL | word & 0xF);
  }

  private static int debugRegister(final SoftVcpu cpu, final int number) {
    SystemOps.privileged(cpu);
    cpu.debugTraps().checkAccess();
    final boolean extensions = (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_DE) != 0;
    return switch (number) {
      case 0, 1, 2, 3 -> StateLayout.DR0 + number * 8;
      case 4, 5 -> {
        if (extensions) {
          throw cpu.undefined();
        }
        yield number == 4 ? StateLayout.DR6 : StateLayout.DR7;
      }
      case 6 -> StateLayout.DR6;
      case 7 -> StateLayout.DR7;
      default -> throw cpu.undefined();
    };
  }

  private static void moveFromDebug(final SoftVcpu cpu, final SystemOp op) {
    SystemOp.writeRegister(
        cpu, op.register0, op.codeSize == 8 ? 8 : 4, cpu.reg64(debugRegister(cpu, op.register1)));
  }

  private static void moveToDebug(final SoftVcpu cpu, final SystemOp op) {
    final int register = debugRegister(cpu, op.register0);
    final int source = StateLayout.gpr(op.register1);
    long value = op.codeSize == 8 ? cpu.reg64(source) : cpu.reg32(source) & 0xFFFF_FFFFL;
    if (register == StateLayout.DR6 || register == StateLayout.DR7) {
      if (value >>> 32 != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      value =
          register == StateLayout.DR6
              ? value & 0xE00FL | 0xFFFF_0FF0L
              : value & 0xFFFF_2BFFL | 0x400;
    }
    cpu.reg64(register, value);
    cpu.debugChanged();
  }

  private static void invalidatePage(final SoftVcpu cpu, final SystemOp op) {
    SystemOps.privileged(cpu);
    final long address = op.uncheckedAddress(cpu);
    cpu.flushPage(address);
    cpu.notice(VcpuExit.INVLPG, address, 0);
  }
}

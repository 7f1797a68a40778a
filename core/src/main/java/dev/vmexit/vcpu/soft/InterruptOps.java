package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/** Binds software interrupts, flags, HLT and ports. */
final class InterruptOps {
  private static final int RAX = StateLayout.gpr(Gpr.RAX);
  private static final int RDX = StateLayout.gpr(Gpr.RDX);

  private InterruptOps() {}

  /** Binds an instruction, or null where it is not of this group. */
  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case INT -> SystemOps.ending(insn, InterruptOps::interrupt);
      case INT3 ->
          SystemOps.ending(insn, (c, o) -> c.softwareInterrupt(Vector.BP, EventDelivery.SOFTWARE));
      case INT1 ->
          SystemOps.ending(
              insn, (c, o) -> c.softwareInterrupt(Vector.DB, EventDelivery.PRIVILEGED_SOFTWARE));
      case INTO -> SystemOps.ending(insn, InterruptOps::interruptOnOverflow);
      case CLI -> SystemOps.plain(insn, InterruptOps::clearInterrupts);
      case STI -> SystemOps.ending(insn, InterruptOps::setInterrupts);
      case PUSHF -> SystemOps.plain(insn, InterruptOps::pushFlags);
      case POPF -> SystemOps.ending(insn, InterruptOps::popFlags);
      case HLT -> SystemOps.ending(insn, InterruptOps::halt);
      case IN -> SystemOps.ending(insn, InterruptOps::portIn);
      case OUT -> SystemOps.ending(insn, InterruptOps::portOut);
      default -> null;
    };
  }

  private static void interrupt(final SoftVcpu cpu, final SystemOp op) {
    if (cpu.isVm86()) {
      if (Vm86Extensions.interrupt(cpu, (int) op.immediate & 0xFF)) {
        return;
      }
      if (cpu.iopl() < 3) {
        throw cpu.raise(Vector.GP, 0);
      }
    }
    cpu.softwareInterrupt((int) op.immediate & 0xFF, EventDelivery.SOFTWARE);
  }

  private static void interruptOnOverflow(final SoftVcpu cpu, final SystemOp op) {
    if (op.codeSize == 8) {
      throw cpu.undefined();
    }
    if (cpu.of()) {
      cpu.softwareInterrupt(Vector.OF, EventDelivery.SOFTWARE);
    }
  }

  /** Whether IF is the guest's to change; else CLI and STI are done on VIF, or raise #GP. */
  private static boolean mayChangeIf(final SoftVcpu cpu, final boolean set) {
    if (!cpu.isProtected() || cpu.cpl() <= cpu.iopl()) {
      return true;
    }
    if (!Vm86Extensions.interruptFlag(cpu, set)) {
      throw cpu.raise(Vector.GP, 0);
    }
    return false;
  }

  private static void clearInterrupts(final SoftVcpu cpu, final SystemOp op) {
    if (!mayChangeIf(cpu, false)) {
      return;
    }
    HostMemory.putLong(cpu.state + StateLayout.RFLAGS, cpu.systemFlags() & ~(long) Flags.IF);
  }

  private static void setInterrupts(final SoftVcpu cpu, final SystemOp op) {
    if (!mayChangeIf(cpu, true)) {
      return;
    }
    final long flags = cpu.systemFlags();
    if ((flags & Flags.IF) == 0) {
      HostMemory.putLong(cpu.state + StateLayout.RFLAGS, flags | Flags.IF);
      cpu.startShadow();
    }
  }

  private static void pushFlags(final SoftVcpu cpu, final SystemOp op) {
    if (cpu.isVm86() && cpu.iopl() < 3) {
      if (op.operandSize != 2 || !Vm86Extensions.inVm86(cpu)) {
        throw cpu.raise(Vector.GP, 0);
      }
      cpu.push(Vm86Extensions.image(cpu), 2);
      return;
    }
    cpu.push(cpu.rflags() & ~(long) (Flags.RF | Flags.VM), op.operandSize);
  }

  private static void popFlags(final SoftVcpu cpu, final SystemOp op) {
    if (cpu.isVm86() && cpu.iopl() < 3) {
      if (op.operandSize != 2 || !Vm86Extensions.inVm86(cpu)) {
        throw cpu.raise(Vector.GP, 0);
      }
      final long merged = Vm86Extensions.merge(cpu, cpu.peekStack(2));
      cpu.addStackPointer(2);
      cpu.setRflags(merged);
      return;
    }
    final long image = cpu.pop(op.operandSize);
    cpu.setRflags(
        FarTransfers.mergeFlags(cpu.rflags(), image, op.operandSize, cpu.cpl(), cpu.iopl()));
  }

  private static void halt(final SoftVcpu cpu, final SystemOp op) {
    SystemOps.privileged(cpu);
    if (!cpu.stepping()) {
      cpu.monitor().beginHalt();
      cpu.notice(VcpuExit.HLT, 0, 0);
    }
  }

  // ---- ports ----

  private static int port(final SoftVcpu cpu, final int kind, final long immediate) {
    return kind == Instruction.IMMEDIATE ? (int) immediate & 0xFF : cpu.reg16(RDX);
  }

  private static void portIn(final SoftVcpu cpu, final SystemOp op) {
    final int port = port(cpu, op.kind1, op.immediate);
    cpu.checkPort(port, op.size0);
    final int value = cpu.portIn(port, op.size0);
    switch (op.size0) {
      case 1 -> cpu.reg8(RAX, value);
      case 2 -> cpu.reg16(RAX, value);
      default -> cpu.reg32(RAX, value);
    }
  }

  private static void portOut(final SoftVcpu cpu, final SystemOp op) {
    final int port = port(cpu, op.kind0, op.immediate);
    final int size = op.outSize;
    cpu.checkPort(port, size);
    cpu.portOut(port, size, cpu.reg32(RAX));
  }
}

package dev.vmexit.vcpu.soft;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/** Binds the system group: far transfers here, the rest by the classes that it asks. */
final class SystemOps {
  private SystemOps() {}

  static SystemOp plain(final Instruction insn, final SystemOp.Action action) {
    return new SystemOp(insn, false, action);
  }

  static SystemOp ending(final Instruction insn, final SystemOp.Action action) {
    return new SystemOp(insn, true, action);
  }

  static Op undefined(final Instruction insn) {
    return ending(insn, SystemOps::raiseUndefined);
  }

  private static void raiseUndefined(final SoftVcpu cpu, final SystemOp op) {
    throw cpu.undefined();
  }

  static Op protectionFault(final Instruction insn) {
    return ending(insn, SystemOps::raiseProtection);
  }

  private static void raiseProtection(final SoftVcpu cpu, final SystemOp op) {
    throw cpu.raise(Vector.GP, 0);
  }

  /** Binds an instruction, or null where it is not of this group. */
  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case JMPF -> ending(insn, (c, o) -> farBranch(c, o, false));
      case CALLF -> ending(insn, (c, o) -> farBranch(c, o, true));
      case RETF ->
          ending(
              insn, (c, o) -> FarTransfers.returnFar(c, o.operandSize, (int) o.immediate & 0xFFFF));
      case IRET -> ending(insn, (c, o) -> FarTransfers.interruptReturn(c, o.operandSize));
      case SYSCALL -> ending(insn, (c, o) -> FarTransfers.syscall(c));
      case SYSRET -> ending(insn, (c, o) -> FarTransfers.sysret(c, o.operandSize));
      case SYSENTER -> ending(insn, (c, o) -> FarTransfers.sysenter(c));
      case SYSEXIT -> ending(insn, (c, o) -> FarTransfers.sysexit(c, o.operandSize));
      default -> {
        Op op = SegmentOps.bind(insn);
        op = op != null ? op : InterruptOps.bind(insn);
        op = op != null ? op : RegisterOps.bind(insn);
        yield op != null ? op : FeatureOps.bind(insn);
      }
    };
  }

  static void privileged(final SoftVcpu cpu) {
    if (cpu.cpl() != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
  }

  /** CR4.UMIP keeps the addresses of the system's tables from users (SDM Vol. 3A, 2.5). */
  static void userMayStore(final SoftVcpu cpu) {
    if (cpu.cpl() != 0 && (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_UMIP) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
  }

  private static void farBranch(final SoftVcpu cpu, final SystemOp op, final boolean call) {
    final long target;
    final int selector;
    if (op.kind0 == Instruction.FAR_POINTER) {
      target = op.immediate;
      selector = (int) op.immediate2 & 0xFFFF;
    } else {
      final long address = op.farPointer(cpu);
      target = cpu.load(address, op.operandSize);
      selector = cpu.load16(address + op.operandSize);
    }
    if (call) {
      FarTransfers.call(cpu, selector, target, op.operandSize);
    } else {
      FarTransfers.jump(cpu, selector, target, op.operandSize);
    }
  }
}

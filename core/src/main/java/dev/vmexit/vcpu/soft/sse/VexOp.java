package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/**
 * A vector instruction with a VEX prefix: the checks that all of them share (SDM Vol. 2A, 2.4),
 * operands of 16 or 32 bytes, and the upper half of the destination that it clears.
 */
abstract class VexOp extends Op {
  private static final long AVX_STATE = 6;

  /** Bytes of a vector. */
  final int size;

  /** Offset of operand 0's register in {@link StateLayout}, or -1. */
  final int destination;

  private final int memorySize;

  VexOp(final Instruction insn) {
    super(insn);
    size = isWide(insn) ? 32 : 16;
    destination = register(insn, 0);
    memorySize = insn.memorySize;
  }

  /** Whether an operand of 256 bits takes part; VEX.L alone says nothing of scalars. */
  static boolean isWide(final Instruction insn) {
    if (insn.hasMemory && insn.memorySize == 32) {
      return true;
    }
    for (int i = 0; i < insn.operandCount; i++) {
      if (insn.operandKind[i] == Instruction.YMM) {
        return true;
      }
    }
    return false;
  }

  /** Offset of an operand's vector register, or -1. */
  static int register(final Instruction insn, final int operand) {
    return operand < insn.operandCount
            && (insn.operandKind[operand] == Instruction.XMM
                || insn.operandKind[operand] == Instruction.YMM)
        ? StateLayout.XMM + insn.operandRegister[operand] * StateLayout.XMM_SIZE
        : -1;
  }

  /** #UD unless the guest enabled AVX, #NM when its state belongs to another task. */
  static void checkAvx(final SoftCpu cpu) {
    final long s = cpu.state;
    if ((HostMemory.getLong(s + StateLayout.XCR0) & AVX_STATE) != AVX_STATE
        || (HostMemory.getLong(s + StateLayout.CR4) & ControlRegisters.CR4_OSXSAVE) == 0
        || (HostMemory.getLong(s + StateLayout.CR0) & ControlRegisters.CR0_TS) != 0
        || !cpu.knowsVex()) {
      throw unusable(cpu);
    }
  }

  private static RuntimeException unusable(final SoftCpu cpu) {
    return (cpu.reg64(StateLayout.XCR0) & AVX_STATE) != AVX_STATE
            || (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_OSXSAVE) == 0
            || !cpu.knowsVex()
        ? cpu.undefined()
        : cpu.raise(Vector.NM);
  }

  /**
   * Host address of an operand: of a register, of guest memory where the TLB has it, else of a copy
   * that lasts until the next one.
   *
   * @param register offset, or -1 for memory
   */
  final long operand(final SoftCpu cpu, final int register) {
    return register >= 0 ? cpu.state + register : memory(cpu, memorySize);
  }

  final long memory(final SoftCpu cpu, final int bytes) {
    final long linear = readAddress(cpu, bytes);
    final long host = cpu.hostRead(linear, bytes);
    if (host != 0) {
      return host;
    }
    final long copy = cpu.state + StateLayout.XMM_SCRATCH + 4L * StateLayout.XMM_SIZE;
    if (bytes < 8) {
      HostMemory.putLong(copy, cpu.load(linear, bytes));
    } else {
      for (int i = 0; i < bytes; i += 8) {
        HostMemory.putLong(copy + i, cpu.load64(linear + i));
      }
    }
    return copy;
  }

  /** Stores a register's low 16 or 32 bytes, all or none. */
  final void store(final SoftCpu cpu, final long linear, final int register, final int bytes) {
    final long host = cpu.hostWrite(linear, bytes);
    final long from = cpu.state + register;
    if (host != 0) {
      copy(from, host, bytes);
      return;
    }
    cpu.probeWrite(linear, bytes);
    for (int i = 0; i < bytes; i += 8) {
      cpu.store64(linear + i, HostMemory.getLong(from + i));
    }
  }

  /** Copies 16 or 32 bytes. */
  static void copy(final long from, final long to, final int bytes) {
    final long first = HostMemory.getLong(from);
    final long second = HostMemory.getLong(from + 8);
    if (bytes == 32) {
      final long third = HostMemory.getLong(from + 16);
      HostMemory.putLong(to + 24, HostMemory.getLong(from + 24));
      HostMemory.putLong(to + 16, third);
    }
    HostMemory.putLong(to, first);
    HostMemory.putLong(to + 8, second);
  }

  /** Clears a register from byte 16 on. */
  static void clearUpper(final SoftCpu cpu, final int register) {
    final long at = cpu.state + register;
    HostMemory.putLong(at + 16, 0);
    HostMemory.putLong(at + 24, 0);
  }

  /** Clears what is above the vector in the destination. */
  final void clearAbove(final SoftCpu cpu) {
    if (size == 16) {
      clearUpper(cpu, destination);
    }
  }
}

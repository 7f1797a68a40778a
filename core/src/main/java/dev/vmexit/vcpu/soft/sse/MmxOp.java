package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/**
 * An instruction on MMX registers: they are the mantissas of the x87's physical registers, and
 * using one makes all of them valid with TOP 0 (SDM Vol. 3A, 13.1 and 13.2).
 */
abstract class MmxOp extends Op {
  private static final int TOP = 7 << 11;
  private static final int ERROR_SUMMARY = 1 << 7;

  /** Offset of operand 0's register in {@link StateLayout}, or -1. */
  final int destination;

  /** Offset of operand 1's register, or -1 where the source is memory. */
  final int source;

  private final int memorySize;

  MmxOp(final Instruction insn) {
    super(insn);
    destination = mmx(insn, 0);
    source = mmx(insn, 1);
    memorySize = insn.memorySize;
  }

  /** Offset of an operand's MMX register, or -1. */
  static int mmx(final Instruction insn, final int operand) {
    return operand < insn.operandCount && insn.operandKind[operand] == Instruction.MMX
        ? StateLayout.FPU_REGISTERS + insn.operandRegister[operand] * StateLayout.FPU_REGISTER_SIZE
        : -1;
  }

  /** #UD, #NM, or #MF when an x87 exception waits. */
  static void check(final SoftCpu cpu) {
    final long cr0 = cpu.reg64(StateLayout.CR0);
    if ((cr0 & ControlRegisters.CR0_EM) != 0) {
      throw cpu.undefined();
    }
    if ((cr0 & ControlRegisters.CR0_TS) != 0) {
      throw cpu.raise(Vector.NM);
    }
    if ((cpu.reg32(StateLayout.FPU_STATUS) & ERROR_SUMMARY) != 0) {
      throw cpu.raise(Vector.MF);
    }
  }

  /** Turns the x87 state into an MMX one; after everything that may fault. */
  static void enterMmx(final SoftCpu cpu) {
    final long s = cpu.state;
    HostMemory.putInt(
        s + StateLayout.FPU_STATUS, HostMemory.getInt(s + StateLayout.FPU_STATUS) & ~TOP);
    HostMemory.putInt(s + StateLayout.FPU_TAGS, 0xFF);
  }

  /** Writes a register by its offset: the exponent becomes all ones. */
  static void write(final SoftCpu cpu, final int register, final long value) {
    HostMemory.putLong(cpu.state + register, value);
    HostMemory.putShort(cpu.state + register + 8, 0xFFFF);
  }

  /** The source's 8 bytes; memory of 4 bytes (PUNPCKLxx) zero-extended. */
  final long source8(final SoftCpu cpu) {
    return source >= 0 ? cpu.reg64(source) : cpu.load(readAddress(cpu, memorySize), memorySize);
  }
}

package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/**
 * An SSE instruction: the checks that all of them share (SDM Vol. 3A, 14.1), and the operand that
 * may be a register or memory, seen alike as a host address.
 */
abstract class SseOp extends Op {
  private static final long UNUSABLE = ControlRegisters.CR0_EM | ControlRegisters.CR0_TS;

  /** Offset of the first operand's register in {@link StateLayout}, where it is an XMM one. */
  final int destination;

  /** Offset of the source register, or -1 where the source is memory. */
  final int source;

  /** Whether a memory operand must lie on its own size. */
  private final boolean aligned;

  /**
   * Binds an instruction whose source is operand 1.
   *
   * @param aligned whether a memory operand of 16 bytes must be aligned
   */
  SseOp(final Instruction insn, final boolean aligned) {
    super(insn);
    destination = xmm(insn, 0);
    source = xmm(insn, 1);
    // With a VEX prefix only the moves that say so want alignment, and VexMoves has those.
    this.aligned = aligned && !insn.hasPrefix(Instruction.PREFIX_VEX);
  }

  SseOp(final Instruction insn) {
    this(insn, true);
  }

  /** Offset of an operand's XMM register, or -1. */
  static int xmm(final Instruction insn, final int operand) {
    return operand < insn.operandCount && insn.operandKind[operand] == Instruction.XMM
        ? StateLayout.XMM + insn.operandRegister[operand] * StateLayout.XMM_SIZE
        : -1;
  }

  /** #UD unless the guest enabled SSE, #NM when its state belongs to another task. */
  static void check(final SoftCpu cpu) {
    final long s = cpu.state;
    if ((HostMemory.getLong(s + StateLayout.CR0) & UNUSABLE) != 0
        || (HostMemory.getLong(s + StateLayout.CR4) & ControlRegisters.CR4_OSFXSR) == 0) {
      throw unusable(cpu);
    }
  }

  private static RuntimeException unusable(final SoftCpu cpu) {
    final boolean emulated = (cpu.reg64(StateLayout.CR0) & ControlRegisters.CR0_EM) != 0;
    return emulated || (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_OSFXSR) == 0
        ? cpu.undefined()
        : cpu.raise(Vector.NM);
  }

  /**
   * Host address of the source's 16 bytes: of the register, of guest memory where the TLB has it,
   * else of a copy. Valid until the next access to guest memory.
   */
  final long source16(final SoftCpu cpu) {
    return source >= 0 ? cpu.state + source : memory16(cpu);
  }

  final long memory16(final SoftCpu cpu) {
    final long linear = readAddress(cpu, 16);
    if (aligned && (linear & 15) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long host = cpu.hostRead(linear, 16);
    if (host != 0) {
      return host;
    }
    final long low = cpu.load64(linear);
    final long high = cpu.load64(linear + 8);
    final long copy = cpu.state + StateLayout.SCRATCH;
    HostMemory.putLong(copy, low);
    HostMemory.putLong(copy + 8, high);
    return copy;
  }

  /** Low 8 bytes of the source. */
  final long source8(final SoftCpu cpu) {
    return source >= 0 ? cpu.reg64(source) : cpu.load64(readAddress(cpu, 8));
  }

  /** Low 4 bytes of the source. */
  final int source4(final SoftCpu cpu) {
    return source >= 0 ? cpu.reg32(source) : cpu.load32(readAddress(cpu, 4));
  }

  /** Stores 16 bytes or none. */
  final void store16(final SoftCpu cpu, final long low, final long high) {
    final long linear = writeAddress(cpu, 16);
    if (aligned && (linear & 15) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long host = cpu.hostWrite(linear, 16);
    if (host != 0) {
      HostMemory.putLong(host, low);
      HostMemory.putLong(host + 8, high);
    } else {
      cpu.probeWrite(linear, 16);
      cpu.store64(linear, low);
      cpu.store64(linear + 8, high);
    }
  }
}

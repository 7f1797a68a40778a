package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;

/**
 * What string instructions share (SDM Vol. 1, 7.3.9): rSI, rDI and rCX by the address size, the
 * direction, and the bookkeeping of REP.
 *
 * <p>With a repeat prefix they are terminators: each chunk of iterations is committed and then the
 * vCPU may leave the instruction, rip still on it, through {@link SoftCpu#repeatBoundary}. A chunk
 * is one element, or as many as lie within the pages, the segments and the wrap-around of both
 * strings, for strings that run upwards through mapped memory, not single-stepped.
 */
abstract class StringOp extends Op {
  static final int RSI = StateLayout.gpr(Gpr.RSI);
  static final int RDI = StateLayout.gpr(Gpr.RDI);
  static final int RAX = StateLayout.gpr(Gpr.RAX);
  static final int RDX = StateLayout.gpr(Gpr.RDX);

  private static final int PAGE_OFFSET = 0xFFF;

  /** Type bits of a segment's rights: code, and (of data) expand-down. */
  private static final int CODE = 1 << 3;

  private static final int EXPAND_DOWN = 1 << 2;

  /** Flags under which elements are done one by one. */
  private static final int SINGLY = Flags.DF | Flags.TF;

  final int size;
  final boolean repeat;
  private final boolean legacy;
  private final int addressSize;
  private final int sourceSegment;
  private final long mask;

  StringOp(final Instruction insn) {
    super(insn);
    size = insn.operandSizes[0];
    repeat = insn.hasPrefix(Instruction.PREFIX_REP | Instruction.PREFIX_REPNE);
    legacy = insn.codeSize != 8;
    addressSize = insn.addressSize;
    sourceSegment = insn.segment;
    mask = addressSize == 8 ? -1 : addressSize == 4 ? 0xFFFF_FFFFL : 0xFFFF;
  }

  @Override
  public boolean isTerminator() {
    return repeat;
  }

  @Override
  public final void execute(final SoftCpu cpu) {
    if (!repeat) {
      element(cpu);
      return;
    }
    long count = cpu.counter(addressSize);
    while (count != 0) {
      // Under TF each iteration traps.
      long done = (cpu.systemFlags() & SINGLY) != 0 ? 0 : chunk(cpu, count);
      if (done == 0) {
        element(cpu);
        done = 1;
      }
      count -= done;
      cpu.counter(addressSize, count);
      if (count == 0 || ended(cpu)) {
        return;
      }
      cpu.repeatBoundary();
    }
  }

  /** Does one element and moves rSI and rDI; throws with neither moved. */
  abstract void element(SoftCpu cpu);

  /**
   * Does some of {@code count} upward elements at once and moves rSI and rDI.
   *
   * @return how many, 0 where they must be done singly
   */
  abstract long chunk(SoftCpu cpu, long count);

  /** Whether ZF ends a REPE or REPNE before its count does. */
  boolean ended(final SoftCpu cpu) {
    return false;
  }

  final long source(final SoftCpu cpu) {
    return cpu.stringAddress(sourceSegment, cpu.reg64(RSI) & mask, size, false, legacy);
  }

  final long destination(final SoftCpu cpu, final boolean write) {
    return cpu.stringAddress(Seg.ES, cpu.reg64(RDI) & mask, size, write, legacy);
  }

  /** Moves rSI or rDI over elements, in the direction of DF. */
  final void advance(final SoftCpu cpu, final int register, final long elements) {
    final long bytes = cpu.df() ? -elements * size : elements * size;
    final long value = cpu.reg64(register) + bytes;
    switch (addressSize) {
      case 8 -> cpu.reg64(register, value);
      case 4 -> cpu.reg32(register, (int) value);
      default -> cpu.reg16(register, (int) value);
    }
  }

  /** Elements, at most {@code count}, that lie upwards of rSI within a page and the segment. */
  final long sourceRoom(final SoftCpu cpu, final long linear, final long count) {
    return room(cpu, sourceSegment, cpu.reg64(RSI) & mask, linear, count);
  }

  /** As {@link #sourceRoom}, of ES:rDI. */
  final long destinationRoom(final SoftCpu cpu, final long linear, final long count) {
    return room(cpu, Seg.ES, cpu.reg64(RDI) & mask, linear, count);
  }

  private long room(
      final SoftCpu cpu,
      final int segment,
      final long offset,
      final long linear,
      final long count) {
    long bytes = PAGE_OFFSET + 1 - (linear & PAGE_OFFSET);
    if (addressSize != 8) {
      bytes = Math.min(bytes, mask - offset + 1);
    }
    if (legacy) {
      final long descriptor = cpu.state + StateLayout.segment(segment);
      final int rights = HostMemory.getInt(descriptor + StateLayout.SEG_RIGHTS);
      if ((rights & (CODE | EXPAND_DOWN)) == EXPAND_DOWN) {
        return 0;
      }
      final long limit = HostMemory.getLong(descriptor + StateLayout.SEG_LIMIT);
      bytes = Math.min(bytes, limit - offset + 1);
    }
    final long elements = bytes / size;
    return Long.compareUnsigned(count, elements) < 0 ? count : elements;
  }
}

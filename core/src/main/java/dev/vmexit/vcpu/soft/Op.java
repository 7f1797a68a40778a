package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;

/**
 * One decoded instruction, bound to its operands: immutable once its block is built, shared by
 * every pass over it.
 *
 * <p>{@link #execute} does the whole instruction or, by throwing, none of what the architecture
 * says must not be seen of a faulting one: every memory operand is probed before a register or a
 * flag changes. What it needs in a memory address is kept as offsets into {@link StateLayout}; a
 * part that the address lacks points at {@link StateLayout#ZERO}, so that the sum has no branch.
 *
 * <p>While a terminator (see {@link #isTerminator}) runs, {@link StateLayout#RIP} already holds the
 * address of the next instruction, and the terminator may replace it. Any other op must neither
 * read nor write it.
 */
public abstract class Op {
  /** Bytes of the instruction. */
  public final int length;

  /** Offset of the instruction in its block; set once by the block builder. */
  int offset;

  final int baseOffset;
  final int indexOffset;
  final int scaleShift;
  final int segmentBaseOffset;
  final int segment;

  /** The memory operand is in the stack segment: what is wrong with its address is #SS. */
  final boolean inStack;

  /** Outside 64-bit mode: limits and access rights are checked, addresses wrap at 4 GiB. */
  final boolean legacy;

  private final boolean ripRelative;
  private final long addressMask;
  private long displacement;

  /** See {@link #containing}; or null. */
  private Op part;

  protected Op(final Instruction insn) {
    length = insn.length;
    legacy = insn.codeSize != 8;
    segment = insn.segment;
    inStack = insn.hasMemory && insn.segment == Seg.SS;
    ripRelative = insn.hasMemory && insn.base == Gpr.RIP;
    displacement = insn.hasMemory ? insn.displacement : 0;
    scaleShift = insn.hasMemory && insn.index >= 0 ? insn.scaleShift : 0;
    baseOffset =
        !insn.hasMemory || insn.base < 0
            ? StateLayout.ZERO
            : ripRelative ? StateLayout.BLOCK_RIP : StateLayout.gpr(insn.base);
    indexOffset =
        !insn.hasMemory || insn.index < 0 ? StateLayout.ZERO : StateLayout.gpr(insn.index);
    segmentBaseOffset =
        legacy || insn.segment == Seg.FS || insn.segment == Seg.GS
            ? StateLayout.segment(insn.segment) + StateLayout.SEG_BASE
            : StateLayout.ZERO;
    addressMask =
        switch (insn.addressSize) {
          case 2 -> 0xFFFFL;
          case 4 -> 0xFFFF_FFFFL;
          default -> -1L;
        };
  }

  /** Executes on a vCPU; throws {@link GuestFault} (through the vCPU) with no effect kept. */
  public abstract void execute(SoftCpu cpu);

  /** Whether a block ends after this op: it may change rip, the mode, a mapping or the clock. */
  public boolean isTerminator() {
    return false;
  }

  /** Makes an op a part of this one: it executes for it, and stands where it stands. */
  protected final <T extends Op> T containing(final T inner) {
    part = inner;
    return inner;
  }

  final void place(final int offsetInBlock) {
    if (part != null) {
      part.place(offsetInBlock);
    }
    offset = offsetInBlock;
    if (ripRelative) {
      displacement += offsetInBlock + length;
    }
  }

  /** Offset of this instruction in its code segment, for the x87's FIP. */
  protected final long instructionPointer(final SoftCpu cpu) {
    return HostMemory.getLong(cpu.state + StateLayout.BLOCK_RIP) + offset;
  }

  /** Offset of the memory operand inside its segment (what LEA yields before truncation). */
  protected final long effectiveAddress(final SoftCpu cpu) {
    final long s = cpu.state;
    return (HostMemory.getLong(s + baseOffset)
            + (HostMemory.getLong(s + indexOffset) << scaleShift)
            + displacement)
        & addressMask;
  }

  /** Linear address of the memory operand for a read of some bytes, segment checks done. */
  protected final long readAddress(final SoftCpu cpu, final int size) {
    final long effective = effectiveAddress(cpu);
    return legacy
        ? cpu.legacyAddress(segment, effective, size, false)
        : effective + HostMemory.getLong(cpu.state + segmentBaseOffset);
  }

  /** Linear address of the memory operand for a write (or read-modify-write) of some bytes. */
  protected final long writeAddress(final SoftCpu cpu, final int size) {
    final long effective = effectiveAddress(cpu);
    return legacy
        ? cpu.legacyAddress(segment, effective, size, true)
        : effective + HostMemory.getLong(cpu.state + segmentBaseOffset);
  }

  /**
   * As {@link #readAddress} or {@link #writeAddress}, of the operand displaced by some bytes: bit
   * strings (BT with a register) reach beyond the operand that the instruction names.
   */
  protected final long displacedAddress(
      final SoftCpu cpu, final long delta, final int size, final boolean write) {
    final long effective = (effectiveAddress(cpu) + delta) & addressMask;
    return legacy
        ? cpu.legacyAddress(segment, effective, size, write)
        : effective + HostMemory.getLong(cpu.state + segmentBaseOffset);
  }
}

package dev.vmexit.vcpu.soft;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.decode.Instruction;

/**
 * An instruction of the system group: its operands, and what it does as a function. These are rare,
 * so one class serves all of them; the hot groups have a class per form.
 */
final class SystemOp extends Op {
  /** What an instruction does; non-capturing, so that binding allocates nothing beyond the op. */
  @FunctionalInterface
  interface Action {
    void run(SoftVcpu cpu, SystemOp op);
  }

  final int operandSize;
  final int addressSize;
  final int codeSize;

  /** The operand size by code size and prefix is 16 bits, whatever the instruction makes of it. */
  final boolean operandSize16;

  /** Kinds of the first two operands, as in {@link Instruction}. */
  final int kind0;

  final int kind1;

  /** Register numbers of the first two operands. */
  final int register0;

  final int register1;
  final int size0;

  /** Bytes that OUT moves: its second operand. */
  final int outSize;

  final long immediate;
  final long immediate2;

  private final Action action;
  private final boolean terminator;

  SystemOp(final Instruction insn, final boolean terminator, final Action action) {
    super(insn);
    this.action = action;
    this.terminator = terminator;
    operandSize = insn.operandSize;
    addressSize = insn.addressSize;
    codeSize = insn.codeSize;
    operandSize16 =
        codeSize != 8 && (codeSize == 2) != insn.hasPrefix(Instruction.PREFIX_OPERAND_SIZE);
    kind0 = insn.operandCount > 0 ? insn.operandKind[0] : Instruction.NONE;
    kind1 = insn.operandCount > 1 ? insn.operandKind[1] : Instruction.NONE;
    register0 = insn.operandRegister[0];
    register1 = insn.operandRegister[1];
    size0 = insn.operandSizes[0];
    outSize = insn.operandSizes[1];
    immediate = insn.immediate;
    immediate2 = insn.immediate2;
  }

  @Override
  public boolean isTerminator() {
    return terminator;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    // Only SoftVcpu builds blocks, so no other CPU ever runs this op.
    final SoftVcpu vcpu = (SoftVcpu) cpu;
    vcpu.runningOffset = offset;
    action.run(vcpu, this);
  }

  // ---- operands ----

  /** A 16-bit source: register or memory. */
  int read16(final SoftVcpu cpu, final int kind, final int register) {
    return kind == Instruction.MEMORY
        ? cpu.load16(readAddress(cpu, 2))
        : cpu.reg16(StateLayout.gpr(register));
  }

  /** Stores to a register in the operand size, or 16 bits to memory (SLDT, STR, SMSW, MOV seg). */
  void writeSelector(final SoftVcpu cpu, final long value) {
    if (kind0 == Instruction.MEMORY) {
      cpu.store16(writeAddress(cpu, 2), (int) value);
    } else {
      writeRegister(cpu, register0, operandSize, value);
    }
  }

  static void writeRegister(
      final SoftVcpu cpu, final int register, final int size, final long value) {
    final int offset = StateLayout.gpr(register);
    switch (size) {
      case 2 -> cpu.reg16(offset, (int) value);
      case 4 -> cpu.reg32(offset, (int) value);
      default -> cpu.reg64(offset, value);
    }
  }

  long address(final SoftVcpu cpu, final int size, final boolean write) {
    return write ? writeAddress(cpu, size) : readAddress(cpu, size);
  }

  /**
   * Linear address of a far pointer. Of its two parts the offset is looked at first: misaligned, it
   * raises #AC even where the selector lies beyond the limit, as processors do.
   */
  long farPointer(final SoftVcpu cpu) {
    if (legacy && cpu.checksAlignment()) {
      cpu.probeRead(readAddress(cpu, operandSize), operandSize);
    }
    return readAddress(cpu, operandSize + 2);
  }

  /** Linear address of the operand of INVLPG: no access, hence no checks. */
  long uncheckedAddress(final SoftVcpu cpu) {
    final long effective = effectiveAddress(cpu);
    return legacy
        ? cpu.segmentBase(segment) + effective & 0xFFFF_FFFFL
        : effective + cpu.reg64(segmentBaseOffset);
  }

  long displaced(final SoftVcpu cpu, final long delta, final int size, final boolean write) {
    return displacedAddress(cpu, delta, size, write);
  }

  long rip(final SoftVcpu cpu) {
    return cpu.reg64(StateLayout.BLOCK_RIP) + offset;
  }
}

package dev.vmexit.replay;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.EnumSet;
import java.util.Set;

/**
 * Which memory an instruction may touch, and how: a reused flyweight. Accesses beside the operands
 * (the stack, descriptor tables, the IDT) are beyond a record; where an instruction may make any,
 * {@link #implicit} says so and nothing that it touches counts as wrong.
 */
final class MemoryAccess {
  private static final Set<Mnemonic> WRITES_ONLY =
      EnumSet.of(
          Mnemonic.MOV, Mnemonic.STOS, Mnemonic.MOVNTI, Mnemonic.SMSW, Mnemonic.SLDT, Mnemonic.STR);

  private static final Set<Mnemonic> READS_ONLY =
      EnumSet.of(
          Mnemonic.CMP,
          Mnemonic.TEST,
          Mnemonic.MUL,
          Mnemonic.DIV,
          Mnemonic.IDIV,
          Mnemonic.LODS,
          Mnemonic.SCAS,
          Mnemonic.CMPS);

  private static final Set<Mnemonic> MODIFIES =
      EnumSet.of(
          Mnemonic.ADD,
          Mnemonic.OR,
          Mnemonic.ADC,
          Mnemonic.SBB,
          Mnemonic.AND,
          Mnemonic.SUB,
          Mnemonic.XOR,
          Mnemonic.INC,
          Mnemonic.DEC,
          Mnemonic.NEG,
          Mnemonic.NOT,
          Mnemonic.XCHG,
          Mnemonic.XADD,
          Mnemonic.CMPXCHG);

  /** Operands decide all of what these touch: anything else is a difference. */
  private static final Set<Mnemonic> EXPLICIT = explicit();

  /** The instruction may touch memory that no operand names. */
  boolean implicit;

  boolean reads;
  boolean writes;

  /** Offset of what is touched in {@link #segment}; valid where {@link #located}. */
  long offset;

  int segment;

  /** Bytes from {@link #offset}. */
  int size;

  boolean located;

  /** What is stored where that follows from the record; valid where {@link #storesKnown}. */
  long stored;

  boolean storesKnown;

  private static Set<Mnemonic> explicit() {
    final Set<Mnemonic> set = EnumSet.copyOf(WRITES_ONLY);
    set.addAll(READS_ONLY);
    set.addAll(MODIFIES);
    set.addAll(EnumSet.of(Mnemonic.MOVZX, Mnemonic.MOVSX, Mnemonic.MOVSXD, Mnemonic.MOVS));
    set.addAll(EnumSet.of(Mnemonic.IMUL, Mnemonic.BT));
    return set;
  }

  /** Describes what the instruction of a record may touch in the direction of the record. */
  void of(final ExitEvent event, final Instruction insn) {
    implicit = !EXPLICIT.contains(insn.mnemonic) || insn.operandKind[0] == Instruction.SEGMENT;
    located = false;
    storesKnown = false;
    reads = true;
    writes = true;
    segment = Seg.DS;
    final int operand = memoryOperand(event, insn);
    if (operand < 0) {
      reads = implicit;
      writes = implicit;
      return;
    }
    direction(insn, operand);
    if (implicit) {
      return;
    }
    switch (insn.operandKind[operand]) {
      case Instruction.STRING_SOURCE -> {
        offset = EffectiveAddress.string(event, insn, true);
        segment = insn.segment;
        size = insn.operandSizes[operand];
      }
      case Instruction.STRING_DESTINATION -> {
        offset = EffectiveAddress.string(event, insn, false);
        segment = Seg.ES;
        size = insn.operandSizes[operand];
      }
      default -> {
        offset = EffectiveAddress.offset(event, insn);
        segment = insn.segment;
        size = insn.memorySize;
      }
    }
    // A bit string reaches beyond the operand that it starts in; CMPS reads either of two.
    located =
        size > 0
            && insn.mnemonic != Mnemonic.CMPS
            && !(insn.mnemonic == Mnemonic.BT && insn.operandKind[1] == Instruction.GPR);
    store(event, insn, operand);
  }

  /** The operand in memory that a record of this direction is about, or -1. */
  private static int memoryOperand(final ExitEvent event, final Instruction insn) {
    int found = -1;
    for (int i = 0; i < insn.operandCount; i++) {
      final int kind = insn.operandKind[i];
      if (kind == Instruction.MEMORY
          || kind == Instruction.STRING_SOURCE
          || kind == Instruction.STRING_DESTINATION) {
        // MOVS has two: the second one is read.
        if (found < 0 || (insn.mnemonic == Mnemonic.MOVS && !event.write)) {
          found = i;
        }
      }
    }
    return found;
  }

  private void direction(final Instruction insn, final int operand) {
    final Mnemonic mnemonic = insn.mnemonic;
    if (mnemonic == Mnemonic.MOVS) {
      reads = operand == 1;
      writes = operand == 0;
    } else if (mnemonic == Mnemonic.XCHG || mnemonic == Mnemonic.XADD) {
      reads = true;
      writes = true;
    } else if (operand > 0 || READS_ONLY.contains(mnemonic) || mnemonic == Mnemonic.BT) {
      reads = true;
      writes = implicit;
    } else if (WRITES_ONLY.contains(mnemonic)) {
      reads = false;
    }
  }

  /** Whether it reads and then writes the same place. */
  boolean modifies() {
    return reads && writes && !implicit;
  }

  private void store(final ExitEvent event, final Instruction insn, final int operand) {
    switch (insn.mnemonic) {
      case MOV, MOVNTI -> {
        if (operand == 0) {
          source(event, insn, 1);
        }
      }
      case XCHG -> source(event, insn, 1 - operand);
      case STOS -> {
        stored = EffectiveAddress.register(event, Gpr.RAX);
        storesKnown = true;
      }
      default -> {}
    }
  }

  private void source(final ExitEvent event, final Instruction insn, final int operand) {
    switch (insn.operandKind[operand]) {
      case Instruction.GPR -> {
        stored = gpr(event, insn.operandRegister[operand]);
        storesKnown = true;
      }
      case Instruction.IMMEDIATE -> {
        stored = insn.immediate;
        storesKnown = true;
      }
      default -> {}
    }
  }

  /** Value of a register operand; its upper bits are beyond the operand. */
  static long gpr(final ExitEvent event, final int register) {
    if ((register & Gpr.HIGH_BYTE) != 0) {
      return EffectiveAddress.register(event, register & 3) >>> 8;
    }
    return EffectiveAddress.register(event, register);
  }
}

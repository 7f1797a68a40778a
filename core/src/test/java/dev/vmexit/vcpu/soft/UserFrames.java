package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;

/**
 * Puts what an instruction takes for an address, a selector or flags where it looks for them:
 * branches lead to the instruction behind, or to a fault.
 */
final class UserFrames {
  private UserFrames() {}

  /** False where the instruction may take what is not under control for an address. */
  static boolean fill(final UserCases cases, final UserContext c) {
    final Instruction insn = cases.insn;
    final int size = insn.operandSize;
    final long next = (c.codeSize == 2 ? 0 : cases.base()) + c.codeOffset + cases.codeLength();
    final long stack = UserCases.stackOffset(c);
    return switch (insn.mnemonic) {
      case JMP, CALL -> {
        relative(cases);
        if (insn.operandKind[0] == Instruction.GPR) {
          c.gprs[insn.operandRegister[0]] = next;
          yield insn.operandRegister[0] != Gpr.RSP;
        }
        yield insn.operandKind[0] != Instruction.MEMORY
            || cases.write(c, insn.segment, cases.operandOffset, size, next);
      }
      case JMPF, CALLF -> {
        final int selector = codeSelector(cases, c);
        if (insn.operandKind[0] == Instruction.MEMORY) {
          yield cases.write(c, insn.segment, cases.operandOffset, size, next)
              && cases.write(c, insn.segment, cases.operandOffset + size, 2, selector);
        }
        final int at = cases.codeLength() - 2 - size;
        FloatValues.put(cases.codeBytes(), at, size, next);
        FloatValues.put(cases.codeBytes(), at + size, 2, selector);
        yield true;
      }
      case RET -> cases.write(c, Seg.SS, stack, size, next);
      case RETF ->
          cases.write(c, Seg.SS, stack, size, next)
              && cases.write(c, Seg.SS, stack + size, 2, codeSelector(cases, c));
      case IRET ->
          cases.write(c, Seg.SS, stack, size, next)
              && cases.write(c, Seg.SS, stack + size, 2, codeSelector(cases, c))
              && cases.write(c, Seg.SS, stack + 2 * size, size, image(cases))
              && cases.write(c, Seg.SS, stack + 3 * size, size, stack + cases.below(32))
              && cases.write(
                  c,
                  Seg.SS,
                  stack + 4 * size,
                  2,
                  cases.below(4) == 0 ? cases.selectorOfSomeKind() : c.ss);
      case POPF -> cases.write(c, Seg.SS, stack, size, image(cases));
      case MOV -> insn.operandKind[0] != Instruction.SEGMENT || selector(cases, c, 1);
      case POP ->
          insn.operandKind[0] != Instruction.SEGMENT
              || cases.write(c, Seg.SS, stack, 2, cases.selectorOfSomeKind());
      case LAR, LSL -> selector(cases, c, 1);
      case VERR, VERW -> selector(cases, c, 0);
      case ARPL -> selector(cases, c, 0) && selector(cases, c, 1);
      case LDS, LES, LSS ->
          cases.write(c, insn.segment, cases.operandOffset + size, 2, cases.selectorOfSomeKind());
      case CMPXCHG -> {
        if (insn.hasMemory && cases.below(2) == 0) {
          cases.write(c, insn.segment, cases.operandOffset, size, c.gprs[Gpr.RAX]);
        }
        yield true;
      }
      case CMPXCHG8B, CMPXCHG16B -> {
        if (cases.below(2) == 0) {
          final int half = insn.memorySize / 2;
          cases.write(c, insn.segment, cases.operandOffset, half, c.gprs[Gpr.RAX]);
          cases.write(c, insn.segment, cases.operandOffset + half, half, c.gprs[Gpr.RDX]);
        }
        yield true;
      }
      default -> {
        relative(cases);
        yield true;
      }
    };
  }

  /** A relative branch goes to the instruction behind, taken or not. */
  private static void relative(final UserCases cases) {
    final Instruction insn = cases.insn;
    if (insn.operandKind[0] == Instruction.RELATIVE && insn.operandCount > 0) {
      final int bytes = (insn.opcode >> 8) == 0 && (insn.opcode & 0xFE) != 0xE8 ? 1 : 0;
      final int size = bytes == 1 ? 1 : insn.operandSize == 2 ? 2 : 4;
      FloatValues.put(cases.codeBytes(), cases.codeLength() - size, size, 0);
    }
  }

  /** Flags but for TF, which would trap behind the code. */
  private static long image(final UserCases cases) {
    return cases.below(1 << 24) & ~(long) (Flags.TF | Flags.RF | Flags.VM);
  }

  /** Mostly the running one; others of kinds that cannot be entered. */
  private static int codeSelector(final UserCases cases, final UserContext c) {
    if (cases.below(4) != 0) {
      return c.codeSelector();
    }
    final int selector = cases.selectorOfSomeKind();
    final int index = selector >> 3;
    final boolean enters =
        (selector & 4) == 0 ? index == 4 || index == 6 : index == 0 || index == 7 || index == 9;
    return enters ? c.codeSelector() : selector;
  }

  /** Names a descriptor of some kind by an operand, in a register or in memory. */
  private static boolean selector(final UserCases cases, final UserContext c, final int operand) {
    final Instruction insn = cases.insn;
    final int selector = cases.selectorOfSomeKind();
    if (insn.operandKind[operand] == Instruction.MEMORY) {
      return cases.write(c, insn.segment, cases.operandOffset, 2, selector);
    }
    final int register = insn.operandRegister[operand];
    c.gprs[register] = c.gprs[register] & ~0xFFFFL | selector;
    return register != Gpr.RSP;
  }
}

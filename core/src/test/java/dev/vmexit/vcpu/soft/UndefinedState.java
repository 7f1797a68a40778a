package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * What instructions leave undefined: flags by SDM Vol. 2, "Flags Affected" of each (summed up in
 * Vol. 1, appendix A), condition codes of the x87 by Vol. 1, table 8-1 and each one's "FPU Flags
 * Affected".
 */
final class UndefinedState {
  private static final int C0 = 1 << 8;
  private static final int C2 = 1 << 10;
  private static final int C3 = 1 << 14;

  private static final int STACK_FAULT = 12;
  private static final int PAGE_FAULT = 14;
  private static final int GENERAL_PROTECTION = 13;

  private UndefinedState() {}

  /** RFLAGS bits that an instruction leaves undefined on a state. */
  static long flags(final Instruction insn, final UserContext before) {
    return switch (insn.mnemonic) {
      case AND, OR, XOR, TEST -> Flags.AF;
      case MUL, IMUL -> Flags.SF | Flags.ZF | Flags.AF | Flags.PF;
      case DIV, IDIV -> Flags.ARITHMETIC;
      case AAA, AAS -> Flags.OF | Flags.SF | Flags.ZF | Flags.PF;
      case AAM, AAD -> Flags.OF | Flags.AF | Flags.CF;
      case DAA, DAS -> Flags.OF;
      case BT, BTS, BTR, BTC -> Flags.OF | Flags.SF | Flags.AF | Flags.PF;
      case BSF, BSR -> Flags.CF | Flags.OF | Flags.SF | Flags.AF | Flags.PF;
      case LZCNT, TZCNT -> Flags.OF | Flags.SF | Flags.AF | Flags.PF;
      case BLSI, BLSR, BLSMSK, BZHI, ANDN -> Flags.AF | Flags.PF;
      case BEXTR -> Flags.AF | Flags.SF | Flags.PF;
      case ROL, ROR, RCL, RCR, SHL, SHR, SAR -> shift(insn, before);
      case SHLD, SHRD -> {
        final int count = count(insn, before);
        yield count == 0 ? 0 : Flags.AF | (count == 1 ? 0 : Flags.OF);
      }
      default -> 0;
    };
  }

  private static long shift(final Instruction insn, final UserContext before) {
    final int count = count(insn, before);
    if (count == 0) {
      return 0;
    }
    final long overflow = count == 1 ? 0 : Flags.OF;
    return switch (insn.mnemonic) {
      case ROL, ROR, RCL, RCR -> overflow;
      case SAR -> overflow | Flags.AF;
      default -> overflow | Flags.AF | (count >= insn.operandSize * 8 ? Flags.CF : 0);
    };
  }

  /** The masked count of a shift: CL, an immediate, or one. */
  private static int count(final Instruction insn, final UserContext before) {
    final int last = insn.operandCount - 1;
    final int raw =
        insn.operandKind[last] == Instruction.IMMEDIATE
            ? (int) insn.immediate
            : insn.operandKind[last] == Instruction.GPR ? (int) before.gprs[Gpr.RCX] : 1;
    return raw & (insn.operandSize == 8 ? 63 : 31);
  }

  /** Whether the result itself is undefined: SHLD and SHRD of 16 bits by more. */
  static boolean result(final Instruction insn, final UserContext before) {
    return switch (insn.mnemonic) {
      case SHLD, SHRD -> insn.operandSize == 2 && count(insn, before) > 16;
      default -> false;
    };
  }

  /** Whether the destination is undefined when ZF is set after it. */
  static boolean destinationIfZero(final Instruction insn) {
    return switch (insn.mnemonic) {
      case BSF, BSR -> true;
      default -> false;
    };
  }

  /** Bits of a general register that an instruction leaves undefined. */
  static long bits(final Instruction insn, final int register) {
    // The limit's bits in LAR's result (SDM Vol. 2A, LAR).
    return insn.mnemonic == Mnemonic.LAR && insn.operandRegister[0] == register ? 0xF_0000 : 0;
  }

  /** Whether a fault may come by any of several accesses, with some of them done already. */
  static boolean orderOfAccesses(final Instruction insn) {
    return switch (insn.mnemonic) {
      case ENTER, IRET, PUSHA, POPA, RETF, CALLF, BOUND -> true;
      case CMPS, MOVS, MASKMOVQ, MASKMOVDQU, VMASKMOVDQU, ARPL -> true;
      default -> false;
    };
  }

  /** Whether processors are free to fault here and the host used it otherwise than the manual. */
  static boolean processorsDiffer(final Instruction insn, final int host, final int soft) {
    return switch (insn.mnemonic) {
      // AMD's take operands that are not aligned, Intel's do not: of one that crosses into a page
      // that is not there, AMD's then see the page fault.
      case SHA1NEXTE, SHA1MSG1, SHA1MSG2, SHA1RNDS4, SHA256MSG1, SHA256MSG2, SHA256RNDS2 ->
          soft == GENERAL_PROTECTION && (host < STACK_FAULT || host == PAGE_FAULT);
      // A mask of zeros may fault or not (SDM Vol. 2B, MASKMOVDQU).
      case MASKMOVQ, MASKMOVDQU, VMASKMOVDQU -> soft < STACK_FAULT && host >= STACK_FAULT;
      default -> false;
    };
  }

  /** Products and sums: which of their exceptions are seen beside an unmasked one is not said. */
  static boolean manySteps(final Instruction insn) {
    return switch (insn.mnemonic) {
      case DPPS, DPPD, VDPPS, VDPPD -> true;
      default -> false;
    };
  }

  /** Bits of the x87 status word that an instruction leaves undefined. */
  static int status(final Instruction insn) {
    if (insn.opcode >> 8 != 0 || (insn.opcode & 0xF8) != 0xD8) {
      return 0;
    }
    return switch (insn.mnemonic) {
      case FCOM, FCOMP, FCOMPP, FICOM, FICOMP, FUCOM, FUCOMP, FUCOMPP, FTST, FXAM -> 0;
      case FPREM, FPREM1, FNINIT -> 0;
      default -> C0 | C2 | C3;
    };
  }
}

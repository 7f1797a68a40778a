package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.x86.decode.Instruction;

/** Binds x87 instructions to their semantics. */
public final class X87Ops {
  private X87Ops() {}

  /** Gives an instruction's op, or null where it is none of the x87's. */
  public static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case FADD,
          FADDP,
          FIADD,
          FMUL,
          FMULP,
          FIMUL,
          FSUB,
          FSUBP,
          FISUB,
          FSUBR,
          FSUBRP,
          FISUBR,
          FDIV,
          FDIVP,
          FIDIV,
          FDIVR,
          FDIVRP,
          FIDIVR,
          FCOM,
          FCOMP,
          FCOMPP,
          FICOM,
          FICOMP ->
          X87Arithmetic.bind(insn);
      case FUCOM -> new X87Compare(insn, true, false, 0);
      case FUCOMP -> new X87Compare(insn, true, false, 1);
      case FUCOMPP -> new X87Compare(insn, true, false, 2);
      case FCOMI -> new X87Compare(insn, false, true, 0);
      case FCOMIP -> new X87Compare(insn, false, true, 1);
      case FUCOMI -> new X87Compare(insn, true, true, 0);
      case FUCOMIP -> new X87Compare(insn, true, true, 1);
      case FLD, FILD, FBLD -> new X87Load(insn);
      case FST, FSTP -> insn.hasMemory ? new X87Store(insn) : new X87Copy(insn);
      case FIST, FISTP, FISTTP, FBSTP -> new X87Store(insn);
      case FXCH, FCMOVB, FCMOVE, FCMOVBE, FCMOVU, FCMOVNB, FCMOVNE, FCMOVNBE, FCMOVNU ->
          new X87Copy(insn);
      case FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ -> new X87Constant(insn);
      case FCHS, FABS, FTST, FXAM, FSQRT, FRNDINT -> new X87Unary(insn);
      case FSCALE, FXTRACT, FPREM, FPREM1 -> new X87Scaling(insn);
      case F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS, FSINCOS -> new X87Transcendental(insn);
      case FNINIT,
          FNCLEX,
          FNOP,
          FNENI,
          FNDISI,
          FNSETPM,
          FDECSTP,
          FINCSTP,
          FFREE,
          FFREEP,
          FLDCW,
          FNSTCW,
          FNSTSW,
          FWAIT ->
          new X87Control(insn);
      case FLDENV, FNSTENV, FRSTOR, FNSAVE -> new X87Environment(insn);
      default -> null;
    };
  }
}

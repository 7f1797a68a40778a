package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.x86.decode.Instruction;

/** Binds integer instructions to ops. */
public final class IntegerOps {
  private IntegerOps() {}

  /**
   * Binds an instruction, or null where it is not of this group.
   *
   * <p>Not of this group though of a name in it: moves to and from segment, control and debug
   * registers, PUSH and POP of segment registers.
   *
   * @param insn a decoded instruction; nothing of it is kept
   */
  public static Op bind(final Instruction insn) {
    if (insn.hasPrefix(Instruction.PREFIX_LOCK)) {
      final Op locked = LockedOps.bind(insn);
      if (locked != null) {
        return locked;
      }
    }
    return switch (insn.mnemonic) {
      case MOV, MOVNTI -> MovForms.bind(insn);
      case MOVZX -> ExtendForms.bindZero(insn);
      case MOVSX -> ExtendForms.bindSign(insn);
      case MOVSXD -> ExtendForms.bindSignDoubleword(insn);
      case LEA -> MiscOps.bindLea(insn);
      case ADD -> AddForms.bind(insn);
      case OR -> OrForms.bind(insn);
      case ADC -> AdcForms.bind(insn);
      case SBB -> SbbForms.bind(insn);
      case AND -> AndForms.bind(insn);
      case SUB -> SubForms.bind(insn);
      case XOR -> XorForms.bind(insn);
      case CMP -> CmpForms.bind(insn);
      case TEST -> TestForms.bind(insn);
      case INC -> IncForms.bind(insn);
      case DEC -> DecForms.bind(insn);
      case NEG -> NegForms.bind(insn);
      case NOT -> NotForms.bind(insn);
      case MUL -> MultiplyOps.bindUnsigned(insn);
      case IMUL -> MultiplyOps.bindSigned(insn);
      case DIV -> DivideOps.bind(insn, false);
      case IDIV -> DivideOps.bind(insn, true);
      case ROL -> ShiftForms.bind(insn, Shifts.ROL);
      case ROR -> ShiftForms.bind(insn, Shifts.ROR);
      case RCL -> ShiftForms.bind(insn, Shifts.RCL);
      case RCR -> ShiftForms.bind(insn, Shifts.RCR);
      case SHL -> ShiftForms.bind(insn, Shifts.SHL);
      case SHR -> ShiftForms.bind(insn, Shifts.SHR);
      case SAR -> ShiftForms.bind(insn, Shifts.SAR);
      case SHLD -> ShiftForms.bindDouble(insn, true);
      case SHRD -> ShiftForms.bindDouble(insn, false);
      case BT -> BitOps.bindTest(insn, BitOps.TEST);
      case BTS -> BitOps.bindTest(insn, BitOps.SET);
      case BTR -> BitOps.bindTest(insn, BitOps.RESET);
      case BTC -> BitOps.bindTest(insn, BitOps.COMPLEMENT);
      case BSF -> BitOps.bindScan(insn, BitOps.SCAN_FORWARD);
      case BSR -> BitOps.bindScan(insn, BitOps.SCAN_REVERSE);
      case POPCNT -> BitOps.bindScan(insn, BitOps.POPULATION);
      case LZCNT -> BitOps.bindScan(insn, BitOps.LEADING);
      case TZCNT -> BitOps.bindScan(insn, BitOps.TRAILING);
      case JO, JNO, JB, JAE, JE, JNE, JBE, JA, JS, JNS, JP, JNP, JL, JGE, JLE, JG ->
          ConditionalJumps.bind(insn);
      case SETO,
          SETNO,
          SETB,
          SETAE,
          SETE,
          SETNE,
          SETBE,
          SETA,
          SETS,
          SETNS,
          SETP,
          SETNP,
          SETL,
          SETGE,
          SETLE,
          SETG ->
          ConditionalSets.bind(insn);
      case CMOVO,
          CMOVNO,
          CMOVB,
          CMOVAE,
          CMOVE,
          CMOVNE,
          CMOVBE,
          CMOVA,
          CMOVS,
          CMOVNS,
          CMOVP,
          CMOVNP,
          CMOVL,
          CMOVGE,
          CMOVLE,
          CMOVG ->
          ConditionalMoves.bind(insn);
      case JMP -> Branches.bindJump(insn);
      case CALL -> Branches.bindCall(insn);
      case RET -> new Branches.Return(insn);
      case LOOP -> new Branches.Loop(insn, Branches.Loop.ALWAYS);
      case LOOPE -> new Branches.Loop(insn, Branches.Loop.WHILE_EQUAL);
      case LOOPNE -> new Branches.Loop(insn, Branches.Loop.WHILE_NOT_EQUAL);
      case JRCXZ -> new Branches.JumpCounterZero(insn);
      case MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS -> StringOps.bind(insn);
      default -> bindRarer(insn);
    };
  }

  private static Op bindRarer(final Instruction insn) {
    return switch (insn.mnemonic) {
      case PUSH -> StackOps.bindPush(insn);
      case POP -> StackOps.bindPop(insn);
      case PUSHA -> new StackOps.PushAll(insn);
      case POPA -> new StackOps.PopAll(insn);
      case ENTER -> new StackOps.Enter(insn);
      case LEAVE -> new StackOps.Leave(insn);
      case XCHG -> ExchangeOps.bindExchange(insn);
      case XADD -> ExchangeOps.bindExchangeAdd(insn);
      case CMPXCHG -> ExchangeOps.bindCompareExchange(insn);
      case CMPXCHG8B -> new ExchangeOps.Compare8(insn);
      case CMPXCHG16B -> new ExchangeOps.Compare16(insn);
      case BSWAP -> new ExchangeOps.SwapBytes(insn);
      case MOVBE -> new ExchangeOps.MoveSwapped(insn);
      case CBW -> new MiscOps.ExtendAccumulator(insn, 2);
      case CWDE -> new MiscOps.ExtendAccumulator(insn, 4);
      case CDQE -> new MiscOps.ExtendAccumulator(insn, 8);
      case CWD -> new MiscOps.ExtendToRdx(insn, 2);
      case CDQ -> new MiscOps.ExtendToRdx(insn, 4);
      case CQO -> new MiscOps.ExtendToRdx(insn, 8);
      case XLAT -> new MiscOps.Translate(insn);
      case BOUND -> new MiscOps.Bound(insn);
      case CRC32 -> new MiscOps.Crc32(insn);
      case CLC -> new FlagOps.ClearCarry(insn);
      case STC -> new FlagOps.SetCarry(insn);
      case CMC -> new FlagOps.ComplementCarry(insn);
      case CLD -> new FlagOps.Direction(insn, false);
      case STD -> new FlagOps.Direction(insn, true);
      case LAHF -> new FlagOps.LoadAh(insn);
      case SAHF -> new FlagOps.StoreAh(insn);
      case SALC -> new FlagOps.SetAlOnCarry(insn);
      case DAA -> new DecimalOps.AdjustPacked(insn, false);
      case DAS -> new DecimalOps.AdjustPacked(insn, true);
      case AAA -> new DecimalOps.AdjustUnpacked(insn, false);
      case AAS -> new DecimalOps.AdjustUnpacked(insn, true);
      case AAM -> new DecimalOps.AdjustAfterMultiply(insn);
      case AAD -> new DecimalOps.AdjustBeforeDivide(insn);
      case NOP,
          PAUSE,
          ENDBR32,
          ENDBR64,
          PREFETCH,
          PREFETCHW,
          PREFETCHWT1,
          PREFETCHNTA,
          PREFETCHT0,
          PREFETCHT1,
          PREFETCHT2 ->
          new MiscOps.Nothing(insn);
      default -> ManipulationOps.bind(insn);
    };
  }
}

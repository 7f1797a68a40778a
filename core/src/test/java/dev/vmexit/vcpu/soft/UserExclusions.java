package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;

/** Instructions that cannot be held against the host as they are, and what holds them instead. */
final class UserExclusions {
  private UserExclusions() {}

  /** Why an instruction is not compared, or null where it is. */
  static String why(final Instruction insn, final boolean locked) {
    if (locked && (insn.opcode == 0x100 || insn.opcode == 0x120 || insn.opcode == 0x122)) {
      return "AMD takes LOCK, for CR8 among others: DecoderTest";
    }
    return switch (insn.mnemonic) {
      case SYSCALL, SYSENTER, SYSEXIT, SYSRET -> "enters the kernel: FastCallTest";
      case CPUID, RDTSC, RDTSCP, RDPMC, RDRAND, RDSEED, RDPID, XGETBV ->
          "answers differ by processor: ExitTest, SystemFeaturesTest, XsaveHostTest";
      case SGDT, SIDT, SLDT, STR, SMSW -> "Linux emulates them for UMIP: UmipTest, SegmentTest";
      case RDFSBASE, WRFSBASE, RDGSBASE, WRGSBASE -> "FS is the C library's: SegmentTest";
      case XSAVE, XSAVEC, XSAVEOPT, XRSTOR -> "by the states of the host: XsaveHostTest";
      case FXSAVE, FXRSTOR, FNSAVE, FRSTOR, FNSTENV, FLDENV ->
          "keep pointers as each processor likes: FpuStateTest";
      case LDMXCSR, VLDMXCSR -> "bit 17 is AMD's: FpuStateTest";
      case FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1 ->
          "the last place differs by processor: X87HostTest";
      case RCPPS, RCPSS, RSQRTPS, RSQRTSS, VRCPPS, VRCPSS, VRSQRTPS, VRSQRTSS ->
          "the manual bounds the error alone: SseHostTest";
      case RDPKRU, WRPKRU -> "PKRU is the kernel's choice: ProtectionKeysTest";
      case ARPL -> insn.hasMemory ? "AMD wants to write only where it writes: SegmentTest" : null;
      case MOVSXD ->
          insn.hasMemory && insn.operandSize == 2
              ? "AMD reads four bytes for the 16-bit form: IntegerHostTest"
              : null;
      case INT1 -> "hypervisors replay it with another rip: EventDeliveryTest";
      case NOP ->
          insn.opcode == 0x10D && !insn.hasMemory ? "AMD has no register form of 0F 0D" : null;
      case LFS, LGS -> "FS is the C library's: SegmentTest";
      case MOV, POP, PUSH -> {
        for (int i = 0; i < insn.operandCount; i++) {
          if (insn.operandKind[i] == Instruction.SEGMENT && insn.operandRegister[i] >= Seg.FS) {
            yield "FS is the C library's: SegmentTest";
          }
        }
        yield null;
      }
      case LSS -> insn.operandSize == 8 ? "AMD has no 64-bit form: SegmentTest" : null;
      case JMPF, CALLF -> insn.operandSize == 8 ? "AMD has no 64-bit form: SegmentTest" : null;
      default -> branch(insn);
    };
  }

  private static String branch(final Instruction insn) {
    final boolean near =
        switch (insn.mnemonic) {
          case JMP, CALL, RET, LOOP, LOOPE, LOOPNE, JRCXZ -> true;
          default -> insn.operandCount > 0 && insn.operandKind[0] == Instruction.RELATIVE;
        };
    return near && insn.codeSize == 8 && insn.hasPrefix(Instruction.PREFIX_OPERAND_SIZE)
        ? "AMD shortens near branches by 66, Intel does not: BranchesTest"
        : null;
  }
}

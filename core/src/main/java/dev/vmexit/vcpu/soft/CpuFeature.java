package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * What a processor may have or lack, beyond the base that every 64-bit processor has, and where
 * CPUID says so (SDM Vol. 2A, CPUID).
 */
enum CpuFeature {
  FPU(1, 3, 0),
  VME(1, 3, 1),
  DE(1, 3, 2),
  PSE(1, 3, 3),
  TSC(1, 3, 4),
  MSR(1, 3, 5),
  PAE(1, 3, 6),
  MCE(1, 3, 7),
  CX8(1, 3, 8),
  APIC(1, 3, 9),
  SEP(1, 3, 11),
  MTRR(1, 3, 12),
  PGE(1, 3, 13),
  CMOV(1, 3, 15),
  PAT(1, 3, 16),
  PSE36(1, 3, 17),
  CLFSH(1, 3, 19),
  MMX(1, 3, 23),
  FXSR(1, 3, 24),
  SSE(1, 3, 25),
  SSE2(1, 3, 26),
  SSE3(1, 2, 0),
  PCLMULQDQ(1, 2, 1),
  MONITOR(1, 2, 3),
  SSSE3(1, 2, 9),
  FMA(1, 2, 12),
  CX16(1, 2, 13),
  PCID(1, 2, 17),
  SSE4_1(1, 2, 19),
  SSE4_2(1, 2, 20),
  X2APIC(1, 2, 21),
  MOVBE(1, 2, 22),
  POPCNT(1, 2, 23),
  TSC_DEADLINE(1, 2, 24),
  AES(1, 2, 25),
  XSAVE(1, 2, 26),
  AVX(1, 2, 28),
  F16C(1, 2, 29),
  RDRAND(1, 2, 30),
  HYPERVISOR(1, 2, 31),
  FSGSBASE(7, 1, 0),
  BMI1(7, 1, 3),
  AVX2(7, 1, 5),
  SMEP(7, 1, 7),
  BMI2(7, 1, 8),
  INVPCID(7, 1, 10),
  RDSEED(7, 1, 18),
  ADX(7, 1, 19),
  SMAP(7, 1, 20),
  SHA(7, 1, 29),
  UMIP(7, 2, 2),
  PKU(7, 2, 3),
  VAES(7, 2, 9),
  VPCLMULQDQ(7, 2, 10),
  RDPID(7, 2, 22),
  XSAVEOPT(0xD, 0, 0),
  XSAVEC(0xD, 0, 1),
  /** XGETBV with ECX = 1. */
  XGETBV1(0xD, 0, 2),
  LAHF(0x8000_0001, 2, 0),
  LZCNT(0x8000_0001, 2, 5),
  SYSCALL(0x8000_0001, 3, 11),
  NX(0x8000_0001, 3, 20),
  PDPE1GB(0x8000_0001, 3, 26),
  RDTSCP(0x8000_0001, 3, 27),
  LM(0x8000_0001, 3, 29);

  final int leaf;

  /** 0 EAX, 1 EBX, 2 ECX, 3 EDX. */
  final int register;

  final int bit;

  CpuFeature(final int leaf, final int register, final int bit) {
    this.leaf = leaf;
    this.register = register;
    this.bit = 1 << bit;
  }

  /** The feature that an instruction belongs to, or null where it is of the base. */
  static CpuFeature of(final Instruction insn) {
    if (insn.hasPrefix(Instruction.PREFIX_VEX)) {
      return ofVex(insn);
    }
    return switch (insn.mnemonic) {
      case ADDSUBPS, ADDSUBPD, HADDPS, HADDPD, HSUBPS, HSUBPD -> SSE3;
      case LDDQU, MOVDDUP, MOVSHDUP, MOVSLDUP, FISTTP -> SSE3;
      case CMPXCHG16B -> CX16;
      case MOVBE -> MOVBE;
      case POPCNT -> POPCNT;
      case CRC32 -> SSE4_2;
      case LZCNT -> LZCNT;
      case TZCNT -> BMI1;
      case ADCX, ADOX -> ADX;
      case RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE -> FSGSBASE;
      case XSAVE, XRSTOR, XGETBV, XSETBV -> XSAVE;
      case XSAVEOPT -> XSAVEOPT;
      case XSAVEC -> XSAVEC;
      case MONITOR, MWAIT -> MONITOR;
      case RDPKRU, WRPKRU -> PKU;
      case RDRAND -> RDRAND;
      case RDSEED -> RDSEED;
      case RDPID -> RDPID;
      case INVPCID -> INVPCID;
      case STAC, CLAC -> SMAP;
      case CMPXCHG8B -> CX8;
      case RDTSC -> TSC;
      case RDTSCP -> RDTSCP;
      case RDMSR, WRMSR -> MSR;
      case SYSENTER, SYSEXIT -> SEP;
      case SYSCALL, SYSRET -> SYSCALL;
      case SWAPGS -> LM;
      case FXSAVE, FXRSTOR -> FXSR;
      case CLFLUSH -> CLFSH;
      case LDMXCSR, STMXCSR, SFENCE -> SSE;
      // The P6 reserved them as hints that do nothing.
      case PREFETCHNTA, PREFETCHT0, PREFETCHT1, PREFETCHT2, ENDBR32, ENDBR64 -> CMOV;
      case NOP -> insn.opcode >> 8 == 1 ? CMOV : null;
      case LFENCE, MFENCE, MOVNTI -> SSE2;
      case FCMOVB, FCMOVE, FCMOVBE, FCMOVU, FCMOVNB, FCMOVNE, FCMOVNBE, FCMOVNU -> CMOV;
      case FCOMI, FCOMIP, FUCOMI, FUCOMIP, RDPMC -> CMOV;
      case EMMS -> MMX;
      case MOVNTQ, MASKMOVQ, PSHUFW -> SSE;
      default -> {
        final CpuFeature byMap = ofMap(insn.opcode >> 8, insn.opcode & 0xFF);
        yield byMap == null ? ofBase(insn) : byMap;
      }
    };
  }

  /** What came between the 486 and the first processors of 64 bits. */
  private static CpuFeature ofBase(final Instruction insn) {
    if (insn.opcode >> 4 == 0x14) {
      return CMOV;
    }
    if (insn.opcode >> 8 != 1) {
      return null;
    }
    boolean mmx = false;
    for (int i = 0; i < insn.operandCount; i++) {
      if (insn.operandKind[i] == Instruction.XMM) {
        return SSE2;
      }
      mmx |= insn.operandKind[i] == Instruction.MMX;
    }
    if (!mmx) {
      return null;
    }
    return switch (insn.mnemonic) {
      case PINSRW, PEXTRW, PMOVMSKB, PMINUB, PMAXUB, PMINSW, PMAXSW -> SSE;
      case PAVGB, PAVGW, PMULHUW, PSADBW -> SSE;
      case PADDQ, PSUBQ, PMULUDQ -> SSE2;
      default -> MMX;
    };
  }

  /** SSSE3 and later vector instructions have the maps 0F 38 and 0F 3A for themselves. */
  private static CpuFeature ofMap(final int map, final int opcode) {
    if (map == 2) {
      return switch (opcode) {
        case 0x37 -> SSE4_2;
        case 0x1C, 0x1D, 0x1E -> SSSE3;
        case 0xDB, 0xDC, 0xDD, 0xDE, 0xDF -> AES;
        case 0xC8, 0xC9, 0xCA, 0xCB, 0xCC, 0xCD -> SHA;
        default -> opcode < 0x10 ? SSSE3 : opcode < 0x80 ? SSE4_1 : null;
      };
    }
    if (map == 3) {
      return switch (opcode) {
        case 0x0F -> SSSE3;
        case 0x44 -> PCLMULQDQ;
        case 0x60, 0x61, 0x62, 0x63 -> SSE4_2;
        case 0xCC -> SHA;
        case 0xDF -> AES;
        default -> opcode < 0x60 ? SSE4_1 : null;
      };
    }
    return null;
  }

  private static CpuFeature ofVex(final Instruction insn) {
    final boolean wide =
        insn.operandCount > 0
            && (insn.operandKind[0] == Instruction.YMM
                || insn.operandCount > 1 && insn.operandKind[1] == Instruction.YMM);
    return switch (insn.mnemonic) {
      case ANDN, BEXTR, BLSI, BLSMSK, BLSR -> BMI1;
      case BZHI, MULX, PDEP, PEXT, RORX, SARX, SHLX, SHRX -> BMI2;
      case VCVTPH2PS, VCVTPS2PH -> F16C;
      case VAESENC, VAESENCLAST, VAESDEC, VAESDECLAST -> wide ? VAES : AES;
      case VAESIMC, VAESKEYGENASSIST -> AES;
      case VPCLMULQDQ -> wide ? VPCLMULQDQ : PCLMULQDQ;
      case VPTEST, VPERMILPS, VPERMILPD, VPERM2F128 -> AVX;
      case VMPSADBW, VMOVNTDQA -> wide ? AVX2 : AVX;
      case VBROADCASTSS, VBROADCASTSD -> insn.hasMemory ? AVX : AVX2;
      default -> ofVexName(insn.mnemonic, wide);
    };
  }

  /** What has the name of an SSE instruction came with AVX; packed integers of 256 bits later. */
  private static CpuFeature ofVexName(final Mnemonic mnemonic, final boolean wide) {
    return switch (mnemonic) {
      case VPBROADCASTB,
          VPBROADCASTW,
          VPBROADCASTD,
          VPBROADCASTQ,
          VBROADCASTI128,
          VINSERTI128,
          VEXTRACTI128,
          VPERM2I128,
          VPERMD,
          VPERMQ,
          VPERMPS,
          VPERMPD,
          VPBLENDD,
          VPMASKMOVD,
          VPMASKMOVQ,
          VPSLLVD,
          VPSLLVQ,
          VPSRLVD,
          VPSRLVQ,
          VPSRAVD,
          VPGATHERDD,
          VPGATHERDQ,
          VPGATHERQD,
          VPGATHERQQ,
          VGATHERDPS,
          VGATHERDPD,
          VGATHERQPS,
          VGATHERQPD ->
          AVX2;
      default -> {
        final String name = mnemonic.name();
        yield name.startsWith("VFM") || name.startsWith("VFNM")
            ? FMA
            : wide && name.startsWith("VP") ? AVX2 : AVX;
      }
    };
  }
}

package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * What a processor may have or lack, beyond the base that every 64-bit processor has, and where
 * CPUID says so (SDM Vol. 2A, CPUID).
 */
enum CpuFeature {
  SSE3(1, 2, 0),
  PCLMULQDQ(1, 2, 1),
  SSSE3(1, 2, 9),
  FMA(1, 2, 12),
  CX16(1, 2, 13),
  SSE4_1(1, 2, 19),
  SSE4_2(1, 2, 20),
  MOVBE(1, 2, 22),
  POPCNT(1, 2, 23),
  AES(1, 2, 25),
  XSAVE(1, 2, 26),
  AVX(1, 2, 28),
  F16C(1, 2, 29),
  HYPERVISOR(1, 2, 31),
  FSGSBASE(7, 1, 0),
  BMI1(7, 1, 3),
  AVX2(7, 1, 5),
  BMI2(7, 1, 8),
  ADX(7, 1, 19),
  SHA(7, 1, 29),
  VAES(7, 2, 9),
  VPCLMULQDQ(7, 2, 10),
  XSAVEOPT(0xD, 0, 0),
  XSAVEC(0xD, 0, 1),
  /** XGETBV with ECX = 1. */
  XGETBV1(0xD, 0, 2),
  LZCNT(0x8000_0001, 2, 5);

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
      default -> ofMap(insn.opcode >> 8, insn.opcode & 0xFF);
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

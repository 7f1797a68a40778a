package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.x86.decode.Mnemonic;
import java.util.function.LongBinaryOperator;
import java.util.function.LongUnaryOperator;

/** Which of {@link Lanes} a packed integer instruction is. */
final class LaneTable {
  private LaneTable() {}

  /** Instructions that work on each 64 bits alone: (destination, source) to result; else null. */
  static LongBinaryOperator lane(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case PADDB -> Lanes::addBytes;
      case PADDW -> Lanes::addWords;
      case PADDD -> Lanes::addDoublewords;
      case PADDQ -> Long::sum;
      case PSUBB -> Lanes::subtractBytes;
      case PSUBW -> Lanes::subtractWords;
      case PSUBD -> Lanes::subtractDoublewords;
      case PSUBQ -> (a, b) -> a - b;
      case PADDSB -> Lanes::addSignedSaturatedBytes;
      case PADDSW -> Lanes::addSignedSaturatedWords;
      case PADDUSB -> Lanes::addUnsignedSaturatedBytes;
      case PADDUSW -> Lanes::addUnsignedSaturatedWords;
      case PSUBSB -> Lanes::subtractSignedSaturatedBytes;
      case PSUBSW -> Lanes::subtractSignedSaturatedWords;
      case PSUBUSB -> Lanes::subtractUnsignedSaturatedBytes;
      case PSUBUSW -> Lanes::subtractUnsignedSaturatedWords;
      case PAVGB -> Lanes::averageBytes;
      case PAVGW -> Lanes::averageWords;
      case PMULLW -> Lanes::multiplyLowWords;
      case PMULHW -> Lanes::multiplyHighWords;
      case PMULHUW -> Lanes::multiplyHighUnsignedWords;
      case PMULUDQ -> Lanes::multiplyUnsignedDoubleword;
      case PMADDWD -> Lanes::multiplyAddWords;
      case PSADBW -> Lanes::sumOfAbsoluteDifferences;
      case PMINUB -> Lanes::minUnsignedBytes;
      case PMAXUB -> Lanes::maxUnsignedBytes;
      case PMINSW -> Lanes::minSignedWords;
      case PMAXSW -> Lanes::maxSignedWords;
      case PCMPEQB -> Lanes::equalBytes;
      case PCMPEQW -> Lanes::equalWords;
      case PCMPEQD -> Lanes::equalDoublewords;
      case PCMPGTB -> Lanes::greaterBytes;
      case PCMPGTW -> Lanes::greaterWords;
      case PCMPGTD -> Lanes::greaterDoublewords;
      case PSIGNB -> Lanes::signBytes;
      case PSIGNW -> Lanes::signWords;
      case PSIGND -> Lanes::signDoublewords;
      case PABSB -> Lanes::absoluteBytes;
      case PABSW -> Lanes::absoluteWords;
      case PABSD -> Lanes::absoluteDoublewords;
      case PMULHRSW -> Lanes::multiplyRoundedWords;
      case PMADDUBSW -> Lanes::multiplyAddBytes;
      case PMINSB -> Lanes::minSignedBytes;
      case PMAXSB -> Lanes::maxSignedBytes;
      case PMINUW -> Lanes::minUnsignedWords;
      case PMAXUW -> Lanes::maxUnsignedWords;
      case PMINSD -> Lanes::minSignedDoublewords;
      case PMAXSD -> Lanes::maxSignedDoublewords;
      case PMINUD -> Lanes::minUnsignedDoublewords;
      case PMAXUD -> Lanes::maxUnsignedDoublewords;
      case PMULLD -> Lanes::multiplyLowDoublewords;
      case PMULDQ -> Lanes::multiplySignedDoubleword;
      case PCMPEQQ -> Lanes::equalQuadwords;
      case PCMPGTQ -> Lanes::greaterQuadwords;
      case PAND, ANDPS, ANDPD -> Lanes::and;
      case PANDN, ANDNPS, ANDNPD -> Lanes::andNot;
      case POR, ORPS, ORPD -> Lanes::or;
      case PXOR, XORPS, XORPD -> Lanes::xor;
      default -> null;
    };
  }

  /** SSSE3's sums of neighbours: 64 bits to sums in the low 32; else null. */
  static LongUnaryOperator neighbours(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case PHADDW -> Lanes::addWordPairs;
      case PHADDSW -> Lanes::addWordPairsSaturated;
      case PHADDD -> a -> a + (a >>> 32) & 0xFFFF_FFFFL;
      case PHSUBW -> Lanes::subtractWordPairs;
      case PHSUBSW -> Lanes::subtractWordPairsSaturated;
      case PHSUBD -> a -> a - (a >>> 32) & 0xFFFF_FFFFL;
      default -> null;
    };
  }

  /** Shifts: (value, count) to result; else null. */
  static LongBinaryOperator shift(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case PSLLW -> Lanes::shiftLeftWords;
      case PSLLD -> Lanes::shiftLeftDoublewords;
      case PSLLQ -> Lanes::shiftLeftQuadword;
      case PSRLW -> Lanes::shiftRightWords;
      case PSRLD -> Lanes::shiftRightDoublewords;
      case PSRLQ -> Lanes::shiftRightQuadword;
      case PSRAW -> Lanes::shiftArithmeticWords;
      case PSRAD -> Lanes::shiftArithmeticDoublewords;
      default -> null;
    };
  }
}

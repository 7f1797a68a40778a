package dev.vmexit.x86.decode;

/** 3DNow! instructions: the byte after the operands says which (AMD, 3DNow! Technology, 2.2). */
final class Suffix3dNow {
  private Suffix3dNow() {}

  /** The instruction of a suffix, or {@link Mnemonic#INVALID}. */
  static Mnemonic of(final int suffix) {
    return switch (suffix) {
      case 0x0C -> Mnemonic.PI2FW;
      case 0x0D -> Mnemonic.PI2FD;
      case 0x1C -> Mnemonic.PF2IW;
      case 0x1D -> Mnemonic.PF2ID;
      case 0x8A -> Mnemonic.PFNACC;
      case 0x8E -> Mnemonic.PFPNACC;
      case 0x90 -> Mnemonic.PFCMPGE;
      case 0x94 -> Mnemonic.PFMIN;
      case 0x96 -> Mnemonic.PFRCP;
      case 0x97 -> Mnemonic.PFRSQRT;
      case 0x9A -> Mnemonic.PFSUB;
      case 0x9E -> Mnemonic.PFADD;
      case 0xA0 -> Mnemonic.PFCMPGT;
      case 0xA4 -> Mnemonic.PFMAX;
      case 0xA6 -> Mnemonic.PFRCPIT1;
      case 0xA7 -> Mnemonic.PFRSQIT1;
      case 0xAA -> Mnemonic.PFSUBR;
      case 0xAE -> Mnemonic.PFACC;
      case 0xB0 -> Mnemonic.PFCMPEQ;
      case 0xB4 -> Mnemonic.PFMUL;
      case 0xB6 -> Mnemonic.PFRCPIT2;
      case 0xB7 -> Mnemonic.PMULHRW;
      case 0xBB -> Mnemonic.PSWAPD;
      case 0xBF -> Mnemonic.PAVGUSB;
      default -> Mnemonic.INVALID;
    };
  }
}

package dev.vmexit.x86.decode;

/**
 * Operand codes of the opcode tables, after SDM Vol. 2D, A.2: a letter for the addressing method, a
 * letter for the size.
 *
 * <pre>
 *  31      24 23      16 15       8 7        0
 * +----------+----------+----------+----------+
 * | argument | mem size | reg size |  method  |
 * +----------+----------+----------+----------+
 * </pre>
 */
final class Operands {
  // Methods.
  static final int RM = 0;
  static final int REG = 1;
  static final int OPCODE_REG = 2;
  static final int FIXED = 3;
  static final int MEM = 4;
  static final int IMM8_SIGNED = 5;
  static final int IMM8 = 6;
  static final int IMM_Z = 7;
  static final int REL8 = 8;
  static final int REL_Z = 9;
  static final int ONE = 10;
  static final int IMM_V = 11;
  static final int IMM16 = 12;

  /** Second immediate, one byte. */
  static final int IMM8_SECOND = 13;

  static final int FAR = 14;
  static final int MOFFS = 15;
  static final int SREG = 16;
  static final int FIXED_SEGMENT = 17;
  static final int CR = 18;
  static final int DR = 19;
  static final int ST_FIXED = 20;
  static final int ST_RM = 21;
  static final int MMX_REG = 22;
  static final int MMX_RM = 23;
  static final int XMM_REG = 24;
  static final int XMM_RM = 25;
  static final int XMM_VVVV = 26;

  /** Register in bits 7 to 4 of an immediate byte. */
  static final int XMM_IMM = 27;

  static final int GPR_VVVV = 28;
  static final int MASK_REG = 29;
  static final int MASK_RM = 30;
  static final int MASK_VVVV = 31;
  static final int SOURCE = 32;
  static final int DESTINATION = 33;

  /** Sizes; the letter's position is its code. {@code -} is none. */
  private static final String SIZES = "-bwdqotvzypasmxhfenEFXAk";

  /** Value in {@link #SIZE} that stands for the address size. */
  static final int ADDRESS = 255;

  /** Bytes of a size code: {@code [code << 4 | L << 3 | 64-bit << 2 | log2(operand size) - 1]}. */
  static final short[] SIZE = sizes();

  private Operands() {}

  private static short[] sizes() {
    final short[] table = new short[SIZES.length() << 4];
    for (int i = 0; i < table.length; i++) {
      final int operand = i & 3;
      final boolean mode64 = (i & 4) != 0;
      final int vector = (i & 8) != 0 ? 32 : 16;
      final int size =
          switch (SIZES.charAt(i >> 4)) {
            case 'b' -> 1;
            case 'w' -> 2;
            case 'd' -> 4;
            case 'q' -> 8;
            case 'o' -> 16;
            case 't' -> 10;
            case 'v' -> 2 << operand;
            case 'z' -> operand == 0 ? 2 : 4;
            case 'y' -> operand == 2 ? 8 : 4;
            case 'p' -> 2 + (2 << operand); // far pointer
            case 'a' -> operand == 0 ? 4 : 8; // a pair of bounds
            case 's' -> mode64 ? 10 : 6; // pseudo-descriptor
            case 'm' -> mode64 ? 8 : 4; // what the mode's registers hold
            case 'x' -> vector;
            case 'h' -> vector / 2;
            case 'f' -> vector / 4;
            case 'e' -> vector / 8;
            case 'k' -> vector == 32 ? 32 : 8; // MOVDDUP
            case 'E' -> operand == 0 ? 14 : 28; // FLDENV
            case 'F' -> operand == 0 ? 94 : 108; // FSAVE
            case 'X' -> 512; // FXSAVE
            case 'n' -> 64; // a cache line
            case 'A' -> ADDRESS;
            default -> 0;
          };
      table[i] = (short) size;
    }
    return table;
  }

  static int method(final int operand) {
    return operand & 0xFF;
  }

  /** Packs the code of one operand; fails on what the tables' grammar does not know. */
  static int parse(final String text) {
    final int fixed =
        switch (text) {
          case "1" -> ONE | size('b');
          case "ib" -> IMM8_SIGNED | size('v');
          case "ub" -> IMM8 | size('b');
          case "ub2" -> IMM8_SECOND | size('b');
          case "iw" -> IMM16 | size('w');
          case "iz" -> IMM_Z | size('v');
          case "iv" -> IMM_V | size('v');
          case "jb" -> REL8 | size('v');
          case "jz" -> REL_Z | size('v');
          case "Ap" -> FAR | size('p');
          case "AL" -> FIXED | size('b');
          case "CL" -> FIXED | size('b') | 1 << 24;
          case "AX" -> FIXED | size('w');
          case "DX" -> FIXED | size('w') | 2 << 24;
          case "rAX" -> FIXED | size('v');
          case "eAX" -> FIXED | size('z');
          case "ST0" -> ST_FIXED | size('t');
          case "STi" -> ST_RM | size('t');
          case "Sw" -> SREG | size('w');
          default -> -1;
        };
    if (fixed >= 0) {
      return fixed;
    }
    final int segment = "ES CS SS DS FS GS".indexOf(text);
    if (segment >= 0) {
      return FIXED_SEGMENT | size('w') | segment / 3 << 24;
    }
    final int method =
        switch (text.charAt(0)) {
          case 'E', 'R' -> RM;
          case 'G' -> REG;
          case 'Z' -> OPCODE_REG;
          case 'M' -> MEM;
          case 'O' -> MOFFS;
          case 'C' -> CR;
          case 'D' -> DR;
          case 'P' -> MMX_REG;
          case 'Q', 'N' -> MMX_RM;
          case 'V' -> XMM_REG;
          case 'W', 'U' -> XMM_RM;
          case 'H' -> XMM_VVVV;
          case 'L' -> XMM_IMM;
          case 'B' -> GPR_VVVV;
          case 'K' -> MASK_REG;
          case 'k' -> MASK_RM;
          case 'h' -> MASK_VVVV;
          case 'X' -> SOURCE;
          case 'Y' -> DESTINATION;
          default -> throw new IllegalArgumentException("operand=" + text);
        };
    // "Ev", or "Ev:w" where memory has a size of its own.
    return method
        | size(text.charAt(1)) & 0xFF00
        | size(text.charAt(text.length() - 1)) & 0xFF_0000;
  }

  private static int size(final char letter) {
    final int code = SIZES.indexOf(letter);
    if (code < 0) {
      throw new IllegalArgumentException("size=" + letter);
    }
    return code << 8 | code << 16;
  }
}

package dev.vmexit.x86.decode;

/**
 * One decoded instruction: a flyweight that {@link Decoder} fills again and again, so that a decode
 * allocates nothing.
 *
 * <p>Operands stand in Intel order, destination first, implicit ones that the assembler syntax does
 * not show left out. There is at most one ModRM (or moffs) memory operand; its address is {@code
 * segment:[base + index * scale + displacement]} truncated to {@link #addressSize}. String
 * instructions name their memory by {@link #STRING_SOURCE} and {@link #STRING_DESTINATION}.
 *
 * <p>Not thread-safe. Sizes are in bytes.
 */
public final class Instruction {
  /** Longest instruction that the processor accepts. */
  public static final int MAX_LENGTH = 15;

  // Operand kinds.
  public static final int NONE = 0;

  /** General register; {@link #operandRegister} is a {@code Gpr} number, or AH..BH. */
  public static final int GPR = 1;

  /** ModRM or moffs memory. */
  public static final int MEMORY = 2;

  /** Immediate, in {@link #immediate} (ENTER's, EXTRQ's second one in {@link #immediate2}). */
  public static final int IMMEDIATE = 3;

  /** Branch displacement relative to the next instruction, sign-extended, in {@link #immediate}. */
  public static final int RELATIVE = 4;

  /** Segment register. */
  public static final int SEGMENT = 5;

  public static final int CONTROL = 6;
  public static final int DEBUG = 7;

  /** x87 stack register. */
  public static final int ST = 8;

  public static final int MMX = 9;
  public static final int XMM = 10;
  public static final int YMM = 11;

  /** Far pointer: offset in {@link #immediate}, selector in {@link #immediate2}. */
  public static final int FAR_POINTER = 12;

  /** DS:rSI, the segment overridable ({@link #segment}). */
  public static final int STRING_SOURCE = 13;

  /** ES:rDI, never overridable. */
  public static final int STRING_DESTINATION = 14;

  /** Mask register of AVX-512. */
  public static final int MASK = 15;

  // Bits of prefixes.
  public static final int PREFIX_LOCK = 1;

  /** F3. */
  public static final int PREFIX_REP = 1 << 1;

  /** F2. */
  public static final int PREFIX_REPNE = 1 << 2;

  /** 66. */
  public static final int PREFIX_OPERAND_SIZE = 1 << 3;

  /** 67. */
  public static final int PREFIX_ADDRESS_SIZE = 1 << 4;

  /** A segment override is in force (in 64-bit mode only FS and GS are). */
  public static final int PREFIX_SEGMENT = 1 << 5;

  public static final int PREFIX_REX = 1 << 6;
  public static final int PREFIX_REX_W = 1 << 7;
  public static final int PREFIX_VEX = 1 << 8;

  /** VEX.L: vectors of 256 bits, an index vector among them. */
  public static final int PREFIX_VEX_L = 1 << 9;

  /** Whole length with prefixes, 1 to 15; after a failed decode how many bytes were looked at. */
  public int length;

  public Mnemonic mnemonic;

  /** Opcode map in bits 8 and up (0: one byte, 1: 0F, 2: 0F 38, 3: 0F 3A), opcode byte below. */
  public int opcode;

  /** Bits above. Mandatory prefixes (66, F2, F3 of SSE) stay set here as they were read. */
  public int prefixes;

  /** Code size decoded for: 2, 4 or 8. */
  public int codeSize;

  /** Effective operand size of integer operations: 1, 2, 4 or 8. */
  public int operandSize;

  /** Effective address size: 2, 4 or 8. */
  public int addressSize;

  /** ModRM byte, or -1. */
  public int modrm;

  /** Whether the last ModRM or moffs operand is in memory. */
  public boolean hasMemory;

  /** Effective segment of the memory operand or of {@link #STRING_SOURCE}. */
  public int segment;

  /** Base register, {@code Gpr.RIP} (relative to the next instruction), or -1. */
  public int base;

  /** Index register, or -1. */
  public int index;

  /** 0 to 3: index times 1, 2, 4, 8. */
  public int scaleShift;

  /** Displacement, sign-extended (moffs: the absolute offset, zero-extended). */
  public long displacement;

  /** Bytes that the memory operand covers, 0 where it is an address alone (LEA, INVLPG). */
  public int memorySize;

  /** Immediate, sign-extended as the operation uses it. */
  public long immediate;

  public long immediate2;

  /** Operands in use. */
  public int operandCount;

  public final int[] operandKind = new int[5];

  /** Register number where the kind has one. */
  public final int[] operandRegister = new int[5];

  /** Bytes of the operand. */
  public final int[] operandSizes = new int[5];

  /** Whether any of the given prefix bits was read. */
  public boolean hasPrefix(final int bits) {
    return (prefixes & bits) != 0;
  }

  /** Condition code of Jcc, SETcc, CMOVcc (SDM Vol. 2, B.1.4.7): the opcode's low four bits. */
  public int condition() {
    return opcode & 0xF;
  }
}

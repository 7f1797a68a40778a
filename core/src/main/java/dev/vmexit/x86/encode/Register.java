package dev.vmexit.x86.encode;

/**
 * Registers that an instruction can name (SDM Vol. 2A, 2.1.5 and tables 3-1, 3-2), each with its
 * number in encodings. SPL to DIL need a REX prefix; AH to BH cannot stand beside one.
 */
public enum Register implements Operand {
  AL(Kind.GPR, 0, 1),
  CL(Kind.GPR, 1, 1),
  DL(Kind.GPR, 2, 1),
  BL(Kind.GPR, 3, 1),
  SPL(Kind.GPR, 4, 1),
  BPL(Kind.GPR, 5, 1),
  SIL(Kind.GPR, 6, 1),
  DIL(Kind.GPR, 7, 1),
  R8B(Kind.GPR, 8, 1),
  R9B(Kind.GPR, 9, 1),
  R10B(Kind.GPR, 10, 1),
  R11B(Kind.GPR, 11, 1),
  R12B(Kind.GPR, 12, 1),
  R13B(Kind.GPR, 13, 1),
  R14B(Kind.GPR, 14, 1),
  R15B(Kind.GPR, 15, 1),

  AH(Kind.HIGH_BYTE, 4, 1),
  CH(Kind.HIGH_BYTE, 5, 1),
  DH(Kind.HIGH_BYTE, 6, 1),
  BH(Kind.HIGH_BYTE, 7, 1),

  AX(Kind.GPR, 0, 2),
  CX(Kind.GPR, 1, 2),
  DX(Kind.GPR, 2, 2),
  BX(Kind.GPR, 3, 2),
  SP(Kind.GPR, 4, 2),
  BP(Kind.GPR, 5, 2),
  SI(Kind.GPR, 6, 2),
  DI(Kind.GPR, 7, 2),
  R8W(Kind.GPR, 8, 2),
  R9W(Kind.GPR, 9, 2),
  R10W(Kind.GPR, 10, 2),
  R11W(Kind.GPR, 11, 2),
  R12W(Kind.GPR, 12, 2),
  R13W(Kind.GPR, 13, 2),
  R14W(Kind.GPR, 14, 2),
  R15W(Kind.GPR, 15, 2),

  EAX(Kind.GPR, 0, 4),
  ECX(Kind.GPR, 1, 4),
  EDX(Kind.GPR, 2, 4),
  EBX(Kind.GPR, 3, 4),
  ESP(Kind.GPR, 4, 4),
  EBP(Kind.GPR, 5, 4),
  ESI(Kind.GPR, 6, 4),
  EDI(Kind.GPR, 7, 4),
  R8D(Kind.GPR, 8, 4),
  R9D(Kind.GPR, 9, 4),
  R10D(Kind.GPR, 10, 4),
  R11D(Kind.GPR, 11, 4),
  R12D(Kind.GPR, 12, 4),
  R13D(Kind.GPR, 13, 4),
  R14D(Kind.GPR, 14, 4),
  R15D(Kind.GPR, 15, 4),

  RAX(Kind.GPR, 0, 8),
  RCX(Kind.GPR, 1, 8),
  RDX(Kind.GPR, 2, 8),
  RBX(Kind.GPR, 3, 8),
  RSP(Kind.GPR, 4, 8),
  RBP(Kind.GPR, 5, 8),
  RSI(Kind.GPR, 6, 8),
  RDI(Kind.GPR, 7, 8),
  R8(Kind.GPR, 8, 8),
  R9(Kind.GPR, 9, 8),
  R10(Kind.GPR, 10, 8),
  R11(Kind.GPR, 11, 8),
  R12(Kind.GPR, 12, 8),
  R13(Kind.GPR, 13, 8),
  R14(Kind.GPR, 14, 8),
  R15(Kind.GPR, 15, 8),

  ES(Kind.SEGMENT, 0, 2),
  CS(Kind.SEGMENT, 1, 2),
  SS(Kind.SEGMENT, 2, 2),
  DS(Kind.SEGMENT, 3, 2),
  FS(Kind.SEGMENT, 4, 2),
  GS(Kind.SEGMENT, 5, 2),

  CR0(Kind.CONTROL, 0, 8),
  CR2(Kind.CONTROL, 2, 8),
  CR3(Kind.CONTROL, 3, 8),
  CR4(Kind.CONTROL, 4, 8),
  CR8(Kind.CONTROL, 8, 8),

  DR0(Kind.DEBUG, 0, 8),
  DR1(Kind.DEBUG, 1, 8),
  DR2(Kind.DEBUG, 2, 8),
  DR3(Kind.DEBUG, 3, 8),
  DR4(Kind.DEBUG, 4, 8),
  DR5(Kind.DEBUG, 5, 8),
  DR6(Kind.DEBUG, 6, 8),
  DR7(Kind.DEBUG, 7, 8),

  ST0(Kind.ST, 0, 10),
  ST1(Kind.ST, 1, 10),
  ST2(Kind.ST, 2, 10),
  ST3(Kind.ST, 3, 10),
  ST4(Kind.ST, 4, 10),
  ST5(Kind.ST, 5, 10),
  ST6(Kind.ST, 6, 10),
  ST7(Kind.ST, 7, 10),

  MM0(Kind.MMX, 0, 8),
  MM1(Kind.MMX, 1, 8),
  MM2(Kind.MMX, 2, 8),
  MM3(Kind.MMX, 3, 8),
  MM4(Kind.MMX, 4, 8),
  MM5(Kind.MMX, 5, 8),
  MM6(Kind.MMX, 6, 8),
  MM7(Kind.MMX, 7, 8),

  XMM0(Kind.XMM, 0, 16),
  XMM1(Kind.XMM, 1, 16),
  XMM2(Kind.XMM, 2, 16),
  XMM3(Kind.XMM, 3, 16),
  XMM4(Kind.XMM, 4, 16),
  XMM5(Kind.XMM, 5, 16),
  XMM6(Kind.XMM, 6, 16),
  XMM7(Kind.XMM, 7, 16),
  XMM8(Kind.XMM, 8, 16),
  XMM9(Kind.XMM, 9, 16),
  XMM10(Kind.XMM, 10, 16),
  XMM11(Kind.XMM, 11, 16),
  XMM12(Kind.XMM, 12, 16),
  XMM13(Kind.XMM, 13, 16),
  XMM14(Kind.XMM, 14, 16),
  XMM15(Kind.XMM, 15, 16);

  /** What a register holds, and so which encodings can name it. */
  public enum Kind {
    GPR,
    /** AH, CH, DH, BH: encoded as 4 to 7 where no REX prefix makes these SPL to DIL. */
    HIGH_BYTE,
    SEGMENT,
    CONTROL,
    DEBUG,
    ST,
    MMX,
    XMM
  }

  private static final int GPRS = 16;

  private final Kind kind;
  private final int number;
  private final int size;

  Register(final Kind kind, final int number, final int size) {
    this.kind = kind;
    this.number = number;
    this.size = size;
  }

  /** The general register of an encoding number (0 to 15) and a size (1, 2, 4 or 8 bytes). */
  public static Register gpr(final int number, final int size) {
    if (number < 0 || number >= GPRS) {
      throw new IllegalArgumentException("number=" + number + ", allowed: 0 to 15");
    }
    return switch (size) {
      case 1 -> values()[AL.ordinal() + number];
      case 2 -> values()[AX.ordinal() + number];
      case 4 -> values()[EAX.ordinal() + number];
      case 8 -> values()[RAX.ordinal() + number];
      default -> throw new IllegalArgumentException("size=" + size + ", allowed: 1, 2, 4, 8");
    };
  }

  /** AH, CH, DH or BH by its encoding number, 4 to 7. */
  public static Register highByte(final int number) {
    if (number < 4 || number > 7) {
      throw new IllegalArgumentException("number=" + number + ", allowed: 4 to 7");
    }
    return values()[AH.ordinal() + number - 4];
  }

  /** XMM register by number, 0 to 15. */
  public static Register xmm(final int number) {
    if (number < 0 || number >= GPRS) {
      throw new IllegalArgumentException("number=" + number + ", allowed: 0 to 15");
    }
    return values()[XMM0.ordinal() + number];
  }

  public Kind kind() {
    return kind;
  }

  /** Number in encodings; bit 3 goes to a REX prefix. */
  public int number() {
    return number;
  }

  @Override
  public int size() {
    return size;
  }

  boolean isGeneral() {
    return kind == Kind.GPR || kind == Kind.HIGH_BYTE;
  }

  boolean isAccumulator() {
    return kind == Kind.GPR && number == 0;
  }

  /** Whether only 64-bit code can name it. */
  boolean needs64BitCode() {
    return switch (kind) {
      case GPR -> number >= 8 || size == 8 || needsRex();
      case CONTROL, XMM -> number >= 8;
      default -> false;
    };
  }

  /** Whether it is named by the presence of a REX prefix alone (SPL, BPL, SIL, DIL). */
  boolean needsRex() {
    return kind == Kind.GPR && size == 1 && number >= 4;
  }
}

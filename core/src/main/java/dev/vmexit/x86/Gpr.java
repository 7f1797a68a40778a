package dev.vmexit.x86;

/**
 * General registers by their number in instruction encodings (SDM Vol. 2A, table 3-1), which is not
 * the order of {@code kvm_regs}: {@link #kvmIndex} maps one to the other.
 */
public final class Gpr {
  public static final int RAX = 0;
  public static final int RCX = 1;
  public static final int RDX = 2;
  public static final int RBX = 3;
  public static final int RSP = 4;
  public static final int RBP = 5;
  public static final int RSI = 6;
  public static final int RDI = 7;
  public static final int R8 = 8;
  public static final int R9 = 9;
  public static final int R10 = 10;
  public static final int R11 = 11;
  public static final int R12 = 12;
  public static final int R13 = 13;
  public static final int R14 = 14;
  public static final int R15 = 15;

  /** Number of general registers. */
  public static final int COUNT = 16;

  /** Pseudo register number of a RIP-relative base. */
  public static final int RIP = 16;

  /** Legacy high-byte registers: {@code HIGH_BYTE | 4..7} is AH, CH, DH, BH. */
  public static final int HIGH_BYTE = 0x10;

  public static final int AH = HIGH_BYTE | 4;
  public static final int CH = HIGH_BYTE | 5;
  public static final int DH = HIGH_BYTE | 6;
  public static final int BH = HIGH_BYTE | 7;

  private static final int[] KVM_INDEX = {0, 2, 3, 1, 6, 7, 4, 5, 8, 9, 10, 11, 12, 13, 14, 15};

  private Gpr() {}

  /** Index in {@code struct kvm_regs} (rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, …). */
  public static int kvmIndex(final int register) {
    return KVM_INDEX[register];
  }
}

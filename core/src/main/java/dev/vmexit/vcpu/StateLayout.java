package dev.vmexit.vcpu;

/**
 * Offsets of a vCPU's state: one zeroed, page-aligned block outside the heap per vCPU, shared by
 * the interpreter, later by translated code and by the KVM vCPU. All fields are little-endian and
 * naturally aligned.
 *
 * <pre>
 *   0x000  general registers        16 x 8   in the order of kvm_regs
 *   0x080  rip                      8
 *   0x088  rflags                   8        without the arithmetic flags while those are lazy
 *   0x090  lazy flags: result       8        sign-extended result: SF, ZF, PF
 *   0x098  lazy flags: carries      8        left-justified carry-outs: CF bit 63, OF bit 63^62
 *   0x0A0  lazy flags: aux          8        bit 4 AF; bits 2, 7 invert PF, SF of the result
 *   0x0A8  retired instructions     8
 *   0x0B0  always zero              8        the base, index or segment that an address lacks
 *   0x0B8  block rip                8        linear offset of the running block's start
 *   0x0C0  scratch                  8 x 8
 *   0x100  segments                 8 x 32   ES CS SS DS FS GS LDTR TR, see SEG_*
 *   0x200  system registers                  CR, DR, descriptor tables, MSRs
 *   0x400  x87 and SSE                       FPU_*, XMM_*
 *   0x1000 soft TLB                          TLB_*
 * </pre>
 */
public final class StateLayout {
  public static final int GPR = 0x000;
  public static final int RIP = 0x080;
  public static final int RFLAGS = 0x088;
  public static final int FLAG_RESULT = 0x090;
  public static final int FLAG_CARRIES = 0x098;
  public static final int FLAG_AUX = 0x0A0;
  public static final int RETIRED = 0x0A8;
  public static final int ZERO = 0x0B0;
  public static final int BLOCK_RIP = 0x0B8;
  public static final int SCRATCH = 0x0C0;

  public static final int SEGMENTS = 0x100;
  public static final int SEGMENT_SIZE = 32;

  /** 8 bytes: base. */
  public static final int SEG_BASE = 0;

  /** 8 bytes: limit in bytes, granularity applied, zero-extended. */
  public static final int SEG_LIMIT = 8;

  /**
   * 4 bytes: access rights as in the descriptor's upper half shifted right by 8: type 3:0, S 4, DPL
   * 6:5, P 7, AVL 12, L 13, D/B 14, G 15; {@link #SEG_UNUSABLE} for a null selector.
   */
  public static final int SEG_RIGHTS = 16;

  /** 4 bytes: selector, zero-extended. */
  public static final int SEG_SELECTOR = 20;

  public static final int SEG_UNUSABLE = 1 << 16;

  public static final int CR0 = 0x200;
  public static final int CR2 = 0x208;
  public static final int CR3 = 0x210;
  public static final int CR4 = 0x218;
  public static final int CR8 = 0x220;
  public static final int EFER = 0x228;
  public static final int GDTR_BASE = 0x230;
  public static final int GDTR_LIMIT = 0x238;
  public static final int IDTR_BASE = 0x240;
  public static final int IDTR_LIMIT = 0x248;

  /** DR0 to DR3, 8 bytes each. */
  public static final int DR0 = 0x250;

  public static final int DR6 = 0x270;
  public static final int DR7 = 0x278;
  public static final int STAR = 0x280;
  public static final int LSTAR = 0x288;
  public static final int CSTAR = 0x290;
  public static final int SFMASK = 0x298;
  public static final int KERNEL_GS_BASE = 0x2A0;
  public static final int SYSENTER_CS = 0x2A8;
  public static final int SYSENTER_ESP = 0x2B0;
  public static final int SYSENTER_EIP = 0x2B8;
  public static final int PAT = 0x2C0;
  public static final int TSC_AUX = 0x2C8;

  /** Added to the clock's TSC: WRMSR TSC, TSC_ADJUST. */
  public static final int TSC_OFFSET = 0x2D0;

  public static final int TSC_ADJUST = 0x2D8;
  public static final int APIC_BASE = 0x2E0;
  public static final int MISC_ENABLE = 0x2E8;
  public static final int XCR0 = 0x2F0;
  public static final int MTRR_DEF_TYPE = 0x2F8;

  /** Nested-paging PAE PDPTEs, 4 x 8 (SDM Vol. 3A, 4.4.1: loaded with CR3). */
  public static final int PDPTE = 0x300;

  /** The eleven fixed-range MTRRs, then eight pairs of variable ones, 8 bytes each. */
  public static final int MTRR_FIXED = 0x320;

  public static final int MTRR_VARIABLE = MTRR_FIXED + 11 * 8;

  /** x87 registers by physical number (not by stack position), 16 bytes each, 10 used. */
  public static final int FPU_REGISTERS = 0x400;

  public static final int FPU_REGISTER_SIZE = 16;

  /** 4 bytes each, values zero-extended. TOP is kept in the status word's bits 13:11. */
  public static final int FPU_CONTROL = 0x480;

  public static final int FPU_STATUS = 0x484;

  /** Abridged tag word as FXSAVE has it: a set bit is a register in use (physical number). */
  public static final int FPU_TAGS = 0x488;

  public static final int FPU_OPCODE = 0x48C;

  /** 8 bytes each. */
  public static final int FPU_IP = 0x490;

  public static final int FPU_DP = 0x498;

  /** 4 bytes each. */
  public static final int FPU_CS = 0x4A0;

  public static final int FPU_DS = 0x4A4;
  public static final int MXCSR = 0x4A8;

  /** Rights of the 16 protection keys: access and write disable, 2 bits each. */
  public static final int PKRU = 0x4AC;

  /** 16 registers of 32 bytes: XMM in the low half, YMM's upper half above. */
  public static final int XMM = 0x500;

  public static final int XMM_SIZE = 32;

  /**
   * Registers 16 to 20 stand behind the guest's sixteen, in the interpreter's sight alone: where
   * AVX instructions are done half by half.
   */
  public static final int XMM_SCRATCH = XMM + 16 * XMM_SIZE;

  /** Entries of {@link #TLB_ENTRY_SIZE} bytes, {@link #TLB_ENTRIES} for each of the contexts. */
  public static final int TLB = 0x1000;

  public static final int TLB_ENTRIES = 2048;
  public static final int TLB_ENTRY_SIZE = 32;

  /** Supervisor, user, and supervisor held off user pages (SMAP with AC clear). */
  public static final int TLB_CONTEXTS = 3;

  public static final int TLB_CONTEXT_SIZE = TLB_ENTRIES * TLB_ENTRY_SIZE;

  /** 8 bytes: page address that a read may hit, or {@link #TLB_NO_PAGE}. */
  public static final int TLB_READ = 0;

  public static final int TLB_WRITE = 8;
  public static final int TLB_FETCH = 16;

  /** 8 bytes: host address less guest linear address. */
  public static final int TLB_ADDEND = 24;

  /** Equals no page address: its low bits are set. */
  public static final long TLB_NO_PAGE = -1L;

  /** Bytes of the whole block. */
  public static final int SIZE = TLB + TLB_CONTEXTS * TLB_CONTEXT_SIZE;

  private StateLayout() {}

  /** Offset of a general register by its encoding number. */
  public static int gpr(final int register) {
    return GPR + dev.vmexit.x86.Gpr.kvmIndex(register) * 8;
  }

  /** Offset of an 8-bit register: a Gpr number, or AH..BH by {@code Gpr.HIGH_BYTE}. */
  public static int gpr8(final int register) {
    return (register & dev.vmexit.x86.Gpr.HIGH_BYTE) != 0 ? gpr(register & 3) + 1 : gpr(register);
  }

  /** Offset of a segment register's cache. */
  public static int segment(final int segment) {
    return SEGMENTS + segment * SEGMENT_SIZE;
  }
}

package dev.vmexit.x86;

/** Model-specific registers by address (SDM Vol. 4, chapter 2; AMD64 APM Vol. 2 for 0xC000xxxx). */
public final class Msr {
  public static final int TSC = 0x10;
  public static final int PLATFORM_ID = 0x17;
  public static final int APIC_BASE = 0x1B;
  public static final int FEATURE_CONTROL = 0x3A;
  public static final int TSC_ADJUST = 0x3B;
  public static final int SPEC_CTRL = 0x48;
  public static final int UCODE_REV = 0x8B;
  public static final int MTRR_CAP = 0xFE;
  public static final int SYSENTER_CS = 0x174;
  public static final int SYSENTER_ESP = 0x175;
  public static final int SYSENTER_EIP = 0x176;
  public static final int MCG_CAP = 0x179;
  public static final int MCG_STATUS = 0x17A;
  public static final int PLATFORM_INFO = 0xCE;
  public static final int PERF_STATUS = 0x198;
  public static final int PERF_CTL = 0x199;
  public static final int THERM_STATUS = 0x19C;
  public static final int MISC_ENABLE = 0x1A0;
  public static final int DEBUGCTL = 0x1D9;

  /** IA32_MTRR_PHYSBASE0; PHYSMASK0 is the next one, and so on by pairs. */
  public static final int MTRR_VARIABLE_FIRST = 0x200;

  public static final int MTRR_FIX64K_00000 = 0x250;
  public static final int MTRR_FIX16K_80000 = 0x258;
  public static final int MTRR_FIX16K_A0000 = 0x259;

  /** IA32_MTRR_FIX4K_C0000, the first of eight. */
  public static final int MTRR_FIX4K_FIRST = 0x268;

  public static final int PAT = 0x277;
  public static final int MTRR_DEF_TYPE = 0x2FF;
  public static final int TSC_DEADLINE = 0x6E0;
  public static final int X2APIC_FIRST = 0x800;
  public static final int X2APIC_LAST = 0x8FF;
  public static final int EFER = 0xC000_0080;
  public static final int STAR = 0xC000_0081;
  public static final int LSTAR = 0xC000_0082;
  public static final int CSTAR = 0xC000_0083;
  public static final int SFMASK = 0xC000_0084;
  public static final int FS_BASE = 0xC000_0100;
  public static final int GS_BASE = 0xC000_0101;
  public static final int KERNEL_GS_BASE = 0xC000_0102;
  public static final int TSC_AUX = 0xC000_0103;

  private Msr() {}
}

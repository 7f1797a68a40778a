package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * What CPUID says of the software vCPU: exactly what is implemented (SDM Vol. 2A, CPUID).
 *
 * <p>Family 6, model 28 is an in-order part that no speculation erratum names, so a guest turns no
 * mitigation on that would cost it time for nothing here. The frequencies of the TSC and of the
 * local APIC's timer are told in leaf 15H: both count nanoseconds.
 */
public final class CpuidModel {
  /** Family 6, model 28, stepping 10. */
  public static final int SIGNATURE = 0x000106CA;

  /** Ticks of the TSC and of the APIC timer's input, per second. */
  public static final int FREQUENCY = 1_000_000_000;

  /** Physical address bits. */
  public static final int PHYSICAL_BITS = 40;

  private static final int MAX_BASIC = 0x16;
  private static final int MAX_EXTENDED = 0x8000_0008;

  private static final int EDX_FPU = 1;
  private static final int EDX_DE = 1 << 2;
  private static final int EDX_PSE = 1 << 3;
  private static final int EDX_TSC = 1 << 4;
  private static final int EDX_MSR = 1 << 5;
  private static final int EDX_PAE = 1 << 6;
  private static final int EDX_MCE = 1 << 7;
  private static final int EDX_CX8 = 1 << 8;
  private static final int EDX_APIC = 1 << 9;
  private static final int EDX_SEP = 1 << 11;
  private static final int EDX_PGE = 1 << 13;
  private static final int EDX_CMOV = 1 << 15;
  private static final int EDX_PAT = 1 << 16;
  private static final int EDX_PSE36 = 1 << 17;
  private static final int EDX_CLFSH = 1 << 19;
  private static final int EDX_MMX = 1 << 23;
  private static final int EDX_FXSR = 1 << 24;
  private static final int EDX_SSE = 1 << 25;
  private static final int EDX_SSE2 = 1 << 26;

  private static final int ECX_SSE3 = 1;
  private static final int ECX_SSSE3 = 1 << 9;
  private static final int ECX_CX16 = 1 << 13;
  private static final int ECX_SSE41 = 1 << 19;
  private static final int ECX_SSE42 = 1 << 20;
  private static final int ECX_MOVBE = 1 << 22;
  private static final int ECX_POPCNT = 1 << 23;
  private static final int ECX_TSC_DEADLINE = 1 << 24;
  private static final int ECX_HYPERVISOR = 1 << 31;

  private static final int EXT_EDX_SYSCALL = 1 << 11;
  private static final int EXT_EDX_NX = 1 << 20;
  private static final int EXT_EDX_1GB_PAGES = 1 << 26;
  private static final int EXT_EDX_RDTSCP = 1 << 27;
  private static final int EXT_EDX_LM = 1 << 29;
  private static final int EXT_ECX_LAHF = 1;
  private static final int EXT_ECX_LZCNT = 1 << 5;
  private static final int INVARIANT_TSC = 1 << 8;

  private static final int[] BRAND = words("vmexit software processor at 1.00 GHz", 48);
  private static final int[] VENDOR = words("GenuineIntel", 12);
  private static final int[] HYPERVISOR = words("vmexitvmexit", 12);

  private CpuidModel() {}

  private static int[] words(final String text, final int bytes) {
    final ByteBuffer buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    buffer.put(text.getBytes(StandardCharsets.US_ASCII)).rewind();
    final int[] words = new int[bytes / 4];
    buffer.asIntBuffer().get(words);
    return words;
  }

  /**
   * Makes of a decoded instruction what this processor takes its bytes for: prefixes that it does
   * not know are ignored, and false says that it raises #UD though its semantics may be here.
   */
  static boolean knows(final Instruction insn) {
    switch (insn.mnemonic) {
      case TZCNT -> insn.mnemonic = Mnemonic.BSF;
      case ADCX, ADOX, RDRAND, RDSEED, XSAVE, XRSTOR, XGETBV, XSETBV -> {
        return false;
      }
      default -> {}
    }
    return true;
  }

  /**
   * Answers one leaf.
   *
   * @param apicId of the vCPU that asks
   * @param out eax, ebx, ecx, edx
   */
  public static void query(final int leaf, final int subleaf, final int apicId, final int[] out) {
    set(out, 0, 0, 0, 0);
    switch (leaf) {
      case 0 -> set(out, MAX_BASIC, VENDOR[0], VENDOR[2], VENDOR[1]);
      case 1 ->
          set(
              out,
              SIGNATURE,
              apicId << 24 | 1 << 16 | 8 << 8,
              ECX_SSE3
                  | ECX_SSSE3
                  | ECX_CX16
                  | ECX_SSE41
                  | ECX_SSE42
                  | ECX_MOVBE
                  | ECX_POPCNT
                  | ECX_TSC_DEADLINE
                  | ECX_HYPERVISOR,
              EDX_FPU | EDX_DE | EDX_PSE | EDX_TSC | EDX_MSR | EDX_PAE | EDX_MCE | EDX_CX8
                  | EDX_APIC | EDX_SEP | EDX_PGE | EDX_CMOV | EDX_PAT | EDX_PSE36 | EDX_CLFSH
                  | EDX_MMX | EDX_FXSR | EDX_SSE | EDX_SSE2);
      case 2 -> set(out, 1, 0, 0, 0);
      case 0x15 -> set(out, 1, 1, FREQUENCY, 0);
      case 0x16 -> set(out, FREQUENCY / 1_000_000, FREQUENCY / 1_000_000, 100, 0);
      case 0x4000_0000 -> set(out, 0x4000_0000, HYPERVISOR[0], HYPERVISOR[1], HYPERVISOR[2]);
      case 0x8000_0000 -> set(out, MAX_EXTENDED, 0, 0, 0);
      case 0x8000_0001 ->
          set(
              out,
              0,
              0,
              EXT_ECX_LAHF | EXT_ECX_LZCNT,
              EXT_EDX_SYSCALL | EXT_EDX_NX | EXT_EDX_1GB_PAGES | EXT_EDX_RDTSCP | EXT_EDX_LM);
      case 0x8000_0002, 0x8000_0003, 0x8000_0004 -> {
        final int at = (leaf - 0x8000_0002) * 4;
        set(out, BRAND[at], BRAND[at + 1], BRAND[at + 2], BRAND[at + 3]);
      }
      case 0x8000_0007 -> set(out, 0, 0, 0, INVARIANT_TSC);
      case 0x8000_0008 -> set(out, 48 << 8 | PHYSICAL_BITS, 0, 0, 0);
      default -> {}
    }
  }

  private static void set(
      final int[] out, final int eax, final int ebx, final int ecx, final int edx) {
    out[0] = eax;
    out[1] = ebx;
    out[2] = ecx;
    out[3] = edx;
  }
}

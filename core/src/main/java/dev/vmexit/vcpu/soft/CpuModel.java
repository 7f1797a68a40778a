package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;

/**
 * A model of processor: what CPUID says of the software vCPU, and which instructions it knows (SDM
 * Vol. 2A, CPUID). Nothing is said that is not implemented; what is not said raises #UD.
 *
 * <p>The models {@code x86-64-v1} to {@code v3} are the levels of the System V ABI for AMD64 (its
 * section 3.1.1); {@code max} has everything that there is.
 *
 * <p>Family 6, model 28 is an in-order part that no speculation erratum names, so a guest turns no
 * mitigation on that would cost it time for nothing here. The frequencies of the TSC and of the
 * local APIC's timer are told in leaf 15H: both count nanoseconds.
 */
public final class CpuModel {
  /** Names that {@link #of} takes. */
  public static final List<String> NAMES = List.of("max", "x86-64-v1", "x86-64-v2", "x86-64-v3");

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

  private static final int ECX_TSC_DEADLINE = 1 << 24;
  private static final int ECX_OSXSAVE = 1 << 27;

  private static final int EXT_EDX_SYSCALL = 1 << 11;
  private static final int EXT_EDX_NX = 1 << 20;
  private static final int EXT_EDX_1GB_PAGES = 1 << 26;
  private static final int EXT_EDX_RDTSCP = 1 << 27;
  private static final int EXT_EDX_LM = 1 << 29;
  private static final int EXT_ECX_LAHF = 1;
  private static final int INVARIANT_TSC = 1 << 8;

  /** Ends of the XSAVE area in the standard format: without and with YMM's upper halves. */
  private static final int LEGACY_STATE_END = 576;

  private static final int AVX_STATE_END = 832;

  private static final long BASE_CR4 =
      ControlRegisters.CR4_TSD
          | ControlRegisters.CR4_DE
          | ControlRegisters.CR4_PSE
          | ControlRegisters.CR4_PAE
          | ControlRegisters.CR4_MCE
          | ControlRegisters.CR4_PGE
          | ControlRegisters.CR4_PCE
          | ControlRegisters.CR4_OSFXSR
          | ControlRegisters.CR4_OSXMMEXCPT;

  private static final Set<CpuFeature> V2 =
      EnumSet.of(
          CpuFeature.CX16,
          CpuFeature.POPCNT,
          CpuFeature.SSE3,
          CpuFeature.SSSE3,
          CpuFeature.SSE4_1,
          CpuFeature.SSE4_2);

  private static final Set<CpuFeature> V3 =
      EnumSet.of(
          CpuFeature.AVX,
          CpuFeature.AVX2,
          CpuFeature.BMI1,
          CpuFeature.BMI2,
          CpuFeature.F16C,
          CpuFeature.FMA,
          CpuFeature.LZCNT,
          CpuFeature.MOVBE,
          CpuFeature.XSAVE,
          CpuFeature.XSAVEOPT,
          CpuFeature.XSAVEC,
          CpuFeature.XGETBV1);

  private static final int[] BRAND = words("vmexit software processor at 1.00 GHz", 48);
  private static final int[] VENDOR = words("GenuineIntel", 12);
  private static final int[] HYPERVISOR = words("vmexitvmexit", 12);

  private static final CpuModel MAX = new CpuModel("max", EnumSet.allOf(CpuFeature.class));

  private final String name;
  private final EnumSet<CpuFeature> features;

  /** The same, to walk through without an iterator: a guest's CPUID is an exit. */
  private final CpuFeature[] offered;

  private CpuModel(final String name, final EnumSet<CpuFeature> features) {
    this.name = name;
    this.features = features;
    offered = features.toArray(CpuFeature[]::new);
  }

  /** The richest model that there is. */
  public static CpuModel max() {
    return MAX;
  }

  /**
   * Finds a model.
   *
   * @param text one of {@link #NAMES}; {@code ,-hypervisor} behind it hides that this is a virtual
   *     machine
   * @throws IllegalArgumentException there is no such model: the message says which there are
   */
  public static CpuModel of(final String text) {
    final String[] parts = text.split(",", -1);
    final EnumSet<CpuFeature> features = level(parts[0]);
    for (int i = 1; i < parts.length; i++) {
      if (!"-hypervisor".equals(parts[i])) {
        throw new IllegalArgumentException(
            "'" + parts[i] + "' is not known; -hypervisor alone can follow a model");
      }
      features.remove(CpuFeature.HYPERVISOR);
    }
    return new CpuModel(text, features);
  }

  private static EnumSet<CpuFeature> level(final String model) {
    final EnumSet<CpuFeature> features = EnumSet.of(CpuFeature.HYPERVISOR);
    switch (model) {
      case "max" -> features.addAll(MAX.features);
      case "x86-64-v1" -> {}
      case "x86-64-v2" -> features.addAll(V2);
      case "x86-64-v3" -> {
        features.addAll(V2);
        features.addAll(V3);
      }
      default ->
          throw new IllegalArgumentException(
              "'" + model + "' is no model; there are " + String.join(", ", NAMES));
    }
    return features;
  }

  /** As {@link #of} was told. */
  public String name() {
    return name;
  }

  boolean has(final CpuFeature feature) {
    return features.contains(feature);
  }

  /** Bits of CR4 that may be set. */
  long allowedCr4() {
    return BASE_CR4
        | (has(CpuFeature.FSGSBASE) ? ControlRegisters.CR4_FSGSBASE : 0)
        | (has(CpuFeature.XSAVE) ? ControlRegisters.CR4_OSXSAVE : 0);
  }

  /** Bits of XCR0 that may be set. */
  long allowedXcr0() {
    return !has(CpuFeature.XSAVE) ? 1 : has(CpuFeature.AVX) ? 7 : 3;
  }

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
  boolean knows(final Instruction insn) {
    final CpuFeature feature = CpuFeature.of(insn);
    if (feature == null || has(feature)) {
      return true;
    }
    switch (feature) {
      case BMI1 -> {
        insn.mnemonic = insn.mnemonic == Mnemonic.TZCNT ? Mnemonic.BSF : insn.mnemonic;
        return insn.mnemonic == Mnemonic.BSF;
      }
      case LZCNT -> {
        insn.mnemonic = Mnemonic.BSR;
        return true;
      }
      default -> {
        return false;
      }
    }
  }

  /**
   * Answers one leaf.
   *
   * @param apicId of the vCPU that asks
   * @param cr4 as it is: OSXSAVE shows
   * @param xcr0 as it is: the size of the enabled state shows
   * @param out eax, ebx, ecx, edx
   */
  void query(
      final int leaf,
      final int subleaf,
      final int apicId,
      final long cr4,
      final long xcr0,
      final int[] out) {
    base(leaf, apicId, out);
    if (leaf == 0xD) {
      stateComponents(subleaf, xcr0, out);
    }
    if (leaf != 7 && leaf != 0xD || subleaf == (leaf == 0xD ? 1 : 0)) {
      for (final CpuFeature feature : offered) {
        out[feature.register] |= feature.leaf == leaf ? feature.bit : 0;
      }
    }
    if (leaf == 1 && (cr4 & ControlRegisters.CR4_OSXSAVE) != 0) {
      out[2] |= ECX_OSXSAVE;
    }
  }

  /** Leaf 0DH (SDM Vol. 1, 13.2): which components there are, how long and where. */
  private void stateComponents(final int subleaf, final long xcr0, final int[] out) {
    if (!has(CpuFeature.XSAVE)) {
      return;
    }
    final boolean avx = has(CpuFeature.AVX);
    switch (subleaf) {
      case 0 ->
          set(
              out,
              (int) allowedXcr0(),
              (xcr0 & 4) != 0 ? AVX_STATE_END : LEGACY_STATE_END,
              avx ? AVX_STATE_END : LEGACY_STATE_END,
              0);
      case 1 -> set(out, 0, (xcr0 & 4) != 0 ? AVX_STATE_END : LEGACY_STATE_END, 0, 0);
      case 2 ->
          set(out, avx ? AVX_STATE_END - LEGACY_STATE_END : 0, avx ? LEGACY_STATE_END : 0, 0, 0);
      default -> {}
    }
  }

  private void base(final int leaf, final int apicId, final int[] out) {
    set(out, 0, 0, 0, 0);
    switch (leaf) {
      case 0 -> set(out, MAX_BASIC, VENDOR[0], VENDOR[2], VENDOR[1]);
      case 1 ->
          set(
              out,
              SIGNATURE,
              apicId << 24 | 1 << 16 | 8 << 8,
              ECX_TSC_DEADLINE,
              EDX_FPU | EDX_DE | EDX_PSE | EDX_TSC | EDX_MSR | EDX_PAE | EDX_MCE | EDX_CX8
                  | EDX_APIC | EDX_SEP | EDX_PGE | EDX_CMOV | EDX_PAT | EDX_PSE36 | EDX_CLFSH
                  | EDX_MMX | EDX_FXSR | EDX_SSE | EDX_SSE2);
      case 2 -> set(out, 1, 0, 0, 0);
      case 0x15 -> set(out, 1, 1, FREQUENCY, 0);
      case 0x16 -> set(out, FREQUENCY / 1_000_000, FREQUENCY / 1_000_000, 100, 0);
      case 0x4000_0000 -> {
        if (has(CpuFeature.HYPERVISOR)) {
          set(out, 0x4000_0000, HYPERVISOR[0], HYPERVISOR[1], HYPERVISOR[2]);
        }
      }
      case 0x8000_0000 -> set(out, MAX_EXTENDED, 0, 0, 0);
      case 0x8000_0001 ->
          set(
              out,
              0,
              0,
              EXT_ECX_LAHF,
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

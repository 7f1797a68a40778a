package dev.vmexit.vcpu.soft;

import dev.vmexit.vcpu.soft.sse.XsaveLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A model of processor: what CPUID says of the software vCPU, and which instructions it knows (SDM
 * Vol. 2A, CPUID). Nothing is said that is not implemented; what is not said raises #UD.
 *
 * <p>The models {@code x86-64-v1} to {@code v3} are the levels of the System V ABI for AMD64 (its
 * section 3.1.1); {@code max} has everything that there is, {@code host-subset} what of it the
 * host's processor has too. {@code p6} and {@code 486} have no 64-bit mode.
 *
 * <p>Family 6, model 28 is an in-order part that no speculation erratum names, so a guest turns no
 * mitigation on that would cost it time for nothing here. The frequencies of the TSC and of the
 * local APIC's timer are told in leaf 15H: both count nanoseconds.
 */
public final class CpuModel {
  /** Names that {@link #of} takes. */
  public static final List<String> NAMES =
      List.of(
          "max", "x86-64-v1", "x86-64-v2", "x86-64-v3", "qemu64-like", "host-subset", "p6", "486");

  /** Family 6, model 28, stepping 10. */
  public static final int SIGNATURE = 0x000106CA;

  /** Family 6, model 5, stepping 2: a Pentium II. */
  private static final int SIGNATURE_P6 = 0x652;

  /** Family 4, model 8: an i486DX4. */
  private static final int SIGNATURE_486 = 0x480;

  /** Ticks of the TSC and of the APIC timer's input, per second. */
  public static final int FREQUENCY = 1_000_000_000;

  /** Physical address bits. */
  public static final int PHYSICAL_BITS = 40;

  private static final int MAX_BASIC = 0x16;
  private static final int MAX_EXTENDED = 0x8000_0008;

  private static final int ECX_OSXSAVE = 1 << 27;
  private static final int ECX_OSPKE = 1 << 4;
  private static final int INVARIANT_TSC = 1 << 8;

  /** The i486 had no CPUID feature but its FPU; this one is of those that had CPUID. */
  private static final Set<CpuFeature> I486 = EnumSet.of(CpuFeature.FPU);

  /** A Pentium II: the P6 with MMX. */
  private static final Set<CpuFeature> P6 =
      EnumSet.of(
          CpuFeature.FPU,
          CpuFeature.VME,
          CpuFeature.DE,
          CpuFeature.PSE,
          CpuFeature.TSC,
          CpuFeature.MSR,
          CpuFeature.PAE,
          CpuFeature.MCE,
          CpuFeature.CX8,
          CpuFeature.APIC,
          CpuFeature.SEP,
          CpuFeature.MTRR,
          CpuFeature.PGE,
          CpuFeature.CMOV,
          CpuFeature.PAT,
          CpuFeature.PSE36,
          CpuFeature.MMX,
          CpuFeature.FXSR);

  /** Beside the P6's: what every processor of 64 bits has, and what this one's clocks offer. */
  private static final Set<CpuFeature> V1 =
      EnumSet.of(
          CpuFeature.CLFSH,
          CpuFeature.SSE,
          CpuFeature.SSE2,
          CpuFeature.TSC_DEADLINE,
          CpuFeature.LAHF,
          CpuFeature.SYSCALL,
          CpuFeature.NX,
          CpuFeature.PDPE1GB,
          CpuFeature.RDTSCP,
          CpuFeature.LM);

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

  /** What a feature lets the guest set in CR4. */
  private static final Map<CpuFeature, Long> CR4_BITS =
      Map.ofEntries(
          Map.entry(CpuFeature.VME, ControlRegisters.CR4_VME | ControlRegisters.CR4_PVI),
          Map.entry(CpuFeature.TSC, ControlRegisters.CR4_TSD),
          Map.entry(CpuFeature.DE, ControlRegisters.CR4_DE),
          Map.entry(CpuFeature.PSE, ControlRegisters.CR4_PSE),
          Map.entry(CpuFeature.PAE, ControlRegisters.CR4_PAE),
          Map.entry(CpuFeature.MCE, ControlRegisters.CR4_MCE),
          Map.entry(CpuFeature.PGE, ControlRegisters.CR4_PGE),
          Map.entry(CpuFeature.CMOV, ControlRegisters.CR4_PCE),
          Map.entry(CpuFeature.FXSR, ControlRegisters.CR4_OSFXSR),
          Map.entry(CpuFeature.SSE, ControlRegisters.CR4_OSXMMEXCPT),
          Map.entry(CpuFeature.UMIP, ControlRegisters.CR4_UMIP),
          Map.entry(CpuFeature.FSGSBASE, ControlRegisters.CR4_FSGSBASE),
          Map.entry(CpuFeature.PCID, ControlRegisters.CR4_PCIDE),
          Map.entry(CpuFeature.XSAVE, ControlRegisters.CR4_OSXSAVE),
          Map.entry(CpuFeature.SMEP, ControlRegisters.CR4_SMEP),
          Map.entry(CpuFeature.SMAP, ControlRegisters.CR4_SMAP),
          Map.entry(CpuFeature.PKU, ControlRegisters.CR4_PKE));

  private static final int[] BRAND = words("vmexit software processor at 1.00 GHz", 48);
  private static final int[] VENDOR = words("GenuineIntel", 12);
  private static final int[] HYPERVISOR = words("vmexitvmexit", 12);

  private static final CpuModel MAX = new CpuModel("max", EnumSet.allOf(CpuFeature.class));

  private final String name;
  private final EnumSet<CpuFeature> features;
  private final long allowedCr4;

  /** The same, to walk through without an iterator: a guest's CPUID is an exit. */
  private final CpuFeature[] offered;

  private CpuModel(final String name, final EnumSet<CpuFeature> features) {
    this.name = name;
    this.features = features;
    long bits = 0;
    for (final CpuFeature feature : features) {
      bits |= CR4_BITS.getOrDefault(feature, 0L);
    }
    allowedCr4 = bits;
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
      case "host-subset" -> {
        features.addAll(MAX.features);
        features.retainAll(HostFeatures.known());
        features.add(CpuFeature.HYPERVISOR);
      }
      case "486" -> features.addAll(I486);
      case "p6" -> features.addAll(P6);
      case "x86-64-v1" -> addLevel(features, 1);
      case "qemu64-like" -> {
        addLevel(features, 1);
        features.add(CpuFeature.SSE3);
        features.add(CpuFeature.CX16);
        features.add(CpuFeature.X2APIC);
      }
      case "x86-64-v2" -> addLevel(features, 2);
      case "x86-64-v3" -> addLevel(features, 3);
      default ->
          throw new IllegalArgumentException(
              "'" + model + "' is no model; there are " + String.join(", ", NAMES));
    }
    return features;
  }

  private static void addLevel(final EnumSet<CpuFeature> features, final int level) {
    features.addAll(P6);
    features.addAll(V1);
    if (level >= 2) {
      features.addAll(V2);
    }
    if (level >= 3) {
      features.addAll(V3);
    }
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
    return allowedCr4;
  }

  /** Bits of EFER that may be set. */
  long allowedEfer() {
    return (has(CpuFeature.SYSCALL) ? ControlRegisters.EFER_SCE : 0)
        | (has(CpuFeature.LM) ? ControlRegisters.EFER_LME : 0)
        | (has(CpuFeature.NX) ? ControlRegisters.EFER_NXE : 0);
  }

  /** What CPUID's leaf 1 has in EAX, and EDX after reset. */
  int signature() {
    return has(CpuFeature.LM) ? SIGNATURE : has(CpuFeature.CMOV) ? SIGNATURE_P6 : SIGNATURE_486;
  }

  /** Bits of XCR0 that may be set. */
  long allowedXcr0() {
    if (!has(CpuFeature.XSAVE)) {
      return XsaveLayout.X87;
    }
    return XsaveLayout.X87
        | XsaveLayout.SSE
        | (has(CpuFeature.AVX) ? XsaveLayout.AVX : 0)
        | (has(CpuFeature.PKU) ? XsaveLayout.PKRU : 0);
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
    if (Integer.compareUnsigned(leaf, 0x8000_0000) < 0
        ? leaf > maxBasic() && leaf >>> 24 != 0x40
        : !has(CpuFeature.LM)) {
      set(out, 0, 0, 0, 0);
      return;
    }
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
    if (leaf == 7 && subleaf == 0 && (cr4 & ControlRegisters.CR4_PKE) != 0) {
      out[2] |= ECX_OSPKE;
    }
  }

  private int maxBasic() {
    return has(CpuFeature.LM) ? MAX_BASIC : has(CpuFeature.CMOV) ? 2 : 1;
  }

  /** Leaf 0DH (SDM Vol. 1, 13.2): which components there are, how long and where. */
  private void stateComponents(final int subleaf, final long xcr0, final int[] out) {
    if (!has(CpuFeature.XSAVE)) {
      return;
    }
    switch (subleaf) {
      case 0 ->
          set(
              out,
              (int) allowedXcr0(),
              XsaveLayout.standardSize(xcr0),
              XsaveLayout.standardSize(allowedXcr0()),
              0);
      case 1 -> set(out, 0, XsaveLayout.compactedSize(xcr0), 0, 0);
      case XsaveLayout.AVX_NUMBER, XsaveLayout.PKRU_NUMBER -> {
        if ((allowedXcr0() >>> subleaf & 1) != 0) {
          set(out, XsaveLayout.size(subleaf), XsaveLayout.offset(subleaf), 0, 0);
        }
      }
      default -> {}
    }
  }

  private void base(final int leaf, final int apicId, final int[] out) {
    set(out, 0, 0, 0, 0);
    switch (leaf) {
      case 0 -> set(out, maxBasic(), VENDOR[0], VENDOR[2], VENDOR[1]);
      case 1 ->
          set(
              out,
              signature(),
              has(CpuFeature.APIC)
                  ? apicId << 24 | 1 << 16 | (has(CpuFeature.CLFSH) ? 8 << 8 : 0)
                  : 0,
              0,
              0);
      case 2 -> set(out, 1, 0, 0, 0);
      case 5 -> {
        if (has(CpuFeature.MONITOR)) {
          // A line of 64 bytes, masked interrupts wake, no C-states of its own.
          set(out, Monitor.LINE, Monitor.LINE, 3, 0);
        }
      }
      case 0x15 -> set(out, 1, 1, FREQUENCY, 0);
      case 0x16 -> set(out, FREQUENCY / 1_000_000, FREQUENCY / 1_000_000, 100, 0);
      case 0x4000_0000 -> {
        if (has(CpuFeature.HYPERVISOR)) {
          set(out, 0x4000_0000, HYPERVISOR[0], HYPERVISOR[1], HYPERVISOR[2]);
        }
      }
      case 0x8000_0000 -> set(out, MAX_EXTENDED, 0, 0, 0);
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

package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.EnumSet;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;

/** What the models of processor offer, and what they refuse. */
final class CpuModelTest {
  private static final int HYPERVISOR = 1 << 31;
  private static final int BMI1 = 1 << 3;

  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();

  private boolean knows(final String model, final String hex) {
    final byte[] code = HexFormat.ofDelimiter(" ").parseHex(hex);
    assertEquals(Decoder.STATUS_OK, decoder.decode(code, 0, code.length, 8, insn), hex);
    return CpuModel.of(model).knows(insn);
  }

  private static int[] query(final String model, final int leaf, final int subleaf) {
    final int[] out = new int[4];
    CpuModel.of(model).query(leaf, subleaf, 0, 0, 1, out);
    return out;
  }

  @Test
  void shouldRefuseInstructionsWhenTheModelLacksTheirFeature() {
    assertFalse(knows("x86-64-v1", "F2 0F 7C C1"), "HADDPS");
    assertFalse(knows("x86-64-v1", "66 0F 38 00 C1"), "PSHUFB");
    assertFalse(knows("x86-64-v1", "F3 0F B8 C1"), "POPCNT");
    assertTrue(knows("x86-64-v1", "66 0F EF C1"), "PXOR");
    assertTrue(knows("x86-64-v2", "66 0F 3A 63 C1 00"), "PCMPISTRI");
    assertFalse(knows("x86-64-v2", "66 0F 38 DC C1"), "AESENC");
    assertFalse(knows("x86-64-v2", "C4 E2 70 F2 C1"), "ANDN");
    assertFalse(knows("x86-64-v2", "C5 F5 EF C2"), "VPXOR");
    assertFalse(knows("x86-64-v2", "0F AE 27"), "XSAVE");
    assertTrue(knows("x86-64-v3", "C5 F5 EF C2"), "VPXOR");
    assertTrue(knows("x86-64-v3", "C4 E2 75 98 C2"), "VFMADD132PS");
    assertFalse(knows("x86-64-v3", "C4 E2 75 DC C2"), "VAESENC of 256 bits");
    assertTrue(knows("max", "66 0F 38 DC C1"), "AESENC");
    assertTrue(knows("max", "C4 E2 70 F2 C1"), "ANDN");
  }

  @Test
  void shouldIgnoreThePrefixWhenTheModelDoesNotCountZeros() {
    assertTrue(knows("x86-64-v2", "F3 0F BC C1"));
    assertEquals(Mnemonic.BSF, insn.mnemonic);
    assertTrue(knows("x86-64-v2", "F3 0F BD C1"));
    assertEquals(Mnemonic.BSR, insn.mnemonic);
    assertTrue(knows("max", "F3 0F BC C1"));
    assertEquals(Mnemonic.TZCNT, insn.mnemonic);
  }

  @Test
  void shouldShowFeaturesOfTheModelAlone() {
    assertEquals(0, query("x86-64-v2", 7, 0)[1]);
    assertTrue((query("max", 7, 0)[1] & BMI1) != 0);
    assertEquals(0, query("max", 7, 1)[1], "features stand in subleaf 0 alone");
  }

  @Test
  void shouldTellOfStateComponentsWhenTheModelHasAvx() {
    assertArrayEquals(new int[] {7, 576, 832, 0}, query("x86-64-v3", 0xD, 0), "x87 alone enabled");
    assertArrayEquals(new int[] {256, 576, 0, 0}, query("x86-64-v3", 0xD, 2));
    assertArrayEquals(new int[4], query("x86-64-v2", 0xD, 0));
    final int[] out = new int[4];
    CpuModel.max().query(1, 0, 0, ControlRegisters.CR4_OSXSAVE, 7, out);
    assertTrue((out[2] & 1 << 27) != 0, "OSXSAVE follows CR4");
    CpuModel.max().query(0xD, 0, 0, ControlRegisters.CR4_OSXSAVE, 7, out);
    assertEquals(832, out[1]);
  }

  @Test
  void shouldHideTheHypervisorWhenTold() {
    assertTrue((query("max", 1, 0)[2] & HYPERVISOR) != 0);
    assertEquals(0x4000_0000, query("max", 0x4000_0000, 0)[0]);
    assertEquals(0, query("max,-hypervisor", 1, 0)[2] & HYPERVISOR);
    assertEquals(0, query("max,-hypervisor", 0x4000_0000, 0)[0]);
    assertEquals("max,-hypervisor", CpuModel.of("max,-hypervisor").name());
  }

  @Test
  void shouldAllowControlBitsWhenTheModelHasWhatTheyEnable() {
    assertEquals(
        0, CpuModel.of("x86-64-v2").allowedCr4() & ControlRegisters.CR4_FSGSBASE, "FSGSBASE");
    assertTrue((CpuModel.max().allowedCr4() & ControlRegisters.CR4_FSGSBASE) != 0);
  }

  @Test
  void shouldSayWhichModelsThereAreWhenAskedForAnother() {
    final IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> CpuModel.of("z80"));
    assertTrue(e.getMessage().contains("x86-64-v2"), e.getMessage());
    assertThrows(IllegalArgumentException.class, () -> CpuModel.of("max,+sse"));
  }

  @Test
  void shouldKnowNothingLaterThanTheProcessorOfAnOlderModel() {
    assertFalse(knows("486", "0F 44 C1"), "CMOVE");
    assertFalse(knows("486", "0F C7 0F"), "CMPXCHG8B");
    assertFalse(knows("486", "0F 31"), "RDTSC");
    assertFalse(knows("486", "0F 32"), "RDMSR");
    assertFalse(knows("486", "0F 6F C1"), "MOVQ of MMX");
    assertFalse(knows("486", "0F 1F 00"), "NOP of several bytes");
    assertTrue(knows("486", "0F C8"), "BSWAP");
    assertTrue(knows("486", "0F B1 0F"), "CMPXCHG");
    assertTrue(knows("p6", "0F 44 C1"), "CMOVE");
    assertTrue(knows("p6", "DB E9"), "FUCOMI");
    assertTrue(knows("p6", "0F FC C1"), "PADDB of MMX");
    assertFalse(knows("p6", "0F D4 C1"), "PADDQ of MMX came with SSE2");
    assertFalse(knows("p6", "0F 28 C1"), "MOVAPS");
    assertFalse(knows("p6", "0F 05"), "SYSCALL");
    assertFalse(knows("x86-64-v1", "0F C7 F0"), "RDRAND");
    assertFalse(knows("x86-64-v3", "0F 01 CB"), "STAC");
    assertTrue(knows("qemu64-like", "F2 0F 7C C1"), "HADDPS");
  }

  @Test
  void shouldShowThirtyTwoBitProcessorsAsSuch() {
    assertEquals(0x480, query("486", 1, 0)[0] & 0xFFF0);
    assertEquals(1, query("486", 1, 0)[3], "FPU");
    assertEquals(0, query("486", 0x8000_0000, 0)[0]);
    assertEquals(1, query("486", 0, 0)[0], "highest leaf");
    assertEquals(0, query("p6", 7, 0)[1]);
    assertEquals(0, query("p6", 0x8000_0001, 0)[3]);
    assertTrue((query("p6", 1, 0)[3] & 1 << 15) != 0, "CMOV");
    assertEquals(0, CpuModel.of("486").allowedCr4());
    assertEquals(0, CpuModel.of("p6").allowedEfer());
  }

  @Test
  void shouldHaveWhatTheHostHasToo() {
    assertEquals(
        EnumSet.of(CpuFeature.SSE3, CpuFeature.LZCNT, CpuFeature.SMAP),
        HostFeatures.of("flags\t\t: pni abm smap nonsense"));
    for (final CpuFeature feature : HostFeatures.known()) {
      assertTrue(CpuModel.of("host-subset").has(feature));
    }
  }

  @Test
  void shouldSayAllThatMaxHas() {
    final CpuModel max = CpuModel.max();
    for (final CpuFeature feature : CpuFeature.values()) {
      final int[] out = new int[4];
      max.query(feature.leaf, feature.leaf == 0xD ? 1 : 0, 0, 0, 1, out);
      assertTrue((out[feature.register] & feature.bit) != 0, feature.name());
    }
  }
}

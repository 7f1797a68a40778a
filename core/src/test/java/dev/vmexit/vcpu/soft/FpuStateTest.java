package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Saving and restoring x87 and SSE state, and the faults that guard it. */
final class FpuStateTest {
  private static final long BASE = 0x10_0000;
  private static final int SIZE = 4096;

  private FpuTestCpu cpu;

  @BeforeEach
  void open() {
    cpu = new FpuTestCpu(BASE, SIZE);
    cpu.useTlb(true);
    cpu.gpr(Gpr.RDI, BASE);
  }

  @AfterEach
  void close() {
    cpu.close();
  }

  private void run(final String hex) {
    cpu.run(HexFormat.ofDelimiter(" ").parseHex(hex));
  }

  private void setCr0(final long bits) {
    cpu.reg64(StateLayout.CR0, cpu.reg64(StateLayout.CR0) | bits);
  }

  private void clearCr4(final long bits) {
    cpu.reg64(StateLayout.CR4, cpu.reg64(StateLayout.CR4) & ~bits);
  }

  private int faultOf(final String hex) {
    run(hex);
    return cpu.vector;
  }

  private static ByteBuffer little(final byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  @Test
  void shouldRaiseDeviceNotAvailableWhenTaskSwitched() {
    setCr0(ControlRegisters.CR0_TS);
    assertEquals(Vector.NM, faultOf("D9 E8"), "FLD1");
    assertEquals(Vector.NM, faultOf("9B"), "FWAIT with MP");
    assertEquals(Vector.NM, faultOf("0F EF C1"), "PXOR mm");
    assertEquals(Vector.NM, faultOf("66 0F EF C1"), "PXOR xmm");
    assertEquals(Vector.NM, faultOf("0F AE 07"), "FXSAVE");
    assertEquals(Vector.NM, faultOf("0F AE 17"), "LDMXCSR");
    cpu.reg64(StateLayout.CR0, ControlRegisters.CR0_TS);
    assertEquals(-1, faultOf("9B"), "FWAIT without MP");
    assertEquals(-1, faultOf("0F AE E8"), "LFENCE");
  }

  @Test
  void shouldRaiseTheRightFaultWhenEmulating() {
    setCr0(ControlRegisters.CR0_EM);
    assertEquals(Vector.NM, faultOf("D9 E8"), "FLD1");
    assertEquals(Vector.UD, faultOf("0F EF C1"), "PXOR mm");
    assertEquals(Vector.UD, faultOf("66 0F EF C1"), "PXOR xmm");
  }

  @Test
  void shouldBeUndefinedWhenTheGuestHasNotEnabledSse() {
    clearCr4(ControlRegisters.CR4_OSFXSR);
    assertEquals(Vector.UD, faultOf("66 0F EF C1"), "PXOR xmm");
    assertEquals(Vector.UD, faultOf("0F AE 1F"), "STMXCSR");
    assertEquals(-1, faultOf("0F EF C1"), "PXOR mm");
  }

  @Test
  void shouldRaiseMathFaultAtNextWaitingInstructionWhenExceptionIsUnmasked() {
    cpu.memory(new byte[] {0x7B, 0x03}); // ZM clear
    run("D9 2F D9 E8 D9 EE DE F9"); // fldcw [rdi]; fld1; fldz; fdivp
    assertEquals(-1, cpu.vector);
    assertEquals(-1, faultOf("DF E0"), "FNSTSW does not wait");
    assertEquals(0x8084, (int) cpu.gpr(Gpr.RAX) & 0x80FF, "B, ES, ZE");
    assertEquals(Vector.MF, faultOf("D9 E8"));
    assertEquals(Vector.MF, faultOf("9B"));
    assertEquals(Vector.MF, faultOf("0F EF C1"), "MMX waits too");
    assertEquals(-1, faultOf("DB E2 9B"), "FNCLEX ends it");
  }

  @Test
  void shouldRaiseSimdFaultWhenExceptionIsUnmasked() {
    final byte[] memory = new byte[16];
    little(memory).putInt(0, 0x1F80 & ~(4 << 7)); // ZM clear
    little(memory).putDouble(8, 1.5);
    cpu.memory(memory);
    run("0F AE 17 F2 0F 10 47 08 66 0F EF C9"); // ldmxcsr; movsd xmm0, [rdi+8]; pxor xmm1
    assertEquals(Vector.XM, faultOf("F2 0F 5E C1"), "DIVSD xmm0, xmm1");
    assertEquals(Double.doubleToRawLongBits(1.5), cpu.reg64(StateLayout.XMM), "no result");
    assertEquals(4, cpu.reg32(StateLayout.MXCSR) & 0x3F);
    clearCr4(ControlRegisters.CR4_OSXMMEXCPT);
    assertEquals(Vector.UD, faultOf("F2 0F 5E C1"));
  }

  @Test
  void shouldReportOnlyWhatComesBeforeTheComputationWhenThatIsUnmasked() {
    cpu.reg32(StateLayout.MXCSR, 0x1F80 & ~(2 << 7)); // DM clear
    cpu.reg64(StateLayout.XMM, 1);
    cpu.reg64(StateLayout.XMM + StateLayout.XMM_SIZE, Double.doubleToRawLongBits(1.0));
    assertEquals(Vector.XM, faultOf("F2 0F 58 C1"), "ADDSD of a denormal is inexact too");
    assertEquals(2, cpu.reg32(StateLayout.MXCSR) & 0x3F);
  }

  @Test
  void shouldRaiseSimdFaultOnceWhenHalvesOfAnAvxInstructionDiffer() {
    cpu.enableAvx();
    final int mxcsr = 0x1F80 & ~(4 << 7); // ZM clear
    cpu.reg32(StateLayout.MXCSR, mxcsr);
    final int one = StateLayout.XMM + StateLayout.XMM_SIZE;
    final int two = one + StateLayout.XMM_SIZE;
    for (int i = 0; i < StateLayout.XMM_SIZE; i += 8) {
      cpu.reg64(StateLayout.XMM + i, 42);
      cpu.reg64(one + i, Double.doubleToRawLongBits(1));
      cpu.reg64(two + i, Double.doubleToRawLongBits(3));
    }
    assertEquals(-1, faultOf("C5 F5 5E C2"), "VDIVPD ymm0, ymm1, ymm2");
    assertEquals(0x20, cpu.reg32(StateLayout.MXCSR) & 0x3F, "inexact in both halves");
    cpu.reg32(StateLayout.MXCSR, mxcsr);
    cpu.reg64(StateLayout.XMM, 42);
    cpu.reg64(two + 16, 0);
    assertEquals(Vector.XM, faultOf("C5 F5 5E C2"), "1 / 0 in the upper half");
    assertEquals(4, cpu.reg32(StateLayout.MXCSR) & 0x3F, "nothing of the lower half");
    assertEquals(42, cpu.reg64(StateLayout.XMM), "no result");
    cpu.reg64(two, 0);
    cpu.reg64(two + 16, Double.doubleToRawLongBits(3));
    cpu.reg32(StateLayout.MXCSR, mxcsr);
    assertEquals(Vector.XM, faultOf("C5 F5 5E C2"), "1 / 0 in the lower half");
    assertEquals(42, cpu.reg64(StateLayout.XMM), "no result");
    cpu.reg32(StateLayout.MXCSR, mxcsr);
    assertEquals(-1, faultOf("F2 0F 59 C9"), "MULSD xmm1, xmm1");
    assertEquals(0, cpu.reg32(StateLayout.MXCSR) & 0x3F, "nothing is left over");
  }

  @Test
  void shouldBeUndefinedWhenTheGuestHasNotEnabledAvx() {
    assertEquals(Vector.UD, faultOf("C5 F5 EF C2"), "VPXOR without OSXSAVE");
    cpu.enableAvx();
    assertEquals(-1, faultOf("C5 F5 EF C2"));
    cpu.reg64(StateLayout.XCR0, 3);
    assertEquals(Vector.UD, faultOf("C5 F5 EF C2"), "VPXOR without XCR0.AVX");
    cpu.reg64(StateLayout.XCR0, 7);
    setCr0(ControlRegisters.CR0_TS);
    assertEquals(Vector.NM, faultOf("C5 F5 EF C2"));
  }

  @Test
  void shouldRaiseProtectionFaultWhenAnAlignedAvxMoveIsNot() {
    cpu.enableAvx();
    cpu.gpr(Gpr.RDI, BASE + 16);
    assertEquals(Vector.GP, faultOf("C5 FD 6F 07"), "VMOVDQA of 32 bytes");
    assertEquals(-1, faultOf("C5 F9 6F 07"), "VMOVDQA of 16 bytes");
    cpu.gpr(Gpr.RDI, BASE + 1);
    assertEquals(-1, faultOf("C5 FE 6F 07"), "VMOVDQU");
    assertEquals(-1, faultOf("C5 F5 FE 07"), "VPADDD");
  }

  @Test
  void shouldRaiseProtectionFaultWhenOperandIsMisaligned() {
    cpu.gpr(Gpr.RDI, BASE + 8);
    assertEquals(Vector.GP, faultOf("66 0F 6F 07"), "MOVDQA load");
    assertEquals(0, cpu.errorCode);
    assertEquals(Vector.GP, faultOf("66 0F 7F 07"), "MOVDQA store");
    assertEquals(Vector.GP, faultOf("66 0F EF 07"), "PXOR");
    assertEquals(Vector.GP, faultOf("0F AE 07"), "FXSAVE");
    assertEquals(-1, faultOf("F3 0F 6F 07"), "MOVDQU");
    assertEquals(-1, faultOf("F2 0F 58 07"), "ADDSD");
  }

  @Test
  void shouldWriteNothingWhenStoreRunsOffTheMemory() {
    cpu.useTlb(false);
    cpu.gpr(Gpr.RDI, BASE + SIZE - 8);
    cpu.reg64(StateLayout.XMM, -1);
    cpu.reg64(StateLayout.XMM + 8, -1);
    final byte[] before = cpu.memory(SIZE);
    assertEquals(Vector.PF, faultOf("F3 0F 7F 07"), "MOVDQU store");
    assertArrayEquals(before, cpu.memory(SIZE));
    run("D9 E8");
    final long status = cpu.reg64(StateLayout.FPU_STATUS);
    assertEquals(Vector.PF, faultOf("DB 3F"), "FSTP m80");
    assertArrayEquals(before, cpu.memory(SIZE));
    assertEquals(status, cpu.reg64(StateLayout.FPU_STATUS), "nothing popped");
  }

  @Test
  void shouldRefuseReservedBitsOfMxcsr() {
    cpu.memory(new byte[] {(byte) 0x80, 0x1F, 1, 0});
    assertEquals(Vector.GP, faultOf("0F AE 17"));
    assertEquals(0x1F80, cpu.reg32(StateLayout.MXCSR));
  }

  @Test
  void shouldLeaveInstructionUnboundWhenItsFeatureIsNotThere() {
    final HexFormat hex = HexFormat.ofDelimiter(" ");
    assertNull(cpu.bind(hex.parseHex("66 0F 38 CF C1")), "GF2P8MULB");
    assertNull(cpu.bind(hex.parseHex("C5 F4 41 C2")), "KANDW");
  }

  // ---- FXSAVE and FXRSTOR against the host ----

  private static byte[] image(final SplittableRandom random) {
    final byte[] image = new byte[512];
    final FpuOperands operands = new FpuOperands(random);
    final ByteBuffer fx = little(image);
    fx.putShort(0, (short) ((random.nextInt() & 0x1F00) | 0x7F));
    fx.putShort(2, (short) (random.nextInt() & 0x7F7F));
    fx.put(4, (byte) random.nextInt());
    fx.putInt(24, (random.nextInt() & 0xE07F) | 0x1F80);
    for (int i = 0; i < 8; i++) {
      fx.putLong(32 + 16 * i, operands.packed());
      fx.putShort(40 + 16 * i, (short) random.nextInt());
    }
    for (int i = 160; i < 416; i += 8) {
      fx.putLong(i, operands.packed());
    }
    return image;
  }

  @Test
  void shouldSaveAndRestoreAsTheHostWhenUsingFxsave() {
    assumeTrue(HostProcessor.isSupported(), "SKIPPED: the host is not x86-64 Linux");
    final SplittableRandom random = new SplittableRandom(512);
    final HexFormat hex = HexFormat.ofDelimiter(" ");
    try (HostProcessor host = new HostProcessor();
        FpuTestCpu soft = new FpuTestCpu(host.memoryAddress(), SIZE)) {
      for (int round = 0; round < 400; round++) {
        final boolean restores = random.nextBoolean();
        final byte[] code =
            hex.parseHex(
                (random.nextBoolean() ? "48 " : "") + (restores ? "0F AE 0F" : "0F AE 07"));
        soft.useTlb(random.nextBoolean());
        final byte[] fx = image(random);
        final byte[] memory = image(random);
        if (restores) {
          // Unmasked exceptions that stand must show in ES and B.
          little(memory).putShort(0, (short) random.nextInt());
          little(memory).putShort(2, (short) random.nextInt());
        }
        soft.loadImage(fx);
        soft.memory(memory);
        soft.gpr(Gpr.RDI, host.memoryAddress());
        soft.run(code);
        final long[] gprs = new long[Gpr.COUNT];
        gprs[Gpr.RDI] = host.memoryAddress();
        host.run(code, gprs, 0, fx, memory);
        final byte[] ourFx = new byte[512];
        soft.storeImage(ourFx);
        // Last-instruction pointers aside, and what FXSAVE leaves unwritten in the harness.
        final byte[] ourMemory = soft.memory(512);
        assertEquals(-1, soft.vector);
        assertEquals(
            compared(fx, 0, 416), compared(ourFx, 0, 416), () -> hex.formatHex(code) + " state");
        assertEquals(
            compared(memory, 0, 512),
            compared(ourMemory, 0, 512),
            () -> hex.formatHex(code) + " memory");
        assertEquals(restores ? little(memory).getInt(28) : 0xFFFF, little(ourMemory).getInt(28));
      }
    }
  }

  private static String compared(final byte[] image, final int from, final int to) {
    final byte[] copy = image.clone();
    Arrays.fill(copy, 6, 24, (byte) 0);
    Arrays.fill(copy, 28, 32, (byte) 0); // MXCSR_MASK: the host may know more bits
    return HexFormat.of().formatHex(copy, from, to);
  }

  // ---- XSAVE ----

  private void request(final long components) {
    cpu.reg64(StateLayout.gpr(Gpr.RAX), components & 0xFFFF_FFFFL);
    cpu.reg64(StateLayout.gpr(Gpr.RDX), components >>> 32);
  }

  @Test
  void shouldBringStateBackWhenRestoringWhatXsaveSaved() {
    cpu.reg64(StateLayout.CR4, cpu.reg64(StateLayout.CR4) | ControlRegisters.CR4_OSXSAVE);
    final byte[] image = image(new SplittableRandom(13));
    cpu.loadImage(image);
    request(-1);
    run("0F AE 27"); // xsave [rdi]
    assertEquals(-1, cpu.vector);
    assertEquals(3, little(cpu.memory(576)).getLong(512), "XSTATE_BV");
    cpu.loadImage(image(new SplittableRandom(14)));
    run("0F AE 2F"); // xrstor [rdi]
    assertEquals(-1, cpu.vector);
    final byte[] after = new byte[512];
    cpu.storeImage(after);
    assertArrayEquals(image, after);
  }

  @Test
  void shouldInitializeComponentWhenXstateLacksIt() {
    cpu.reg64(StateLayout.CR4, cpu.reg64(StateLayout.CR4) | ControlRegisters.CR4_OSXSAVE);
    final byte[] area = new byte[576];
    little(area).putInt(24, 0x1F80);
    cpu.memory(area);
    cpu.loadImage(image(new SplittableRandom(15)));
    request(-1);
    run("0F AE 2F");
    assertEquals(-1, cpu.vector);
    assertEquals(0x37F, cpu.reg32(StateLayout.FPU_CONTROL));
    assertEquals(0, cpu.reg32(StateLayout.FPU_TAGS));
    for (int i = 0; i < 16; i++) {
      assertEquals(0, cpu.reg64(StateLayout.XMM + i * StateLayout.XMM_SIZE));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenXsaveHeaderIsWrong() {
    cpu.reg64(StateLayout.CR4, cpu.reg64(StateLayout.CR4) | ControlRegisters.CR4_OSXSAVE);
    request(-1);
    final byte[] area = new byte[576];
    little(area).putInt(24, 0x1F80);
    little(area).putLong(512, 4); // AVX is not enabled
    cpu.memory(area);
    assertEquals(Vector.GP, faultOf("0F AE 2F"));
    little(area).putLong(512, 3);
    little(area).putLong(520, 1L << 63); // compacted
    cpu.memory(area);
    assertEquals(Vector.GP, faultOf("0F AE 2F"));
    cpu.gpr(Gpr.RDI, BASE + 16);
    assertEquals(Vector.GP, faultOf("0F AE 27"), "64-byte alignment");
  }

  @Test
  void shouldAnswerExtendedControlRegisterWhenOsxsaveIsSet() {
    assertEquals(Vector.UD, faultOf("0F 01 D0"));
    cpu.reg64(StateLayout.CR4, cpu.reg64(StateLayout.CR4) | ControlRegisters.CR4_OSXSAVE);
    cpu.gpr(Gpr.RCX, 0);
    assertEquals(-1, faultOf("0F 01 D0"));
    assertEquals(3, cpu.gpr(Gpr.RAX));
    request(1);
    assertEquals(Vector.GP, faultOf("0F 01 D1"), "XSETBV at CPL 3");
    cpu.privilege = 0;
    assertEquals(-1, faultOf("0F 01 D1"));
    assertEquals(1, cpu.reg64(StateLayout.XCR0));
    request(5);
    assertEquals(Vector.GP, faultOf("0F 01 D1"), "AVX goes with SSE");
    request(2);
    assertEquals(Vector.GP, faultOf("0F 01 D1"), "x87 cannot be off");
  }

  // ---- environment formats that the host in 64-bit mode cannot show ----

  @Test
  void shouldStoreLinearPointersWhenInRealMode() {
    cpu.codeSize = 2;
    cpu.reg64(StateLayout.CR0, 0);
    cpu.gpr(Gpr.RBX, BASE);
    cpu.reg32(StateLayout.FPU_OPCODE, 0x5AB);
    cpu.reg64(StateLayout.FPU_IP, 0x1234);
    cpu.reg64(StateLayout.FPU_DP, 0x8000);
    cpu.reg64(StateLayout.FPU_CS, 0xF000L | 0x2000L << 32);
    run("67 D9 33"); // fnstenv [ebx]
    final ByteBuffer env = little(cpu.memory(14));
    assertEquals(0x1234, env.getShort(6) & 0xFFFF);
    assertEquals(0xF5AB, env.getShort(8) & 0xFFFF, "linear 0xF1234 and the opcode");
    assertEquals(0x8000, env.getShort(10) & 0xFFFF);
    assertEquals(0x2000, env.getShort(12) & 0xFFFF, "linear 0x28000");
    run("67 D9 23"); // fldenv [ebx]
    assertEquals(0xF1234, cpu.reg64(StateLayout.FPU_IP));
    assertEquals(0x28000, cpu.reg64(StateLayout.FPU_DP));
    assertEquals(0x5AB, cpu.reg32(StateLayout.FPU_OPCODE));
  }

  @Test
  void shouldStoreSelectorsWhenInProtectedMode() {
    cpu.codeSize = 4;
    cpu.reg32(StateLayout.FPU_OPCODE, 0x5AB);
    cpu.reg64(StateLayout.FPU_IP, 0x1234_5678);
    cpu.reg64(StateLayout.FPU_DP, 0x8765_4321L);
    cpu.reg64(StateLayout.FPU_CS, 0x60L | 0x68L << 32);
    run("D9 37"); // fnstenv [edi]
    final ByteBuffer env = little(cpu.memory(28));
    assertEquals(0x1234_5678, env.getInt(12));
    assertEquals(0x05AB_0060, env.getInt(16));
    assertEquals(0x8765_4321, env.getInt(20));
    assertEquals(0xFFFF_0068, env.getInt(24));
    assertEquals(0xFFFF_FFFF, env.getInt(8), "all empty");
  }

  @Test
  void shouldLeavePointersBehindWhenAnInstructionComputes() {
    cpu.codeSize = 4;
    cpu.reg64(StateLayout.BLOCK_RIP, 0x7000);
    cpu.reg64(StateLayout.segment(1) + StateLayout.SEG_SELECTOR, 0x60);
    cpu.reg64(StateLayout.segment(3) + StateLayout.SEG_SELECTOR, 0x68);
    run("D9 47 10"); // fld dword [edi+16]
    assertEquals(0x7000, cpu.reg64(StateLayout.FPU_IP));
    assertEquals(0x60, cpu.reg32(StateLayout.FPU_CS));
    assertEquals(BASE + 16, cpu.reg64(StateLayout.FPU_DP));
    assertEquals(0x68, cpu.reg32(StateLayout.FPU_DS));
    assertEquals(0x147, cpu.reg32(StateLayout.FPU_OPCODE));
  }

  // ---- approximations ----

  @Test
  void shouldStayWithinTheBoundWhenApproximatingReciprocals() {
    final SplittableRandom random = new SplittableRandom(4096);
    for (int i = 0; i < 10_000; i++) {
      final float x = (float) Math.scalb(random.nextDouble(1, 2), random.nextInt(-120, 120));
      cpu.reg64(StateLayout.XMM + StateLayout.XMM_SIZE, Float.floatToRawIntBits(x) & 0xFFFF_FFFFL);
      run("F3 0F 53 C1"); // rcpss xmm0, xmm1
      final float reciprocal = Float.intBitsToFloat(cpu.reg32(StateLayout.XMM));
      assertTrue(Math.abs(reciprocal * (double) x - 1) <= 1.5 / 4096);
      run("F3 0F 52 C1"); // rsqrtss
      final float root = Float.intBitsToFloat(cpu.reg32(StateLayout.XMM));
      assertTrue(Math.abs(root * Math.sqrt(x) - 1) <= 1.5 / 4096);
    }
  }
}

package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The oracle itself, on results that the manual states. */
final class HostProcessorTest {
  private HostProcessor host;
  private final long[] gprs = new long[Gpr.COUNT];

  @BeforeEach
  void open() {
    assumeTrue(HostProcessor.isSupported(), "SKIPPED: the host is not x86-64 Linux");
    host = new HostProcessor();
  }

  @AfterEach
  void close() {
    if (host != null) {
      host.close();
    }
  }

  private static byte[] code(final Consumer<Assembler> body) {
    final Assembler assembler = new Assembler(8, 0);
    body.accept(assembler);
    return assembler.assemble();
  }

  @Test
  void shouldGiveSumAndFlagsWhenAdditionWraps() {
    gprs[Gpr.RAX] = -1;
    gprs[Gpr.RBX] = 1;
    final long flags =
        host.run(code(a -> a.add(Register.RAX, Register.RBX)), gprs, 0, null, new byte[0]);
    assertEquals(0, gprs[Gpr.RAX]);
    assertEquals(Flags.CF | Flags.ZF | Flags.PF | Flags.AF, flags);
  }

  @Test
  void shouldKeepEveryRegisterWhenCodeIsEmpty() {
    for (int i = 0; i < Gpr.COUNT; i++) {
      gprs[i] = 0x1111_1111_1111_1111L * i;
    }
    final long flags = host.run(new byte[0], gprs, Flags.ARITHMETIC | Flags.DF, null, new byte[0]);
    for (int i = 0; i < Gpr.COUNT; i++) {
      assertEquals(i == Gpr.RSP ? 0 : 0x1111_1111_1111_1111L * i, gprs[i]);
    }
    assertEquals(Flags.ARITHMETIC | Flags.DF, flags);
  }

  @Test
  void shouldTellHowFarStackMovedWhenCodePushes() {
    gprs[Gpr.RBP] = 42;
    host.run(code(a -> a.push(Register.RBP)), gprs, 0, null, new byte[0]);
    assertEquals(-8, gprs[Gpr.RSP]);
  }

  @Test
  void shouldWriteMemoryWhenOperandIsInBuffer() {
    gprs[Gpr.RDI] = host.memoryAddress();
    final byte[] memory = {1, 2, 3, 4};
    host.run(
        code(a -> a.xor(Memory.at(Register.RDI).asDword(), 0x01010101)), gprs, 0, null, memory);
    assertArrayEquals(new byte[] {0, 3, 2, 5}, memory);
  }

  @Test
  void shouldCarryFloatingStateWhenImageIsGiven() {
    final byte[] fx = new byte[HostProcessor.FX_SIZE];
    fx[0] = 0x7F;
    fx[1] = 3;
    fx[24] = (byte) 0x80;
    fx[25] = 0x1F;
    fx[160] = 5;
    fx[176] = 7;
    host.run(
        code(
            a -> {
              a.paddd(Register.XMM0, Register.XMM1);
              a.fld1();
            }),
        gprs,
        0,
        fx,
        new byte[0]);
    assertEquals(12, fx[160]);
    assertEquals(0x80, fx[4] & 0xFF, "tag of physical register 7");
    assertEquals(7, fx[3] >> 3 & 7, "top of stack");
    assertEquals(0x3F, fx[41], "exponent of 1.0");
  }
}

package dev.vmexit.irq;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.VectorState;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class IrqchipTest extends ApicTestSupport {
  @Test
  void shouldReachTheVcpuThroughVirtualWire() {
    initializePic();
    time.to(77);
    chip.line(4).set(true);
    assertTrue(chip.interruptPending(0));
    assertFalse(chip.interruptPending(1), "the bootstrap processor alone");
    time.to(99);
    assertEquals(0x34, chip.acknowledge(0));
    assertEquals(77, chip.requestTime(0, 0x34));
    assertFalse(chip.interruptPending(0));
    chip.pic().writePort(0x20, 1, 0x20);
    assertFalse(chip.interruptPending(0));
  }

  @Test
  void shouldShutThePicOutWhenLint0IsMasked() {
    initializePic();
    write(SVR, 0x1FF);
    write(LVT_LINT0, MASKED);
    chip.line(4).set(true);
    assertFalse(chip.interruptPending(0));
    write(LVT_LINT0, ApicMessage.EXT_INT << 8);
    assertTrue(chip.interruptPending(0), "INT is still high");
    assertEquals(0x34, chip.acknowledge(0));
  }

  @Test
  void shouldIgnoreTheTaskPriorityForThePic() {
    initializePic();
    chip.cr8(0, 15);
    chip.line(4).set(true);
    assertTrue(chip.interruptPending(0), "ExtINT has no priority class");
  }

  @Test
  void shouldServeThePicBeforeTheApic() {
    initializePic();
    write(SVR, 0x1FF);
    write(LVT_LINT0, ApicMessage.EXT_INT << 8);
    write(ICR_LOW, 1 << 18 | 0xF1);
    chip.line(4).set(true);
    assertEquals(0x34, chip.acknowledge(0));
    assertTrue(chip.interruptPending(0));
    assertEquals(0xF1, chip.acknowledge(0));
  }

  @Test
  void shouldDeliverThePicThroughPin0() {
    initializePic();
    enableApics();
    route(0, 1, ApicMessage.EXT_INT << 8);
    chip.line(4).set(true);
    assertFalse(chip.interruptPending(0));
    assertTrue(chip.interruptPending(1));
    assertEquals(0x34, chip.acknowledge(1));
    assertFalse(chip.interruptPending(1));
  }

  @Test
  void shouldDeliverLint0AsAFixedInterrupt() {
    initializePic();
    write(SVR, 0x1FF);
    write(LVT_LINT0, 0x61);
    chip.line(4).set(true);
    assertEquals(0x61, chip.acknowledge(0));
  }

  @Test
  void shouldPulseNmi() {
    chip.pulseNmi();
    assertTrue(chip.nmiPending(0));
    assertFalse(chip.nmiPending(1), "LINT1 is masked there");
    chip.acceptNmi(0);
    chip.pulseNmi();
    assertTrue(chip.nmiPending(0));
    chip.acceptNmi(0);
    write(SVR, 0x1FF);
    write(LVT_LINT1, MASKED);
    chip.pulseNmi();
    assertFalse(chip.nmiPending(0));
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 2, 24})
  void shouldRefuseALineThatIsNotThere(final int gsi) {
    assertThrows(IllegalArgumentException.class, () -> chip.line(gsi));
  }

  @Test
  void shouldRefuseAnImpossibleNumberOfVcpus() {
    assertThrows(IllegalArgumentException.class, () -> new Irqchip(0, time, time.timers()));
    assertThrows(IllegalArgumentException.class, () -> new Irqchip(256, time, time.timers()));
  }

  @Test
  void shouldNameTheVectorsThatMayCome() {
    initializePic();
    write(SVR, 0x1FF);
    write(LVT_LINT0, MASKED);
    write(ICR_LOW, 1 << 18 | 0xF1);
    write(ICR_LOW, 1 << 18 | 0xF2);
    chip.ioApic().writeMmio(0, 4, 0x10);
    chip.ioApic().writeMmio(0x10, 4, 0x1_0077);
    final byte[] state = new byte[VectorState.LENGTH + 1];
    Arrays.fill(state, (byte) -1);
    chip.saveVectors(0, state);
    // 0xF1 waits in the IRR alone.
    for (final int vector : new int[] {0xF1, 0xF2, 0x77, 0xFF}) {
      assertTrue(VectorState.has(state, vector), Integer.toHexString(vector));
    }
    assertFalse(VectorState.has(state, 0xF3));
    assertEquals(0x10, state[VectorState.IOAPIC_SELECT]);
    assertEquals(0x30, state[VectorState.PIC + VectorState.PIC_BASE]);
    assertEquals(0, state[VectorState.PIC + VectorState.PIC_NEXT_ICW]);
    assertEquals(-1, state[VectorState.LENGTH], "beyond its end");
    chip.pic().writePort(0xA0, 1, 0x11);
    chip.saveVectors(0, state);
    final int slave = VectorState.PIC + VectorState.PIC_LENGTH;
    assertEquals(2, state[slave + VectorState.PIC_NEXT_ICW]);
    assertEquals(VectorState.PIC_NEEDS_ICW4, state[slave + VectorState.PIC_FLAGS]);
    assertEquals(0, state[slave + VectorState.PIC_IMR]);
  }
}

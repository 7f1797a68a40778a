package dev.vmexit.irq;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class IoApicTest extends ApicTestSupport {
  private static final int REMOTE_IRR = 1 << 14;

  @BeforeEach
  void enable() {
    enableApics();
  }

  private int entry(final int pin) {
    return ioRead(0x10 + 2 * pin);
  }

  @Test
  void shouldShowItsRegisters() {
    assertEquals(0x0017_0020, ioRead(1));
    ioWrite(0, 0x0500_0000);
    assertEquals(0x0500_0000, ioRead(0));
    assertEquals(0x0500_0000, ioRead(2), "the arbitration ID follows");
    for (int pin = 0; pin < 24; pin++) {
      assertEquals(MASKED, entry(pin));
      assertEquals(0, ioRead(0x11 + 2 * pin));
    }
    assertEquals(0, ioRead(0x40), "past the table");
    ioWrite(0x40, -1);
    ioWrite(0x10, -1);
    assertEquals(0x1_AFFF, entry(0), "status bits are read-only");
    ioWrite(0x11, -1);
    assertEquals(0xFF00_0000, ioRead(0x11));
    assertEquals(0x11, chip.ioApic().readMmio(0, 4), "the index reads back");
  }

  @Test
  void shouldDeliverAnEdgeOnce() {
    route(4, 0, 0x34);
    chip.line(4).set(true);
    assertEquals(0x34, chip.acknowledge(0));
    write(EOI, 0);
    assertFalse(chip.interruptPending(0));
    chip.line(4).set(true);
    assertFalse(chip.interruptPending(0), "no edge");
    chip.line(4).set(false);
    chip.line(4).set(true);
    assertEquals(0x34, chip.acknowledge(0));
    assertEquals(0, read(TMR + 0x10));
    assertEquals(0x34, entry(4), "an edge has no remote IRR");
  }

  @Test
  void shouldDeliverIrq0ByPin2() {
    route(2, 0, 0x30);
    route(0, 0, 0x99);
    chip.line(0).set(true);
    assertEquals(0x30, chip.acknowledge(0));
    write(EOI, 0);
    assertFalse(chip.interruptPending(0));
  }

  @Test
  void shouldLoseAnEdgeButKeepALevelWhileMasked() {
    route(4, 0, MASKED | 0x34);
    chip.line(4).set(true);
    route(4, 0, 0x34);
    assertFalse(chip.interruptPending(0));
    route(17, 0, MASKED | LEVEL | 0x51);
    chip.line(17).set(true);
    assertFalse(chip.interruptPending(0));
    route(17, 0, LEVEL | 0x51);
    assertEquals(0x51, chip.acknowledge(0));
  }

  @Test
  void shouldHoldRemoteIrrUntilEoi() {
    route(17, 0, LEVEL | 0x51);
    chip.line(17).set(true);
    assertEquals(LEVEL | REMOTE_IRR | 0x51, entry(17));
    assertEquals(0x51, chip.acknowledge(0));
    assertEquals(1 << 17, read(TMR + 0x20));
    assertFalse(chip.interruptPending(0));
    write(EOI, 0);
    assertTrue(chip.interruptPending(0), "still asserted: again");
    assertEquals(0x51, chip.acknowledge(0));
    chip.line(17).set(false);
    assertEquals(LEVEL | REMOTE_IRR | 0x51, entry(17), "the line alone does not end it");
    write(EOI, 0);
    assertEquals(LEVEL | 0x51, entry(17));
    assertFalse(chip.interruptPending(0));
  }

  @Test
  void shouldNotRedeliverWhileMaskedAtEoi() {
    route(17, 0, LEVEL | 0x51);
    chip.line(17).set(true);
    chip.acknowledge(0);
    ioWrite(0x10 + 34, MASKED | LEVEL | 0x51);
    write(EOI, 0);
    assertFalse(chip.interruptPending(0));
    ioWrite(0x10 + 34, LEVEL | 0x51);
    assertTrue(chip.interruptPending(0));
  }

  @Test
  void shouldEndByItsEoiRegisterAndByTurningToEdge() {
    route(17, 0, LEVEL | 0x51);
    chip.line(17).set(true);
    chip.line(17).set(false);
    chip.ioApic().writeMmio(0x40, 4, 0x52);
    assertEquals(REMOTE_IRR, entry(17) & REMOTE_IRR, "another vector");
    chip.ioApic().writeMmio(0x40, 4, 0x51);
    assertEquals(0, entry(17) & REMOTE_IRR);
    chip.line(17).set(true);
    ioWrite(0x10 + 34, MASKED | 0x51);
    ioWrite(0x10 + 34, MASKED | LEVEL | 0x51);
    assertEquals(0, entry(17) & REMOTE_IRR);
  }

  @Test
  void shouldServeTwoPinsOfOneVector() {
    route(17, 0, LEVEL | 0x51);
    route(18, 0, LEVEL | 0x51);
    chip.line(17).set(true);
    chip.acknowledge(0);
    chip.line(18).set(true);
    assertFalse(chip.interruptPending(0));
    chip.line(17).set(false);
    write(EOI, 0);
    assertEquals(0x51, chip.acknowledge(0));
    chip.line(18).set(false);
    write(EOI, 0);
    assertEquals(0, (entry(17) | entry(18)) & REMOTE_IRR);
    assertFalse(chip.interruptPending(0));
  }

  @Test
  void shouldNotStickWhenNobodyTakesALevel() {
    write(SVR, 0xFF);
    route(17, 0, LEVEL | 0x51);
    chip.line(17).set(true);
    assertEquals(0, entry(17) & REMOTE_IRR);
    write(SVR, 0x1FF);
    ioWrite(0x10 + 34, LEVEL | 0x51);
    assertTrue(chip.interruptPending(0));
  }

  @Test
  void shouldDeliverLogicallyAndByLowestPriority() {
    write(0, LDR, 1 << 24);
    write(1, LDR, 2 << 24);
    route(5, 2, 1 << 11 | 0x45);
    chip.line(5).set(true);
    assertFalse(chip.interruptPending(0));
    assertEquals(0x45, chip.acknowledge(1));
    // vCPU 1 is in class 4 now, so vCPU 0 has the lowest priority.
    route(6, 3, 1 << 11 | ApicMessage.LOWEST_PRIORITY << 8 | 0x56);
    chip.line(6).set(true);
    assertTrue(chip.interruptPending(0));
    assertFalse(chip.interruptPending(1));
  }

  @Test
  void shouldDeliverNmi() {
    route(7, 0, ApicMessage.NMI << 8);
    chip.line(7).set(true);
    assertTrue(chip.nmiPending(0));
    assertFalse(chip.interruptPending(0));
    chip.acceptNmi(0);
    assertFalse(chip.nmiPending(0));
  }
}

package dev.vmexit.irq;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class LocalApicTest extends ApicTestSupport {
  private static final int SELF = 1 << 18;
  private static final int ALL = 2 << 18;
  private static final int OTHERS = 3 << 18;

  @BeforeEach
  void enable() {
    enableApics();
  }

  private void self(final int vector) {
    write(ICR_LOW, SELF | vector);
  }

  @Test
  void shouldShowItsResetState() {
    final Irqchip fresh = new Irqchip(2, time, time.timers());
    final LocalApic second = fresh.localApic(1);
    assertEquals(0x0100_0000, second.readMmio(ID, 4));
    assertEquals(0x0005_0014, second.readMmio(0x30, 4));
    assertEquals(0xFF, second.readMmio(SVR, 4));
    assertEquals(0xFFFF_FFFFL, second.readMmio(DFR, 4));
    for (int lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt += 16) {
      assertEquals(MASKED, second.readMmio(lvt, 4));
    }
    assertEquals(0xFEE0_0900L, fresh.apicBase(0));
    assertEquals(0xFEE0_0800L, fresh.apicBase(1));
    assertEquals(0x700, fresh.localApic(0).readMmio(LVT_LINT0, 4), "virtual wire");
  }

  @Test
  void shouldDeliverTheHighestFirst() {
    self(0x41);
    self(0x82);
    assertTrue(chip.interruptPending(0));
    assertFalse(chip.interruptPending(1));
    assertEquals(0x82, chip.acknowledge(0));
    assertEquals(1 << 2, read(ISR + 0x40));
    assertEquals(1 << 1, read(IRR + 0x20));
    assertFalse(chip.interruptPending(0), "0x41 waits");
    assertEquals(0x80, read(PPR));
    write(EOI, 0);
    assertEquals(0x41, chip.acknowledge(0));
    write(EOI, 0);
    assertEquals(Irqchip.NONE, chip.acknowledge(0));
  }

  @Test
  void shouldHoldBackTheSameClassAndLetAHigherOneNest() {
    self(0x51);
    chip.acknowledge(0);
    self(0x5F);
    assertFalse(chip.interruptPending(0), "same class");
    self(0x60);
    assertEquals(0x60, chip.acknowledge(0));
    assertEquals(0x60, read(PPR));
    write(EOI, 0);
    assertEquals(0x50, read(PPR));
    write(EOI, 0);
    assertEquals(0x5F, chip.acknowledge(0));
  }

  @Test
  void shouldHoldBackWhatTheTaskPriorityCovers() {
    write(TPR, 0x75);
    assertEquals(0x75, read(PPR), "the whole TPR when its class is the higher");
    assertEquals(7, chip.cr8(0));
    self(0x7F);
    assertFalse(chip.interruptPending(0));
    chip.cr8(0, 6);
    assertEquals(0x60, read(TPR));
    assertTrue(chip.interruptPending(0), "at once");
    chip.cr8(0, 15);
    assertFalse(chip.interruptPending(0));
    self(0xFF);
    assertFalse(chip.interruptPending(0), "class 15 covers all");
    chip.cr8(0, 0);
    assertEquals(0xFF, chip.acknowledge(0));
    write(TPR, 0x21);
    assertEquals(0xF0, read(PPR), "the class alone when in service is higher");
  }

  @Test
  void shouldKeepOneOfAVectorInServiceAndOneWaiting() {
    self(0x31);
    chip.acknowledge(0);
    self(0x31);
    self(0x31);
    assertFalse(chip.interruptPending(0));
    write(EOI, 0);
    assertEquals(0x31, chip.acknowledge(0));
    write(EOI, 0);
    assertEquals(Irqchip.NONE, chip.acknowledge(0));
  }

  @Test
  void shouldTellWhenAnInterruptWasRaised() {
    time.to(1000);
    self(0x31);
    time.to(1700);
    self(0x31);
    assertEquals(0x31, chip.acknowledge(0));
    assertEquals(1000, chip.requestTime(0, 0x31));
    self(0x31);
    assertEquals(1000, chip.requestTime(0, 0x31), "of the one that was taken");
    write(EOI, 0);
    chip.acknowledge(0);
    assertEquals(1700, chip.requestTime(0, 0x31));
  }

  @Test
  void shouldTakeNothingWhileSoftwareDisabled() {
    self(0x31);
    write(LVT_TIMER, 0x40);
    write(SVR, 0xFF);
    assertEquals(MASKED | 0x40, read(LVT_TIMER), "disabling masks the table");
    write(LVT_TIMER, 0x41);
    assertEquals(MASKED | 0x41, read(LVT_TIMER), "and keeps it masked");
    self(0x32);
    assertEquals(0x31, chip.acknowledge(0), "what was there is still handled");
    write(EOI, 0);
    assertFalse(chip.interruptPending(0));
    write(ICR_HIGH, 0);
    write(ICR_LOW, ApicMessage.NMI << 8);
    assertTrue(chip.nmiPending(0), "NMI comes through");
  }

  @Test
  void shouldSendByPhysicalDestination() {
    write(ICR_HIGH, 1 << 24);
    write(ICR_LOW, 0x55);
    assertFalse(chip.interruptPending(0));
    assertEquals(0x55, chip.acknowledge(1));
    write(ICR_HIGH, 0xFF << 24);
    write(ICR_LOW, 0x66);
    assertEquals(0x66, chip.acknowledge(0));
    assertEquals(0x66, chip.acknowledge(1));
    write(ICR_HIGH, 7 << 24);
    write(ICR_LOW, 0x77);
    assertFalse(chip.interruptPending(0) || chip.interruptPending(1), "nobody");
  }

  @Test
  void shouldSendByLogicalDestination() {
    write(0, LDR, 0x01 << 24);
    write(1, LDR, 0x02 << 24);
    write(ICR_HIGH, 0x02 << 24);
    write(ICR_LOW, 1 << 11 | 0x55);
    assertFalse(chip.interruptPending(0));
    assertEquals(0x55, chip.acknowledge(1));
    write(1, EOI, 0);
    write(ICR_HIGH, 0x03 << 24);
    write(ICR_LOW, 1 << 11 | 0x56);
    assertEquals(0x56, chip.acknowledge(0));
    assertEquals(0x56, chip.acknowledge(1));
    // Cluster model: both in set 1, of clusters 1 and 2.
    write(0, DFR, 0x0FFF_FFFF);
    write(1, DFR, 0x0FFF_FFFF);
    write(0, LDR, 0x11 << 24);
    write(1, LDR, 0x21 << 24);
    write(ICR_HIGH, 0x21 << 24);
    write(ICR_LOW, 1 << 11 | 0x65);
    assertFalse(chip.interruptPending(0));
    assertEquals(0x65, chip.acknowledge(1));
  }

  @Test
  void shouldSendLowestPriorityToOneAlone() {
    write(0, LDR, 0x01 << 24);
    write(1, LDR, 0x02 << 24);
    write(0, TPR, 0x20);
    write(ICR_HIGH, 0x03 << 24);
    write(ICR_LOW, 1 << 11 | ApicMessage.LOWEST_PRIORITY << 8 | 0x91);
    assertFalse(chip.interruptPending(0));
    assertEquals(0x91, chip.acknowledge(1));
  }

  @Test
  void shouldSendByShorthand() {
    write(ICR_LOW, ALL | 0x41);
    assertEquals(0x41, chip.acknowledge(0));
    assertEquals(0x41, chip.acknowledge(1));
    write(ICR_LOW, OTHERS | 0x52);
    assertFalse(chip.interruptPending(0));
    assertEquals(0x52, chip.acknowledge(1));
  }

  @Test
  void shouldRecordInitAndStartup() {
    write(ICR_HIGH, 1 << 24);
    write(ICR_LOW, 0xC500);
    assertTrue(chip.takeInit(1));
    assertFalse(chip.takeInit(1), "once");
    assertFalse(chip.takeInit(0));
    write(ICR_LOW, 0x8500);
    assertFalse(chip.takeInit(1), "de-assert does nothing");
    assertEquals(Irqchip.NONE, chip.takeStartup(1));
    write(ICR_LOW, 0x0699);
    assertEquals(0x99, chip.takeStartup(1));
    assertEquals(Irqchip.NONE, chip.takeStartup(1));
  }

  @Test
  void shouldReportErrorsOnAWriteOfEsr() {
    write(LVT_ERROR, 0xE1);
    self(0x05);
    assertEquals(0, read(ESR), "not before a write");
    assertEquals(0xE1, chip.acknowledge(0));
    write(ESR, 0);
    assertEquals(0x20, read(ESR), "send illegal vector");
    write(ESR, 0);
    assertEquals(0, read(ESR));
    assertEquals(0, read(0x40), "a reserved register");
    write(ESR, 0);
    assertEquals(0x80, read(ESR));
    route(5, 0, 0x0F);
    chip.line(5).set(true);
    write(ESR, 0);
    assertEquals(0x40, read(ESR), "receive illegal vector");
  }

  @Test
  void shouldRefuseOtherAddresses() {
    assertFalse(chip.apicBase(0, 0xFED0_0900L), "another page");
    assertFalse(chip.apicBase(0, 0xFEE0_0901L), "a reserved bit");
    assertEquals(0xFEE0_0900L, chip.apicBase(0));
    assertTrue(chip.apicBase(0, 0xFEE0_0900L));
  }

  @Test
  void shouldVanishWhenDisabledByItsBase() {
    self(0x41);
    assertTrue(chip.apicBase(0, 0xFEE0_0100L));
    assertFalse(chip.interruptPending(0));
    assertEquals(-1, read(SVR));
    initializePic();
    chip.line(4).set(true);
    assertEquals(0x34, chip.acknowledge(0), "INTR is the PIC's then");
    assertTrue(chip.apicBase(0, 0xFEE0_0900L));
    assertEquals(0xFF, read(SVR), "reset when it comes back");
  }

  @Test
  void shouldIgnoreNarrowStoresAndReadPartsOfRegisters() {
    chip.localApic(0).writeMmio(TPR, 1, 0x50);
    assertEquals(0, read(TPR));
    assertEquals(0x14, chip.localApic(0).readMmio(0x30, 1) & 0xFF);
    assertEquals(0x05, chip.localApic(0).readMmio(0x32, 1) & 0xFF);
    assertEquals(0, chip.localApic(0).readMmio(0x34, 4), "between registers");
  }

  @Test
  void shouldRouteThePageToTheSelectedVcpu() {
    chip.select(1);
    assertEquals(0x0100_0000, chip.localApicPage().readMmio(ID, 4));
    chip.localApicPage().writeMmio(TPR, 4, 0x30);
    chip.select(0);
    assertEquals(0, chip.localApicPage().readMmio(TPR, 4));
    assertEquals(3, chip.cr8(1));
  }
}

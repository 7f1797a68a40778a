package dev.vmexit.irq;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.device.ManualTime;
import dev.vmexit.device.RecordingLine;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class Pic8259PairTest {
  private final ManualTime time = new ManualTime();
  private final RecordingLine intr = new RecordingLine();
  private final Pic8259Pair pic = new Pic8259Pair(time, intr);

  private void out(final int port, final int value) {
    pic.writePort(port, 1, value);
  }

  private int in(final int port) {
    return pic.readPort(port, 1);
  }

  private void initialize(final int icw4) {
    out(0x20, 0x11);
    out(0x21, 0x20);
    out(0x21, 0x04);
    out(0x21, icw4);
    out(0xA0, 0x11);
    out(0xA1, 0x28);
    out(0xA1, 0x02);
    out(0xA1, icw4);
  }

  private void pulse(final int irq) {
    pic.setIrq(irq, true);
    pic.setIrq(irq, false);
  }

  private int inService(final int port) {
    out(port, 0x0B);
    return in(port);
  }

  private int requested(final int port) {
    out(port, 0x0A);
    return in(port);
  }

  @BeforeEach
  void initialize() {
    initialize(0x01);
  }

  @Test
  void shouldAskNothingBeforeItIsInitialized() {
    final Pic8259Pair fresh = new Pic8259Pair(time, intr);
    fresh.setIrq(3, true);
    assertFalse(fresh.output());
    out(0x20, 0x11);
    pic.setIrq(3, true);
    assertFalse(pic.output(), "nor between ICW1 and ICW4");
  }

  @Test
  void shouldDeliverByPriorityAndNest() {
    pulse(5);
    pulse(3);
    assertTrue(intr.level());
    assertEquals(0x23, pic.acknowledge());
    assertFalse(pic.output(), "5 waits for 3");
    pulse(1);
    assertEquals(0x21, pic.acknowledge());
    assertEquals(0x0A, inService(0x20));
    out(0x20, 0x20);
    assertEquals(0x08, inService(0x20), "non-specific EOI ends the highest");
    assertFalse(pic.output());
    out(0x20, 0x20);
    assertEquals(0x25, pic.acknowledge());
  }

  @Test
  void shouldCascadeTheSlave() {
    pic.setIrq(12, true);
    assertEquals(0x2C, pic.acknowledge());
    assertEquals(0x04, inService(0x20));
    assertEquals(0x10, inService(0xA0));
    out(0xA0, 0x64);
    out(0x20, 0x62);
    assertEquals(0, inService(0x20));
    assertEquals(0, inService(0xA0));
    assertFalse(pic.output(), "an edge counts once");
  }

  @Test
  void shouldNotLoseASecondRequestOfTheSlave() {
    pulse(12);
    pulse(10);
    assertEquals(0x2A, pic.acknowledge());
    out(0xA0, 0x20);
    out(0x20, 0x20);
    assertTrue(pic.output());
    assertEquals(0x2C, pic.acknowledge());
    // With automatic EOI there is nothing between the two acknowledges.
    initialize(0x03);
    pulse(12);
    pulse(10);
    assertEquals(0x2A, pic.acknowledge());
    assertTrue(pic.output());
    assertEquals(0x2C, pic.acknowledge());
    assertFalse(pic.output());
    assertEquals(0, inService(0x20));
  }

  @Test
  void shouldMask() {
    out(0x21, 0x08);
    pulse(3);
    assertFalse(pic.output());
    assertEquals(0x08, requested(0x20), "it stays requested");
    assertEquals(0x08, in(0x21));
    out(0x21, 0);
    assertEquals(0x23, pic.acknowledge());
  }

  @Test
  void shouldYieldSpurious7And15WhenTheRequestIsGone() {
    out(0x4D0, 0x20);
    out(0x4D1, 0x02);
    pic.setIrq(5, true);
    assertTrue(pic.output());
    pic.setIrq(5, false);
    assertFalse(pic.output());
    assertEquals(0x27, pic.acknowledge());
    assertEquals(0, inService(0x20), "no bit is in service");
    assertEquals(-1, pic.acknowledgedAt());
    pic.setIrq(9, true);
    pic.setIrq(9, false);
    assertEquals(0x2F, pic.acknowledge());
    assertEquals(0, inService(0xA0));
    assertEquals(0x04, inService(0x20), "the master served its cascade and wants an EOI");
  }

  @Test
  void shouldAskAgainWhileALevelIsHigh() {
    out(0x4D0, 0xFF);
    out(0x4D1, 0xFF);
    assertEquals(0xF8, in(0x4D0), "IRQ 0 to 2 are edges for ever");
    assertEquals(0xDE, in(0x4D1));
    pic.setIrq(11, true);
    assertEquals(0x2B, pic.acknowledge());
    out(0xA0, 0x20);
    out(0x20, 0x20);
    assertTrue(pic.output());
    assertEquals(0x2B, pic.acknowledge());
    pic.setIrq(11, false);
    out(0xA0, 0x20);
    out(0x20, 0x20);
    assertFalse(pic.output());
  }

  @Test
  void shouldNeedANewEdgeAfterInitialization() {
    pic.setIrq(4, true);
    initialize(0x01);
    assertFalse(pic.output());
    pic.setIrq(4, false);
    pic.setIrq(4, true);
    assertTrue(pic.output());
  }

  @Test
  void shouldRotateOnEoi() {
    pulse(3);
    pic.acknowledge();
    out(0x20, 0xA0);
    // 3 is the lowest now, 4 the highest.
    pulse(3);
    pulse(6);
    pulse(1);
    assertEquals(0x26, pic.acknowledge());
    out(0x20, 0x66);
    assertEquals(0x21, pic.acknowledge());
    out(0x20, 0x61);
    assertEquals(0x23, pic.acknowledge());
    // Rotate on specific EOI.
    out(0x20, 0xE3);
    pulse(4);
    pulse(0);
    assertEquals(0x24, pic.acknowledge());
    // Set priority: 5 the lowest.
    out(0x20, 0x64);
    out(0x20, 0xC5);
    pulse(7);
    assertEquals(0x27, pic.acknowledge());
    assertFalse(pic.output(), "0 comes after 7 now");
    out(0x20, 0x67);
    assertEquals(0x20, pic.acknowledge());
  }

  @Test
  void shouldRotateOnAutomaticEoi() {
    initialize(0x03);
    out(0x20, 0x80);
    pulse(0);
    pulse(1);
    assertEquals(0x20, pic.acknowledge());
    pulse(0);
    assertEquals(0x21, pic.acknowledge(), "0 went to the end");
    assertEquals(0x20, pic.acknowledge());
    out(0x20, 0x00);
    pulse(5);
    assertEquals(0x25, pic.acknowledge());
    pulse(1);
    pulse(6);
    assertEquals(0x21, pic.acknowledge(), "no longer: 1 still follows 0 in order");
  }

  @Test
  void shouldLetLowerLevelsInWithTheSpecialMask() {
    pulse(3);
    pic.acknowledge();
    out(0x21, 0x08);
    pulse(6);
    assertFalse(pic.output());
    out(0x20, 0x68);
    assertTrue(pic.output());
    assertEquals(0x26, pic.acknowledge());
    out(0x20, 0x20);
    assertEquals(0x08, inService(0x20), "a non-specific EOI passes by the masked level");
    out(0x20, 0x20);
    assertEquals(0x08, inService(0x20));
    out(0x20, 0x48);
    pulse(5);
    assertFalse(pic.output(), "without it 3 blocks again");
  }

  @Test
  void shouldLetTheSlaveNestWhenSpecialFullyNested() {
    initialize(0x11);
    pulse(12);
    assertEquals(0x2C, pic.acknowledge());
    pulse(9);
    assertTrue(pic.output(), "a higher one of the same slave");
    assertEquals(0x29, pic.acknowledge());
    initialize(0x01);
    pulse(12);
    assertEquals(0x2C, pic.acknowledge());
    pulse(9);
    assertFalse(pic.output(), "which the plain mode holds back");
  }

  @Test
  void shouldAnswerAPoll() {
    pulse(4);
    out(0x20, 0x0C);
    assertEquals(0x84, in(0x20));
    assertEquals(0x10, inService(0x20));
    assertFalse(pic.output());
    out(0x20, 0x20);
    out(0x20, 0x0C);
    assertEquals(0, in(0x20), "nothing asks");
    pulse(14);
    out(0x20, 0x0C);
    assertEquals(0x82, in(0x20));
    out(0xA0, 0x0C);
    assertEquals(0x86, in(0xA0));
    assertEquals(0x40, inService(0xA0));
  }

  @Test
  void shouldTellWhenItWasRaised() {
    time.to(100);
    pulse(4);
    time.to(250);
    pulse(4);
    time.to(300);
    pic.acknowledge();
    assertEquals(100, pic.acknowledgedAt(), "the first of two that became one");
    out(0x20, 0x20);
    pulse(13);
    time.to(400);
    pic.acknowledge();
    assertEquals(300, pic.acknowledgedAt());
  }

  @Test
  void shouldAnswerAProbeOfItsMask() {
    out(0xA1, 0xFF);
    out(0x21, 0xFB);
    assertEquals(0xFB, in(0x21));
    assertEquals(0xFF, in(0xA1));
  }
}

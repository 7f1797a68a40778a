package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import org.junit.jupiter.api.Test;

final class Uart16550Test {
  private static final int BASE = Uart16550.COM1;
  private static final int DATA = BASE;
  private static final int IER = BASE + 1;
  private static final int IIR = BASE + 2;
  private static final int FCR = BASE + 2;
  private static final int LCR = BASE + 3;
  private static final int MCR = BASE + 4;
  private static final int LSR = BASE + 5;
  private static final int MSR = BASE + 6;
  private static final int SCR = BASE + 7;

  private final ManualTime time = new ManualTime();
  private final RecordingLine line = new RecordingLine();
  private final ByteArrayOutputStream sent = new ByteArrayOutputStream();
  private final Uart16550 uart = new Uart16550(BASE, line, time, time.timers(), sent::write);

  private int in(final int port) {
    return uart.readPort(port, 1);
  }

  private void out(final int port, final int value) {
    uart.writePort(port, 1, value);
  }

  @Test
  void shouldSendAndStayEmpty() {
    out(LCR, 3);
    out(DATA, 'h');
    out(DATA, 'i');
    assertArrayEquals(new byte[] {'h', 'i'}, sent.toByteArray());
    assertEquals(0x60, in(LSR));
  }

  @Test
  void shouldSendNoMoreBitsThanTheWordHas() {
    out(LCR, 2);
    out(DATA, 0xFF);
    assertEquals(0x7F, sent.toByteArray()[0]);
  }

  @Test
  void shouldKeepDivisorAndScratchApart() {
    out(SCR, 0x5A);
    out(LCR, 0x83);
    out(DATA, 0x34);
    out(IER, 0x12);
    assertEquals(0x1234, uart.readPort(DATA, 2), "a word access is two registers");
    out(LCR, 0x03);
    assertEquals(0, in(IER));
    assertEquals(0x5A, in(SCR));
    assertEquals(0, sent.size());
  }

  @Test
  void shouldLookLikeA16550AToAProbe() {
    out(IER, 0xFF);
    assertEquals(0x0F, in(IER), "no sleep mode, no Xscale unit");
    out(IER, 0);
    out(FCR, 1);
    assertEquals(0xC1, in(IIR));
    out(FCR, 0x21);
    assertEquals(0xC0, in(IIR) & 0xE0, "no 64-byte FIFO");
    out(FCR, 0);
    assertEquals(0x01, in(IIR));
    // The modem loop: RTS and OUT2 come back as CTS and DCD.
    out(MCR, 0x1A);
    assertEquals(0x90, in(MSR) & 0xF0);
  }

  @Test
  void shouldRaiseThreWhenEnabledAndDropItWhenIirIsRead() {
    out(IER, 2);
    assertTrue(line.level());
    assertEquals(0x02, in(IIR));
    assertFalse(line.level());
    assertEquals(0x01, in(IIR));
    out(IER, 0);
    out(IER, 2);
    assertEquals(0x02, in(IIR), "enabling it again while empty raises it again");
    out(IER, 2);
    assertEquals(0x01, in(IIR), "an enable that was set is no new event");
  }

  @Test
  void shouldMakeANewEdgeForEachByteSent() {
    out(IER, 2);
    assertEquals(1, line.rises());
    out(DATA, 'a');
    assertEquals(2, line.rises());
    out(DATA, 'b');
    assertEquals(3, line.rises());
    assertTrue(line.level());
  }

  @Test
  void shouldOrderInterruptsByPriority() {
    out(FCR, 0x01);
    out(IER, 0x0F);
    // Modem: turning the loop on drops DSR, DCD and CTS.
    out(MCR, 0x10);
    out(MCR, 0x00);
    uart.receiveBreak();
    assertEquals(0xC6, in(IIR), "line status first");
    assertEquals(0x91 | 0x60, in(LSR), "data, break, error in FIFO");
    assertEquals(0xC4, in(IIR), "then received data");
    assertEquals(0, in(DATA));
    assertEquals(0xC2, in(IIR), "then the transmitter");
    assertEquals(0xC0, in(IIR), "then the modem");
    assertEquals(0xBB, in(MSR));
    assertEquals(0xC1, in(IIR), "then none");
    assertFalse(line.level());
    assertEquals(0xB0, in(MSR), "deltas are cleared by reading");
  }

  @Test
  void shouldInterruptAtTheTriggerLevel() {
    out(FCR, 0x81);
    out(IER, 1);
    for (int i = 0; i < 7; i++) {
      uart.receive(i);
      assertFalse(line.level(), "at " + i);
    }
    uart.receive(7);
    assertEquals(0xC4, in(IIR));
    assertEquals(0, in(DATA));
    assertEquals(0xC1, in(IIR), "below the level again");
  }

  @Test
  void shouldTimeOutFourCharactersAfterTheLastOne() {
    // 115,200 baud, 8N1: ten bits of 8,680.5 ns.
    out(LCR, 0x83);
    out(DATA, 1);
    out(IER, 0);
    out(LCR, 0x03);
    out(FCR, 0xC1);
    out(IER, 1);
    uart.receive('x');
    uart.receive('y');
    time.advance(347_000);
    assertFalse(line.level());
    uart.receive('z');
    time.advance(347_000);
    assertFalse(line.level(), "a new character starts it anew");
    time.advance(1_000);
    assertTrue(line.level());
    assertEquals(0xCC, in(IIR));
    assertEquals('x', in(DATA));
    assertEquals(0xC1, in(IIR), "reading one ends it");
    time.advance(348_000);
    assertEquals(0xCC, in(IIR), "and two are left");
    assertEquals('y', in(DATA));
    assertEquals('z', in(DATA));
    time.advance(1_000_000);
    assertFalse(line.level());
  }

  @Test
  void shouldHoldBackInputWhenFull() {
    assertTrue(uart.canReceive());
    uart.receive('a');
    assertFalse(uart.canReceive(), "one holding register without FIFO");
    out(FCR, 1);
    assertEquals(0x60, in(LSR), "switching the FIFO on clears it");
    for (int i = 0; i < 16; i++) {
      assertTrue(uart.canReceive());
      uart.receive(i);
    }
    assertFalse(uart.canReceive());
    uart.receive(99);
    assertEquals(0x63, in(LSR), "overrun");
    assertEquals(0x61, in(LSR), "shown once");
    for (int i = 0; i < 16; i++) {
      assertEquals(i, in(DATA), "the FIFO keeps what it had");
    }
    assertEquals(0x60, in(LSR));
  }

  @Test
  void shouldOverwriteTheHoldingRegisterWithoutFifo() {
    uart.receive('a');
    uart.receive('b');
    assertEquals(0x63, in(LSR));
    assertEquals('b', in(DATA));
  }

  @Test
  void shouldLoopBackWithoutSending() {
    out(LCR, 3);
    out(MCR, 0x10);
    assertFalse(uart.canReceive());
    uart.receive('o');
    out(DATA, 'l');
    assertEquals(0x61, in(LSR));
    assertEquals('l', in(DATA));
    assertEquals(0, sent.size());
    in(MSR);
    out(MCR, 0x1F);
    assertEquals(0xFB, in(MSR), "all four on; RI counts only when it falls");
    out(MCR, 0x1B);
    assertEquals(0xB4, in(MSR));
  }

  @Test
  void shouldClearTheReceiverOnCommand() {
    out(FCR, 1);
    out(IER, 1);
    uart.receive('a');
    assertTrue(line.level());
    out(FCR, 3);
    assertFalse(line.level());
    assertEquals(0x60, in(LSR));
  }
}

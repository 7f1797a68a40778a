package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

final class I8042Test {
  private final RecordingLine keyboard = new RecordingLine();
  private final RecordingLine aux = new RecordingLine();
  private final A20Gate a20 = new A20Gate(() -> {});
  private int resets;
  private final I8042 i8042 = new I8042(keyboard, aux, a20, () -> resets++);

  private int status() {
    return i8042.readPort(0x64, 1);
  }

  private int data() {
    return i8042.readPort(0x60, 1);
  }

  private void command(final int value) {
    i8042.writePort(0x64, 1, value);
  }

  private void data(final int value) {
    i8042.writePort(0x60, 1, value);
  }

  @Test
  void shouldTellAProbeThatNothingIsPluggedIn() {
    // The order of a kernel that probes: flush, mouse, self-test, configuration, keyboard.
    assertEquals(0, status() & 1, "nothing to flush");
    command(0xD3);
    data(0x5A);
    assertEquals(0xFE, data(), "the mouse's loop does not come back");
    command(0xA9);
    assertEquals(0x21 & 0x01, status() & 0x21, "a controller's answer");
    assertEquals(1, data(), "clock line low");
    command(0xAA);
    assertEquals(0x55, data());
    assertEquals(4, status() & 4, "self-test sets the system flag");
    command(0x20);
    final int config = data();
    assertEquals(0x34, config, "both interfaces off, system flag");
    command(0x60);
    data((config & ~0x10) | 1);
    command(0x20);
    assertEquals(0x25, data());
    command(0xAB);
    assertEquals(0, data());
    // Identify: answered at once, with a timeout and an interrupt.
    data(0xF2);
    assertTrue(keyboard.level());
    assertEquals(0x41, status() & 0x61);
    assertEquals(0xFE, data());
    assertFalse(keyboard.level());
    assertEquals(0, status() & 0x41);
    // Set LEDs: each byte makes an edge of its own.
    data(0xED);
    data(0x00);
    assertEquals(3, keyboard.rises());
    assertEquals(0xFE, data());
    assertEquals(0, aux.rises());
  }

  @Test
  void shouldAnswerForTheMouseWhenAByteIsSentToIt() {
    command(0x60);
    data(0x03);
    command(0xD4);
    data(0xF2);
    assertTrue(aux.level());
    assertFalse(keyboard.level());
    assertEquals(0x61, status() & 0x61);
    assertEquals(0xFE, data());
    assertFalse(aux.level());
  }

  @Test
  void shouldNotInterruptWhenDisabled() {
    data(0xFF);
    assertEquals(0, keyboard.rises());
    assertEquals(1, status() & 1);
  }

  @Test
  void shouldTellCommandFromData() {
    command(0xAE);
    assertEquals(8, status() & 8);
    data(0xF4);
    assertEquals(0, status() & 8);
    assertEquals(0, status() & 2, "never busy");
  }

  @Test
  void shouldWriteTheOutputBufferAsTheKeyboard() {
    command(0x60);
    data(1);
    command(0xD2);
    data(0x1C);
    assertTrue(keyboard.level());
    assertEquals(1, status() & 0x61);
    assertEquals(0x1C, data());
  }

  @Test
  void shouldGateA20() {
    command(0xD0);
    assertEquals(0xCF, data());
    command(0xD1);
    data(0xDD);
    assertFalse(a20.enabled());
    command(0xD0);
    assertEquals(0xCD, data());
    command(0xDF);
    assertTrue(a20.enabled());
    command(0xDD);
    assertFalse(a20.enabled());
    assertEquals(0, resets);
    final FastA20Port fast = new FastA20Port(a20, () -> resets++);
    assertEquals(0, fast.readPort(0x92, 1));
    fast.writePort(0x92, 1, 0x02);
    assertTrue(a20.enabled());
    assertEquals(2, fast.readPort(0x92, 1));
    assertEquals(0, resets);
    fast.writePort(0x92, 1, 0x03);
    assertEquals(1, resets);
  }

  @Test
  void shouldResetWhenTheLineIsPulsed() {
    command(0xFE);
    assertEquals(1, resets);
    command(0xFF);
    assertEquals(1, resets, "pulses nothing");
    command(0xD1);
    data(0xFE);
    assertEquals(2, resets);
  }

  @Test
  void shouldKeepTheRamOfTheController() {
    command(0x65);
    data(0xA5);
    command(0x25);
    assertEquals(0xA5, data());
  }

  @Test
  void shouldTranslateTheKeyboardsScanCodes() {
    final Ps2Keyboard keys = new Ps2Keyboard();
    i8042.plug(keys);
    command(0x60);
    data(0x45); // interrupt, translation, both interfaces on
    data(0xFF);
    assertEquals(0xFA, data());
    assertEquals(0xAA, data());
    assertEquals(0, status() & 1);
    data(0xF2);
    assertEquals(0xFA, data());
    assertEquals(0xAB, data());
    assertEquals(0x41, data(), "83 is translated as if it were F7");
    // Press A, press and release cursor up: set 2 goes in, set 1 comes out.
    for (final int code : new int[] {0x1C, 0xE0, 0x75, 0xE0, 0xF0, 0x75, 0xF0, 0x1C}) {
      keys.press(code);
    }
    final int before = keyboard.rises();
    i8042.poll();
    for (final int code : new int[] {0x1E, 0xE0, 0x48, 0xE0, 0xC8, 0x9E}) {
      assertEquals(1, status() & 0x21);
      assertTrue(keyboard.level());
      assertEquals(code, data());
    }
    assertEquals(before + 6, keyboard.rises(), "an edge for each byte");
    assertEquals(0, status() & 1);
    // As it is, without translation.
    command(0x60);
    data(0x05);
    keys.press(0xF0);
    keys.press(0x1C);
    i8042.poll();
    assertEquals(0xF0, data());
    assertEquals(0x1C, data());
  }

  @Test
  void shouldHoldTheKeyboardBackWhileItIsDisabled() {
    final Ps2Keyboard keys = new Ps2Keyboard();
    i8042.plug(keys);
    command(0xAD);
    keys.press(0x1C);
    i8042.poll();
    assertEquals(0, status() & 1);
    command(0xAE);
    assertEquals(1, status() & 1);
    assertEquals(0x1E, data());
  }

  @Test
  void shouldTakeTheKeyboardsCommands() {
    final Ps2Keyboard keys = new Ps2Keyboard();
    i8042.plug(keys);
    command(0x60);
    data(0x05);
    for (final int[] step :
        new int[][] {
          {0xEE, 0xEE}, {0xED, 0xFA}, {0x07, 0xFA}, {0xF3, 0xFA}, {0x20, 0xFA}, {0x11, 0xFE}
        }) {
      data(step[0]);
      assertEquals(step[1], data());
    }
    data(0xFE);
    assertEquals(0xFE, data(), "once more");
    data(0xF0);
    assertEquals(0xFA, data());
    data(0x00);
    assertEquals(0xFA, data());
    assertEquals(2, data(), "the scan code set");
    data(0xF5);
    assertEquals(0xFA, data());
    keys.press(0x1C);
    i8042.poll();
    assertEquals(0, status() & 1, "scanning is off");
    data(0xF4);
    assertEquals(0xFA, data());
    keys.press(0x1C);
    i8042.poll();
    assertEquals(0x1C, data());
  }
}

package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class VgaTest {
  private final ManualTime time = new ManualTime();
  private final List<String> pictures = new ArrayList<>();
  private int cursor = -2;
  private final Vga vga = new Vga(time, time.timers(), this::show);
  private final MmioDevice memory = vga.memory();

  private void show(final short[] cells, final int columns, final int rows, final int at) {
    final StringBuilder text = new StringBuilder();
    for (int i = 0; i < columns * rows; i++) {
      final int c = cells[i] & 0xFF;
      text.append(c == 0 ? '.' : (char) c);
      if (i % columns == columns - 1) {
        text.append('/');
      }
    }
    pictures.add(text.toString());
    cursor = at;
  }

  private void set(final int port, final int index, final int value) {
    vga.writePort(port, 2, index | value << 8);
  }

  /** A text mode of eight columns and three rows, else as mode 3 is. */
  @BeforeEach
  void textMode() {
    set(0x3C4, 2, 0x03);
    set(0x3C4, 4, 0x02);
    set(0x3CE, 5, 0x10);
    set(0x3CE, 6, 0x0E);
    set(0x3CE, 8, 0xFF);
    set(0x3D4, 1, 7);
    set(0x3D4, 9, 0x4F);
    set(0x3D4, 0x12, 47);
    set(0x3D4, 0x13, 4);
  }

  private void text(final int cell, final String text) {
    for (int i = 0; i < text.length(); i++) {
      memory.writeMmio(0x1_8000 + 2 * (cell + i), 2, text.charAt(i) | 0x0700);
    }
  }

  @Test
  void shouldShowWhatWasWrittenOnceItIsTime() {
    text(1, "hello");
    text(8, "vga");
    assertEquals(List.of(), pictures);
    time.advance(40_000_000);
    assertEquals(List.of(".hello../vga...../......../"), pictures);
    time.advance(1_000_000_000);
    assertEquals(1, pictures.size(), "nothing has changed");
    assertEquals('e' | 0x0700, memory.readMmio(0x1_8004, 2));
  }

  @Test
  void shouldFollowTheStartAddressAndTheCursor() {
    text(8, "second");
    text(24, "fourth");
    set(0x3D4, 0x0D, 8);
    set(0x3D4, 0x0F, 8 + 17);
    time.advance(40_000_000);
    assertEquals(List.of("second../......../fourth../"), pictures);
    assertEquals(17, cursor);
    set(0x3D4, 0x0A, 0x20);
    time.advance(40_000_000);
    assertEquals(-1, cursor, "switched off");
    set(0x3D4, 0x0A, 0);
    set(0x3D4, 0x0F, 4);
    time.advance(40_000_000);
    assertEquals(-1, cursor, "above the picture");
  }

  @Test
  void shouldKeepTheFontOutOfTheText() {
    text(0, "kept");
    // As a BIOS loads a font: plane 2 alone, one address a byte, at 0xA0000.
    set(0x3C4, 2, 0x04);
    set(0x3C4, 4, 0x06);
    set(0x3CE, 5, 0x00);
    set(0x3CE, 6, 0x04);
    set(0x3CE, 4, 2);
    for (int i = 0; i < 16; i++) {
      memory.writeMmio(i, 1, 0xA0 + i);
    }
    assertEquals(0xA5, memory.readMmio(5, 1));
    assertEquals(0xFF, memory.readMmio(0x1_8000, 1), "the window is elsewhere");
    textMode();
    time.advance(40_000_000);
    assertEquals(List.of("kept..../......../......../"), pictures);
  }

  @Test
  void shouldPassBytesThroughTheDataPath() {
    set(0x3C4, 2, 0x0F);
    set(0x3C4, 4, 0x06);
    set(0x3CE, 6, 0x05);
    set(0x3CE, 5, 0x00);
    memory.writeMmio(0, 1, 0x0F);
    // Set/reset in planes 0 and 1, exclusive or with the latches, the upper half alone.
    set(0x3CE, 0, 0x01);
    set(0x3CE, 1, 0x03);
    set(0x3CE, 3, 0x18);
    set(0x3CE, 8, 0xFC);
    memory.readMmio(0, 1);
    memory.writeMmio(0, 1, 0xFF);
    final int[] expected = {0xF3, 0x0F, 0xF3, 0xF3};
    for (int plane = 0; plane < 4; plane++) {
      set(0x3CE, 4, plane);
      assertEquals(expected[plane], memory.readMmio(0, 1), "plane " + plane);
    }
    // Write mode 1 copies all planes at once, mode 2 makes pixels of a colour.
    set(0x3CE, 5, 1);
    memory.writeMmio(1, 1, 0);
    set(0x3CE, 4, 1);
    assertEquals(0x0F, memory.readMmio(1, 1));
    set(0x3CE, 5, 2);
    set(0x3CE, 3, 0);
    set(0x3CE, 8, 0xFF);
    memory.writeMmio(2, 1, 0x05);
    set(0x3CE, 5, 8);
    set(0x3CE, 2, 0x05);
    set(0x3CE, 7, 0x0F);
    assertEquals(0xFF, memory.readMmio(2, 1), "all pixels are of that colour");
    assertEquals(0, memory.readMmio(3, 1), "there are none");
  }

  @Test
  void shouldProtectTheFirstRegistersAndMoveWithTheMiscellaneous() {
    set(0x3D4, 0x11, 0x80);
    set(0x3D4, 1, 99);
    vga.writePort(0x3D4, 1, 1);
    assertEquals(7, vga.readPort(0x3D5, 1));
    vga.writePort(0x3C2, 1, 0);
    assertEquals(0xFF, vga.readPort(0x3D5, 1));
    assertEquals(7, vga.readPort(0x3B5, 1));
    assertEquals(0, vga.readPort(0x3CC, 1));
  }

  @Test
  void shouldTellTheRetraceByTime() {
    int changes = 0;
    int last = 0;
    for (int i = 0; i < 1000; i++) {
      time.advance(100_000);
      final int now = vga.readPort(0x3DA, 1) & 8;
      changes += now != last ? 1 : 0;
      last = now;
    }
    assertEquals(14, changes, "seven pictures in a tenth of a second");
  }

  @Test
  void shouldAlternateBetweenAttributesIndexAndData() {
    vga.readPort(0x3DA, 1);
    vga.writePort(0x3C0, 1, 0x10);
    vga.writePort(0x3C0, 1, 0x0C);
    vga.writePort(0x3C0, 1, 0x30);
    assertEquals(0x0C, vga.readPort(0x3C1, 1));
    vga.writePort(0x3C8, 1, 5);
    for (int i = 1; i <= 3; i++) {
      vga.writePort(0x3C9, 1, i * 0x15);
    }
    vga.writePort(0x3C7, 1, 5);
    assertEquals(3, vga.readPort(0x3C7, 1));
    assertEquals(0x15, vga.readPort(0x3C9, 1));
    assertEquals(0x2A, vga.readPort(0x3C9, 1));
    assertEquals(0x3F, vga.readPort(0x3C9, 1));
  }
}

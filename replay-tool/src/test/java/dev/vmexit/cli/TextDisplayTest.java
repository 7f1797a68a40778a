package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;

final class TextDisplayTest {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  private static short[] cells(final int columns, final String... rows) {
    final short[] cells = new short[columns * rows.length];
    for (int row = 0; row < rows.length; row++) {
      for (int i = 0; i < columns; i++) {
        final char c = i < rows[row].length() ? rows[row].charAt(i) : ' ';
        cells[row * columns + i] = (short) (c | 0x0700);
      }
    }
    return cells;
  }

  private String text() {
    return out.toString(StandardCharsets.ISO_8859_1);
  }

  /** What was on the alternate screen when it was left. */
  private String screen() {
    final String all = text();
    return TerminalScreen.of(all.substring(0, all.indexOf("\u001B[?1049l")));
  }

  @Test
  void shouldShowTheLastPictureAndLeaveItsTextBehind() {
    try (TextDisplay display = new TextDisplay(out, null, () -> {})) {
      display.show(cells(10, "one", "two", ""), 10, 3, 4);
      display.show(cells(10, "one", "tWo!", ""), 10, 3, 14);
    }
    assertEquals("one\ntWo!", screen());
    assertTrue(text().endsWith("\u001B[?25h\u001B[?1049lone\ntWo!\n"), text());
  }

  @Test
  void shouldDrawNothingButWhatChanged() throws InterruptedException {
    final CountDownLatch drawn = new CountDownLatch(1);
    final int after;
    try (TextDisplay display = new TextDisplay(out, "first", drawn::countDown)) {
      display.show(cells(80, "first", "x".repeat(80)), 80, 2, 0);
      drawn.await();
      after = out.size();
      display.show(cells(80, "First", "x".repeat(80)), 80, 2, 0);
    }
    final String rest = text().substring(after);
    assertTrue(
        rest.startsWith("\u001B[?25l\u001B[1;1H\u001B[0;37;40mF\u001B[1;1H\u001B[?25h"), rest);
  }

  @Test
  void shouldBeRightAfterAnyChanges() {
    final Random random = new Random(5);
    final short[] cells = cells(40, "", "", "", "", "");
    try (TextDisplay display = new TextDisplay(out, null, () -> {})) {
      for (int i = 0; i < 500; i++) {
        for (int n = random.nextInt(30); n >= 0; n--) {
          cells[random.nextInt(cells.length)] =
              (short) (33 + random.nextInt(90) | random.nextInt(256) << 8);
        }
        display.show(cells, 40, 5, random.nextInt(201) - 1);
      }
    }
    final StringBuilder expected = new StringBuilder();
    for (int row = 0; row < 5; row++) {
      for (int i = 0; i < 40; i++) {
        expected.append((char) (cells[row * 40 + i] & 0xFF));
      }
      expected.append('\n');
    }
    assertEquals(
        expected.toString().stripTrailing().lines().map(String::stripTrailing).toList(),
        screen().lines().toList());
  }

  @Test
  void shouldShowBrightBackgroundsWhereNothingBlinks() {
    try (TextDisplay display = new TextDisplay(out, null, () -> {})) {
      display.blinks(false);
      display.show(new short[] {(short) 0x9F41}, 1, 1, -1);
    }
    assertTrue(text().contains("\u001B[0;97;104mA"), text());
  }

  @Test
  void shouldShowTheGlyphsAndColoursOfAPc() {
    try (TextDisplay display = new TextDisplay(out, null, () -> {})) {
      display.show(new short[] {0x1FC4, 0x0401, (short) 0x8E7F}, 3, 1, -1);
    }
    final String utf8 = out.toString(StandardCharsets.UTF_8);
    assertTrue(
        utf8.contains("\u001B[0;97;44m\u2500\u001B[0;31;40m\u263A\u001B[0;93;40;5m\u2302"), utf8);
  }
}

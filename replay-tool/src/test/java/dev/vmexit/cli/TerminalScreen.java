package dev.vmexit.cli;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** What a terminal would show after output as {@link TextDisplay} makes it. */
final class TerminalScreen {
  private static final int COLUMNS = 132;
  private static final int ROWS = 60;

  private TerminalScreen() {}

  /**
   * Plays output.
   *
   * @param output bytes as characters of Latin 1
   * @return the rows, blanks at their ends cut off, a line each
   */
  static String of(final String output) {
    final String text =
        new String(output.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8);
    final char[][] cells = new char[ROWS][COLUMNS];
    clear(cells);
    int row = 0;
    int column = 0;
    for (int i = 0; i < text.length(); i++) {
      final char c = text.charAt(i);
      if (c == '\u001B') {
        int end = i + 2;
        while (end < text.length() && !Character.isLetter(text.charAt(end))) {
          end++;
        }
        if (end >= text.length()) {
          break;
        }
        final String parameters = text.substring(i + 2, end);
        if (text.charAt(end) == 'H') {
          final String[] place = parameters.split(";", -1);
          row = Integer.parseInt(place[0]) - 1;
          column = Integer.parseInt(place[1]) - 1;
        } else if (text.charAt(end) == 'J') {
          clear(cells);
        }
        i = end;
      } else if (row < ROWS && column < COLUMNS && c != '\n') {
        cells[row][column++] = c;
      }
    }
    final StringBuilder lines = new StringBuilder();
    for (final char[] line : cells) {
      lines.append(new String(line).stripTrailing()).append('\n');
    }
    return lines.toString().stripTrailing();
  }

  private static void clear(final char[][] cells) {
    for (final char[] line : cells) {
      Arrays.fill(line, ' ');
    }
  }
}

package dev.vmexit.cli;

import dev.vmexit.device.ScreenSink;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;

/**
 * Shows a VGA's text screen on a terminal: the vCPU's thread leaves a picture and goes on, a thread
 * of its own draws what differs from the last one, by ECMA-48 control sequences. Pictures that come
 * faster than the terminal takes them are skipped, but never the last one.
 */
final class TextDisplay implements ScreenSink, AutoCloseable {
  private static final String LOW_GLYPHS =
      " \u263A\u263B\u2665\u2666\u2663\u2660\u2022\u25D8\u25CB\u25D9\u2642\u2640\u266A\u266B\u263C"
          + "\u25BA\u25C4\u2195\u203C\u00B6\u00A7\u25AC\u21A8\u2191\u2193\u2192\u2190\u221F\u2194"
          + "\u25B2\u25BC";
  private static final String GLYPHS = glyphs();

  /** The colours of a PC in the order of ECMA-48. */
  private static final int[] COLOURS = {0, 4, 2, 6, 1, 5, 3, 7};

  private static final int BRIGHT = 8;
  private static final int NOTHING = -1;

  private final OutputStream out;
  private final String exitOn;
  private final Runnable onText;
  private final Thread thread;

  // Under the monitor: the last picture that was left.
  private short[] next = {};
  private int nextColumns;
  private int nextRows;
  private int nextCursor;
  private boolean nextBlinks = true;
  private boolean fresh;
  private boolean closing;

  // Of the drawing thread: what the terminal shows.
  private final StringBuilder text = new StringBuilder();
  private short[] shown = {};
  private int columns;
  private int rows;
  private int attribute;
  private boolean blinks = true;
  private boolean textSeen;

  /**
   * Starts the drawing thread.
   *
   * @param out the terminal, taking UTF-8
   * @param exitOn text to look for in a row, or null
   * @param onText called on the drawing thread when it was seen, once
   */
  TextDisplay(final OutputStream out, final String exitOn, final Runnable onText) {
    this.out = out;
    this.exitOn = exitOn;
    this.onText = onText;
    thread = new Thread(this::draw, "display");
    thread.setDaemon(true);
    thread.start();
  }

  /** Unicode for the characters of a PC, code page 437. */
  private static String glyphs() {
    final byte[] codes = new byte[256];
    for (int i = 0; i < codes.length; i++) {
      codes[i] = (byte) i;
    }
    final String page = new String(codes, Charset.forName("IBM437"));
    return LOW_GLYPHS + page.substring(32, 127) + '\u2302' + page.substring(128);
  }

  @Override
  public synchronized void show(
      final short[] cells, final int newColumns, final int newRows, final int cursor) {
    final int count = newColumns * newRows;
    if (next.length != count) {
      next = new short[count];
    }
    System.arraycopy(cells, 0, next, 0, count);
    nextColumns = newColumns;
    nextRows = newRows;
    nextCursor = cursor;
    fresh = true;
    notifyAll();
  }

  @Override
  public synchronized void blinks(final boolean on) {
    nextBlinks = on;
  }

  private void draw() {
    try {
      write("\u001B[?1049h\u001B[0m\u001B[2J");
      while (true) {
        final short[] picture;
        final int newColumns;
        final int newRows;
        final int cursor;
        final boolean newBlinks;
        synchronized (this) {
          while (!fresh && !closing) {
            wait();
          }
          if (!fresh) {
            break;
          }
          fresh = false;
          picture = next.clone();
          newColumns = nextColumns;
          newRows = nextRows;
          cursor = nextCursor;
          newBlinks = nextBlinks;
        }
        if (newBlinks != blinks) {
          blinks = newBlinks;
          columns = 0; // all is drawn anew
        }
        draw(picture, newColumns, newRows, cursor);
        look(picture, newColumns);
      }
      write("\u001B[0m\u001B[?25h\u001B[?1049l");
      // The alternate screen is gone: what was on it last stays to be read.
      write(rowsAsText());
    } catch (final IOException e) {
      // The terminal is gone; the guest goes on unseen.
      return;
    } catch (final InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void write(final String what) throws IOException {
    out.write(what.getBytes(StandardCharsets.UTF_8));
    out.flush();
  }

  private void draw(
      final short[] picture, final int newColumns, final int newRows, final int cursor)
      throws IOException {
    text.setLength(0);
    text.append("\u001B[?25l");
    final boolean all = newColumns != columns || newRows != rows;
    if (all) {
      columns = newColumns;
      rows = newRows;
      text.append("\u001B[0m\u001B[2J");
    }
    attribute = NOTHING;
    int penAt = NOTHING;
    for (int at = 0; at < picture.length; at++) {
      if (all || picture[at] != shown[at]) {
        if (penAt != at) {
          move(at);
        }
        put(picture[at]);
        // In the last column a terminal may or may not go to the next row.
        penAt = (at + 1) % columns == 0 ? NOTHING : at + 1;
      }
    }
    shown = picture;
    if (cursor >= 0) {
      move(cursor);
      text.append("\u001B[?25h");
    }
    write(text.toString());
  }

  private void move(final int at) {
    text.append("\u001B[").append(at / columns + 1).append(';').append(at % columns + 1);
    text.append('H');
  }

  private void put(final short cell) {
    final int wanted = cell >> 8 & 0xFF;
    if (wanted != attribute) {
      attribute = wanted;
      final int front = COLOURS[wanted & 7] + ((wanted & BRIGHT) != 0 ? 90 : 30);
      final boolean high = (wanted & 0x80) != 0;
      final int back = COLOURS[wanted >> 4 & 7] + (high && !blinks ? 100 : 40);
      text.append("\u001B[0;").append(front).append(';').append(back);
      text.append(high && blinks ? ";5m" : "m");
    }
    text.append(GLYPHS.charAt(cell & 0xFF));
  }

  private void look(final short[] picture, final int width) {
    if (exitOn == null || textSeen) {
      return;
    }
    for (int row = 0; row < picture.length / width; row++) {
      if (row(picture, width, row).contains(exitOn)) {
        textSeen = true;
        onText.run();
        return;
      }
    }
  }

  private static String row(final short[] picture, final int width, final int row) {
    final StringBuilder line = new StringBuilder(width);
    for (int i = row * width; i < (row + 1) * width; i++) {
      line.append(GLYPHS.charAt(picture[i] & 0xFF));
    }
    return line.toString();
  }

  private String rowsAsText() {
    final StringBuilder lines = new StringBuilder();
    int last = 0;
    for (int row = 0; row < rows; row++) {
      lines.append(row(shown, columns, row).stripTrailing()).append('\n');
      if (lines.charAt(lines.length() - 1) != '\n'
          || lines.length() > 1 && lines.charAt(lines.length() - 2) != '\n') {
        last = lines.length();
      }
    }
    return lines.substring(0, last);
  }

  /** Draws what is left and gives the terminal's own screen back. */
  @Override
  public void close() {
    synchronized (this) {
      closing = true;
      notifyAll();
    }
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (final InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}

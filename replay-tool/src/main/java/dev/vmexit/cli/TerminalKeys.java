package dev.vmexit.cli;

import dev.vmexit.device.ScanCodes;
import java.util.Map;

/**
 * What a terminal sends for its keys, as scan codes of a keyboard with the layout of the USA. An
 * escape sequence is one key where it comes in one piece; an escape alone is the key Esc. What no
 * key of that keyboard gives is dropped.
 */
final class TerminalKeys {
  /** Scan codes that one key can take: shift and control pressed, an extended key, all released. */
  static final int LONGEST = 16;

  private static final int ESCAPE = 0x1B;
  private static final int SHIFT = 0x2A;
  private static final int CONTROL = 0x1D;
  private static final int ALT = 0x38;
  private static final int KEY_ESCAPE = 0x01;
  private static final int KEY_BACKSPACE = 0x0E;
  private static final int KEY_TAB = 0x0F;
  private static final int KEY_ENTER = 0x1C;
  private static final int EXTENDED = 0x100;

  // Set 1 codes ascend along the rows of the keyboard.
  private static final String PLAIN_2 = "1234567890-=";
  private static final String SHIFTED_2 = "!@#$%^&*()_+";
  private static final String PLAIN_16 = "qwertyuiop[]";
  private static final String SHIFTED_16 = "QWERTYUIOP{}";
  private static final String PLAIN_30 = "asdfghjkl;'`";
  private static final String SHIFTED_30 = "ASDFGHJKL:\"~";
  private static final String PLAIN_43 = "\\zxcvbnm,./";
  private static final String SHIFTED_43 = "|ZXCVBNM<>?";

  /** Final letters after ESC [ or ESC O. */
  private static final Map<Integer, Integer> LETTERS =
      Map.ofEntries(
          Map.entry((int) 'A', EXTENDED | 0x48),
          Map.entry((int) 'B', EXTENDED | 0x50),
          Map.entry((int) 'C', EXTENDED | 0x4D),
          Map.entry((int) 'D', EXTENDED | 0x4B),
          Map.entry((int) 'H', EXTENDED | 0x47),
          Map.entry((int) 'F', EXTENDED | 0x4F),
          Map.entry((int) 'P', 0x3B),
          Map.entry((int) 'Q', 0x3C),
          Map.entry((int) 'R', 0x3D),
          Map.entry((int) 'S', 0x3E));

  /** Numbers before ~ after ESC [. */
  private static final Map<Integer, Integer> NUMBERS =
      Map.ofEntries(
          Map.entry(1, EXTENDED | 0x47),
          Map.entry(2, EXTENDED | 0x52),
          Map.entry(3, EXTENDED | 0x53),
          Map.entry(4, EXTENDED | 0x4F),
          Map.entry(5, EXTENDED | 0x49),
          Map.entry(6, EXTENDED | 0x51),
          Map.entry(11, 0x3B),
          Map.entry(12, 0x3C),
          Map.entry(13, 0x3D),
          Map.entry(14, 0x3E),
          Map.entry(15, 0x3F),
          Map.entry(17, 0x40),
          Map.entry(18, 0x41),
          Map.entry(19, 0x42),
          Map.entry(20, 0x43),
          Map.entry(21, 0x44),
          Map.entry(23, 0x57),
          Map.entry(24, 0x58));

  private byte[] to;
  private int count;

  /**
   * Translates what came in one piece.
   *
   * @param codes has room for {@link #LONGEST} times as many
   * @return how many scan codes of set 2 it is
   */
  int translate(final byte[] typed, final int length, final byte[] codes) {
    to = codes;
    count = 0;
    int at = 0;
    while (at < length) {
      at = typed[at] == ESCAPE ? escape(typed, at, length) : plain(typed[at++] & 0xFF, at, false);
    }
    return count;
  }

  /** Takes the key that starts with an escape; the index behind it. */
  private int escape(final byte[] typed, final int at, final int length) {
    if (at + 1 >= length) {
      press(KEY_ESCAPE, false, false, false);
      return at + 1;
    }
    final int second = typed[at + 1];
    if (second != '[' && second != 'O') {
      return plain(second & 0xFF, at + 2, true);
    }
    int end = at + 2;
    int number = 0;
    while (end < length && typed[end] >= '0' && typed[end] <= '9' && number < 1000) {
      number = number * 10 + typed[end++] - '0';
    }
    // Modifiers of a key are beyond this.
    while (end < length && (typed[end] == ';' || typed[end] >= '0' && typed[end] <= '9')) {
      end++;
    }
    if (end >= length) {
      return end;
    }
    final Integer key = typed[end] == '~' ? NUMBERS.get(number) : LETTERS.get((int) typed[end]);
    if (key != null) {
      press(key, false, false, false);
    }
    return end + 1;
  }

  /** Takes a character; the index behind it, as given. */
  private int plain(final int character, final int behind, final boolean alt) {
    switch (character) {
      case '\r', '\n' -> press(KEY_ENTER, false, false, alt);
      case '\t' -> press(KEY_TAB, false, false, alt);
      case 0x7F, 0x08 -> press(KEY_BACKSPACE, false, false, alt);
      case ESCAPE -> press(KEY_ESCAPE, false, false, alt);
      default -> {
        if (character < ' ') {
          press(key(Character.toLowerCase((char) (character + '@')), true), false, true, alt);
        } else {
          final int plain = key((char) character, true);
          press(plain != 0 ? plain : key((char) character, false), plain == 0, false, alt);
        }
      }
    }
    return behind;
  }

  /** The set 1 code of a character's key, or 0. */
  private static int key(final char character, final boolean plain) {
    if (character == ' ') {
      return 0x39;
    }
    final String[] rows =
        plain
            ? new String[] {PLAIN_2, PLAIN_16, PLAIN_30, PLAIN_43}
            : new String[] {SHIFTED_2, SHIFTED_16, SHIFTED_30, SHIFTED_43};
    final int[] first = {2, 16, 30, 43};
    for (int i = 0; i < rows.length; i++) {
      final int at = rows[i].indexOf(character);
      if (at >= 0) {
        return first[i] + at;
      }
    }
    return 0;
  }

  private void press(final int key, final boolean shift, final boolean control, final boolean alt) {
    if (key == 0) {
      return;
    }
    send(SHIFT, shift, true);
    send(CONTROL, control, true);
    send(ALT, alt, true);
    send(key, true, true);
    send(key, true, false);
    send(ALT, alt, false);
    send(CONTROL, control, false);
    send(SHIFT, shift, false);
  }

  private void send(final int key, final boolean wanted, final boolean down) {
    if (!wanted) {
      return;
    }
    if ((key & EXTENDED) != 0) {
      to[count++] = (byte) ScanCodes.EXTENDED;
    }
    if (!down) {
      to[count++] = (byte) ScanCodes.BREAK;
    }
    to[count++] = (byte) ScanCodes.toSet2(key & 0xFF);
  }
}

package dev.vmexit.device;

/**
 * The two ways in which a PC's keys are numbered: scan code set 2, which keyboards send, and set 1,
 * which the keyboard controller makes of it ("translation", Microsoft, Keyboard Scan Code
 * Specification, appendix C).
 */
public final class ScanCodes {
  /** Comes before the code of a key that is released, in set 2. */
  public static final int BREAK = 0xF0;

  /** Comes before the codes of keys that the first PC's keyboard did not have. */
  public static final int EXTENDED = 0xE0;

  private static final String SET_1 =
      "ff43413f3d3b3c58644442403e0f2959"
          + "65382a701d10025a66712c1f1e11035b"
          + "672e2d201205045c68392f211413065d"
          + "693130232215075e6a7232241608095f"
          + "6b332517180b0a606c34352627190c61"
          + "6d7328741a0d626e3a361c1b752b6376"
          + "55567778797a0e7b7c4f7d4b477e7f6f"
          + "5253504c4d480145574e514a37494654";

  private static final int[] TO_SET_1 = new int[128];
  private static final int[] TO_SET_2 = new int[128];

  static {
    for (int i = 0; i < 128; i++) {
      TO_SET_1[i] = Integer.parseInt(SET_1, 2 * i, 2 * i + 2, 16);
      if (TO_SET_1[i] < 128) {
        TO_SET_2[TO_SET_1[i]] = i;
      }
    }
    // F7 has a code beyond the table.
    TO_SET_2[0x41] = 0x83;
  }

  private ScanCodes() {}

  /** The byte of set 1 for one of set 2 that is no prefix. */
  static int toSet1(final int code) {
    return switch (code) {
      case 0x83 -> 0x41;
      case 0x84 -> 0x54;
      default -> code < 128 ? TO_SET_1[code] : code;
    };
  }

  /** The byte of set 2 for a key's byte of set 1, 1 to 0x58. */
  public static int toSet2(final int code) {
    return TO_SET_2[code];
  }
}

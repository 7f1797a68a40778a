package dev.vmexit.vcpu.soft;

import java.util.Arrays;
import java.util.HexFormat;

/**
 * Compares two FXSAVE images (SDM Vol. 1, table 10-2). The last instruction's opcode and pointers
 * are left out: the processors that this runs on keep them only after unmasked exceptions.
 */
final class FxComparison {
  private static final int CONTROL = 0;
  private static final int STATUS = 2;
  private static final int TAGS = 4;
  private static final int MXCSR = 24;
  private static final int ST = 32;
  private static final int XMM = 160;
  private static final HexFormat HEX = HexFormat.of();

  private FxComparison() {}

  /** Appends what differs, but for some bits of the x87 status word. */
  static void compare(
      final byte[] host, final byte[] soft, final int undefinedStatus, final StringBuilder text) {
    word("fcw", host, soft, CONTROL, 0xFFFF, text);
    word("fsw", host, soft, STATUS, 0xFFFF & ~undefinedStatus, text);
    word("ftw", host, soft, TAGS, 0xFF, text);
    word("mxcsr", host, soft, MXCSR, 0xFFFF, text);
    for (int i = 0; i < 8; i++) {
      bytes("st" + i, host, soft, ST + 16 * i, 10, text);
    }
    for (int i = 0; i < 16; i++) {
      bytes("xmm" + i, host, soft, XMM + 16 * i, 16, text);
    }
  }

  private static void word(
      final String what,
      final byte[] host,
      final byte[] soft,
      final int at,
      final int mask,
      final StringBuilder text) {
    final int first = word(host, at) & mask;
    final int second = word(soft, at) & mask;
    if (first != second) {
      SoftVcpuOracleTest.differ(text, what, first, second);
    }
  }

  private static int word(final byte[] image, final int at) {
    return (image[at] & 0xFF) | (image[at + 1] & 0xFF) << 8;
  }

  private static void bytes(
      final String what,
      final byte[] host,
      final byte[] soft,
      final int at,
      final int length,
      final StringBuilder text) {
    if (!Arrays.equals(host, at, at + length, soft, at, at + length)) {
      text.append(' ').append(what).append(" host ").append(HEX.formatHex(host, at, at + length));
      text.append(" soft ").append(HEX.formatHex(soft, at, at + length)).append(';');
    }
  }
}

package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class TerminalKeysTest {
  private static String codes(final String typed) {
    final byte[] bytes = typed.getBytes(StandardCharsets.ISO_8859_1);
    final byte[] codes = new byte[bytes.length * TerminalKeys.LONGEST];
    final int count = new TerminalKeys().translate(bytes, bytes.length, codes);
    return HexFormat.of().formatHex(Arrays.copyOf(codes, count));
  }

  /** Scan codes of set 2 as the keyboard's specification lists them. */
  @ParameterizedTest
  @CsvSource({
    "a, 1cf01c",
    "A, 121cf01cf012",
    "1, 16f016",
    "!, 1216f016f012",
    "'\u0003', 1421f021f014",
    "'\r', 5af05a",
    "'\u007F', 66f066",
    "'\t', 0df00d",
    "' ', 29f029",
    "/, 4af04a",
    "?, 124af04af012",
    "'\u001B', 76f076",
    "'\u001Bx', 1122f022f011",
    "'\u001B[A', e075e0f075",
    "'\u001BOB', e072e0f072",
    "'\u001B[3~', e071e0f071",
    "'\u001B[15~', 03f003",
    "'\u001BOP', 05f005",
    "'\u001B[24~', 07f007",
    "'\u001B[1;5A', e075e0f075",
    "'\u001B[99~', ''",
    "'\u00E9', ''"
  })
  void shouldPressAndReleaseWhatGivesTheCharacter(final String typed, final String expected) {
    assertEquals(expected, codes(typed));
  }

  @Test
  void shouldTakeKeysOneAfterAnother() {
    assertEquals("33f03343f043e074e0f07435f035", codes("hi\u001B[Cy"));
    assertEquals("", codes("\u001B["), "a sequence that is cut off is no key of this keyboard's");
  }

  @Test
  void shouldFitWhateverComesIntoItsBuffer() {
    for (int c = 0; c < 256; c++) {
      codes("\u001B" + (char) c);
      codes("" + (char) c);
    }
  }
}

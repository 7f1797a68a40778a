package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AmlWriterTest {
  private static String hex(final AmlWriter aml) {
    return HexFormat.of().formatHex(aml.toByteArray());
  }

  @ParameterizedTest
  @CsvSource({
    "0, 00",
    "1, 01",
    "2, 0a02",
    "255, 0aff",
    "256, 0b0001",
    "65535, 0bffff",
    "65536, 0c00000100",
    "4294967295, 0cffffffff"
  })
  void shouldWriteAnIntegerInItsShortestForm(final long value, final String bytes) {
    assertEquals(bytes, hex(new AmlWriter().integer(value)));
  }

  @Test
  void shouldRefuseAnIntegerThatIsTooLarge() {
    assertThrows(IllegalArgumentException.class, () -> new AmlWriter().integer(1L << 32));
  }

  @ParameterizedTest
  @CsvSource({
    "PNP0501, 0c41d00501",
    "PNP0A03, 0c41d00a03",
    "PNP0B00, 0c41d00b00",
    "PNP0000, 0b41d0"
  })
  void shouldCompressAnEisaId(final String id, final String bytes) {
    assertEquals(bytes, hex(new AmlWriter().eisaId(id)));
  }

  @Test
  void shouldWriteAPackageBehindItsLength() {
    assertEquals("1208040a050a050000", hex(new AmlWriter().integers(5, 5, 0, 0)));
  }

  /** Scope: opcode, length, four bytes of name, and a body of so many zeros. */
  @ParameterizedTest
  @CsvSource({"0, 05", "58, 3f", "59, 4104", "4089, 4fff", "4090, 810001", "1048568, 8fffff"})
  void shouldCountTheLengthItself(final int zeros, final String length) {
    final AmlWriter aml =
        new AmlWriter()
            .scope(
                "X",
                body -> {
                  for (int i = 0; i < zeros; i++) {
                    body.integer(0);
                  }
                });

    final byte[] bytes = aml.toByteArray();
    final int lengthBytes = length.length() / 2;
    assertEquals(1 + lengthBytes + 4 + zeros, bytes.length);
    assertEquals(length, HexFormat.of().formatHex(bytes, 1, 1 + lengthBytes));
    assertEquals("585f5f5f", HexFormat.of().formatHex(bytes, 1 + lengthBytes, 5 + lengthBytes));
  }

  @Test
  void shouldRefuseANameThatIsTooLong() {
    assertThrows(IllegalArgumentException.class, () -> new AmlWriter().name("ABCDE"));
  }
}

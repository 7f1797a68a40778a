package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.junit.jupiter.api.Test;

final class FwCfgTest {
  private final FwCfg device =
      new FwCfg(3, Map.of("vgaroms/x.bin", new byte[] {1, 2, 3}, "etc/a", new byte[] {9}));

  private byte[] item(final int selector, final int length) {
    device.writePort(FwCfg.SELECTOR_PORT, 2, selector);
    final byte[] bytes = new byte[length];
    device.readString(FwCfg.DATA_PORT, 1, length, bytes);
    return bytes;
  }

  @Test
  void shouldSayWhatItIs() {
    assertArrayEquals("QEMU\0".getBytes(StandardCharsets.US_ASCII), item(0, 5));
    assertArrayEquals(new byte[] {1, 0, 0, 0, 0}, item(1, 5), "no DMA, zeros behind the end");
    assertArrayEquals(new byte[] {3, 0}, item(5, 2));
    assertArrayEquals(new byte[4], item(0x8003, 4), "an item that is not there");
  }

  @Test
  void shouldListItsFilesInOrder() {
    final byte[] directory = item(0x19, 4 + 2 * 64);
    assertArrayEquals(new byte[] {0, 0, 0, 2, 0, 0, 0, 1, 0, 0x20, 0, 0}, head(directory, 0, 12));
    assertEquals("etc/a", name(directory, 12));
    assertArrayEquals(new byte[] {0, 0, 0, 3, 0, 0x21, 0, 0}, head(directory, 68, 8));
    assertEquals("vgaroms/x.bin", name(directory, 76));
    assertArrayEquals(new byte[] {9, 0}, item(0x20, 2));
    assertArrayEquals(new byte[] {1, 2, 3, 0}, item(0x21, 4));
    assertArrayEquals(new byte[] {1, 2}, item(0x21, 2), "each selection starts anew");
  }

  @Test
  void shouldRefuseANameThatDoesNotFit() {
    assertThrows(
        IllegalArgumentException.class, () -> new FwCfg(1, Map.of("x".repeat(56), new byte[1])));
  }

  private static byte[] head(final byte[] bytes, final int from, final int length) {
    return java.util.Arrays.copyOfRange(bytes, from, from + length);
  }

  private static String name(final byte[] bytes, final int at) {
    return new String(bytes, at, 56, StandardCharsets.US_ASCII).replace("\0", "");
  }
}

package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

class GuestTarTest {
  private final ByteArrayOutputStream tar = new ByteArrayOutputStream();

  /** Appends an entry; what these tests and the store's stubs need of tar. */
  static void entry(
      final ByteArrayOutputStream tar, final String name, final char type, final byte[] content) {
    final byte[] header = new byte[512];
    final byte[] path = name.getBytes(StandardCharsets.UTF_8);
    System.arraycopy(path, 0, header, 0, path.length);
    final byte[] size =
        String.format(Locale.ROOT, "%011o", content.length).getBytes(StandardCharsets.US_ASCII);
    System.arraycopy(size, 0, header, 0x7C, size.length);
    header[0x9C] = (byte) type;
    tar.writeBytes(header);
    tar.writeBytes(content);
    tar.writeBytes(new byte[-content.length & 511]);
  }

  private GuestTar.Entry find(final byte[] archive, final String name) throws IOException {
    return GuestTar.find(new ByteArrayInputStream(archive), name::equals);
  }

  @Test
  void shouldFindAFileBehindOthers() throws IOException {
    entry(tar, "./boot/", '5', new byte[0]);
    entry(tar, "./boot/config", '0', new byte[700]);
    entry(tar, "./boot/vmlinuz", '0', new byte[] {1, 2, 3});

    assertArrayEquals(new byte[] {1, 2, 3}, find(tar.toByteArray(), "boot/vmlinuz").content());
  }

  @Test
  void shouldTakeGnuLongNames() throws IOException {
    final String name = "d/".repeat(80) + "file";
    entry(tar, "././@LongLink", 'L', (name + "\0").getBytes(StandardCharsets.US_ASCII));
    entry(tar, name.substring(0, 100), '0', new byte[] {7});

    assertEquals(name, find(tar.toByteArray(), name).name());
  }

  @Test
  void shouldFindAllThatAreWantedWhenAskedForSeveral() throws IOException {
    for (final String name : new String[] {"./a/one", "./b/no", "./c/one", "./d/one"}) {
      entry(tar, name, '0', name.getBytes(StandardCharsets.US_ASCII));
    }
    tar.writeBytes(new byte[1024]);
    final ByteArrayInputStream in = new ByteArrayInputStream(tar.toByteArray());

    final List<GuestTar.Entry> found = GuestTar.find(in, name -> name.endsWith("/one"), 2);

    assertEquals(List.of("a/one", "c/one"), found.stream().map(GuestTar.Entry::name).toList());
    final ByteArrayInputStream all = new ByteArrayInputStream(tar.toByteArray());
    assertEquals(3, GuestTar.find(all, name -> name.endsWith("/one"), 9).size());
  }

  @Test
  void shouldNotTakeALinkForAFile() throws IOException {
    entry(tar, "bin/busybox", '2', new byte[0]);
    tar.writeBytes(new byte[1024]);

    assertNull(find(tar.toByteArray(), "bin/busybox"));
  }

  @Test
  void shouldFailWhenTheStreamEndsEarlyOrIsNoTar() {
    entry(tar, "a", '0', new byte[600]);
    final byte[] whole = tar.toByteArray();
    for (final int length : new int[] {1, 511, 513, 1024}) {
      assertThrows(IOException.class, () -> find(Arrays.copyOf(whole, length), "a"), "" + length);
    }
    final byte[] text = "x".repeat(512).getBytes(StandardCharsets.US_ASCII);
    assertThrows(IOException.class, () -> find(text, "a"));
  }
}

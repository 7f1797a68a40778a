package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class DiskImageTest {
  private static final int SIZE = 10 * 4096 + 512;

  @TempDir private Path folder;
  private final byte[] content = new byte[SIZE];
  private final List<String> trouble = new ArrayList<>();
  private Path file;

  @BeforeEach
  void write() throws IOException {
    new Random(1).nextBytes(content);
    file = Files.write(folder.resolve("disk.img"), content);
  }

  private DiskImage open(final DiskImage.Mode mode) throws IOException {
    return DiskImage.open(file, mode, 512, trouble::add);
  }

  private static byte[] read(final DiskImage image, final int offset, final int length) {
    final byte[] to = new byte[length + 2];
    assertTrue(image.read(offset, to, 1, length));
    return Arrays.copyOfRange(to, 1, length + 1);
  }

  @Test
  void shouldKeepASnapshotsWritesToItself() throws IOException {
    final byte[] expected = content.clone();
    try (DiskImage image = open(DiskImage.Mode.SNAPSHOT)) {
      final Random random = new Random(2);
      for (int i = 0; i < 200; i++) {
        final byte[] part = new byte[512 * (1 + random.nextInt(20))];
        random.nextBytes(part);
        final int at = 512 * random.nextInt((SIZE - part.length) / 512 + 1);
        System.arraycopy(part, 0, expected, at, part.length);
        assertTrue(image.write(at, part, 0, part.length));
        assertArrayEquals(expected, read(image, 0, SIZE));
      }
      assertTrue(image.flush());
    }
    assertArrayEquals(content, Files.readAllBytes(file));
  }

  @Test
  void shouldWriteThroughAndLockTheFile() throws IOException {
    try (DiskImage image = open(DiskImage.Mode.WRITE)) {
      assertTrue(image.write(4096 - 512, new byte[1024], 0, 1024));
      assertTrue(image.flush());
      final String message =
          assertThrows(IOException.class, () -> open(DiskImage.Mode.WRITE)).getMessage();
      assertTrue(message.contains("another machine writes to it"), message);
      open(DiskImage.Mode.SNAPSHOT).close();
    }
    Arrays.fill(content, 4096 - 512, 4096 + 512, (byte) 0);
    assertArrayEquals(content, Files.readAllBytes(file));
  }

  @Test
  void shouldRefuseWrites() throws IOException {
    try (DiskImage image = open(DiskImage.Mode.READ_ONLY)) {
      assertFalse(image.isWritable());
      assertFalse(image.write(0, content, 512, 512));
      assertArrayEquals(content, read(image, 0, SIZE));
    }
    assertArrayEquals(content, Files.readAllBytes(file));
  }

  @Test
  void shouldTellOnceThatAFileBecameShorter() throws IOException {
    try (DiskImage image = open(DiskImage.Mode.SNAPSHOT)) {
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
        channel.truncate(4096);
      }
      assertFalse(image.read(4096, new byte[512], 0, 512));
      assertFalse(image.read(4096, new byte[512], 0, 512));
      assertEquals(
          List.of("disk " + file + ": cannot read: the file ends at 4096, it was longer"), trouble);
    }
  }

  @Test
  void shouldRefuseWhatIsNoImage() throws IOException {
    Files.write(file, new byte[1000]);
    for (final Path bad : List.of(file, folder, folder.resolve("absent"))) {
      final String message =
          assertThrows(
                  IOException.class,
                  () -> DiskImage.open(bad, DiskImage.Mode.READ_ONLY, 512, trouble::add))
              .getMessage();
      assertTrue(message.startsWith(bad.toString()), message);
    }
  }
}

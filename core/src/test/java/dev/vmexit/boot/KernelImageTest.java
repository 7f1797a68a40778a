package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class KernelImageTest {
  private static ByteBuffer sample(final KernelImage.Format format) {
    return switch (format) {
      case BZ_IMAGE -> Images.bzImage();
      case PVH -> Images.elf64();
      case MULTIBOOT -> Images.multiboot();
      case BOOT_SECTOR -> ByteBuffer.allocate(512).put(510, (byte) 0x55).put(511, (byte) 0xAA);
    };
  }

  @ParameterizedTest
  @EnumSource
  void shouldDetectAndLoadEachFormat(final KernelImage.Format format, @TempDir final Path folder)
      throws IOException {
    final Path file = Files.write(folder.resolve("kernel"), sample(format).array());

    final KernelImage image = KernelImage.detect(file);

    assertEquals(format, image.format());
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(16 << 20).build()) {
      final boolean real = format == KernelImage.Format.BOOT_SECTOR;
      assertEquals(real, image.load(memory, BootOptions.NONE).mode() == BootEntry.Mode.REAL16);
    }
  }

  @Test
  void shouldNameWhatIsNoKernel(@TempDir final Path folder) throws IOException {
    assertMessage("no such file, give its path by --kernel", folder.resolve("missing"));
    assertMessage("is a directory", folder);
    assertMessage("is empty", Files.createFile(folder.resolve("empty")));
    assertMessage(
        "is not a kernel (it starts with 68 65 6c 6c); wanted: bzImage, ELF, multiboot",
        Files.writeString(folder.resolve("text"), "hello"));
    assertMessage(
        "it is gzip-compressed, unpack it first",
        Files.write(folder.resolve("gz"), new byte[] {0x1F, (byte) 0x8B, 8}));
    final ByteBuffer elf = Images.elf64().putInt(Images.ELF_NOTE + 28, 0);
    assertMessage(
        "neither a PVH note nor a multiboot header",
        Files.write(folder.resolve("elf"), elf.array()));
  }

  private static void assertMessage(final String part, final Path file) {
    final BootException e = assertThrows(BootException.class, () -> KernelImage.detect(file));
    assertTrue(e.getMessage().startsWith("kernel " + file + ": "), e.getMessage());
    assertTrue(e.getMessage().contains(part), e.getMessage());
    assertFalse(e.getMessage().contains("\n"), e.getMessage());
  }

  @Test
  void shouldRefuseAFileLargerThanMemoryBeforeReadingIt(@TempDir final Path folder)
      throws IOException {
    final Path file = Files.write(folder.resolve("initrd"), new byte[3000]);

    final BootException e =
        assertThrows(BootException.class, () -> ImageFile.read("initrd", file, 2048));

    assertEquals(
        "initrd " + file + ": 3 KiB do not fit into a memory of 2 KiB, give more by --memory",
        e.getMessage());
  }

  /** Whatever a file holds, a user gets an entry or one line: 20,000 damaged images each. */
  @ParameterizedTest
  @EnumSource
  void shouldThrowNothingElseWhenBytesAreDamaged(final KernelImage.Format format) {
    final Random random = new Random(42);
    final int interesting = format == KernelImage.Format.BZ_IMAGE ? 0x1F0 : 0;
    final int end = format == KernelImage.Format.BZ_IMAGE ? 0x270 : 0x140;
    final byte[] edges = {0, 1, (byte) 0x7F, (byte) 0x80, (byte) 0xFF};
    final BootOptions options = new BootOptions(Optional.of(Images.initrd(64)), "quiet", 0);
    int loaded = 0;
    int refused = 0;
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(16 << 20).build()) {
      for (int i = 0; i < 20_000; i++) {
        final byte[] bytes = sample(format).array();
        for (int damages = 1 + random.nextInt(4); damages > 0; damages--) {
          bytes[interesting + random.nextInt(Math.min(end, bytes.length) - interesting)] =
              edges[random.nextInt(edges.length)];
        }
        try {
          KernelImage.detect(ImageFile.of("kernel", "damaged", bytes)).load(memory, options);
          loaded++;
        } catch (final BootException e) {
          refused++;
          assertFalse(e.getMessage().contains("\n"), e.getMessage());
        }
      }
    }
    assertEquals(20_000, loaded + refused);
    assertTrue(loaded > 0, "some damage must be harmless");
  }
}

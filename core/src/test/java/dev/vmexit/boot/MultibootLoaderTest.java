package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Gpr;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class MultibootLoaderTest {
  private static final int HEADER = Images.MULTIBOOT_HEADER;

  private final GuestMemory memory = GuestMemory.builder().ramWithHole(16 << 20).build();

  @AfterEach
  void close() {
    memory.close();
  }

  private BootEntry load(final ByteBuffer image, final BootOptions options) {
    return MultibootLoader.load(memory, Images.kernel(image), options);
  }

  @Test
  void shouldLoadByTheHeadersAddresses() {
    final BootEntry entry = load(Images.multiboot(), BootOptions.NONE);

    assertEquals(BootEntry.Mode.PROTECTED32, entry.mode());
    assertEquals(Images.ELF_ADDRESS + 0x80, entry.rip());
    assertEquals(0x2BAD_B002, entry.gpr(Gpr.RAX));
    assertEquals(LowMemory.START_INFO, entry.gpr(Gpr.RBX));
    assertEquals(0x1BAD_B002, memory.read32(Images.ELF_ADDRESS + HEADER));
    assertEquals(0x7F, memory.read8(Images.ELF_ADDRESS + 0x27F));
    assertEquals(0, memory.read8(Images.ELF_ADDRESS + 0x280), "load_end_addr");
  }

  @Test
  void shouldLoadToTheEndOfTheFileWhenTheHeaderGivesNoEnd() {
    load(Images.multiboot().putInt(HEADER + 20, 0), BootOptions.NONE);

    assertEquals(0xFF, memory.read8(Images.ELF_ADDRESS + 0x2FF));
  }

  @Test
  void shouldLoadAnElfAtItsPhysicalAddresses() {
    final ByteBuffer image = Images.elf64();
    Images.multibootHeader(image, 0x180, 0);

    final BootEntry entry = load(image, BootOptions.NONE);

    assertEquals(Images.ELF_ADDRESS, entry.rip(), "virtual entry point made physical");
    assertEquals(1, memory.read8(Images.ELF_ADDRESS));
  }

  @Test
  void shouldHandOverTheInformation() {
    load(Images.multiboot(), new BootOptions(Optional.of(Images.initrd(100)), "a b", 0));

    final long info = LowMemory.START_INFO;
    assertEquals(1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9, memory.read32(info));
    assertEquals(639, memory.read32(info + 4));
    assertEquals(15 * 1024, memory.read32(info + 8));
    assertEquals('a', memory.read8(memory.read32(info + 16)));
    assertEquals(1, memory.read32(info + 20));
    final int module = memory.read32(info + 24);
    assertEquals(100, memory.read32(module + 4) - memory.read32(module));
    assertEquals(0x5A, memory.read8(memory.read32(module)));
    assertEquals(3 * 24, memory.read32(info + 44));
    final int map = memory.read32(info + 48);
    assertEquals(20, memory.read32(map + 24));
    assertEquals(0x9_FC00, memory.read64(map + 24 + 4));
    assertEquals(E820.RESERVED, memory.read32(map + 24 + 20));
    assertEquals('v', memory.read8(memory.read32(info + 64)));
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0, has no multiboot header",
    "8, 0, has no multiboot header",
    "12, 0x00100000, do not agree with its place",
    "16, 0x00200000, do not agree with its place",
    "20, 0x00000001, truncated or damaged",
    "20, 0x00200000, truncated or damaged",
    "24, 0xF0000000, needs memory at 0x100000",
    "28, 0x00300000, has its entry point 0x300000 outside",
  })
  void shouldNameTheFieldWhenTheHeaderIsWrong(
      final String offset, final String value, final String message) {
    final ByteBuffer image =
        Images.multiboot().putInt(HEADER + Integer.decode(offset), Long.decode(value).intValue());
    if ("12".equals(offset)) {
      image.putInt(HEADER + 16, 0x000F_0000);
    }

    final BootException e = assertThrows(BootException.class, () -> load(image, BootOptions.NONE));

    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  @Test
  void shouldRefuseFeaturesThatItDoesNotKnow() {
    final ByteBuffer image = Images.multiboot();
    Images.multibootHeader(image, HEADER, 1 << 16 | 1 << 3);

    final BootException e = assertThrows(BootException.class, () -> load(image, BootOptions.NONE));

    assertTrue(e.getMessage().contains("asks for multiboot features 0x8"), e.getMessage());
  }

  @Test
  void shouldRefuseEveryTruncation() {
    final byte[] whole = Images.multiboot().array();
    for (int length = 0; length < 0x280; length++) {
      final ImageFile cut = ImageFile.of("kernel", "cut", Arrays.copyOf(whole, length));
      assertThrows(
          BootException.class,
          () -> MultibootLoader.load(memory, cut, BootOptions.NONE),
          () -> "cut to " + cut.length());
    }
  }
}

package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ElfLoaderTest {
  private final GuestMemory memory = GuestMemory.builder().ramWithHole(16 << 20).build();

  @AfterEach
  void close() {
    memory.close();
  }

  private BootEntry load(final ByteBuffer image, final BootOptions options) {
    return ElfLoader.load(memory, Images.kernel(image), options);
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void shouldEnterAtTheNoteInProtectedMode(final boolean is64) {
    final BootEntry entry = load(is64 ? Images.elf64() : Images.elf32(), BootOptions.NONE);

    assertEquals(BootEntry.Mode.PROTECTED32, entry.mode());
    assertEquals(Images.PVH_ENTRY, entry.rip());
    assertEquals(LowMemory.START_INFO, entry.gpr(Gpr.RBX));
    assertEquals(0x11, entry.cr0());
    assertEquals(0, entry.cr4());
    assertEquals(0xC09B, entry.segment(Seg.CS).rights());
    assertEquals(0x67, entry.segment(Seg.TR).limit());
    assertEquals(1, memory.read8(Images.ELF_ADDRESS));
    assertEquals(0, memory.read8(Images.ELF_ADDRESS + Images.ELF_TEXT_SIZE));
  }

  @Test
  void shouldHandOverTheStartInformation() {
    load(Images.elf64(), new BootOptions(Optional.of(Images.initrd(100)), "root=/dev/x", 0xE_0000));

    final long info = LowMemory.START_INFO;
    assertEquals(0x336E_C578, memory.read32(info));
    assertEquals(1, memory.read32(info + 4));
    assertEquals(1, memory.read32(info + 12));
    final long module = memory.read64(info + 16);
    assertEquals(100, memory.read64(module + 8));
    assertEquals(0x5A, memory.read8(memory.read64(module)));
    assertEquals('r', memory.read8(memory.read64(info + 24)));
    assertEquals(0xE_0000, memory.read64(info + 32));
    final long map = memory.read64(info + 40);
    assertEquals(3, memory.read32(info + 48));
    assertEquals(0x10_0000, memory.read64(map + 2 * 24));
    assertEquals(15 << 20, memory.read64(map + 2 * 24 + 8));
    assertEquals(E820.RAM, memory.read32(map + 2 * 24 + 16));
  }

  @Test
  void shouldNameTheMissingNote() {
    final ByteBuffer image = Images.elf64().putInt(Images.ELF_NOTE + 28, 17);

    final BootException e = assertThrows(BootException.class, () -> load(image, BootOptions.NONE));

    assertEquals(
        "kernel test: is an ELF file without the PVH entry note (CONFIG_PVH); give its bzImage by"
            + " --kernel",
        e.getMessage());
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0, is not an ELF file",
    "4, 7, no class or byte order",
    "16, 1, of type 1",
    "18, 0xB7, for machine 183",
    "54, 8, program headers of 8 bytes",
    "32, 0x7FFFFFFF, truncated or damaged: its program header table",
    "72, 0x7FFFFFFF, truncated or damaged: its segment 0",
    "96, 0x90000000, truncated or damaged: its segment 0",
    "104, 0x10, has a segment of 0x100 bytes for 0x10 bytes",
    "104, 0x01000000, needs memory at 0x100000",
    "108, 0xFFFFFFFF, needs memory at 0x100000",
    "92, 0xFFFFFFFF, needs memory at 0xffffffff00100000",
    "88, 0x1000, where the loader and the firmware tables live",
    "88, 0x000FFF00, where the loader and the firmware tables live",
    "88, 0x00200000, has its entry point 0x100010 outside",
    "64, 5, has nothing to load",
    "40, 0x500, section header table",
  })
  void shouldNameTheFieldWhenAHeaderIsWrong(
      final String offset, final String value, final String message) {
    final int at = Integer.decode(offset);
    final ByteBuffer image = Images.elf64().putShort(58, (short) 64).putShort(60, (short) 1);
    switch (at) {
      case 4 -> image.put(at, Integer.decode(value).byteValue());
      case 16, 18, 54 -> image.putShort(at, Integer.decode(value).shortValue());
      default -> image.putInt(at, Long.decode(value).intValue());
    }

    final BootException e = assertThrows(BootException.class, () -> load(image, BootOptions.NONE));

    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  @Test
  void shouldRefuseEveryTruncation() {
    for (final byte[] whole : new byte[][] {Images.elf64().array(), Images.elf32().array()}) {
      for (int length = 0; length < whole.length; length++) {
        final ImageFile cut = ImageFile.of("kernel", "cut", Arrays.copyOf(whole, length));
        assertThrows(
            BootException.class,
            () -> ElfLoader.load(memory, cut, BootOptions.NONE),
            () -> "cut to " + cut.length());
      }
    }
  }
}

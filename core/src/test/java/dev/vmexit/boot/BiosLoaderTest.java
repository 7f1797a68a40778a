package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Seg;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class BiosLoaderTest {
  @TempDir private Path folder;

  private static byte[] image(final int size) {
    final byte[] bytes = new byte[size];
    for (int i = 0; i < size; i += 4096) {
      bytes[i] = (byte) (i >> 12);
    }
    bytes[size - 16] = (byte) 0xEA;
    return bytes;
  }

  private ImageFile file(final int size) throws Exception {
    return BiosLoader.read(Files.write(folder.resolve("bios.bin"), image(size)));
  }

  @Test
  void shouldBeSeenBelowFourGigabytesAndBelowOneMegabyte() throws Exception {
    final ImageFile bios = file(256 * 1024);
    try (GuestMemory memory =
        BiosLoader.addRom(GuestMemory.builder().ramWithHole(16 << 20), bios).build()) {
      final BootEntry entry = BiosLoader.start(memory);
      assertEquals(0xEA, memory.read8(0xFFFF_FFF0L));
      assertEquals(1, memory.read8(0xFFFC_1000L));
      assertTrue(memory.isReadOnly(0xFFFC_0000L));
      assertTrue(memory.isRam(0xC_0000, 0x4_0000), "shadow RAM");
      memory.map(0);
      assertEquals(0xEA, memory.read8(0xF_FFF0));
      assertEquals(33, memory.read8(0xE_1000));
      assertTrue(memory.isReadOnly(0xF_FFF0));
      assertEquals(0xF000, entry.segment(Seg.CS).selector());
      assertEquals(0xFFFF_0000L, entry.segment(Seg.CS).base());
      assertEquals(0xFFF0, entry.rip());
      assertEquals(0x6000_0010, entry.cr0());
      assertEquals(0, entry.segment(Seg.DS).base());
    }
  }

  @Test
  void shouldRefuseWhatIsNoBios() throws Exception {
    final Path odd = Files.write(folder.resolve("odd.bin"), new byte[1000]);
    final String message =
        assertThrows(BootException.class, () -> BiosLoader.read(odd)).getMessage();
    assertTrue(message.contains("1000 bytes are no BIOS"), message);
    final ImageFile bios = file(64 * 1024);
    try (GuestMemory memory =
        BiosLoader.addRom(GuestMemory.builder().ramWithHole(512 << 10), bios).build()) {
      assertThrows(BootException.class, () -> BiosLoader.start(memory));
    }
  }
}

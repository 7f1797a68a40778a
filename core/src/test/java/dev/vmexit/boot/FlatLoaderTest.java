package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FlatLoaderTest {
  private static final ImageFile HLT = ImageFile.of("kernel", "hlt.bin", new byte[] {(byte) 0xF4});

  private final GuestMemory memory = GuestMemory.builder().ramWithHole(2 << 20).build();

  @AfterEach
  void close() {
    memory.close();
  }

  @Test
  void shouldStartABootSectorAsABiosDoes() {
    final BootEntry entry =
        FlatLoader.load(memory, HLT, FlatLoader.BOOT_SECTOR, BootEntry.Mode.REAL16);

    assertEquals(0x7C00, entry.rip());
    assertEquals(0, entry.segment(Seg.CS).selector());
    assertEquals(0xFFFF, entry.segment(Seg.CS).limit());
    assertEquals(0x10, entry.cr0());
    assertEquals(0x80, entry.gpr(Gpr.RDX));
    assertEquals(0xF4, memory.read8(0x7C00));
    assertEquals(0x3F8, memory.read16(0x400), "BIOS data area");
  }

  @Test
  void shouldStartByTheParagraphWhenTheAddressNeedsASegment() {
    final BootEntry entry = FlatLoader.load(memory, HLT, 0x2_0008, BootEntry.Mode.REAL16);

    assertEquals(8, entry.rip());
    assertEquals(0x2000, entry.segment(Seg.CS).selector());
    assertEquals(0x2_0000, entry.segment(Seg.DS).base());
  }

  @ParameterizedTest
  @CsvSource({"PROTECTED32, 0x11", "LONG64, 0x80000011"})
  void shouldStartFlatInTheOtherModes(final BootEntry.Mode mode, final String cr0) {
    final BootEntry entry = FlatLoader.load(memory, HLT, 0x10_0000, mode);

    assertEquals(mode, entry.mode());
    assertEquals(0x10_0000, entry.rip());
    assertEquals(Long.decode(cr0), entry.cr0());
    assertEquals(LowMemory.STACK_TOP, entry.gpr(Gpr.RSP));
  }

  @ParameterizedTest
  @CsvSource({
    "0x1FFFFF0, REAL16, are not all in RAM",
    "0xA0000, REAL16, are not all in RAM",
    "-1, REAL16, are not all in RAM",
    "0x9FC00, REAL16, reach over the base memory",
    "0x9000, LONG64, where the loader",
    "0xE0000, PROTECTED32, where the loader",
  })
  void shouldSayWhyAnAddressIsWrong(
      final String address, final BootEntry.Mode mode, final String message) {
    final BootException e =
        assertThrows(
            BootException.class, () -> FlatLoader.load(memory, HLT, Long.decode(address), mode));

    assertTrue(e.getMessage().contains(message), e.getMessage());
  }

  @Test
  void shouldLoadWhereThereIsNoBaseMemory() {
    try (GuestMemory small = GuestMemory.builder().ram(0, 0x8000).build()) {
      assertEquals(0x1000, FlatLoader.load(small, HLT, 0x1000, BootEntry.Mode.REAL16).rip());
      assertThrows(
          BootException.class, () -> FlatLoader.load(small, HLT, 0x1000, BootEntry.Mode.LONG64));
    }
  }
}

package dev.vmexit.memory;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class GuestMemoryTest {
  private static final long GIB = 1L << 30;

  @Test
  void shouldLeaveVgaAndPciHolesWhenPlacedLikePc() {
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(4 * GIB).build()) {
      assertEquals(
          List.of("0x0-0x9ffff ram", "0xc0000-0xbfffffff ram", "0x100000000-0x13fffffff ram"),
          memory.slots().stream().map(Slot::toString).toList());
      assertEquals(4 * GIB - 0x20000, memory.ramBytes());
      assertTrue(memory.isRam(0x9FFFF));
      assertFalse(memory.isBacked(0xA0000));
      assertEquals(0, memory.hostAddress(0xBFFFF));
      assertTrue(memory.isRam(0xC0000));
      assertFalse(memory.isBacked(3 * GIB));
      assertTrue(memory.isRam(4 * GIB));
      assertFalse(memory.isBacked(5 * GIB));
      assertFalse(memory.isBacked(-1));
    }
  }

  @Test
  void shouldCarveRomOutOfPcRamWhenBothClaimAddress() {
    final byte[] bios = new byte[0x10001];
    bios[0] = 0x55;
    bios[0x10000] = 0x66;
    try (GuestMemory memory =
        GuestMemory.builder().ramWithHole(16 << 20).rom(0xE0000, bios).build()) {
      assertEquals(
          List.of(
              "0x0-0x9ffff ram",
              "0xc0000-0xdffff ram",
              "0xe0000-0xf0fff read-only",
              "0xf1000-0xffffff ram"),
          memory.slots().stream().map(Slot::toString).toList());
      assertTrue(memory.isReadOnly(0xE0000));
      assertFalse(memory.isRam(0xF0FFF));
      assertEquals(0x55, memory.read8(0xE0000));
      assertEquals(0x66, memory.read64(0xF0000));
      final GuestAddressException e =
          assertThrows(GuestAddressException.class, () -> memory.write16(0xE0010, 1));
      assertTrue(e.getMessage().contains("read-only"), e.getMessage());
    }
  }

  @Test
  void shouldReserveLazilyWhenHugeMemoryAsked() {
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(300 * GIB).build()) {
      memory.write8(0, 1);
      memory.write64(4 * GIB + 200 * GIB, 0x1122334455667788L);
      assertEquals(0x88, memory.read8(204 * GIB));
      assertTrue(memory.residentBytes() <= 2 * (2 << 20), () -> "" + memory.residentBytes());
    }
  }

  @Test
  void shouldAlignHostToGuestWhenHugePagesWouldFit() {
    try (GuestMemory memory =
        GuestMemory.builder().ram(0x10_0000, 64 << 20).hugePages(true).build()) {
      assertEquals(0x10_0000, memory.hostAddress(0x10_0000) & ((2 << 20) - 1));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0, 'size=0'",
    "0, -4096, 'size=-4096'",
    "0, 4097, 'size=4097'",
    "1, 4096, 'gpa=0x1'",
    "-4096, 4096, 'gpa=0xfffffffffffff000'",
    "0, 1099511631872, 'size=1099511631872'",
    "1099511623680, 8192, 'allowed: to end'",
    "4096, 9223372036854771712, 'allowed: to end'",
  })
  void shouldNameValueWhenRamIsImpossible(final long gpa, final long bytes, final String part) {
    final IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> GuestMemory.builder().ram(gpa, bytes));
    assertTrue(e.getMessage().contains(part), e.getMessage());
    assertTrue(e.getMessage().contains("allowed"), e.getMessage());
  }

  @Test
  void shouldRefuseWhenSlotsOverlapOrNoneGiven() {
    final IllegalArgumentException overlap =
        assertThrows(
            IllegalArgumentException.class,
            () -> GuestMemory.builder().ram(0, 0x3000).ram(0x2000, 0x1000).build());
    assertTrue(overlap.getMessage().contains("0x2000-0x2fff"), overlap.getMessage());
    final IllegalArgumentException none =
        assertThrows(IllegalArgumentException.class, () -> GuestMemory.builder().build());
    assertTrue(none.getMessage().contains("no slots"), none.getMessage());
    final IllegalArgumentException tooLarge =
        assertThrows(
            IllegalArgumentException.class,
            () -> GuestMemory.builder().ramWithHole(GuestMemory.MAX_GPA));
    assertTrue(tooLarge.getMessage().contains("above 4 GiB"), tooLarge.getMessage());
  }

  @Test
  void shouldReadWhatWasWrittenWhenOfAnySizeAndAlignment() {
    try (GuestMemory memory = GuestMemory.builder().ram(0x1000, 0x3000).build()) {
      memory.write64(0x1FFD, 0x8877_6655_4433_2211L);
      assertEquals(0x8877_6655_4433_2211L, memory.read64(0x1FFD));
      assertEquals(0x44332211, memory.read32(0x1FFD));
      assertEquals(0x8877, memory.read16(0x2003));
      assertEquals(0x88, memory.read8(0x2004));
      memory.write32(0x1FFE, -1);
      assertEquals(0x8877_66FF_FFFF_FF11L, memory.read64(0x1FFD));
    }
  }

  @Test
  void shouldCrossSlotsWhenTheyAreAdjacent() {
    try (GuestMemory memory = GuestMemory.builder().ram(0, 0x1000).ram(0x1000, 0x1000).build()) {
      memory.write64(0xFFC, 0x0102_0304_0506_0708L);
      assertEquals(0x0102_0304_0506_0708L, memory.read64(0xFFC));
      assertEquals(0x0304_0506, memory.read32(0xFFE));
      assertEquals(0x0405, memory.read16(0xFFF));
      final byte[] bytes = {1, 2, 3, 4, 5, 6};
      memory.write(0xFFD, bytes, 1, 5);
      final byte[] back = new byte[7];
      memory.read(0xFFD, back, 1, 5);
      assertArrayEquals(new byte[] {0, 2, 3, 4, 5, 6, 0}, back);
      memory.fill(0xFF8, 16, 0xAB);
      assertEquals(0xABABABABABABABABL, memory.read64(0xFFC));
    }
  }

  @ParameterizedTest
  @CsvSource({"0xFFF, 4096", "0x3000, 1", "0x2FFF, 2", "-1, 1", "0x1000, 0x2001", "-8, 16"})
  void shouldNameAddressWhenAccessLeavesMemory(final String gpaText, final String lengthText) {
    final long gpa = Long.decode(gpaText);
    final int length = Integer.decode(lengthText);
    try (GuestMemory memory = GuestMemory.builder().ram(0x1000, 0x2000).build()) {
      final byte[] bytes = new byte[length];
      java.util.Arrays.fill(bytes, (byte) 1);
      final GuestAddressException e =
          assertThrows(
              GuestAddressException.class, () -> memory.write(gpa, bytes, 0, bytes.length));
      assertEquals(gpa, e.gpa());
      assertEquals(length, e.length());
      assertTrue(e.getMessage().contains("0x" + Long.toHexString(gpa)), e.getMessage());
      assertThrows(GuestAddressException.class, () -> memory.read(gpa, bytes, 0, bytes.length));
      assertThrows(GuestAddressException.class, () -> memory.fill(gpa, length, 0));
      memory.forEachTouchedPage((page, host) -> assertEquals(0, page, "a byte was written"));
    }
  }

  @Test
  void shouldRefuseWhenLengthIsNegativeOrWrapsAround() {
    try (GuestMemory memory = GuestMemory.builder().ram(0x1000, 0x2000).build()) {
      assertThrows(GuestAddressException.class, () -> memory.fill(0x1000, -1, 0));
      assertThrows(GuestAddressException.class, () -> memory.fill(0x1000, Long.MAX_VALUE, 0));
      assertFalse(memory.isBacked(0x1000, -1));
      assertFalse(memory.isBacked(0x1000, Long.MAX_VALUE));
      assertFalse(memory.isRam(Long.MAX_VALUE, Long.MAX_VALUE));
      assertTrue(memory.isBacked(0x1000, 0x2000));
      assertFalse(memory.isBacked(0x1000, 0x2001));
    }
  }

  @Test
  void shouldTellListenersWhenAccessorsWrite() {
    try (GuestMemory memory = GuestMemory.builder().ram(0, 0x4000).build()) {
      final List<String> heard = new ArrayList<>();
      final WriteListener listener =
          (gpa, length) -> heard.add(gpa + "+" + length + "=" + memory.read8(gpa));
      memory.addWriteListener(listener);
      memory.write8(10, 7);
      memory.write64(4092, 9);
      memory.write(100, new byte[] {5, 5, 5}, 0, 3);
      memory.write(100, new byte[0], 0, 0);
      memory.fill(200, 4096, 3);
      memory.removeWriteListener(listener);
      memory.write8(10, 8);
      assertEquals(List.of("10+1=7", "4092+8=9", "100+3=5", "200+4096=3"), heard);
    }
  }

  @Test
  void shouldHarvestEachDirtyPageOnceWhenLogging() {
    try (GuestMemory memory =
        GuestMemory.builder().ram(0x10_0000, 0x10_0000).rom(0, new byte[1]).build()) {
      memory.write8(0x10_0000, 1);
      memory.startDirtyLog();
      memory.write64(0x10_3FFC, 1);
      memory.fill(0x14_0000, 0x2001, 1);
      memory.markDirty(0x1F_FFFF);
      memory.markDirty(0);
      memory.markDirty(0x50_0000);
      assertTrue(memory.isDirty(0x103));
      assertFalse(memory.isDirty(0x100));
      assertFalse(memory.isDirty(0));
      assertEquals(List.of(0x103L, 0x104L, 0x140L, 0x141L, 0x142L, 0x1FFL), harvest(memory));
      assertEquals(List.of(), harvest(memory));
      memory.write8(0x10_0000, 1);
      assertEquals(List.of(0x100L), harvest(memory));
      memory.stopDirtyLog();
      memory.write8(0x10_0000, 1);
      assertFalse(memory.isDirty(0x100));
      assertEquals(List.of(), harvest(memory));
    }
  }

  private static List<Long> harvest(final GuestMemory memory) {
    final List<Long> gfns = new ArrayList<>();
    memory.forEachDirty(gfns::add);
    return gfns;
  }

  @Test
  void shouldVisitOnlyNonZeroPagesWhenSavingSparse() {
    try (GuestMemory memory =
        GuestMemory.builder()
            .ram(0x1_0000_0000L, 64 * GIB)
            .ram(0, 0xA0000)
            .rom(0xF0000, new byte[] {1})
            .build()) {
      memory.write8(0x9FFFF, 1);
      memory.write8(0x5000, 0);
      memory.write64(0x1_0000_0000L + 63 * GIB, 0x80L << 56);
      final long before = memory.residentBytes();
      final List<Long> pages = new ArrayList<>();
      memory.forEachTouchedPage(
          (gpa, host) -> {
            assertEquals(memory.hostAddress(gpa), host);
            pages.add(gpa);
          });
      assertEquals(List.of(0x9F000L, 0xF0000L, 0x1_0000_0000L + 63 * GIB), pages);
      assertEquals(before, memory.residentBytes(), "looking must not touch");
    }
  }

  /** Pages are looked at in groups: none may be passed, in a slot of whatever length. */
  @ParameterizedTest
  @ValueSource(ints = {1, 7, 8, 9, 64, 67, 40_013})
  void shouldVisitEachTouchedPageWhenSlotIsOfAnyLength(final int count) {
    final Random random = new Random(count);
    try (GuestMemory memory =
        GuestMemory.builder().ram(0, count * 4096L).ram(0x1_0000_0000L, count * 4096L).build()) {
      for (int i = 0; i < 30; i++) {
        final Set<Long> written = new TreeSet<>();
        for (int n = random.nextInt(5); n >= 0; n--) {
          final long base = random.nextBoolean() ? 0 : 0x1_0000_0000L;
          written.add(base + (random.nextInt(3) == 0 ? count - 1 : random.nextInt(count)) * 4096L);
        }
        written.forEach(page -> memory.write8(page + random.nextInt(4096), 1));
        final List<Long> pages = new ArrayList<>();
        memory.forEachTouchedPage((gpa, host) -> pages.add(gpa));
        assertEquals(List.copyOf(written), pages);
        written.forEach(page -> memory.fill(page, 4096, 0));
      }
    }
  }

  @Test
  void shouldNameSizeAndErrorWhenHostRefuses() {
    final ErrnoException e =
        assertThrows(ErrnoException.class, () -> HostMapping.map(1L << 50, 0, false));
    assertEquals(12, e.errno(), "ENOMEM");
    assertTrue(e.getMessage().contains("1125899906842624 bytes"), e.getMessage());
    assertTrue(e.getMessage().contains("(errno 12)"), e.getMessage());
  }

  @Test
  void shouldAnswerNoAddressWhenClosed() {
    final GuestMemory memory = GuestMemory.builder().ram(0, 0x1000).build();
    assertNotEquals(0, memory.hostAddress(0));
    memory.close();
    memory.close();
    assertEquals(0, memory.hostAddress(0));
    assertThrows(GuestAddressException.class, () -> memory.read8(0));
  }
}

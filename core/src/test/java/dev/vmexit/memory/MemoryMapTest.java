package dev.vmexit.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Test;

final class MemoryMapTest {
  private static final long RAM_HOST = 0x7000_0000_0000L;
  private static final long ROM_HOST = 0x7100_0000_0000L;
  private static final List<Slot> BUILT =
      List.of(
          new Slot(0, 0xA_0000, RAM_HOST, false),
          new Slot(0xC_0000, 0xF4_0000, RAM_HOST + 0xC_0000, false),
          new Slot(0xFFFC_0000L, 0x4_0000, ROM_HOST, true));

  private static List<String> slots(final long state) {
    return MemoryMap.slots(BUILT, state).stream()
        .map(s -> s + (s.host() >= ROM_HOST ? " of the ROM" : ""))
        .toList();
  }

  @Test
  void shouldBeAsBuiltWhenPlain() {
    assertEquals(BUILT, MemoryMap.slots(BUILT, MemoryMap.PLAIN));
    assertEquals(BUILT.subList(0, 1), MemoryMap.slots(BUILT.subList(0, 1), MemoryMap.PLAIN));
  }

  @Test
  void shouldShowTheEndOfTheRomWhereNothingIsRam() {
    assertEquals(
        List.of(
            "0x0-0x9ffff ram",
            "0xe0000-0xfffff read-only of the ROM",
            "0x100000-0xffffff ram",
            "0xfffc0000-0xffffffff read-only of the ROM"),
        slots(0));
    final Slot shadow = MemoryMap.slots(BUILT, 0).get(1);
    assertEquals(ROM_HOST + 0x2_0000, shadow.host());
  }

  @Test
  void shouldChooseForEachAreaAlone() {
    long state = MemoryMap.areas(0, 0, 1, MemoryMap.READS_RAM | MemoryMap.WRITES_RAM);
    state = MemoryMap.areas(state, 1, 1, MemoryMap.READS_RAM);
    state = MemoryMap.areas(state, 2, 1, MemoryMap.WRITES_RAM);
    state = MemoryMap.areas(state, 12, 4, MemoryMap.READS_RAM);
    assertEquals(
        List.of(
            "0x0-0x9ffff ram",
            "0xc0000-0xc3fff ram",
            "0xc4000-0xc7fff read-only",
            "0xe0000-0xeffff read-only of the ROM",
            "0xf0000-0xfffff read-only",
            "0x100000-0xffffff ram",
            "0xfffc0000-0xffffffff read-only of the ROM"),
        slots(state));
    assertEquals(MemoryMap.WRITES_RAM, MemoryMap.access(state, 0xC_BFFF));
    assertEquals(
        "0xc0000-0xc3fff RAM, 0xc4000-0xc7fff RAM, read only, 0xc8000-0xcbfff ROM, writes to RAM,"
            + " 0xcc000-0xeffff ROM, 0xf0000-0xfffff RAM, read only, A20 on",
        MemoryMap.text(state));
  }

  @Test
  void shouldRepeatTheFirstMegabyteWhenA20IsLow() {
    final List<Slot> slots = MemoryMap.slots(BUILT, MemoryMap.PLAIN | MemoryMap.A20_LOW);
    assertEquals(
        List.of(
            "0x0-0x9ffff ram",
            "0xc0000-0xfffff ram",
            "0x100000-0x19ffff ram",
            "0x1c0000-0x1fffff ram",
            "0x200000-0xffffff ram",
            "0xfffc0000-0xffffffff read-only"),
        slots.stream().map(Slot::toString).toList());
    assertEquals(slots.get(0).host(), slots.get(2).host());
    assertEquals(RAM_HOST + 0x20_0000, slots.get(4).host());
  }

  @Test
  void shouldKnowItsStates() {
    assertTrue(MemoryMap.isState(MemoryMap.PLAIN | MemoryMap.A20_LOW));
    assertTrue(MemoryMap.isState(0));
    assertFalse(MemoryMap.isState(1L << 33));
    assertFalse(MemoryMap.isState(-1));
  }

  @Test
  void shouldKeepWhatRamHoldsBehindRom() {
    final byte[] rom = new byte[0x2_0000];
    rom[0x1_0000] = 0x55;
    try (GuestMemory memory =
        GuestMemory.builder().ramWithHole(2 << 20).rom(0xFFFE_0000L, rom).build()) {
      memory.write8(0xF_0000, 0x77);
      memory.map(0);
      assertEquals(0x55, memory.read8(0xF_0000));
      assertFalse(memory.isRam(0xF_0000));
      assertTrue(memory.writeBehind(0xF_0001, 2, 0x2211));
      assertEquals(0, memory.read8(0xF_0001));
      memory.map(MemoryMap.PLAIN);
      assertEquals(0x22_1177, memory.read32(0xF_0000));
      assertEquals(3, memory.slots().size());
      assertEquals((2 << 20) - 0x2_0000, memory.ramBytes());
    }
  }

  @Test
  void shouldLogPagesAsBuiltWhateverTheirAddress() {
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(4 << 20).build()) {
      memory.map(MemoryMap.PLAIN | MemoryMap.A20_LOW);
      memory.startDirtyLog();
      memory.write8(0x10_5000, 1);
      assertTrue(memory.isDirty(0x5));
      assertTrue(memory.isDirty(0x105));
      memory.map(MemoryMap.PLAIN);
      assertTrue(memory.isDirty(0x5));
      assertFalse(memory.isDirty(0x105));
      assertEquals(1, memory.read8(0x5000));
    }
  }
}

package dev.vmexit.boot;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.memory.GuestMemory;
import java.util.List;
import org.junit.jupiter.api.Test;

class E820Test {
  private static final long GIB = 1L << 30;

  @Test
  void shouldLeaveOutTheHoleBelow4GibWhenMemoryReachesBeyondIt() {
    try (GuestMemory memory = GuestMemory.builder().ramWithHole(5 * GIB).build()) {
      final E820 map = E820.of(memory);

      assertEquals(
          List.of(
              new E820.Entry(0, 0x9_FC00, E820.RAM),
              new E820.Entry(0x9_FC00, 0x6_0400, E820.RESERVED),
              new E820.Entry(0x10_0000, 3 * GIB - 0x10_0000, E820.RAM),
              new E820.Entry(4 * GIB, 2 * GIB, E820.RAM)),
          map.entries());
      assertEquals(3 * GIB, map.lowRamEnd());
    }
  }

  @Test
  void shouldReportRomAsReserved() {
    final byte[] rom = new byte[0x1000];
    try (GuestMemory memory =
        GuestMemory.builder()
            .ramWithHole(2 << 20)
            .rom(0xFFFF_F000L, rom)
            .rom(0xF_F000, rom)
            .build()) {
      final List<E820.Entry> entries = E820.of(memory).entries();

      assertEquals(4, entries.size());
      assertEquals(new E820.Entry(0x9_FC00, 0x6_0400, E820.RESERVED), entries.get(1));
      assertEquals(new E820.Entry(0xFFFF_F000L, 0x1000, E820.RESERVED), entries.get(3));
    }
  }

  @Test
  void shouldMergeSlotsThatTouch() {
    try (GuestMemory memory =
        GuestMemory.builder()
            .ram(0, 0x10_0000)
            .ram(0x10_0000, 0x10_0000)
            .ram(0x20_0000, 0x1000)
            .build()) {
      assertEquals(0x20_1000, E820.of(memory).lowRamEnd());
      assertEquals(3, E820.of(memory).entries().size());
    }
  }

  @Test
  void shouldEndLowRamAt1MibWhenThereIsNoMore() {
    try (GuestMemory memory = GuestMemory.builder().ram(0, 0x1000).build()) {
      assertEquals(0x10_0000, E820.of(memory).lowRamEnd());
    }
  }
}

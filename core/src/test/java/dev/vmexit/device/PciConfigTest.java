package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class PciConfigTest {
  private final PortBus bus = new PortBus();
  private int resets;

  @BeforeEach
  void plug() {
    bus.register(new PciConfig(new ResetControl(() -> resets++)), 0xCF8, 0xCFF);
  }

  @Test
  void shouldKeepTheAddressAndShowNoDevice() {
    // A kernel's check of mechanism #1.
    bus.write(0xCFB, 1, 1);
    bus.write(0xCF8, 4, 0x80000000);
    assertEquals(0x80000000, bus.read(0xCF8, 4));
    for (int device = 0; device < 32; device++) {
      bus.write(0xCF8, 4, 0x80000000 | device << 11);
      assertEquals(-1, bus.read(0xCFC, 4));
      assertEquals(0xFFFF, bus.read(0xCFE, 2));
      assertEquals(0xFF, bus.read(0xCFF, 1));
    }
    bus.write(0xCF8, 4, -1);
    assertEquals(0x80FFFFFC, bus.read(0xCF8, 4));
    assertEquals(0, resets);
  }

  @Test
  void shouldResetByTheByteInTheMiddleOfTheAddress() {
    bus.write(0xCF8, 4, 0x80000600);
    assertEquals(0, resets, "a four-byte write is an address");
    bus.write(0xCF9, 1, 0x02);
    assertEquals(0, resets);
    assertEquals(0x02, bus.read(0xCF9, 1));
    bus.write(0xCF9, 1, 0x06);
    assertEquals(1, resets);
    bus.write(0xCF9, 1, 0x0E);
    assertEquals(2, resets);
    assertEquals(0x80000600, bus.read(0xCF8, 4), "the address stands");
  }
}

package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

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
  void shouldReachAFunctionByteByByteAndKeepOnlyWhatItLets() {
    final PciConfig pci = new PciConfig(new ResetControl(() -> resets++));
    final PciFunction function = new PciFunction(0x7010_8086, 0x0101_8002);
    function.writable(0x20, 4, 0xFFFF_FFF0);
    function.set(0x20, 4, 1);
    pci.plug(1, 1, function);
    pci.writePort(0xCF8, 4, 0x8000_0900);
    assertEquals(0x7010_8086, pci.readPort(0xCFC, 4));
    assertEquals(0x7010, pci.readPort(0xCFE, 2));
    assertEquals(0x70, pci.readPort(0xCFF, 1));
    assertEquals(-1, pci.readPort(0xCFE, 4), "beyond the register");
    pci.writePort(0xCFC, 4, 0);
    assertEquals(0x7010_8086, pci.readPort(0xCFC, 4), "read-only");
    pci.writePort(0xCF8, 4, 0x8000_0920);
    pci.writePort(0xCFC, 4, -1);
    assertEquals(0xFFFF_FFF1, pci.readPort(0xCFC, 4), "its size is 16");
    pci.writePort(0xCFD, 1, 0xC0);
    assertEquals(0xFFFF_C0F1, pci.readPort(0xCFC, 4));
    pci.writePort(0xCF8, 4, 0x0000_0920);
    assertEquals(-1, pci.readPort(0xCFC, 4), "not enabled");
    pci.writePort(0xCF8, 4, 0x8001_0920);
    assertEquals(-1, pci.readPort(0xCFC, 4), "another bus");
    assertThrows(IllegalArgumentException.class, () -> pci.plug(1, 1, function));
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

package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

final class PortBusTest {
  private final PortBus bus = new PortBus();

  @Test
  void shouldReadAllOnesAndCountWhenNobodyClaims() {
    assertEquals(0xFF, bus.read(0x2F8, 1));
    assertEquals(0xFFFF, bus.read(0x2F8, 2));
    assertEquals(-1, bus.read(0x2F8, 4));
    bus.write(0x2F8, 1, 7);
    assertEquals(3, bus.unclaimedReads());
    assertEquals(1, bus.unclaimedWrites());
  }

  @Test
  void shouldSplitIntoBytesWhenRegistersAreBytes() {
    bus.register(new ScratchPorts(0x10, 0x1F), 0x10, 0x1F);
    bus.write(0x12, 4, 0x44332211);
    assertEquals(0x11, bus.read(0x12, 1));
    assertEquals(0x3322, bus.read(0x13, 2));
    assertEquals(0x44332211, bus.read(0x12, 4));
  }

  @Test
  void shouldReachEachDeviceWhenAnAccessCrossesTheirBorder() {
    bus.register(new ScratchPorts(0x10, 0x11), 0x10, 0x11);
    bus.register(new ScratchPorts(0x12, 0x12), 0x12, 0x12);
    bus.write(0x10, 4, 0x44332211);
    assertEquals(0x2211, bus.read(0x10, 2));
    assertEquals(0x33, bus.read(0x12, 1));
    assertEquals(0xFF332211, bus.read(0x10, 4));
    assertEquals(1, bus.unclaimedWrites());
  }

  @Test
  void shouldWrapWhenAnAccessCrossesTheLastPort() {
    bus.register(new ScratchPorts(0xFFFF, 0xFFFF), 0xFFFF, 0xFFFF);
    bus.register(new ScratchPorts(0, 0), 0, 0);
    bus.write(0xFFFF, 2, 0xABCD);
    assertEquals(0xABCD, bus.read(0xFFFF, 2));
    assertEquals(0xAB, bus.read(0, 1));
  }

  @Test
  void shouldRefuseWhenAPortIsClaimedOrOutside() {
    bus.register(new ScratchPorts(0x10, 0x1F), 0x10, 0x1F);
    final ScratchPorts other = new ScratchPorts(0x1F, 0x20);
    assertThrows(IllegalArgumentException.class, () -> bus.register(other, 0x1F, 0x20));
    assertEquals(0xFF, bus.read(0x20, 1), "nothing of a refused range is claimed");
    assertThrows(IllegalArgumentException.class, () -> bus.register(other, 0xFFFF, 0x10000));
    assertThrows(IllegalArgumentException.class, () -> bus.register(other, 5, 4));
  }
}

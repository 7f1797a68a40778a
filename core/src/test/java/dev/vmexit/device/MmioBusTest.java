package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

final class MmioBusTest {
  private final MmioBus bus = new MmioBus();

  /** Plain memory as a device. */
  private static final class Memory implements MmioDevice {
    private final ByteBuffer bytes = ByteBuffer.allocate(64).order(ByteOrder.LITTLE_ENDIAN);

    @Override
    public long readMmio(final long offset, final int size) {
      long value = 0;
      for (int i = 0; i < size; i++) {
        value |= (bytes.get((int) offset + i) & 0xFFL) << (8 * i);
      }
      return value;
    }

    @Override
    public void writeMmio(final long offset, final int size, final long value) {
      for (int i = 0; i < size; i++) {
        bytes.put((int) offset + i, (byte) (value >>> (8 * i)));
      }
    }
  }

  @Test
  void shouldFindTheRangeOfAnAddress() {
    bus.register(new Memory(), 0x1000, 16);
    bus.register(new Memory(), 0xFEE0_0000L, 16);
    bus.write(0xFEE0_0008L, 8, 0x1122334455667788L);
    bus.write(0x1008, 4, 0xAABBCCDD);
    assertEquals(0x1122334455667788L, bus.read(0xFEE0_0008L, 8));
    assertEquals(0xAABBCCDDL, bus.read(0x1008, 4), "zero-extended");
    assertEquals(0x5566, bus.read(0xFEE0_000AL, 2));
    assertTrue(bus.claims(0x100F));
    assertFalse(bus.claims(0x1010));
    assertFalse(bus.claims(0xFFF));
  }

  @Test
  void shouldReadAllOnesAndCountWhenNobodyClaims() {
    assertEquals(0xFFFF, bus.read(0x5000, 2));
    assertEquals(-1L, bus.read(-8, 8), "an address with bit 63 set");
    bus.write(0x5000, 4, 1);
    assertEquals(2, bus.unclaimedReads());
    assertEquals(1, bus.unclaimedWrites());
  }

  @Test
  void shouldSplitWhenAnAccessCrossesTheBorder() {
    bus.register(new Memory(), 0x1000, 4);
    bus.write(0x0FFE, 4, 0x44332211);
    assertEquals(0x4433, bus.read(0x1000, 2));
    bus.write(0x1002, 4, 0x88776655);
    assertEquals(0xFFFF_6655L, bus.read(0x1002, 4));
  }

  @Test
  void shouldRefuseWhenRangesOverlapOrWrap() {
    bus.register(new Memory(), 0x1000, 16);
    assertThrows(IllegalArgumentException.class, () -> bus.register(new Memory(), 0x100F, 1));
    assertThrows(IllegalArgumentException.class, () -> bus.register(new Memory(), 0x2000, 0));
    assertThrows(
        IllegalArgumentException.class,
        () -> bus.register(new Memory(), Long.MAX_VALUE, Long.MAX_VALUE));
  }
}

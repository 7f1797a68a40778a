package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

final class AcpiPmTest {
  private static final long SECOND = 1_000_000_000L;

  private final ManualTime time = new ManualTime();
  private final RecordingLine sci = new RecordingLine();
  private int powerOffs;
  private final AcpiPm pm = new AcpiPm(24, sci, time, time.timers(), () -> powerOffs++);

  @Test
  void shouldCountAt3579545HertzIn24Bits() {
    time.to(SECOND);
    assertEquals(3_579_545, pm.readPort(0x608, 4));
    time.to(5 * SECOND);
    assertEquals(5 * 3_579_545 - (1 << 24), pm.readPort(0x608, 4));
    assertEquals(pm.readPort(0x608, 4) & 0xFFFF, pm.readPort(0x608, 2));
  }

  @Test
  void shouldCountIn32BitsWhenAsked() {
    final AcpiPm wide = new AcpiPm(32, sci, time, time.timers(), () -> {});
    time.to(1000 * SECOND);
    assertEquals(3_579_545_000L, wide.readPort(0x608, 4) & 0xFFFF_FFFFL);
    assertThrows(
        IllegalArgumentException.class, () -> new AcpiPm(16, sci, time, time.timers(), () -> {}));
  }

  @Test
  void shouldPowerOffOnS5Alone() {
    pm.writePort(0x604, 2, 5 << 10);
    assertEquals(0, powerOffs, "a type without SLP_EN is only kept");
    assertEquals(5 << 10 | 1, pm.readPort(0x604, 2));
    pm.writePort(0x604, 2, 3 << 10 | 1 << 13);
    assertEquals(0, powerOffs);
    pm.writePort(0x604, 2, 5 << 10 | 1 << 13);
    assertEquals(1, powerOffs);
    assertEquals(5 << 10 | 1, pm.readPort(0x604, 2), "SLP_EN reads as 0, SCI_EN as 1");
  }

  @Test
  void shouldRaiseSciWhenTheTimersTopBitToggles() {
    pm.writePort(0x602, 2, 1);
    time.to(2_343_000_000L);
    assertFalse(sci.level());
    time.to(2_344_000_000L);
    assertTrue(sci.level(), "2^23 ticks are 2.3435 s");
    assertEquals(1, pm.readPort(0x600, 2));
    pm.writePort(0x600, 2, 1);
    assertFalse(sci.level());
    assertEquals(0, pm.readPort(0x600, 2));
    time.to(4_686_000_000L);
    assertEquals(1, sci.rises());
    time.to(4_687_000_000L);
    assertEquals(2, sci.rises());
  }

  @Test
  void shouldSetTheStatusWithoutSciWhenNotEnabled() {
    time.to(3 * SECOND);
    assertEquals(1, pm.readPort(0x600, 2));
    assertFalse(sci.level());
    pm.writePort(0x602, 2, 1);
    assertTrue(sci.level(), "an enable finds a status that stands");
  }

  @Test
  void shouldSignalThePowerButton() {
    pm.pressPowerButton();
    assertFalse(sci.level());
    pm.writePort(0x602, 2, 0x100);
    assertTrue(sci.level());
    assertEquals(0x100, pm.readPort(0x600, 2));
    pm.writePort(0x600, 2, 0x100);
    assertFalse(sci.level());
  }
}

package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.LocalDateTime;
import java.time.ZoneOffset;
import org.junit.jupiter.api.Test;

final class CmosRtcTest {
  private static final long SECOND = 1_000_000_000L;
  private static final long MILLI = 1_000_000L;

  /** A Wednesday, a leap day ahead. */
  private static final LocalDateTime START = LocalDateTime.of(2024, 2, 28, 23, 59, 58);

  private final ManualTime time = new ManualTime();
  private final RecordingLine line = new RecordingLine();
  private final CmosRtc rtc =
      new CmosRtc(
          START.toEpochSecond(ZoneOffset.UTC), 3L << 30, 5L << 30, line, time, time.timers());

  private int read(final int register) {
    rtc.writePort(0x70, 1, register);
    return rtc.readPort(0x71, 1);
  }

  private void write(final int register, final int value) {
    rtc.writePort(0x70, 1, register);
    rtc.writePort(0x71, 1, value);
  }

  /** Century to seconds as hex digits. */
  private String show() {
    return "%02x%02x-%02x-%02x %02x:%02x:%02x"
        .formatted(read(0x32), read(9), read(8), read(7), read(4), read(2), read(0));
  }

  @Test
  void shouldShowTheTimeInBcd() {
    assertEquals("2024-02-28 23:59:58", show());
    assertEquals(4, read(6), "Wednesday");
    time.to(2 * SECOND);
    assertEquals("2024-02-29 00:00:00", show());
    assertEquals(5, read(6));
    time.to(86_402 * SECOND);
    assertEquals("2024-03-01 00:00:00", show());
  }

  @Test
  void shouldShowTheTimeInBinaryAnd12Hours() {
    write(0x0B, 0x06);
    assertEquals(23, read(4));
    assertEquals(58, read(0));
    assertEquals(24, read(9));
    write(0x0B, 0x00);
    assertEquals(0x91, read(4), "11 p.m.");
    time.to(2 * SECOND);
    assertEquals(0x12, read(4), "midnight is 12 a.m.");
    time.to((2 + 12 * 3600) * SECOND);
    assertEquals(0x92, read(4), "noon is 12 p.m.");
    write(0x0B, 0x04);
    assertEquals(0x8C, read(4));
  }

  @Test
  void shouldSetTheTimeWhileSetIsOn() {
    write(0x0B, 0x82);
    write(0x32, 0x19);
    write(9, 0x99);
    write(8, 0x12);
    write(7, 0x31);
    write(4, 0x23);
    write(2, 0x59);
    write(0, 0x58);
    time.to(10 * SECOND + 700 * MILLI);
    assertEquals("1999-12-31 23:59:58", show(), "it stands still");
    write(0x0B, 0x02);
    time.to(10 * SECOND + 999 * MILLI);
    assertEquals("1999-12-31 23:59:58", show());
    time.to(12 * SECOND);
    assertEquals("2000-01-01 00:00:00", show(), "the divider was not touched");
  }

  @Test
  void shouldUpdateHalfASecondAfterTheDividerLeavesReset() {
    time.to(300 * MILLI);
    write(0x0A, 0x76);
    time.to(5 * SECOND);
    assertEquals("2024-02-28 23:59:58", show());
    write(0x0A, 0x26);
    time.to(5 * SECOND + 499 * MILLI);
    assertEquals("2024-02-28 23:59:58", show());
    time.to(5 * SECOND + 500 * MILLI);
    assertEquals("2024-02-28 23:59:59", show());
  }

  @Test
  void shouldTakeASingleRegisterWithoutSet() {
    write(4, 0x05);
    assertEquals("2024-02-28 05:59:58", show());
    time.to(2 * SECOND);
    assertEquals("2024-02-28 06:00:00", show());
    write(6, 1);
    assertEquals(1, read(6), "the weekday is the guest's own");
    time.to(86_402 * SECOND);
    assertEquals(2, read(6));
  }

  @Test
  void shouldCarryOverWhenARegisterIsOutOfRange() {
    write(8, 0x45);
    write(7, 0xFF);
    write(9, 0xFF);
    time.to(SECOND);
    show();
    final int month = read(8);
    assertTrue(month >= 1 && month <= 0x12, "a real month again: " + month);
  }

  @Test
  void shouldRaiseUipBeforeTheSecondEnds() {
    time.to(997 * MILLI);
    assertEquals(0x26, read(0x0A));
    time.to(998 * MILLI);
    assertEquals(0xA6, read(0x0A));
    time.to(1000 * MILLI);
    assertEquals(0x26, read(0x0A));
    time.to(1999 * MILLI);
    assertEquals(0xA6, read(0x0A));
    write(0x0B, 0x82);
    assertEquals(0x26, read(0x0A), "SET stops updates");
  }

  @Test
  void shouldInterruptAtTheEndOfEachUpdate() {
    write(0x0B, 0x12);
    time.to(SECOND - 1);
    assertFalse(line.level());
    time.to(SECOND);
    assertTrue(line.level());
    assertEquals(0x90, read(0x0C) & 0xB0);
    assertFalse(line.level());
    assertEquals(0, read(0x0C), "reading clears");
    time.to(3 * SECOND);
    assertEquals(2, line.rises(), "not read: no further edge");
    assertEquals(0xF0, read(0x0C), "periodic, and alarm (00:00:00), are flags without enables");
  }

  @Test
  void shouldInterruptPeriodically() {
    write(0x0B, 0x42);
    int count = 0;
    for (int i = 0; i < 1000; i++) {
      time.advance(MILLI);
      if (line.level()) {
        assertEquals(0xC0, read(0x0C) & 0xC0);
        count++;
      }
    }
    // Rate 6 is 1024 Hz, each read at the next millisecond.
    assertEquals(1000, count, 1);
    write(0x0A, 0x2F);
    read(0x0C);
    final int before = line.rises();
    time.advance(499 * MILLI);
    assertEquals(before, line.rises(), "rate 15 is 2 Hz");
    time.advance(2 * MILLI);
    assertEquals(before + 1, line.rises());
    write(0x0A, 0x20);
    read(0x0C);
    time.advance(5 * SECOND);
    assertEquals(before + 1, line.rises(), "rate 0 is none");
  }

  @Test
  void shouldInterruptAtTheAlarm() {
    write(5, 0x00);
    write(3, 0x01);
    write(1, 0x30);
    write(0x0B, 0x22);
    time.to(91 * SECOND);
    assertFalse(line.level());
    time.to(92 * SECOND);
    assertTrue(line.level(), "00:01:30");
    assertEquals(0xA0, read(0x0C) & 0xA0);
    time.to(86_400 * SECOND);
    assertEquals(1, line.rises());
    time.to((86_400 + 92) * SECOND);
    assertEquals(2, line.rises(), "each day");
  }

  @Test
  void shouldMatchAnyValueWhenTheAlarmDoesNotCare() {
    write(5, 0xFF);
    write(3, 0xC0);
    write(1, 0x05);
    write(0x0B, 0x22);
    for (int minute = 0; minute < 3; minute++) {
      time.to((7 + 60 * minute) * SECOND - 1);
      assertEquals(minute, line.rises());
      time.advance(1);
      assertEquals(minute + 1, line.rises());
      read(0x0C);
    }
  }

  @Test
  void shouldRunNoTimerWhenNothingIsEnabled() {
    assertEquals(TimerQueue.NEVER, time.timers().nextDeadline());
    write(0x0B, 0x52);
    assertTrue(time.timers().nextDeadline() < SECOND);
    write(0x0B, 0x02);
    assertEquals(TimerQueue.NEVER, time.timers().nextDeadline());
  }

  @Test
  void shouldTellTheSizeOfMemory() {
    assertEquals(640, read(0x15) | read(0x16) << 8);
    assertEquals(0xFFFF, read(0x17) | read(0x18) << 8);
    assertEquals((3072 - 16) * 16, read(0x34) | read(0x35) << 8);
    assertEquals(5 * 16_384, read(0x5B) | read(0x5C) << 8 | read(0x5D) << 16);
  }

  @Test
  void shouldKeepRamAndReadOnlyRegistersApart() {
    write(0x0F, 0x0A);
    assertEquals(0x0A, read(0x0F));
    write(0x0D, 0);
    assertEquals(0x80, read(0x0D), "the battery is good");
    write(0x0C, 0xFF);
    assertEquals(0, read(0x0C) & 0x80);
    write(0x7F, 0x77);
    assertEquals(0x77, read(0x7F));
  }

  @Test
  void shouldMaskNmiByTheIndex() {
    assertFalse(rtc.nmiMasked());
    rtc.writePort(0x70, 1, 0x8F);
    assertTrue(rtc.nmiMasked());
    assertEquals(0, rtc.readPort(0x71, 1), "still register 0x0F");
  }
}

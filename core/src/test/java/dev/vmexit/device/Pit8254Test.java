package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Times are ticks of the PIT; a count written at tick t is loaded at t + 1. */
final class Pit8254Test {
  private final ManualTime time = new ManualTime();
  private final RecordingLine line = new RecordingLine();
  private final Pit8254 pit = new Pit8254(line, time, time.timers());
  private final SystemControlPort control = new SystemControlPort(pit, time);
  private final ClockRate rate = new ClockRate(Pit8254.INPUT_HZ);

  private void toTick(final long tick) {
    time.to(rate.nanosAt(tick));
  }

  private void control(final int value) {
    pit.writePort(0x43, 1, value);
  }

  private void write16(final int channel, final int value) {
    pit.writePort(0x40 + channel, 1, value & 0xFF);
    pit.writePort(0x40 + channel, 1, value >> 8);
  }

  private int read16(final int channel) {
    final int low = pit.readPort(0x40 + channel, 1);
    return low | pit.readPort(0x40 + channel, 1) << 8;
  }

  private int latched(final int channel) {
    control(channel << 6);
    return read16(channel);
  }

  private void gate2(final boolean open) {
    control.writePort(0x61, 1, open ? 1 : 0);
  }

  private boolean out2() {
    return (control.readPort(0x61, 1) & 0x20) != 0;
  }

  private int status(final int channel) {
    control(0xE0 | 2 << channel);
    return pit.readPort(0x40 + channel, 1);
  }

  /** Levels of OUT 2 from a tick on, one digit each. */
  private String out2From(final long first, final int count) {
    final StringBuilder levels = new StringBuilder();
    for (long tick = first; tick < first + count; tick++) {
      toTick(tick);
      levels.append(out2() ? '1' : '0');
    }
    return levels.toString();
  }

  private String countsFrom(final int channel, final long first, final int count) {
    final StringBuilder counts = new StringBuilder();
    for (long tick = first; tick < first + count; tick++) {
      toTick(tick);
      counts.append(latched(channel)).append(' ');
    }
    return counts.toString().trim();
  }

  // ---- mode 0 ----

  @Test
  void shouldRaiseOutOnTerminalCountInMode0() {
    gate2(true);
    toTick(10);
    control(0xB0);
    assertFalse(out2(), "the control word lowers OUT");
    write16(2, 4);
    // Loaded at 11, zero at 15, stays high while it counts on.
    assertEquals("00000111", out2From(10, 8));
    toTick(18);
    assertEquals(0xFFFD, latched(2));
  }

  @Test
  void shouldPauseMode0WithTheGate() {
    gate2(true);
    control(0xB0);
    write16(2, 100);
    toTick(41);
    gate2(false);
    toTick(1000);
    assertEquals(60, latched(2));
    assertFalse(out2());
    gate2(true);
    toTick(1059);
    assertFalse(out2());
    toTick(1060);
    assertTrue(out2());
  }

  @Test
  void shouldStopMode0BetweenTheTwoBytes() {
    gate2(true);
    control(0xB0);
    write16(2, 5);
    toTick(20);
    assertTrue(out2());
    pit.writePort(0x42, 1, 8);
    assertFalse(out2(), "the first byte lowers OUT");
    toTick(100);
    assertFalse(out2());
    pit.writePort(0x42, 1, 0);
    toTick(108);
    assertFalse(out2());
    toTick(109);
    assertTrue(out2());
  }

  @Test
  void shouldMeasureAKnownTimeThroughPort61() {
    // The way a kernel calibrates its TSC: 50 ms on channel 2 in mode 0.
    control.writePort(0x61, 1, (control.readPort(0x61, 1) & ~2) | 1);
    control(0xB0);
    write16(2, Pit8254.INPUT_HZ / 20);
    final long start = time.nanos();
    while (!out2()) {
      time.advance(1000);
    }
    final long microseconds = (time.nanos() - start) / 1000;
    assertTrue(microseconds >= 49_999 && microseconds <= 50_002, "took " + microseconds);
  }

  @Test
  void shouldInterruptOnceInMode0() {
    assertTrue(line.level(), "OUT is high at power-on");
    control(0x30);
    assertFalse(line.level());
    write16(0, 1193);
    time.to(999_000);
    assertEquals(1, line.rises());
    time.to(1_001_000);
    assertEquals(2, line.rises());
    time.to(1_000_000_000);
    assertEquals(2, line.rises());
    write16(0, 1193);
    time.advance(1_001_000);
    assertEquals(3, line.rises(), "a new count starts anew");
  }

  // ---- mode 1 ----

  @Test
  void shouldShootOnceOnTheGateInMode1() {
    control(0xB2);
    write16(2, 3);
    toTick(10);
    assertTrue(out2(), "waits for a trigger");
    gate2(true);
    assertEquals("10001111", out2From(10, 8));
    gate2(false);
    toTick(20);
    gate2(true);
    toTick(22);
    gate2(false);
    gate2(true);
    // Triggered again at 22: loaded at 23, ends at 26 in place of 24.
    assertEquals("000011", out2From(22, 6));
  }

  // ---- mode 2 ----

  @Test
  void shouldDivideInMode2() {
    gate2(true);
    control(0xB4);
    write16(2, 4);
    assertEquals("1111011101110", out2From(0, 13));
    assertEquals("4 3 2 1 4 3 2 1", countsFrom(2, 13, 8));
  }

  @Test
  void shouldTakeANewCountAtTheEndOfTheCycleInMode2() {
    gate2(true);
    control(0xB4);
    write16(2, 5);
    toTick(3);
    write16(2, 3);
    assertEquals("3 2 1 3 2 1 3", countsFrom(2, 3, 7));
  }

  @Test
  void shouldRestartMode2OnTheGate() {
    gate2(true);
    control(0xB4);
    write16(2, 4);
    toTick(4);
    assertFalse(out2());
    gate2(false);
    assertTrue(out2(), "the gate raises OUT at once");
    toTick(50);
    assertTrue(out2());
    gate2(true);
    assertEquals("4 3 2 1 4", countsFrom(2, 51, 5));
  }

  @ParameterizedTest
  @CsvSource({"0x34, 1193", "0x36, 1193", "0x34, 11932", "0x36, 0", "0x34, 0", "0x36, 11931"})
  void shouldInterruptAtTheProgrammedRate(final String word, final int count) {
    control(Integer.decode(word));
    write16(0, count);
    time.to(2_000_000_000L);
    final int divisor = count == 0 ? 0x1_0000 : count;
    final int expected = 2 * Pit8254.INPUT_HZ / divisor;
    assertTrue(Math.abs(line.rises() - expected) <= 1, line.rises() + " for " + expected);
  }

  @Test
  void shouldRaiseEachEdgeAtItsExactTick() {
    control(0x34);
    write16(0, 1000);
    for (int period = 1; period < 100; period++) {
      final int before = line.rises();
      time.to(rate.nanosAt(1 + 1000L * period) - 1);
      assertEquals(before, line.rises());
      time.advance(1);
      assertEquals(before + 1, line.rises());
    }
  }

  @Test
  void shouldRaiseOneEdgeWhenSeveralPeriodsPassedUnseen() {
    control(0x34);
    write16(0, 1000);
    final int before = line.rises();
    time.lateTo(10_500_000);
    assertEquals(before + 1, line.rises());
    // The grid stays: the next edge is where it would have been.
    final long next = time.timers().nextDeadline();
    assertEquals(rate.nanosAt(1 + 1000 * 13L), next);
  }

  // ---- mode 3 ----

  @Test
  void shouldMakeASquareWaveInMode3() {
    gate2(true);
    control(0xB6);
    write16(2, 6);
    assertEquals("1111000111000", out2From(0, 13));
    assertEquals("6 4 2 6 4 2 6", countsFrom(2, 13, 7));
  }

  @Test
  void shouldMakeTheHighHalfLongerWhenTheCountIsOdd() {
    gate2(true);
    control(0xB6);
    write16(2, 5);
    assertEquals("11110011100111", out2From(0, 14));
    assertEquals("4 2 0 4 2 4 2 0", countsFrom(2, 16, 8));
  }

  @Test
  void shouldTakeANewCountAtTheEndOfTheHalfCycleInMode3() {
    gate2(true);
    control(0xB6);
    write16(2, 10);
    toTick(2);
    write16(2, 4);
    // High from 1 to 5, then halves of two.
    assertEquals("1111001100110", out2From(2, 13));
  }

  @Test
  void shouldMoveTheEdgesOfTheInterruptWithANewCountInMode3() {
    control(0x36);
    write16(0, 1000);
    toTick(100);
    write16(0, 400);
    // The high half ends at 501 with the old count, the low one at 701 with the new one.
    time.to(rate.nanosAt(701) - 1);
    assertEquals(1, line.rises());
    toTick(701);
    assertEquals(2, line.rises());
    toTick(1101);
    assertEquals(3, line.rises());
  }

  // ---- modes 4 and 5 ----

  @Test
  void shouldStrobeOnceAfterTheCountInMode4() {
    gate2(true);
    control(0xB8);
    write16(2, 3);
    assertEquals("11110111", out2From(0, 8));
    toTick(20_000);
    assertTrue(out2());
  }

  @Test
  void shouldStrobeAfterTheGateInMode5() {
    control(0xBA);
    write16(2, 2);
    toTick(10);
    gate2(true);
    assertEquals("1110111", out2From(10, 7));
  }

  // ---- reading ----

  @Test
  void shouldKeepALatchedCountUntilItIsRead() {
    control(0x34);
    write16(0, 1000);
    toTick(11);
    control(0x00);
    toTick(500);
    control(0x00);
    assertEquals(990, read16(0), "the first latch stands");
    assertEquals(501, read16(0), "then the count itself");
  }

  @Test
  void shouldReadBackStatusThenCount() {
    control(0x34);
    write16(0, 1000);
    control(0x74);
    toTick(11);
    control(0xC2 | 4);
    toTick(100);
    assertEquals(0xB4, pit.readPort(0x40, 1), "OUT, no null count, both bytes, mode 2");
    assertEquals(990, read16(0));
    assertEquals(0xF4, pit.readPort(0x41, 1), "null count: nothing was written");
    assertEquals(0xB4, status(0));
  }

  @Test
  void shouldTellNullCountUntilTheCountIsLoaded() {
    gate2(true);
    control(0xB4);
    assertEquals(0xF4, status(2));
    write16(2, 10);
    assertEquals(0xF4, status(2));
    toTick(1);
    assertEquals(0xB4, status(2));
    write16(2, 20);
    assertEquals(0xF4, status(2));
    toTick(11);
    assertEquals(0xB4, status(2));
  }

  @Test
  void shouldAccessSingleBytes() {
    control(0x14);
    pit.writePort(0x40, 1, 50);
    toTick(1);
    assertEquals(50, pit.readPort(0x40, 1));
    toTick(2);
    assertEquals(49, pit.readPort(0x40, 1));
    control(0x24);
    pit.writePort(0x40, 1, 2);
    toTick(3);
    assertEquals(2, pit.readPort(0x40, 1));
    toTick(4);
    assertEquals(1, pit.readPort(0x40, 1), "0x1FF");
    assertEquals(0xFF, pit.readPort(0x43, 1), "the control word is write-only");
  }

  @Test
  void shouldCountInBcd() {
    control(0x35);
    write16(0, 0x1000);
    toTick(2);
    assertEquals(0x0999, latched(0));
    toTick(1 + 1000);
    assertEquals(0x1000, latched(0));
    write16(0, 0);
    toTick(1 + 2000);
    assertEquals(0, latched(0), "0 is 10,000");
    toTick(1 + 2001);
    assertEquals(0x9999, latched(0));
  }

  @Test
  void shouldTreatModes6And7As2And3() {
    control(0x3C);
    write16(0, 10);
    toTick(1);
    assertEquals(0x34, status(0) & 0x3F);
  }

  // ---- port 0x61 ----

  @Test
  void shouldToggleRefreshEvery15Microseconds() {
    int toggles = 0;
    int before = control.readPort(0x61, 1) & 0x10;
    for (int i = 0; i < 1000; i++) {
      time.advance(1_000);
      final int now = control.readPort(0x61, 1) & 0x10;
      toggles += now == before ? 0 : 1;
      before = now;
    }
    assertEquals(1_000_000 / 15_085, toggles);
  }

  @Test
  void shouldKeepTheControlBits() {
    control.writePort(0x61, 1, 0xFF);
    assertEquals(0x0F, control.readPort(0x61, 1) & 0xCF);
    assertTrue(pit.speakerGate());
  }
}

package dev.vmexit.irq;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.device.TimerQueue;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class LapicTimerTest extends ApicTestSupport {
  private static final int PERIODIC = 1 << 17;
  private static final int TSC_DEADLINE = 2 << 17;
  private static final int BY_1 = 0xB;

  @BeforeEach
  void enable() {
    enableApics();
    write(DIVIDE, BY_1);
  }

  private boolean taken() {
    if (!chip.interruptPending(0)) {
      return false;
    }
    chip.acknowledge(0);
    write(EOI, 0);
    return true;
  }

  @Test
  void shouldFireOnce() {
    write(LVT_TIMER, 0x40);
    write(INITIAL, 1000);
    time.to(400);
    assertEquals(600, read(CURRENT));
    assertEquals(1000, read(INITIAL));
    time.to(999);
    assertFalse(chip.interruptPending(0));
    time.to(1000);
    assertEquals(0x40, chip.acknowledge(0));
    assertEquals(1000, chip.requestTime(0, 0x40));
    assertEquals(0, read(CURRENT));
    write(EOI, 0);
    time.to(100_000);
    assertFalse(chip.interruptPending(0));
    assertEquals(TimerQueue.NEVER, time.timers().nextDeadline());
  }

  @Test
  void shouldRequestAtTheDeadlineWhenServedLate() {
    write(LVT_TIMER, 0x40 | PERIODIC);
    write(INITIAL, 1000);
    time.lateTo(1700);
    assertEquals(0x40, chip.acknowledge(0));
    assertEquals(1000, chip.requestTime(0, 0x40));
    write(EOI, 0);
    time.lateTo(2000);
    assertEquals(0x40, chip.acknowledge(0));
    assertEquals(2000, chip.requestTime(0, 0x40));
    write(EOI, 0);
    write(ICR_LOW, 1 << 18 | 0x51);
    assertEquals(0x51, chip.acknowledge(0));
    assertEquals(2000, chip.requestTime(0, 0x51), "no timer's: the time of the command");
  }

  @ParameterizedTest
  @CsvSource({"0x0,2", "0x1,4", "0x2,8", "0x3,16", "0x8,32", "0x9,64", "0xA,128", "0xB,1"})
  void shouldDivideTheBusClock(final String configuration, final int divisor) {
    write(DIVIDE, Integer.decode(configuration));
    write(LVT_TIMER, 0x40);
    write(INITIAL, 1000);
    time.to(10L * divisor);
    assertEquals(990, read(CURRENT));
    time.to(1000L * divisor - 1);
    assertFalse(chip.interruptPending(0));
    time.advance(1);
    assertTrue(chip.interruptPending(0));
    assertEquals(Integer.decode(configuration), read(DIVIDE));
  }

  @Test
  void shouldGoOnFromTheCountWhenTheDividerChanges() {
    write(LVT_TIMER, 0x40);
    write(INITIAL, 1000);
    time.to(300);
    write(DIVIDE, 0x0);
    assertEquals(700, read(CURRENT));
    time.to(300 + 1399);
    assertFalse(chip.interruptPending(0));
    time.advance(1);
    assertTrue(chip.interruptPending(0));
  }

  @Test
  void shouldFirePeriodically() {
    write(LVT_TIMER, PERIODIC | 0x40);
    write(INITIAL, 10_000);
    int fired = 0;
    for (int i = 0; i < 100; i++) {
      time.advance(5_000);
      fired += taken() ? 1 : 0;
    }
    assertEquals(50, fired);
    time.advance(2_500);
    assertEquals(7_500, read(CURRENT));
    write(INITIAL, 0);
    time.advance(100_000);
    assertFalse(chip.interruptPending(0));
    assertEquals(0, read(CURRENT));
  }

  @Test
  void shouldKeepThePhaseWhenAPeriodIsServedLate() {
    write(LVT_TIMER, PERIODIC | 0x40);
    write(INITIAL, 10_000);
    time.lateTo(34_000);
    assertTrue(taken());
    assertFalse(taken(), "periods missed become one");
    assertEquals(40_000, time.timers().nextDeadline());
    assertEquals(6_000, read(CURRENT));
  }

  @Test
  void shouldNotStarveTheGuestWhenThePeriodIsTiny() {
    write(LVT_TIMER, PERIODIC | 0x40);
    write(INITIAL, 1);
    time.to(100_000);
    final long next = time.timers().nextDeadline() - 100_000;
    assertTrue(next > 0 && next <= 1_000, "next in " + next);
    assertTrue(taken());
  }

  @Test
  void shouldCountSilentlyWhileMasked() {
    write(LVT_TIMER, MASKED | 0x40);
    write(INITIAL, 1000);
    time.to(500);
    assertEquals(500, read(CURRENT));
    time.to(2000);
    assertFalse(chip.interruptPending(0));
    write(LVT_TIMER, 0x40);
    assertFalse(chip.interruptPending(0), "what passed is lost");
  }

  @Test
  void shouldSwitchBetweenOneShotAndPeriodic() {
    write(LVT_TIMER, PERIODIC | 0x40);
    write(INITIAL, 1000);
    time.to(2_300);
    taken();
    write(LVT_TIMER, 0x40);
    assertEquals(700, read(CURRENT));
    time.to(3_000);
    assertTrue(taken());
    time.to(50_000);
    assertFalse(taken());
  }

  @Test
  void shouldFireAtATscDeadline() {
    chip.tscOffset(0, 1_000_000);
    chip.tscDeadline(0, 5);
    assertEquals(0, chip.tscDeadline(0), "ignored in another mode");
    write(LVT_TIMER, TSC_DEADLINE | 0xEC);
    chip.tscDeadline(0, 1_005_000);
    assertEquals(1_005_000, chip.tscDeadline(0));
    write(INITIAL, 10);
    assertEquals(0, read(CURRENT), "the count does nothing");
    time.to(4_999);
    assertFalse(chip.interruptPending(0));
    time.to(5_000);
    assertEquals(0xEC, chip.acknowledge(0));
    assertEquals(0, chip.tscDeadline(0), "disarmed when it fires");
  }

  @Test
  void shouldFireAtOnceWhenTheDeadlinePassed() {
    time.to(10_000);
    write(LVT_TIMER, TSC_DEADLINE | 0xEC);
    chip.tscDeadline(0, 9_000);
    assertTrue(taken());
    assertEquals(0, chip.tscDeadline(0));
  }

  @Test
  void shouldDisarmByZeroByModeAndByFarDeadlines() {
    write(LVT_TIMER, TSC_DEADLINE | 0xEC);
    chip.tscDeadline(0, 1_000);
    chip.tscDeadline(0, 0);
    time.to(2_000);
    assertFalse(taken());
    chip.tscDeadline(0, 3_000);
    write(LVT_TIMER, 0xEC);
    assertEquals(0, chip.tscDeadline(0));
    write(LVT_TIMER, TSC_DEADLINE | 0xEC);
    time.to(4_000);
    assertFalse(taken());
    chip.tscDeadline(0, -1L);
    assertEquals(TimerQueue.NEVER, time.timers().nextDeadline(), "in 584 years");
    assertEquals(-1L, chip.tscDeadline(0));
  }

  @Test
  void shouldMoveTheDeadlineWithTheOffset() {
    write(LVT_TIMER, TSC_DEADLINE | 0xEC);
    chip.tscDeadline(0, 10_000);
    chip.tscOffset(0, 4_000);
    assertEquals(6_000, time.timers().nextDeadline());
    chip.tscOffset(0, 20_000);
    assertTrue(taken());
  }
}

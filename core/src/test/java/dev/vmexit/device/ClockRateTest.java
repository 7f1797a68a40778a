package dev.vmexit.device;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class ClockRateTest {
  @ParameterizedTest
  @ValueSource(longs = {1_193_182, 3_579_545, 32_768, 1_000_000_000})
  void shouldReachATickExactlyAtItsNanosecond(final long hertz) {
    final ClockRate rate = new ClockRate(hertz);
    for (long tick = 1; tick < 1L << 40; tick = tick * 3 + 1) {
      final long nanos = rate.nanosAt(tick);
      assertEquals(tick, rate.ticksAt(nanos), "tick " + tick);
      assertEquals(tick - 1, rate.ticksAt(nanos - 1), "before tick " + tick);
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1_193_182, 3_579_545})
  void shouldNotOverflowInYearsOfUptime(final long hertz) {
    final ClockRate rate = new ClockRate(hertz);
    final long century = 100L * 365 * 86_400;
    assertEquals(century * hertz, rate.ticksAt(century * 1_000_000_000L));
    assertEquals(century * 1_000_000_000L, rate.nanosAt(century * hertz));
  }
}

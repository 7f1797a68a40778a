package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.junit.jupiter.api.Test;

final class TscClockTest {
  private static final long CALIBRATION = 20_000_000;
  private static final int READS = 20_000;

  @Test
  void shouldTellTheTimeThatTheReferenceTells() {
    assumeTrue(TscClock.isAvailable(), "this processor has no invariant TSC");
    final long start = System.nanoTime();
    final TscClock clock = TscClock.begin(System::nanoTime).end(CALIBRATION);
    assertTrue(clock.errorPpm() > 0 && clock.errorPpm() < 1e6, clock.errorPpm() + " ppm");
    long last = clock.nanoTime();
    for (int i = 0; i < READS; i++) {
      final long before = System.nanoTime();
      final long now = clock.nanoTime();
      final long after = System.nanoTime();
      // What the rate may be wrong by, what the first reading was, and the rounding of both.
      final long error = (long) ((now - start + CALIBRATION) * clock.errorPpm() / 1e6 * 2) + 1_000;
      assertTrue(
          now >= before - error && now <= after + error,
          () -> before + " <= " + now + " <= " + after + ", off by more than " + error);
      assertTrue(now >= last - error);
      last = now;
    }
  }

  @Test
  void shouldKnowItsRate() {
    assumeTrue(TscClock.isAvailable(), "this processor has no invariant TSC");
    final TscClock clock = TscClock.begin(System::nanoTime).end(CALIBRATION);
    assertTrue(clock.megahertz() > 100 && clock.megahertz() < 10_000, clock.megahertz() + " MHz");
  }
}

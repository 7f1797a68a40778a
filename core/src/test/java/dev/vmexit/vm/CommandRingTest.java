package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

final class CommandRingTest {
  private static final int OFFERS = 200_000;

  private final CommandRing commands = new CommandRing();
  private int drained;

  private void drain() {
    commands.drain((type, buffer, index, length) -> drained++);
  }

  @Test
  void shouldHandOverEachCommandOnce() {
    commands.nmi();
    commands.checkpoint();
    drain();
    assertEquals(2, drained);
    drain();
    assertEquals(2, drained);
    commands.nmi();
    drain();
    assertEquals(3, drained);
  }

  /** Where the look that spares a read of the ring came too early, the last one would stay. */
  @Test
  void shouldLoseNoneThatIsOfferedDuringADrain() throws InterruptedException {
    final AtomicInteger taken = new AtomicInteger();
    final AtomicInteger seen = new AtomicInteger();
    final Thread other =
        new Thread(
            () -> {
              for (int i = 0; i < OFFERS; i++) {
                while (!commands.nmi()) {
                  Thread.onSpinWait();
                }
                taken.incrementAndGet();
                if (i % 64 == 0) {
                  // Nothing comes after it that could hide that it was missed.
                  while (seen.get() <= i) {
                    Thread.onSpinWait();
                  }
                }
              }
            });
    other.start();
    while (drained < OFFERS) {
      drain();
      seen.setRelease(drained);
    }
    other.join();
    drain();
    assertEquals(OFFERS, drained);
    assertEquals(OFFERS, taken.get());
  }
}

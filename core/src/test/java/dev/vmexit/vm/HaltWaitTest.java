package dev.vmexit.vm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

final class HaltWaitTest {
  private static final int ROUNDS = 5_000;
  private static final long EVER = TimeUnit.DAYS.toNanos(1);

  /** A wake-up that is lost leaves one side parked for a day. */
  @Test
  void shouldLoseNoWakeUpWhenTwoWakeEachOther() throws InterruptedException {
    final AtomicInteger turn = new AtomicInteger();
    final HaltWait[] waits = {new HaltWait(EVER), new HaltWait(EVER)};
    final Thread[] sides = new Thread[2];
    for (int i = 0; i < 2; i++) {
      final int self = i;
      sides[i] =
          new Thread(
              () -> {
                for (int round = self; round < ROUNDS; round += 2) {
                  while (turn.get() != round) {
                    waits[self].await(EVER);
                  }
                  waits[self].reset();
                  turn.set(round + 1);
                  waits[1 - self].wake();
                }
              });
      sides[i].start();
    }
    for (final Thread side : sides) {
      side.join();
    }
    assertEquals(ROUNDS, turn.get());
  }

  @Test
  void shouldComeBackBeforeTheDeadline() {
    final HaltWait wait = new HaltWait(EVER);
    for (int i = 0; i < 10_000; i++) {
      wait.await(1_000);
    }
    for (int i = 0; i < 1_000; i++) {
      wait.await(-1);
    }
    final long start = System.nanoTime();
    for (int i = 0; i < 10; i++) {
      wait.await(1_000_000);
    }
    assertTrue(System.nanoTime() - start >= 8 * 900_000L, "it did not wait at all");
  }
}

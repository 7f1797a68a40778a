package dev.vmexit.memory;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.concurrent.CyclicBarrier;
import org.junit.jupiter.api.Test;

/** Atomic operations on memory outside the heap. */
class WideExchangeTest {
  private static final int ROUNDS = 100_000;

  /** An aligned place of 128 bytes. */
  private interface Body {
    void run(long memory) throws Exception;
  }

  private static void withMemory(final Body body) throws Exception {
    final long raw = HostMemory.allocate(256);
    try {
      body.run((raw + 63) & -64L);
    } finally {
      HostMemory.free(raw);
    }
  }

  private static void operands(
      final long at, final long low, final long high, final long newLow, final long newHigh) {
    HostMemory.putLong(at, low);
    HostMemory.putLong(at + 8, high);
    HostMemory.putLong(at + 16, newLow);
    HostMemory.putLong(at + 24, newHigh);
  }

  @Test
  void shouldStoreWhereBothHalvesAreAsExpected() throws Exception {
    withMemory(
        memory -> {
          final long operands = memory + 64;
          HostMemory.putLong(memory, 1);
          HostMemory.putLong(memory + 8, 2);
          operands(operands, 1, 3, 10, 20);
          assertFalse(WideExchange.compareAndSet(memory, operands));
          assertEquals(1, HostMemory.getLong(operands));
          assertEquals(2, HostMemory.getLong(operands + 8));
          assertEquals(1, HostMemory.getLong(memory));
          assertTrue(WideExchange.compareAndSet(memory, operands));
        });
  }

  @Test
  void shouldLoseNoAdditionOfTwoThreadsToSixteenBytes() throws Exception {
    assumeTrue(WideExchange.isAtomic(), "this host runs no machine code of ours: no x86-64?");
    withMemory(
        memory -> {
          twoThreads(
              thread -> {
                final long operands = memory + 64 + 32L * thread;
                for (int i = 0; i < ROUNDS; i++) {
                  do {
                    // A torn read makes the comparison fail, no more.
                    final long low = HostMemory.getLong(memory);
                    final long high = HostMemory.getLong(memory + 8);
                    operands(operands, low, high, low + 1, high - 1);
                  } while (!WideExchange.compareAndSet(memory, operands));
                }
              });
          assertEquals(2L * ROUNDS, HostMemory.getLong(memory));
          assertEquals(-2L * ROUNDS, HostMemory.getLong(memory + 8));
        });
  }

  @Test
  void shouldLoseNoAdditionOfTwoThreadsToNeighboursInOneWord() throws Exception {
    withMemory(
        memory -> {
          // Thread 0 counts in bytes 1 and 2, which no aligned word of 2 bytes holds; 1 in 3 to 6.
          final int[] offset = {1, 3};
          final int[] size = {2, 4};
          twoThreads(
              thread -> {
                final long at = memory + offset[thread];
                for (int i = 0; i < ROUNDS; i++) {
                  long old;
                  do {
                    old = HostMemory.get(at, size[thread]);
                  } while (!HostMemory.compareAndSet(at, size[thread], old, old + 1));
                }
              });
          assertEquals(ROUNDS & 0xFFFF, HostMemory.getShort(memory + 1));
          assertEquals(ROUNDS, HostMemory.getInt(memory + 3));
          assertEquals(0, HostMemory.getByte(memory));
          assertEquals(0, HostMemory.getByte(memory + 7));
        });
  }

  @Test
  void shouldCompareAndSetOperandsOfEverySizeAtEveryOffset() throws Exception {
    withMemory(
        memory -> {
          for (int offset = 1; offset <= 16; offset++) {
            for (int size = 1; size <= 8; size *= 2) {
              HostMemory.fill(memory, 64, 0x5A);
              final long mask = -1L >>> 64 - 8 * size;
              final long old = 0x5A5A_5A5A_5A5A_5A5AL & mask;
              final long at = memory + offset;
              assertFalse(HostMemory.compareAndSet(at, size, old ^ 1, 7));
              assertEquals(old, HostMemory.get(at, size));
              assertTrue(HostMemory.compareAndSet(at, size, old, 0x0102_0304_0506_0708L));
              assertEquals(0x0102_0304_0506_0708L & mask, HostMemory.get(at, size));
              assertEquals(0x5A, HostMemory.getByte(at + size));
              assertEquals(0x5A, HostMemory.getByte(at - 1));
            }
          }
        });
  }

  /** What one of two threads does. */
  private interface Part {
    void run(int thread);
  }

  private static void twoThreads(final Part part) throws Exception {
    final CyclicBarrier start = new CyclicBarrier(2);
    final Thread other =
        new Thread(
            () -> {
              await(start);
              part.run(1);
            });
    other.start();
    await(start);
    part.run(0);
    other.join();
  }

  private static void await(final CyclicBarrier barrier) {
    try {
      barrier.await();
    } catch (final Exception e) {
      throw new IllegalStateException(e);
    }
  }
}

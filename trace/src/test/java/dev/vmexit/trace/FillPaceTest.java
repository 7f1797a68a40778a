package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class FillPaceTest {
  private static final long CAPACITY = 32 << 20;

  private final FillPace pace = new FillPace(CAPACITY);

  /** At so many KiB a look; what is full then, in MiB, worked out by hand. */
  @ParameterizedTest
  @CsvSource({
    "0, 0, 0", // for ever
    "8, 24, 24", // slow: three quarters
    "64, 16, 24", // 2 * (4 to 8 MiB) are what is left
    "400, 10, 11", // a third, before there is half a second to look back
    "4000, 10, 15",
    "40000, 32, 40" // at once
  })
  void shouldBeDueBeforeItIsFull(final int kibibytes, final int from, final int to) {
    final long each = kibibytes << 10;
    long backlog = each;
    for (int looks = 0; !pace.look(backlog); looks++) {
      backlog += each;
      if (each == 0 && looks == 100_000) {
        return;
      }
    }
    assertTrue(backlog >= (long) from << 20, "due at " + backlog);
    assertTrue(backlog <= ((long) to << 20) + each, "due at " + backlog);
  }

  /** As a boot has it, whose kernel prints all that it has kept at once. */
  @Test
  void shouldNotBeDueForABurstThatLeavesRoom() {
    long backlog = 0;
    for (int i = 0; i < 500; i++) {
      backlog += 8 << 10;
      assertFalse(pace.look(backlog));
    }
    for (int i = 0; i < 30; i++) {
      backlog += 180 << 10;
      assertFalse(pace.look(backlog));
    }
    for (int i = 0; i < 500; i++) {
      backlog += 8 << 10;
      assertFalse(pace.look(backlog));
    }
    assertTrue(pace.look(CAPACITY / 4 * 3));
  }
}

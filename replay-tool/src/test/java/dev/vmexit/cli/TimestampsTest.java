package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceReader;
import dev.vmexit.vm.TscClock;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class TimestampsTest {
  @TempDir Path temporary;

  private final ExitEvent event = new ExitEvent();

  private Path record(final String timestamps) {
    final Path folder = temporary.resolve(timestamps);
    final Tool.Outcome outcome =
        Tool.run(
            "run", "--clock", "virtual", "--timestamps", timestamps, "--record", folder.toString());
    assertEquals(0, outcome.status(), outcome.err());
    return folder;
  }

  /** The time of the last exit; none is before the one that came before it. */
  private long lastTime(final Path folder) {
    long last = 0;
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        assertTrue(event.hostTime >= last, event.sequence + " is earlier than the one before");
        last = event.hostTime;
      }
      assertTrue(reader.records() > 100);
    }
    return last;
  }

  @Test
  void shouldRecordNoTimesWhenNoneAreWanted() {
    final Path folder = record("none");
    assertEquals("none", TraceFolder.load(folder).clockSource());
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        assertEquals(0, event.hostTime | event.guestTime | event.handlerTime);
      }
      assertTrue(reader.records() > 100);
    }
  }

  @Test
  void shouldTakeTheTscAndSayHowWellItsRateIsKnown() {
    assumeTrue(TscClock.isAvailable(), "this processor has no invariant TSC");
    final long start = System.nanoTime();
    final Path folder = record("tsc");
    final long took = System.nanoTime() - start;
    final String source = TraceFolder.load(folder).clockSource();
    assertTrue(source.matches("TSC, [\\d.]+ MHz by System.nanoTime within [\\d.]+ ppm"), source);
    final long last = lastTime(folder);
    assertTrue(last > 0 && last < took, last + " of " + took);
    // Each view says what its times are.
    assertTrue(Tool.run("stat", folder.toString()).out().contains("Times: " + source));
    assertTrue(Tool.run("stat", folder.toString(), "--json").out().contains(source));
  }

  @Test
  void shouldTakeTheClockOfTheKernelWhenAsked() {
    final Path folder = record("nano");
    assertEquals("System.nanoTime", TraceFolder.load(folder).clockSource());
    assertTrue(lastTime(folder) > 0);
  }
}

package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.replay.ReplayEngine;
import dev.vmexit.replay.ReplayResult;
import dev.vmexit.trace.Recorder;
import dev.vmexit.trace.RecorderOptions;
import dev.vmexit.trace.TraceKeep;
import dev.vmexit.trace.TraceManifest;
import dev.vmexit.trace.TraceReader;
import dev.vmexit.vm.RunEnd;
import dev.vmexit.vm.VirtualMachine;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.time.Instant;
import java.util.EnumSet;
import java.util.Optional;
import java.util.function.Predicate;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A trace of which only the end is kept is checked from its first checkpoint on. */
final class KeptReplayTest {
  private static final int DOTS = 40;
  private static final int KEPT = 60_000;

  @TempDir Path temporary;

  private Path trace;

  @BeforeEach
  void record() throws Exception {
    trace = temporary.resolve("trace");
    final Path guest = FlatGuests.write(temporary.resolve("guest"), 64, FlatGuests::paging);
    final Late<VirtualMachine> machine = new Late<>();
    final StringWriter news = new StringWriter();
    try (GuestLoader.Loaded loaded =
            new GuestLoader(Optional.of(32L << 20), false, false, "", 1)
                .flat(guest, FlatGuests.address(64), BootEntry.Mode.LONG64);
        // A small ring: what the recorder asks for comes soon.
        Recorder recorder =
            Recorder.start(
                trace,
                manifest(loaded),
                RecorderOptions.blocking(ExitRing.MIN_CAPACITY)
                    .with(RecorderOptions.MIN_ROLL, new TraceKeep(TraceKeep.Unit.RECORDS, KEPT)),
                () -> YieldingIdleStrategy.INSTANCE,
                new RecordingNews(trace, machine, true, new PrintWriter(news)));
        VirtualMachine vm =
            new VirtualMachine(
                loaded.memory(), loaded.entry(), options(machine), recorder.sink(0))) {
      machine.set(vm);
      assertEquals(RunEnd.TEXT_SEEN, vm.run().end());
    }
    assertEquals("", news.toString());
  }

  private static VirtualMachine.Options options(final Late<VirtualMachine> machine) {
    final int[] dots = new int[1];
    return new VirtualMachine.Options(
        "max",
        VirtualMachine.MmuKind.SHADOW,
        VirtualMachine.ClockKind.VIRTUAL,
        0,
        value -> {
          if (++dots[0] == DOTS) {
            machine.get().commands().stop(RunEnd.TEXT_SEEN);
          }
        },
        value -> {},
        false,
        () -> 0);
  }

  private static TraceManifest manifest(final GuestLoader.Loaded loaded) {
    return TraceManifest.starting(
        "1",
        "paging",
        "",
        loaded.memory().slots().stream()
            .map(slot -> new TraceManifest.MemorySlot(slot.gpa(), slot.bytes(), slot.readOnly()))
            .toList(),
        1,
        "soft",
        "shadow",
        "max",
        "virtual",
        "none",
        Instant.EPOCH,
        EnumSet.allOf(ExitKind.class));
  }

  /** Replays the trace, with each record from a checkpoint on changed that is asked for. */
  private ReplayResult replay(final Predicate<ExitEvent> change) {
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(trace)) {
      final ReplayEngine engine = new ReplayEngine(reader.manifest());
      boolean agrees = true;
      boolean behind = false;
      while (agrees && reader.next(event)) {
        behind |= event.kind == ExitKind.KICK && event.detail == ExitEvent.KICK_CHECKPOINT;
        if (behind && change.test(event)) {
          event.walkValue[1] ^= 1L << 13;
        }
        agrees = engine.accept(event);
      }
      assertTrue(reader.notKept() > 0, "nothing was taken away");
      return engine.result();
    }
  }

  @Test
  void shouldCheckPageFaultsBehindTheCut() {
    final ReplayResult whole = replay(event -> false);
    assertTrue(whole.agrees(), () -> whole.difference().toString());
    assertTrue(whole.verified().get(ExitKind.PAGE_FAULT) > KEPT / FlatGuests.PER_DOT);
    assertTrue(
        whole.skipped().stream().allMatch(line -> line.contains(", up to a checkpoint at record ")),
        whole.skipped().toString());

    final ReplayResult damaged =
        replay(
            event -> event.kind == ExitKind.PAGE_FAULT && event.detail == ExitEvent.PF_TABLE_WRITE);
    assertFalse(damaged.agrees());
    assertEquals(ExitKind.PAGE_FAULT, damaged.difference().kind());
  }
}

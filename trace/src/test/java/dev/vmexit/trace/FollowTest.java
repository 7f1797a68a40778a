package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.EventAssert;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingReader;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.exit.RandomEvents;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class FollowTest {
  private static final int SEED = 3;
  private static final int RECORDS = 30_000;

  @TempDir Path temporary;

  private final ExitEvent event = new ExitEvent();
  private final ExitEvent expected = new ExitEvent();
  private final RandomEvents written = new RandomEvents(SEED);
  private final RandomEvents read = new RandomEvents(SEED);
  private long next;
  private Path folder;

  @BeforeEach
  void name() {
    folder = temporary.resolve("trace");
  }

  private static Recorder start(final Path folder, final RecorderOptions options) {
    return Recorder.start(
        folder,
        TestTraces.manifest(),
        options,
        () -> new BackoffIdleStrategy(100, 10, 1_000, 100_000),
        reason -> Runtime.getRuntime().halt(1));
  }

  private void write(final Recorder recorder, final int records) {
    for (int i = 0; i < records; i++) {
      written.next(event);
      recorder.sink(0).write(event);
    }
  }

  /** Reads what there is now; each record is the next one, as it was written. */
  private void readOn(final TraceFollower follower) {
    while (follower.next(event)) {
      read.next(expected);
      expected.sequence = next++;
      EventAssert.assertSame(expected, event);
    }
  }

  /** A process that records. */
  static final class Victim {
    private Victim() {}

    /** Records so many, or without end; the folder, how many or -1. */
    public static void main(final String[] args) {
      final long records = Long.parseLong(args[1]);
      final RandomEvents events = new RandomEvents(SEED);
      final ExitEvent event = new ExitEvent();
      try (Recorder recorder =
          start(
              Path.of(args[0]),
              RecorderOptions.blocking(ExitRing.MIN_CAPACITY)
                  .with(RecorderOptions.MIN_ROLL, TraceKeep.ALL))) {
        for (long i = 0; i != records; i++) {
          events.next(event);
          recorder.sink(0).write(event);
        }
      }
    }
  }

  private Process startVictim(final long records) throws IOException {
    final Process victim =
        ForkedJvm.start(ForkedJvm.command(Victim.class, folder.toString(), "" + records));
    while (!Files.exists(TraceFolder.manifest(folder))) {
      assertTrue(victim.isAlive());
      Thread.onSpinWait();
    }
    return victim;
  }

  @Test
  void shouldShowWhatIsInTheRingAloneAndThenWhatComes() {
    final Recorder recorder = start(folder, RecorderOptions.blocking(ExitRing.MIN_CAPACITY));
    try (TraceFollower follower = TraceFollower.open(folder)) {
      readOn(follower);
      assertEquals(0, next);
      // Far less than a batch: the queue has none of them.
      for (int records = 1; records <= 40; records++) {
        write(recorder, 1);
        readOn(follower);
        assertEquals(records, next);
        assertFalse(follower.ended());
      }
      write(recorder, 5_000);
      while (next < 5_040) {
        readOn(follower); // what is on its way from the ring to the queue is seen a moment later
        Thread.onSpinWait();
      }
      recorder.close();
      readOn(follower);
      assertTrue(follower.ended());
      assertEquals(5_040, follower.records());
      assertTrue(follower.manifest().complete());
    }
  }

  /** The recorder moves a batch to the queue between a look at the queue and one at the ring. */
  @Test
  void shouldFindTheRingsRecordsAgainWhenThoseBeforeHaveComeByTheQueue() throws IOException {
    final int moved = ExitRingWriter.FULL_INTERVAL;
    final Path file = folder.resolveSibling("ring");
    try (ExitRingWriter writer =
            ExitRingWriter.create(
                file,
                ExitRing.MIN_CAPACITY,
                0,
                EnumSet.allOf(ExitKind.class),
                YieldingIdleStrategy.INSTANCE);
        RingFollower follower = new RingFollower(file, 0)) {
      final RandomEvents events = new RandomEvents(SEED);
      for (int i = 0; i <= moved; i++) {
        events.next(event);
        writer.write(event);
      }
      final ExitRingReader reader = ExitRingReader.live(writer.file());
      assertEquals(moved, reader.drain((buffer, offset, length) -> true, moved));
      reader.commit();
      reader.release();
      assertTrue(follower.look(0));
      assertFalse(follower.next(event, 0));
      assertTrue(follower.look(moved));
      assertTrue(follower.next(event, moved));
      assertEquals(moved, event.sequence);
      assertFalse(follower.next(event, moved + 1));
      assertFalse(follower.look(moved + 1));
      writer.file().close();
    }
  }

  @Test
  void shouldReadATraceThatHasEndedAtOnce() {
    try (Recorder recorder = start(folder, RecorderOptions.blocking(ExitRing.MIN_CAPACITY))) {
      write(recorder, 3_000);
    }
    try (TraceFollower follower = TraceFollower.open(folder)) {
      readOn(follower);
      assertTrue(follower.ended());
      assertEquals(3_000, next);
    }
  }

  @Test
  void shouldFollowAnotherProcessOverItsFilesToItsEnd() throws Exception {
    final Process victim = startVictim(RECORDS);
    try (TraceFollower follower = TraceFollower.open(folder)) {
      while (!follower.ended()) {
        readOn(follower);
        Thread.onSpinWait();
      }
      assertEquals(0, victim.waitFor());
      assertEquals(RECORDS, next);
      assertTrue(TraceFolder.queueFiles(folder).size() > 3);
      assertEquals(List.of(), follower.damages());
    }
  }

  @Test
  void shouldEndWhereTheOtherProcessWasKilled() throws Exception {
    final Process victim = startVictim(-1);
    try (TraceFollower follower = TraceFollower.open(folder)) {
      while (next < RECORDS) {
        assertTrue(victim.isAlive());
        readOn(follower);
      }
      victim.destroyForcibly().waitFor();
      while (!follower.ended()) {
        readOn(follower);
      }
      assertFalse(follower.manifest().complete());
      assertEquals(next, follower.manifest().records());
    }
    final long seen = next;
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        next--;
      }
    }
    assertEquals(0, next, seen + " seen by the follower");
  }

  @Test
  void shouldShowAGapWhereFilesWereTakenAway() {
    final RecorderOptions options =
        RecorderOptions.blocking(ExitRing.MIN_CAPACITY)
            .with(
                RecorderOptions.MIN_ROLL,
                new TraceKeep(TraceKeep.Unit.BYTES, 2 * RecorderOptions.MIN_ROLL));
    final Recorder recorder = start(folder, options);
    try (TraceFollower follower = TraceFollower.open(folder)) {
      write(recorder, RECORDS);
      recorder.close();
      long numbers = 0;
      while (follower.next(event)) {
        assertEquals(numbers, event.sequence);
        numbers += event.kind == ExitKind.GAP ? event.value : 1;
      }
      assertTrue(follower.ended());
      assertEquals(RECORDS, numbers);
      assertTrue(follower.notKept() > 0);
      assertEquals(0, follower.gaps());
    }
  }

  /** Two vCPUs: each one's records in their order, to the last one of both. */
  @Test
  void shouldFollowSeveralVcpus() {
    final int vcpus = 2;
    final RandomEvents[] toWrite = new RandomEvents[vcpus];
    final RandomEvents[] toRead = new RandomEvents[vcpus];
    final long[] nexts = new long[vcpus];
    for (int i = 0; i < vcpus; i++) {
      toWrite[i] = new RandomEvents(SEED + i);
      toRead[i] = new RandomEvents(SEED + i);
    }
    final Recorder recorder =
        Recorder.start(
            folder,
            TestTraces.manifest(vcpus),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY),
            () -> new BackoffIdleStrategy(100, 10, 1_000, 100_000),
            reason -> Runtime.getRuntime().halt(1));
    try (TraceFollower follower = TraceFollower.open(folder)) {
      for (int round = 0; round < 40; round++) {
        for (int vcpu = 0; vcpu < vcpus; vcpu++) {
          for (int i = 0; i < 100 * (vcpu + 1); i++) {
            toWrite[vcpu].next(event);
            event.vcpu = vcpu;
            recorder.sink(vcpu).write(event);
          }
        }
        readOn(follower, toRead, nexts);
      }
      recorder.close();
      while (!follower.ended()) {
        readOn(follower, toRead, nexts);
      }
      assertEquals(List.of(4_000L, 8_000L), List.of(nexts[0], nexts[1]));
      assertEquals(12_000, follower.records());
      assertEquals(0, follower.gaps());
    }
  }

  private void readOn(
      final TraceFollower follower, final RandomEvents[] toRead, final long[] nexts) {
    while (follower.next(event)) {
      toRead[event.vcpu].next(expected);
      expected.vcpu = event.vcpu;
      expected.sequence = nexts[event.vcpu]++;
      EventAssert.assertSame(expected, event);
    }
  }
}

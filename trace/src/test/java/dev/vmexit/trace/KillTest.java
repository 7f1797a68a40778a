package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.EventAssert;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.exit.OnFull;
import dev.vmexit.exit.RandomEvents;
import java.io.IOException;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;
import org.agrona.concurrent.BackoffIdleStrategy;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Kills recording processes at random moments, with SIGKILL. The count is {@code
 * -Dvmexit.kills=200}; the moments follow {@code -Dvmexit.kills.seed}.
 */
final class KillTest {
  private static final int KILLS = Integer.getInteger("vmexit.kills", 20);
  private static final long SEED = Long.getLong("vmexit.kills.seed", 1);
  private static final int MOST_RECORDS = 100_000;

  /** Of four victims one keeps so many, in files that roll, and one drops what it must wait for. */
  private static final int KEPT = 10_000;

  @TempDir Path temporary;

  /** Records as fast as it can, and says outside of the trace how far it is. */
  static final class Victim {
    private Victim() {}

    /** Runs until killed; the folder, the witness, the seed. */
    public static void main(final String[] args) throws IOException {
      final MappedByteBuffer witness = map(Path.of(args[1]));
      final TraceManifest manifest = TestTraces.manifest();
      final Recorder recorder =
          Recorder.start(
              Path.of(args[0]),
              manifest,
              options(Integer.parseInt(args[2])),
              () -> new BackoffIdleStrategy(100, 10, 1_000, 100_000),
              reason -> Runtime.getRuntime().halt(1));
      final RandomEvents events = new RandomEvents(Long.parseLong(args[2]));
      final ExitEvent event = new ExitEvent();
      final ExitRingWriter sink = recorder.sink(0);
      while (true) {
        events.next(event);
        sink.write(event);
        // A store to a shared mapping outlives the process; it comes after the commit.
        witness.putLong(0, event.sequence + 1);
      }
    }
  }

  private static RecorderOptions options(final int kill) {
    final RecorderOptions options = RecorderOptions.blocking(1 << 18);
    return switch (kill % 4) {
      case 1 -> options.with(OnFull.DROP);
      case 3 -> options.with(RecorderOptions.MIN_ROLL, new TraceKeep(TraceKeep.Unit.RECORDS, KEPT));
      default -> options;
    };
  }

  private static MappedByteBuffer map(final Path file) throws IOException {
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      return channel.map(MapMode.READ_WRITE, 0, Long.BYTES);
    }
  }

  @Test
  void shouldReadToTheLastCommittedExitWheneverTheProcessIsKilled() throws Exception {
    final Random random = new Random(SEED);
    long inRings = 0;
    for (int kill = 0; kill < KILLS; kill++) {
      final Path folder = temporary.resolve("trace" + kill);
      final Path witnessFile = Files.write(temporary.resolve("witness" + kill), new byte[8]);
      final MappedByteBuffer witness = map(witnessFile);
      final int target = (int) Math.pow(MOST_RECORDS, random.nextDouble());
      final Process victim =
          ForkedJvm.start(
              ForkedJvm.command(
                  Victim.class, folder.toString(), witnessFile.toString(), "" + kill));
      while (witness.getLong(0) < target && victim.isAlive()) {
        LockSupport.parkNanos(20_000); // leaves the core to the victim
      }
      victim.destroyForcibly();
      assertEquals(128 + 9, victim.waitFor());
      inRings += check(folder, kill, witness.getLong(0));
      remove(folder);
    }
    // The moments are such that the recorder was behind at some.
    assertTrue(inRings > 0);
  }

  /** Reads twice: the first reader recovers. Returns how many records came from the ring. */
  private static long check(final Path folder, final int seed, final long committed) {
    assertFalse(TraceFolder.load(folder).complete());
    final long records = read(folder, seed, committed);
    final TraceManifest marked = TraceFolder.load(folder);
    assertFalse(marked.complete());
    assertEquals(records, marked.records());
    final String[] words = marked.recovered().split(" ", -1);
    assertEquals(
        words[0] + " records from the queue, " + words[5] + " from the rings", marked.recovered());
    try (TraceReader reader = TraceReader.open(folder)) {
      final ExitEvent event = new ExitEvent();
      while (reader.next(event)) {}
      assertEquals(reader.records(), Long.parseLong(words[0]) + Long.parseLong(words[5]));
      // It may have died between the count of a drop and the number that it took.
      final long counted = marked.dropped() - reader.gaps();
      assertTrue(counted == 0 || counted == 1, counted + " more counted than missing");
    }
    assertEquals(records, read(folder, seed, committed));
    return Long.parseLong(words[5]);
  }

  private static long read(final Path folder, final int seed, final long committed) {
    final RandomEvents events = new RandomEvents(seed);
    final ExitEvent expected = new ExitEvent();
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        events.next(expected);
        if (event.kind == ExitKind.GAP) {
          final boolean atStart = reader.records() == 0;
          assertEquals(
              seed % 4 == 3 && atStart ? ExitEvent.GAP_NOT_KEPT : ExitEvent.GAP_DROPPED,
              event.detail);
          for (long i = 1; i < event.value; i++) {
            events.next(expected);
          }
        } else {
          expected.sequence = reader.notKept() + reader.gaps() + reader.records() - 1;
          EventAssert.assertSame(expected, event);
        }
      }
      assertEquals(List.of(), reader.damages());
      assertTrue(reader.gaps() == 0 || seed % 4 == 1);
      assertTrue(reader.notKept() == 0 || reader.records() >= KEPT);
      final long records = reader.notKept() + reader.gaps() + reader.records();
      // The vCPU may have died between its commit, or the last byte before it, and the witness.
      assertTrue(
          records >= committed && records <= committed + 1,
          () -> records + " records, " + committed + " committed");
      return records;
    }
  }

  private static void remove(final Path folder) throws IOException {
    TraceFolder.clear(folder, true);
    assertFalse(Files.exists(folder));
  }
}

package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.trace.Recorder;
import dev.vmexit.trace.RecorderOptions;
import dev.vmexit.trace.TraceCheck;
import dev.vmexit.trace.TraceException;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.trace.TraceReader;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Damages real traces in every way and reads them. Whatever is given out must be what was recorded,
 * whatever is missing must be said; and there must be an end to it, in little memory. The count is
 * {@code -Dvmexit.mutations=100000}, the seed {@code -Dvmexit.mutations.seed}.
 */
final class MutationTest {
  private static final int MUTATIONS = Integer.getInteger("vmexit.mutations", 2000);
  private static final long SEED = Long.getLong("vmexit.mutations.seed", 1);
  private static final int BY_COMMAND = 50;

  /** Bytes of heap that nobody needs to read a trace, whatever lengths its files speak of. */
  private static final long MOST_HEAP = 32 << 20;

  /** The part of a file that was only reserved is kept so long. */
  private static final int RESERVED_KEPT = 64 << 10;

  private static final ThreadMXBean ALLOCATION = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  @TempDir Path temporary;

  private final Random random = new Random(SEED);
  private final List<Trace> traces = new ArrayList<>();

  /**
   * A trace that is whole.
   *
   * @param folder where it is, and is damaged
   * @param files what it is made of
   * @param records hashes of its records
   * @param agrees whether a replay of it finds no difference
   */
  private record Trace(Path folder, Map<Path, byte[]> files, int[] records, boolean agrees) {
    static Trace of(final Path folder, final boolean agrees) throws IOException {
      final List<Integer> hashes = new ArrayList<>();
      final ExitEvent event = new ExitEvent();
      try (TraceReader reader = TraceReader.open(folder)) {
        while (reader.next(event)) {
          assertEquals(hashes.size(), event.sequence);
          hashes.add(TraceRecords.hash(event));
        }
        assertEquals(List.of(), reader.damages());
      }
      return new Trace(
          folder, contents(folder), hashes.stream().mapToInt(h -> h).toArray(), agrees);
    }

    private static byte[] withoutReserve(final byte[] bytes) {
      int end = bytes.length;
      while (end > 0 && bytes[end - 1] == 0) {
        end--;
      }
      return bytes.length - end > 1 << 20 ? Arrays.copyOf(bytes, end + RESERVED_KEPT) : bytes;
    }

    /** The files, in an order that is the same each time. */
    List<Path> names() {
      return files.keySet().stream().sorted().toList();
    }

    private static Map<Path, byte[]> contents(final Path folder) throws IOException {
      final Map<Path, byte[]> files = new HashMap<>();
      try (Stream<Path> all = Files.walk(folder)) {
        for (final Path file :
            (Iterable<Path>) all.filter(Files::isRegularFile).sorted()::iterator) {
          files.put(folder.relativize(file), withoutReserve(Files.readAllBytes(file)));
        }
      }
      return files;
    }

    /** Undoes one mutation, and what a recovery has done to the manifest. */
    void restore(final Path name) throws IOException {
      final Path file = folder.resolve(name);
      final Path manifest = folder.relativize(TraceFolder.manifest(folder));
      if (name.equals(manifest) || !Files.exists(file)) {
        Files.write(file, files.get(name));
      } else {
        change(file, Files.readAllBytes(file), files.get(name));
      }
      Files.write(folder.resolve(manifest), files.get(manifest));
    }

    /**
     * Writes what differs alone: to give back and take megabytes of a disk takes longest of all.
     */
    static void change(final Path file, final byte[] from, final byte[] to) throws IOException {
      final int both = Math.min(from.length, to.length);
      int start = Arrays.mismatch(from, 0, both, to, 0, both);
      int end = both;
      if (start < 0) {
        start = both;
      } else {
        while (from[end - 1] == to[end - 1]) {
          end--;
        }
      }
      end = to.length > both ? to.length : end;
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
        for (int at = start; at < end; ) {
          at += channel.write(ByteBuffer.wrap(to, at, end - at), at);
        }
        channel.truncate(to.length);
      }
    }
  }

  @BeforeEach
  void record() throws IOException {
    final Path first = temporary.resolve("first");
    final Path second = temporary.resolve("second");
    for (final Path folder : List.of(first, second)) {
      assertEquals(ExitStatus.OK, Tool.run("run", "--record", folder.toString()).status());
    }
    final Path killed = killed(first, temporary.resolve("killed"));
    final Map<Path, byte[]> unread = Trace.contents(killed);
    for (final Map.Entry<Path, byte[]> file : unread.entrySet()) {
      Files.write(killed.resolve(file.getKey()), file.getValue());
    }
    traces.add(Trace.of(first, true));
    traces.add(Trace.of(second, true));
    // Reading has completed the manifest of the killed one: it is tried both ways.
    final Trace recovered = Trace.of(killed, false);
    traces.add(recovered);
    final Path again = temporary.resolve("unread");
    for (final Map.Entry<Path, byte[]> file : unread.entrySet()) {
      Files.createDirectories(again.resolve(file.getKey()).getParent());
      Files.write(again.resolve(file.getKey()), file.getValue());
    }
    traces.add(new Trace(again, unread, recovered.records, false));
  }

  /** The same exits some times over, in a folder as it was while they were being recorded. */
  private static Path killed(final Path from, final Path to) throws IOException {
    final Path live = to.resolveSibling("live");
    final ExitEvent event = new ExitEvent();
    try (Recorder recorder =
        Recorder.start(
            live,
            TraceFolder.load(from),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY),
            () -> YieldingIdleStrategy.INSTANCE,
            reason -> {})) {
      for (int i = 0; i < 6; i++) {
        try (TraceReader reader = TraceReader.open(from)) {
          while (reader.next(event)) {
            recorder.sink(0).write(event);
          }
        }
      }
      Files.createDirectories(TraceFolder.queue(to));
      try (Stream<Path> files = Files.walk(live)) {
        // Backwards, the ring before the queue: what is moved meanwhile is then there twice.
        for (final Path file :
            (Iterable<Path>)
                files.filter(Files::isRegularFile).sorted(Comparator.reverseOrder())::iterator) {
          Files.copy(file, to.resolve(live.relativize(file)));
        }
      }
    }
    return to;
  }

  @Test
  void shouldSayWhatIsWrongAndNothingElse() throws IOException {
    int harmless = 0;
    int refused = 0;
    int skipped = 0;
    for (int i = 0; i < MUTATIONS; i++) {
      final Trace trace = traces.get(random.nextInt(traces.size()));
      final Path name = trace.names().get(random.nextInt(trace.names().size()));
      final String what = "mutation " + i + " of seed " + SEED + ": " + mutate(trace, name);
      final long before = ALLOCATION.getCurrentThreadAllocatedBytes();
      switch (read(trace, what)) {
        case HARMLESS -> harmless++;
        case REFUSED -> refused++;
        case SKIPPED -> skipped++;
      }
      final long heap = ALLOCATION.getCurrentThreadAllocatedBytes() - before;
      assertTrue(heap < MOST_HEAP, what + ": " + heap + " bytes of heap");
      if (i % BY_COMMAND == 0) {
        commands(trace, what);
      }
      trace.restore(name);
    }
    // All three happen, or the mutations are not worth much.
    final String counts = harmless + " harmless, " + refused + " refused, " + skipped + " skipped";
    assertTrue(harmless > MUTATIONS / 50, counts);
    assertTrue(refused > MUTATIONS / 50, counts);
    assertTrue(skipped > MUTATIONS / 5, counts);
  }

  private enum Reading {
    HARMLESS,
    REFUSED,
    SKIPPED
  }

  private static Reading read(final Trace trace, final String what) {
    final ExitEvent event = new ExitEvent();
    long next = 0;
    try (TraceReader reader = TraceReader.open(trace.folder)) {
      while (reader.next(event)) {
        assertEquals(next, event.sequence, what);
        if (event.kind == ExitKind.GAP) {
          assertTrue(event.value > 0 && event.sequence == event.address, what);
          next += event.value;
        } else {
          assertTrue(next < trace.records.length, what);
          assertEquals(trace.records[(int) next], TraceRecords.hash(event), what);
          next++;
        }
      }
      // Another trace's manifest says how many records that one had: they count as lost.
      final boolean swapped = what.contains("/manifest.properties of ");
      assertTrue(next <= (swapped ? reader.manifest().records() : trace.records.length), what);
      assertEquals(next, reader.records() + reader.gaps(), what);
      if (reader.records() < trace.records.length) {
        assertFalse(reader.damages().isEmpty(), what + ": nothing said, " + next + " read");
        return Reading.SKIPPED;
      }
      final String start = TraceCheck.start(trace.folder, reader.manifest());
      assertTrue(start == null || start.lines().count() == 1, start);
      return reader.damages().isEmpty() && start == null ? Reading.HARMLESS : Reading.SKIPPED;
    } catch (final TraceException e) {
      assertEquals(1, e.getMessage().lines().count(), what + ": " + e.getMessage());
      assertTrue(e.getMessage().contains(trace.folder.toString()), what + ": " + e.getMessage());
      return Reading.REFUSED;
    }
  }

  private static void commands(final Trace trace, final String what) {
    for (final String command : List.of("stat", "dump", "replay", "verify")) {
      final Tool.Outcome run = Tool.run(command, trace.folder.toString());
      final String said = what + ", " + command + ": " + run.status() + " " + run.err();
      // The same exits some times over are no run of a guest: only there a replay may disagree.
      assertTrue(
          run.status() == ExitStatus.OK
              || run.status() == ExitStatus.ERROR
              || (run.status() == ExitStatus.REPLAY_DIFFERENCE && !trace.agrees),
          said);
      assertFalse(said.contains("Exception") || said.contains("internal error"), said);
      assertTrue(run.status() != ExitStatus.ERROR || !(run.out() + run.err()).isEmpty(), said);
      assertTrue(run.err().lines().count() <= 3, said);
    }
  }

  // ---- mutations ----

  private String mutate(final Trace trace, final Path name) throws IOException {
    final Path file = trace.folder.resolve(name);
    final byte[] whole = trace.files.get(name);
    final byte[] bytes = whole.clone();
    final String where = trace.folder.getFileName() + "/" + name;
    switch (random.nextInt(10)) {
      case 0, 1, 2 -> {
        final int at = place(bytes);
        if (at < 0) {
          return where + " is empty";
        }
        bytes[at] ^= (byte) (1 << random.nextInt(8));
        Trace.change(file, whole, bytes);
        return where + " a bit at " + at;
      }
      case 3 -> {
        final int count = 2 + random.nextInt(30);
        for (int i = 0; i < count && bytes.length > 0; i++) {
          bytes[place(bytes)] ^= (byte) (1 << random.nextInt(8));
        }
        Trace.change(file, whole, bytes);
        return where + " " + count + " bits";
      }
      case 4 -> {
        final int length = bytes.length == 0 ? 0 : Math.max(0, place(bytes));
        Trace.change(file, whole, Arrays.copyOf(bytes, length));
        return where + " cut to " + length;
      }
      case 5 -> {
        final int from = Math.max(0, place(bytes));
        final int to = Math.min(bytes.length, from + 1 + random.nextInt(20_000));
        Arrays.fill(bytes, from, to, (byte) 0);
        Trace.change(file, whole, bytes);
        return where + " zeros from " + from + " to " + to;
      }
      case 6 -> {
        final int from = Math.max(0, place(bytes));
        final byte[] noise = new byte[Math.min(bytes.length - from, 1 + random.nextInt(2000))];
        random.nextBytes(noise);
        System.arraycopy(noise, 0, bytes, from, noise.length);
        Trace.change(file, whole, bytes);
        return where + " noise from " + from + ", " + noise.length + " bytes";
      }
      case 7 -> {
        // A part of the file once more, at another place.
        final int from = Math.max(0, place(bytes));
        final int to = Math.max(0, place(bytes)) & -4;
        final int length =
            Math.min(Math.min(bytes.length - from, bytes.length - to), random.nextInt(20_000));
        System.arraycopy(bytes.clone(), from & -4, bytes, to, length);
        Trace.change(file, whole, bytes);
        return where + " " + length + " bytes from " + (from & -4) + " to " + to;
      }
      case 8 -> {
        final Trace other = traces.get(random.nextInt(traces.size()));
        final byte[] swapped = other.files.get(name);
        if (swapped == null || other == trace) {
          Files.delete(file);
          return where + " removed";
        }
        Trace.change(file, whole, swapped);
        return where + " of " + other.folder.getFileName();
      }
      default -> {
        final byte[] noise = new byte[1 + random.nextInt(20_000)];
        random.nextBytes(noise);
        final byte[] longer = Arrays.copyOf(bytes, bytes.length + noise.length);
        System.arraycopy(noise, 0, longer, bytes.length, noise.length);
        Trace.change(file, whole, longer);
        return where + " and " + noise.length + " bytes of noise";
      }
    }
  }

  /** A random place; mostly one where something is, for most of a queue's file is empty. */
  private int place(final byte[] bytes) {
    int at = bytes.length == 0 ? -1 : random.nextInt(bytes.length);
    for (int i = 0; i < 200 && at >= 0 && bytes[at] == 0; i++) {
      at = random.nextInt(bytes.length);
    }
    return at;
  }
}

package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
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
  private static final long LIMIT_NANOS = 20_000_000_000L;

  @TempDir Path temporary;

  private final Random random = new Random(SEED);
  private final List<Trace> traces = new ArrayList<>();

  /** A trace that is whole: its files, and hashes of its records. */
  private record Trace(Path folder, Map<Path, byte[]> files, int[] records) {
    static Trace of(final Path folder) throws IOException {
      final List<Integer> hashes = new ArrayList<>();
      final ExitEvent event = new ExitEvent();
      try (TraceReader reader = TraceReader.open(folder)) {
        while (reader.next(event)) {
          assertEquals(hashes.size(), event.sequence);
          hashes.add(TraceRecords.hash(event));
        }
        assertEquals(List.of(), reader.damages());
      }
      return new Trace(folder, contents(folder), hashes.stream().mapToInt(h -> h).toArray());
    }

    private static Map<Path, byte[]> contents(final Path folder) throws IOException {
      final Map<Path, byte[]> files = new HashMap<>();
      try (Stream<Path> all = Files.walk(folder)) {
        for (final Path file :
            (Iterable<Path>) all.filter(Files::isRegularFile).sorted()::iterator) {
          files.put(folder.relativize(file), Files.readAllBytes(file));
        }
      }
      return files;
    }

    void restore() throws IOException {
      try (Stream<Path> all = Files.walk(folder)) {
        for (final Path file : (Iterable<Path>) all.filter(Files::isRegularFile)::iterator) {
          if (!files.containsKey(folder.relativize(file))) {
            Files.delete(file);
          }
        }
      }
      for (final Map.Entry<Path, byte[]> file : files.entrySet()) {
        final Path path = folder.resolve(file.getKey());
        if (!Files.exists(path) || Files.mismatch(path, whole(file.getKey())) >= 0) {
          Files.write(path, file.getValue());
        }
      }
    }

    /** A copy that nobody touches. */
    Path whole(final Path name) {
      return folder.resolveSibling(folder.getFileName() + ".whole").resolve(name);
    }

    void keep() throws IOException {
      for (final Map.Entry<Path, byte[]> file : files.entrySet()) {
        Files.createDirectories(whole(file.getKey()).getParent());
        Files.write(whole(file.getKey()), file.getValue());
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
    traces.add(Trace.of(first));
    traces.add(Trace.of(second));
    // Reading has completed the manifest of the killed one: it is tried both ways.
    final Trace recovered = Trace.of(killed);
    traces.add(recovered);
    final Path again = temporary.resolve("unread");
    for (final Map.Entry<Path, byte[]> file : unread.entrySet()) {
      Files.createDirectories(again.resolve(file.getKey()).getParent());
      Files.write(again.resolve(file.getKey()), file.getValue());
    }
    traces.add(new Trace(again, unread, recovered.records));
    for (final Trace trace : traces) {
      trace.keep();
    }
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
      try (Stream<Path> files = Files.walk(live)) {
        for (final Path file : (Iterable<Path>) files::iterator) {
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
      final String what = "mutation " + i + " of seed " + SEED + ": " + mutate(trace);
      final long start = System.nanoTime();
      switch (read(trace, what)) {
        case HARMLESS -> harmless++;
        case REFUSED -> refused++;
        case SKIPPED -> skipped++;
      }
      if (i % BY_COMMAND == 0) {
        commands(trace, what);
      }
      assertTrue(System.nanoTime() - start < LIMIT_NANOS, what);
      trace.restore();
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
        assertTrue(next <= trace.records.length, what);
      }
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
      assertTrue(run.status() == ExitStatus.OK || run.status() == ExitStatus.ERROR, said);
      assertFalse(said.contains("Exception") || said.contains("internal error"), said);
      assertTrue(run.status() != ExitStatus.ERROR || !(run.out() + run.err()).isEmpty(), said);
      assertTrue(run.err().lines().count() <= 3, said);
    }
  }

  // ---- mutations ----

  private String mutate(final Trace trace) throws IOException {
    final List<Path> names = new ArrayList<>(trace.files.keySet());
    names.sort(null);
    final Path name = names.get(random.nextInt(names.size()));
    final Path file = trace.folder.resolve(name);
    final byte[] bytes = trace.files.get(name).clone();
    final String where = trace.folder.getFileName() + "/" + name;
    switch (random.nextInt(10)) {
      case 0, 1, 2 -> {
        final int at = place(bytes);
        if (at < 0) {
          return where + " is empty";
        }
        bytes[at] ^= (byte) (1 << random.nextInt(8));
        Files.write(file, bytes);
        return where + " a bit at " + at;
      }
      case 3 -> {
        final int count = 2 + random.nextInt(30);
        for (int i = 0; i < count && bytes.length > 0; i++) {
          bytes[place(bytes)] ^= (byte) (1 << random.nextInt(8));
        }
        Files.write(file, bytes);
        return where + " " + count + " bits";
      }
      case 4 -> {
        final int length = bytes.length == 0 ? 0 : Math.max(0, place(bytes));
        Files.write(file, Arrays.copyOf(bytes, length));
        return where + " cut to " + length;
      }
      case 5 -> {
        final int from = Math.max(0, place(bytes));
        final int to = Math.min(bytes.length, from + 1 + random.nextInt(20_000));
        Arrays.fill(bytes, from, to, (byte) 0);
        Files.write(file, bytes);
        return where + " zeros from " + from + " to " + to;
      }
      case 6 -> {
        final int from = Math.max(0, place(bytes));
        final byte[] noise = new byte[Math.min(bytes.length - from, 1 + random.nextInt(2000))];
        random.nextBytes(noise);
        System.arraycopy(noise, 0, bytes, from, noise.length);
        Files.write(file, bytes);
        return where + " noise from " + from + ", " + noise.length + " bytes";
      }
      case 7 -> {
        // A part of the file once more, at another place.
        final int from = Math.max(0, place(bytes));
        final int to = Math.max(0, place(bytes)) & -4;
        final int length =
            Math.min(Math.min(bytes.length - from, bytes.length - to), random.nextInt(20_000));
        System.arraycopy(bytes.clone(), from & -4, bytes, to, length);
        Files.write(file, bytes);
        return where + " " + length + " bytes from " + (from & -4) + " to " + to;
      }
      case 8 -> {
        final Trace other = traces.get(random.nextInt(traces.size()));
        final byte[] swapped = other.files.get(name);
        if (swapped == null || other == trace) {
          Files.delete(file);
          return where + " removed";
        }
        Files.write(file, swapped);
        return where + " of " + other.folder.getFileName();
      }
      default -> {
        final byte[] noise = new byte[1 + random.nextInt(20_000)];
        random.nextBytes(noise);
        final byte[] longer = Arrays.copyOf(bytes, bytes.length + noise.length);
        System.arraycopy(noise, 0, longer, bytes.length, noise.length);
        Files.write(file, longer);
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

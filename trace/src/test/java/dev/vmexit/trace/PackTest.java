package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.EventAssert;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.RandomEvents;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class PackTest {
  private static final int RECORDS = 20_000;
  private static final int MUTATIONS = Integer.getInteger("vmexit.pack.mutations", 300);

  @TempDir Path temporary;

  private final Random random = new Random(5);
  private Path folder;
  private Path packed;

  @BeforeEach
  void names() {
    folder = temporary.resolve("trace");
    packed = temporary.resolve("trace.vmtrace");
  }

  private Recorder start() {
    return TestTraces.start(folder);
  }

  private static void write(final Recorder recorder, final int records) {
    final RandomEvents events = new RandomEvents(5);
    final ExitEvent event = new ExitEvent();
    long now = 0;
    for (int i = 0; i < records; i++) {
      events.next(event);
      now += i % 3 * 100;
      event.hostTime = now;
      recorder.sink(0).write(event);
    }
  }

  private void record() throws IOException {
    try (Recorder recorder = start()) {
      Files.write(TraceFolder.state(folder, 0), new byte[] {1, 2, 3});
      write(recorder, RECORDS);
      recorder.endReason("power off");
    }
  }

  private static void assertSameRecords(final Path expected, final Path actual, final long from) {
    final ExitEvent left = new ExitEvent();
    final ExitEvent right = new ExitEvent();
    try (TraceReader a = TraceReader.open(expected);
        TraceReader b = TraceReader.open(actual)) {
      a.seek(new TracePoint(TracePoint.Unit.TIME, from));
      b.seek(new TracePoint(TracePoint.Unit.TIME, from));
      while (a.next(left)) {
        assertTrue(b.next(right));
        EventAssert.assertSame(left, right);
      }
      assertFalse(b.next(right));
      assertEquals(List.of(), b.damages());
      assertEquals(a.manifest(), b.manifest());
    }
  }

  @Test
  void shouldReadAsTheFolderDoes() throws IOException {
    record();
    final TracePacker.Result result = TracePacker.pack(folder, packed);
    assertEquals(RECORDS, result.records());
    assertEquals(Files.size(packed), result.bytes());
    assertTrue(Files.size(packed) < Files.size(TraceFolder.queueFiles(folder).getFirst()));
    assertSameRecords(folder, packed, 0);
    for (int i = 0; i < 50; i++) {
      assertSameRecords(folder, packed, RECORDS * 100L - random.nextInt(RECORDS * 10));
    }
    try (InputStream state = TraceFiles.open(TraceFolder.state(packed, 0))) {
      assertArrayEquals(new byte[] {1, 2, 3}, state.readAllBytes());
    }
    assertFalse(TraceFiles.exists(TraceFolder.memory(packed)));
    // Nothing half-made is left beside it.
    try (Stream<Path> all = Files.list(temporary)) {
      assertEquals(List.of(folder, packed), all.sorted().toList());
    }
  }

  @Test
  void shouldPackWhatAKilledProcessLeftInItsRing() throws IOException {
    final Path killed = Files.createDirectory(temporary.resolve("killed"));
    final Recorder recorder = start();
    write(recorder, 50);
    try (Stream<Path> files = Files.walk(folder)) {
      for (final Path file : (Iterable<Path>) files::iterator) {
        if (!file.equals(folder)) {
          Files.copy(file, killed.resolve(folder.relativize(file)));
        }
      }
    }
    recorder.close();
    assertEquals(50, TracePacker.pack(killed, packed).records());
    assertSameRecords(killed, packed, 0);
    assertNotEquals("", TraceFolder.load(packed).recovered());
  }

  @Test
  void shouldKeepAGapWhereTheTraceIsDamaged() throws IOException {
    record();
    final Path queue = TraceFolder.queueFiles(folder).getFirst();
    final byte[] bytes = Files.readAllBytes(queue);
    bytes[bytes.length / 2] ^= 1;
    Files.write(queue, bytes);
    final TracePacker.Result result = TracePacker.pack(folder, packed);
    assertEquals(1, result.damages().size());
    assertTrue(result.gaps() > 0);
    assertEquals(RECORDS, result.records() + result.gaps());
    assertSameRecords(folder, packed, 0);
  }

  @Test
  void shouldRefuseWhatCannotBePacked() throws IOException {
    final Recorder recorder = start();
    assertSays("is being recorded", () -> TracePacker.pack(folder, packed));
    recorder.close();
    TracePacker.pack(folder, packed);
    assertSays("exists: choose another", () -> TracePacker.pack(folder, packed));
    assertSays("is packed already", () -> TracePacker.pack(packed, temporary.resolve("b")));
    final Path nowhere = temporary.resolve("none").resolve("x");
    assertSays("cannot be written", () -> TracePacker.pack(folder, nowhere));
  }

  private static void assertSays(
      final String words, final org.junit.jupiter.api.function.Executable what) {
    final String message = assertThrows(TraceException.class, what).getMessage();
    assertTrue(message.contains(words), message);
    assertEquals(1, message.lines().count());
  }

  @Test
  void shouldSayThatItIsTruncatedWhereverItIsCut() throws IOException {
    record();
    TracePacker.pack(folder, packed);
    final byte[] whole = Files.readAllBytes(packed);
    for (int i = 0; i < 200; i++) {
      final int length = i < 40 ? whole.length - 1 - i : 8 + random.nextInt(whole.length - 8);
      Files.write(packed, Arrays.copyOf(whole, length));
      assertSays("truncated", () -> TraceReader.open(packed));
    }
    Files.write(packed, Arrays.copyOf(whole, 7));
    assertSays("not a trace", () -> TraceReader.open(packed));
  }

  /** Whatever bit is wrong: it is refused, or named, and no record is other than it was. */
  @Test
  void shouldNameOrRefuseWhatIsDamaged() throws IOException {
    record();
    TracePacker.pack(folder, packed);
    final byte[] whole = Files.readAllBytes(packed);
    int named = 0;
    for (int i = 0; i < MUTATIONS; i++) {
      final byte[] bytes = whole.clone();
      final int at =
          i % 4 == 0 ? bytes.length - 1 - random.nextInt(300) : random.nextInt(bytes.length);
      bytes[at] ^= (byte) (1 << random.nextInt(8));
      Files.write(packed, bytes);
      try {
        named += readsOnlyWhatWas() ? 1 : 0;
        try (InputStream state = TraceFiles.open(TraceFolder.state(packed, 0))) {
          assertArrayEquals(new byte[] {1, 2, 3}, state.readAllBytes());
        }
      } catch (final TraceException e) {
        assertTrue(
            e.getMessage().contains("damaged")
                || e.getMessage().contains("truncated")
                || e.getMessage().contains("not a trace"),
            e.getMessage());
        named++;
      }
    }
    assertEquals(MUTATIONS, named);
  }

  /** Whether anything was said to be wrong. */
  private boolean readsOnlyWhatWas() {
    final RandomEvents events = new RandomEvents(5);
    final ExitEvent expected = new ExitEvent();
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(packed)) {
      long next = 0;
      while (reader.next(event)) {
        assertEquals(next, event.sequence);
        next += event.kind == ExitKind.GAP ? event.value : 1;
        if (event.kind == ExitKind.GAP) {
          for (long skipped = event.value; skipped > 0; skipped--) {
            events.next(expected);
          }
        } else {
          events.next(expected);
          assertEquals(expected.rip, event.rip);
          assertEquals(expected.registers[3], event.registers[3]);
        }
      }
      assertEquals(RECORDS, next);
      return !reader.damages().isEmpty();
    }
  }
}

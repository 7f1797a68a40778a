package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertLinesMatch;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.EventAssert;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.exit.OnFull;
import dev.vmexit.exit.RandomEvents;
import dev.vmexit.exit.VectorState;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

final class RecorderTest {
  private static final int FULL = ExitRingWriter.FULL_INTERVAL;

  @TempDir Path temporary;

  private final ExitEvent event = new ExitEvent();
  private final ExitEvent expected = new ExitEvent();

  private static TraceManifest manifest() {
    return TraceManifest.starting(
        "1.0",
        "guest name with = and \\ and\nnewline",
        " run --append \"a b\"",
        List.of(
            new TraceManifest.MemorySlot(0, 0xA0000, false),
            new TraceManifest.MemorySlot(0xF_FFFF_0000L, 0x1_0000, true)),
        1,
        "soft",
        "shadow",
        "model",
        "virtual",
        "retired instructions",
        Instant.parse("2026-11-22T23:59:59.999Z"),
        EnumSet.allOf(ExitKind.class));
  }

  private static Recorder start(final Path folder) {
    return Recorder.start(
        folder,
        manifest(),
        RecorderOptions.blocking(ExitRing.MIN_CAPACITY),
        () -> YieldingIdleStrategy.INSTANCE,
        reason -> {});
  }

  private static void write(final Recorder recorder, final long seed, final int count) {
    final RandomEvents events = new RandomEvents(seed);
    final ExitEvent event = new ExitEvent();
    final ExitRingWriter sink = recorder.sink(0);
    for (int i = 0; i < count; i++) {
      events.next(event);
      sink.write(event);
    }
  }

  private void assertReads(final Path folder, final long seed, final int count) {
    final RandomEvents events = new RandomEvents(seed);
    try (TraceReader reader = TraceReader.open(folder)) {
      for (int i = 0; i < count; i++) {
        events.next(expected);
        expected.sequence = i;
        assertTrue(reader.next(event), "ends before record " + i);
        EventAssert.assertSame(expected, event);
      }
      assertFalse(reader.next(event));
      assertEquals(count, reader.records());
      assertEquals(0, reader.gaps());
    }
  }

  private static void copyFolder(final Path from, final Path to) throws IOException {
    try (Stream<Path> files = Files.walk(from)) {
      for (final Path file : (Iterable<Path>) files::iterator) {
        Files.copy(file, to.resolve(from.relativize(file)), StandardCopyOption.REPLACE_EXISTING);
      }
    }
  }

  private static Path queueFile(final Path folder) throws IOException {
    try (Stream<Path> files = Files.list(TraceFolder.queue(folder))) {
      return files.filter(f -> f.toString().endsWith(".cq4")).findFirst().orElseThrow();
    }
  }

  @Test
  void shouldReadBackEveryRecordWhenClosedInOrder() throws IOException {
    final Path folder = temporary.resolve("trace");
    final int count = 30_000;
    try (Recorder recorder = start(folder)) {
      write(recorder, 1, count);
      recorder.endReason("power off");
    }
    assertReads(folder, 1, count);
    final TraceManifest read = TraceFolder.load(folder);
    assertTrue(read.complete());
    assertEquals("power off", read.endReason());
    assertEquals(
        manifest()
            .identified(read.trace())
            .ended(true, "power off", count, 0, read.startChecksum()),
        read);
    assertNotEquals(0, read.trace());
    assertFalse(Files.exists(TraceFolder.ring(folder, 0)));
    assertTrue(Files.size(queueFile(folder)) < 4 << 20, "size=" + Files.size(queueFile(folder)));
  }

  @Test
  void shouldReadEmptyTraceWhenNothingWasWritten() {
    final Path folder = temporary.resolve("trace");
    start(folder).close();
    assertReads(folder, 1, 0);
  }

  /** A process that is killed: records and says how far it is. */
  static final class Victim {
    private Victim() {}

    /** Records until killed. */
    public static void main(final String[] args) {
      final Recorder recorder = start(Path.of(args[0]));
      final RandomEvents events = new RandomEvents(2);
      final ExitEvent event = new ExitEvent();
      final ExitRingWriter sink = recorder.sink(0);
      while (true) {
        events.next(event);
        sink.write(event);
        System.out.println(event.sequence);
      }
    }
  }

  @Test
  void shouldReadToTheLastExitWhenTheProcessWasKilled() throws Exception {
    final Path folder = temporary.resolve("trace");
    final Process victim = ForkedJvm.start(ForkedJvm.command(Victim.class, folder.toString()));
    long last = -1;
    try (BufferedReader out = victim.inputReader(StandardCharsets.UTF_8)) {
      for (String line = out.readLine(); line != null; line = out.readLine()) {
        last = Long.parseLong(line);
        if (last == 5000) {
          victim.destroyForcibly();
          break;
        }
      }
    }
    victim.waitFor();
    assertEquals(5000, last);
    assertTrue(Files.exists(TraceFolder.ring(folder, 0)));
    assertFalse(TraceFolder.load(folder).complete());
    final RandomEvents events = new RandomEvents(2);
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        events.next(expected);
        expected.sequence = reader.records() - 1;
        EventAssert.assertSame(expected, event);
      }
      assertTrue(reader.records() > last, "records=" + reader.records());
    }
  }

  @Test
  void shouldNotRepeatRecordsWhenKilledBetweenAppendAndCommit() throws IOException {
    final Path folder = temporary.resolve("trace");
    final Path early = Files.createDirectory(temporary.resolve("early"));
    final Path killed = Files.createDirectory(temporary.resolve("killed"));
    try (Recorder recorder = start(folder)) {
      write(recorder, 3, 10);
      copyFolder(folder, early);
      // The manifest is still the one without an end; the queue gets the records, its ring keeps
      // them: as if the head of the ring had not been moved any more.
    }
    copyFolder(folder, killed);
    Files.copy(TraceFolder.ring(early, 0), TraceFolder.ring(killed, 0));
    Files.copy(
        TraceFolder.manifest(early),
        TraceFolder.manifest(killed),
        StandardCopyOption.REPLACE_EXISTING);
    assertReads(killed, 3, 10);
  }

  @Test
  void shouldSayWhichWhenTheFolderIsUnusable() throws IOException {
    final Path used = Files.createDirectory(temporary.resolve("used"));
    Files.writeString(used.resolve("x"), "x");
    assertMessage("exists and is not empty", () -> start(used));
    final Path file = Files.writeString(temporary.resolve("file"), "x");
    assertMessage("cannot be created", () -> start(file.resolve("below")));
    assertMessage("no such trace", () -> TraceReader.open(temporary.resolve("none")));
    assertMessage("not a trace", () -> TraceReader.open(file));
    assertMessage("not a trace (no manifest.properties)", () -> TraceReader.open(used));
  }

  @Test
  void shouldSayWhichWhenTheTraceIsDamaged() throws IOException {
    final Path folder = temporary.resolve("trace");
    try (Recorder recorder = start(folder)) {
      write(recorder, 4, 5000);
    }
    final Path manifest = TraceFolder.manifest(folder);
    final String text = Files.readString(manifest, StandardCharsets.UTF_8);

    Files.writeString(manifest, text.replace("schema.version=1", "schema.version=999"));
    assertMessage("trace of schema version 999", () -> TraceReader.open(folder));
    Files.writeString(manifest, text.substring(0, text.indexOf("clock.source")));
    assertMessage("truncated, no memory.slots", () -> TraceReader.open(folder));
    Files.writeString(manifest, text.replace("records=5000", "records=many"));
    assertMessage("records=many is not valid", () -> TraceReader.open(folder));
    Files.writeString(manifest, text.replace("records=5000", "records=5001"));
    assertMessage("damaged, its checksum is wrong", () -> TraceReader.open(folder));
    Files.writeString(manifest, text);
  }

  /** What reading to the end finds; each record that is there must be what was written. */
  private String readings(final Path folder, final long seed, final int count) {
    final StringBuilder text = new StringBuilder();
    final RandomEvents events = new RandomEvents(seed);
    try (TraceReader reader = TraceReader.open(folder)) {
      long next = 0;
      while (reader.next(event)) {
        assertEquals(next, event.sequence);
        if (event.kind == ExitKind.GAP) {
          text.append("gap ").append(event.value).append(", ");
          next += event.value;
          for (int i = 0; i < event.value; i++) {
            events.next(expected);
          }
        } else {
          events.next(expected);
          expected.sequence = next++;
          EventAssert.assertSame(expected, event);
        }
      }
      assertEquals(count, next);
      assertEquals(count, reader.records() + reader.gaps());
      reader.damages().forEach(damage -> text.append(damage.what()).append("; "));
    }
    return text.toString();
  }

  @Test
  void shouldLeaveGapsExactlyWhereRecordsWereDropped() {
    final Path folder = temporary.resolve("trace");
    final int count = 200_000;
    try (Recorder recorder =
        Recorder.start(
            folder,
            manifest(),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY).with(OnFull.DROP),
            () -> YieldingIdleStrategy.INSTANCE,
            reason -> {})) {
      write(recorder, 8, count);
      assertEquals(0, recorder.sink(0).waits());
    }
    final TraceManifest manifest = TraceFolder.load(folder);
    assertTrue(manifest.complete());
    assertEquals(count, manifest.records());
    assertTrue(manifest.dropped() > 0);
    final String said = readings(folder, 8, count);
    final long missing =
        Arrays.stream(said.split(", ", -1))
            .filter(part -> part.startsWith("gap "))
            .mapToLong(part -> Long.parseLong(part.substring(4)))
            .sum();
    assertEquals(manifest.dropped(), missing);
    assertFalse(said.contains(";"), "damages: " + said);
  }

  private static Recorder begin(final Path folder, final RecorderListener listener) {
    return Recorder.begin(
        folder,
        manifest(),
        RecorderOptions.blocking(1 << 20),
        () -> YieldingIdleStrategy.INSTANCE,
        listener);
  }

  private static boolean hasQueueFile(final Path folder) throws IOException {
    try (Stream<Path> files = Files.list(TraceFolder.queue(folder))) {
      return files.anyMatch(file -> file.toString().endsWith(".cq4"));
    }
  }

  @Test
  void shouldLoseNothingWhenKilledBeforeTheQueueIsOpened() throws IOException {
    final Path folder = temporary.resolve("trace");
    final Path killed = temporary.resolve("killed");
    final Recorder recorder = begin(folder, reason -> {});
    recorder.awaitReady();
    write(recorder, 11, 500);
    try (TraceReader reader = TraceReader.open(folder)) {
      assertTrue(reader.recording());
      for (int i = 0; i < 500; i++) {
        assertTrue(reader.next(event));
      }
      assertFalse(reader.next(event));
    }
    copyFolder(folder, killed);
    assertFalse(hasQueueFile(killed));
    recorder.close();
    assertReads(killed, 11, 500);
    assertEquals(
        "0 records from the queue, 500 from the rings", TraceFolder.load(killed).recovered());
    assertTrue(hasQueueFile(folder));
    assertReads(folder, 11, 500);
  }

  @Test
  void shouldOpenTheQueueWhenARingBeginsToFill() throws Exception {
    final Path folder = temporary.resolve("trace");
    final Recorder recorder = begin(folder, reason -> {});
    final RandomEvents events = new RandomEvents(12);
    int written = 0;
    while (!hasQueueFile(folder)) {
      // It waits for the recorder when the ring is full, and for nothing else.
      events.next(event);
      recorder.sink(0).write(event);
      written++;
    }
    recorder.close();
    assertReads(folder, 12, written);
  }

  @Test
  void shouldKeepWhatTheRingHasWhenTheQueueCannotBeOpened() throws Exception {
    final Path folder = temporary.resolve("trace");
    final CompletableFuture<String> stopped = new CompletableFuture<>();
    final Recorder recorder = begin(folder, stopped::complete);
    // A folder where the queue has a file of its own.
    Files.createDirectories(TraceFolder.queue(folder).resolve("metadata.cq4t").resolve("x"));
    write(recorder, 13, 500);
    assertMessage("recording ended early: ", recorder::close);
    assertFalse(stopped.get().isEmpty());
    final TraceManifest manifest = TraceFolder.load(folder);
    assertTrue(manifest.endReason().startsWith("recording failed: "), manifest.endReason());
    assertReads(folder, 13, 500);
  }

  @Test
  void shouldLeaveNothingOfARunThatDidNotBegin() {
    final Path folder = temporary.resolve("trace");
    final Recorder recorder = begin(folder, reason -> {});
    write(recorder, 14, 10);
    recorder.abandon();
    assertFalse(Files.exists(folder));
  }

  @Test
  void shouldStopTheGuestInOrderWhenTheRecordersThreadDies() throws Exception {
    final Path folder = temporary.resolve("trace");
    final CompletableFuture<String> stopped = new CompletableFuture<>();
    final Recorder recorder =
        Recorder.start(
            folder,
            manifest(),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY),
            () -> YieldingIdleStrategy.INSTANCE,
            stopped::complete);
    // Behind so many comes a full record, with which a batch begins.
    final int good = 16 * ExitRingWriter.FULL_INTERVAL;
    write(recorder, 9, good);
    // What no vCPU writes: a gap that is longer than it says, after which the numbers are wrong.
    event.kind = ExitKind.GAP;
    event.value = 5;
    recorder.sink(0).write(event);
    write(recorder, 9, 10);
    assertTrue(stopped.get().contains("record is not number " + (good + 5)), stopped.get());
    // The vCPU is not kept waiting for a recorder that is gone, and not in silence.
    write(recorder, 9, 20_000);
    assertTrue(recorder.sink(0).dropped() > 0);
    assertMessage("recording ended early: ring 0: record is not", recorder::close);
    final TraceManifest manifest = TraceFolder.load(folder);
    assertFalse(manifest.complete());
    assertTrue(manifest.endReason().startsWith("recording failed: "), manifest.endReason());
    final RandomEvents events = new RandomEvents(9);
    try (TraceReader reader = TraceReader.open(folder)) {
      for (int i = 0; i < good; i++) {
        assertTrue(reader.next(event));
        events.next(expected);
        expected.sequence = i;
        EventAssert.assertSame(expected, event);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Durability.class)
  void shouldReadBackWhateverTheDurability(final Durability durability) {
    final Path folder = temporary.resolve("trace");
    final long[] now = new long[1];
    try (Recorder recorder =
        Recorder.start(
            folder,
            manifest(),
            RecorderOptions.blocking(ExitRing.MIN_CAPACITY)
                .with(durability, () -> now[0] += 400_000_000),
            () -> YieldingIdleStrategy.INSTANCE,
            reason -> {})) {
      write(recorder, 10, 2000);
    }
    assertReads(folder, 10, 2000);
  }

  @Test
  void shouldSkipWhatIsDamagedAndSayWhich() throws IOException {
    final Path folder = temporary.resolve("trace");
    try (Recorder recorder = start(folder)) {
      write(recorder, 4, 5000);
    }
    final Path queue = queueFile(folder);
    final byte[] good = Files.readAllBytes(queue);
    final byte[] bad = good.clone();
    bad[good.length - 20_000] ^= 1;
    Files.write(queue, bad);
    assertLinesMatch(
        List.of("gap \\d+, has a batch whose checksum is wrong; "),
        List.of(readings(folder, 4, 5000)));
    try (FileChannel channel = FileChannel.open(queue, StandardOpenOption.WRITE)) {
      channel.truncate(16 << 10); // in the queue's first index page
    }
    assertLinesMatch(
        List.of("gap 5000, is not as vmexit has written it; "), List.of(readings(folder, 4, 5000)));
    Files.write(queue, Arrays.copyOf(good, good.length - 100_000));
    assertLinesMatch(List.of("gap \\d+, is cut short; "), List.of(readings(folder, 4, 5000)));
    Files.write(queue, new byte[100]);
    assertEquals("gap 5000, is truncated; ", readings(folder, 4, 5000));
    Files.delete(queue);
    assertEquals("gap 5000, is truncated; ", readings(folder, 4, 5000));
  }

  @Test
  void shouldSayWhichWhenTheRingOfAKilledProcessIsMissing() throws IOException {
    final Path folder = temporary.resolve("trace");
    final Path killed = Files.createDirectory(temporary.resolve("killed"));
    final Recorder recorder = start(folder);
    write(recorder, 5, 10);
    copyFolder(folder, killed);
    recorder.close();
    Files.delete(TraceFolder.ring(killed, 0));
    assertEquals("is missing; ", readings(killed, 5, 0));
  }

  @Test
  void shouldShowAGapWhenABatchIsMissing() throws IOException {
    final Path folder = temporary.resolve("trace");
    final Path early = Files.createDirectory(temporary.resolve("early"));
    final Recorder recorder = start(folder);
    copyFolder(folder, early);
    final RandomEvents events = new RandomEvents(6);
    final ExitRingWriter sink = recorder.sink(0);
    final int all = 2 * FULL + 2;
    for (int i = 0; i < all; i++) {
      events.next(event);
      sink.write(event);
    }
    Files.copy(
        TraceFolder.ring(folder, 0),
        TraceFolder.ring(early, 0),
        StandardCopyOption.REPLACE_EXISTING);
    recorder.close();
    // The queue as it was before the first batch, the ring as if some records had been moved.
    final long head = headBehindFirst(TraceFolder.ring(early, 0));
    assertTrue(head > 0);
    try (TraceReader reader = TraceReader.open(early)) {
      assertTrue(reader.next(event));
      assertEquals(ExitKind.GAP, event.kind);
      assertEquals(0, event.address);
      assertEquals(FULL, event.value);
      for (int i = FULL; i < all; i++) {
        assertTrue(reader.next(event));
        assertEquals(i, event.sequence);
      }
      assertFalse(reader.next(event));
      assertEquals(FULL, reader.gaps());
      assertEquals(all - FULL, reader.records());
    }
  }

  /** Moves the head of a ring's file to its second full record. */
  private static long headBehindFirst(final Path ring) throws IOException {
    try (FileChannel channel =
        FileChannel.open(ring, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
      final ByteBuffer all = ByteBuffer.allocate((int) channel.size());
      channel.read(all, 0);
      all.order(java.nio.ByteOrder.LITTLE_ENDIAN);
      int position = 0;
      for (int i = 0; i < FULL; i++) {
        position += all.getInt(4096 + position) + 7 & -8;
      }
      final int head =
          4096
              + ExitRing.MIN_CAPACITY
              + org.agrona.concurrent.ringbuffer.RingBufferDescriptor.HEAD_POSITION_OFFSET;
      final ByteBuffer value = ByteBuffer.allocate(8).order(java.nio.ByteOrder.LITTLE_ENDIAN);
      value.putLong(0, position);
      channel.write(value, head);
      return position;
    }
  }

  @Test
  void shouldNotFailWhenNothingIsWrong() {
    final Path folder = temporary.resolve("trace");
    try (Recorder recorder = start(folder)) {
      write(recorder, 7, 100);
      assertNull(recorder.failure());
    }
  }

  private static void assertMessage(
      final String part, final org.junit.jupiter.api.function.Executable action) {
    final TraceException e = assertThrows(TraceException.class, action);
    assertTrue(e.getMessage().contains(part), e.getMessage());
    assertFalse(e.getMessage().contains("\n"), e.getMessage());
  }

  /** A checkpoint of a guest with PAE has the entries that CR3 was loaded with, and data. */
  @Test
  void shouldKeepWhatACheckpointSays() {
    final Path folder = temporary.resolve("trace");
    new RandomEvents(9).next(expected);
    expected.clearPayload();
    expected.kind = ExitKind.KICK;
    expected.detail = ExitEvent.KICK_CHECKPOINT;
    expected.walkCount = 4;
    for (int i = 0; i < 4; i++) {
      expected.walkAddress[i] = 0x1000 + i * 8;
      expected.walkValue[i] = -1L >>> i;
    }
    expected.dataLength = VectorState.LENGTH;
    VectorState.add(expected.data, 0xEC);
    try (Recorder recorder = start(folder)) {
      for (int i = 0; i < 3; i++) {
        recorder.sink(0).write(expected);
      }
      expected.dataLength++;
      assertThrows(
          IllegalArgumentException.class, () -> recorder.sink(0).write(expected), "too long");
      expected.dataLength--;
    }
    try (TraceReader reader = TraceReader.open(folder)) {
      for (int i = 0; i < 3; i++) {
        assertTrue(reader.next(event));
        expected.sequence = i;
        EventAssert.assertSame(expected, event);
      }
      assertFalse(reader.next(event));
    }
  }
}

package dev.vmexit.exit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Random;
import java.util.Set;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.YieldingIdleStrategy;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ExitRingTest {
  private static final Set<ExitKind> ALL = EnumSet.allOf(ExitKind.class);

  @TempDir Path folder;

  private final ExitDecoder decoder = new ExitDecoder();
  private final ExitEvent written = new ExitEvent();
  private final ExitEvent read = new ExitEvent();

  private boolean decode(final UnsafeBuffer buffer, final int offset, final int length) {
    decoder.decode(buffer.addressOffset() + offset, length, read);
    return true;
  }

  @Test
  void shouldGiveBackEveryEventWhenTheRingWrapsManyTimes() throws IOException {
    final RandomEvents events = new RandomEvents(1);
    try (ExitRingWriter writer = writer(ExitRing.MIN_CAPACITY, ALL)) {
      final ExitRingReader reader = ExitRingReader.live(writer.file());
      for (int i = 0; i < 20_000; i++) {
        events.next(written);
        writer.write(written);
        assertEquals(i, written.sequence);
        while (reader.drain(this::decode, 1) == 0) {
          Thread.onSpinWait();
        }
        EventAssert.assertSame(written, read);
        reader.commit();
      }
      assertEquals(0, writer.waits());
      writer.file().close();
    }
  }

  @Test
  void shouldKeepSequenceWhenItPasses32Bits() {
    final ExitEncoder encoder = new ExitEncoder(64);
    final RandomEvents events = new RandomEvents(2);
    for (long sequence = 0xFFFF_FFF0L; sequence < 0x1_0000_0010L; sequence++) {
      events.next(written);
      written.sequence = sequence;
      final int length = encoder.encode(written);
      decoder.decode(encoder.address(), length, read);
      EventAssert.assertSame(written, read);
    }
  }

  @Test
  void shouldStartDecodingAtAnyFullRecord() {
    final ExitEncoder encoder = new ExitEncoder(64);
    final RandomEvents events = new RandomEvents(3);
    for (int i = 0; i < 64; i++) {
      events.next(written);
      encoder.encode(written);
    }
    events.next(written);
    final int length = encoder.encode(written);
    decoder.decode(encoder.address(), length, read);
    EventAssert.assertSame(written, read);
    events.next(written);
    final int next = encoder.encode(written);
    decoder.reset();
    assertThrows(IllegalStateException.class, () -> decoder.decode(encoder.address(), next, read));
  }

  @Test
  void shouldBeSmallWhenLittleChanges() {
    final ExitEncoder encoder = new ExitEncoder(64);
    written.kind = ExitKind.PIO;
    written.rip = 0xFFFF_FFFF_8123_4567L;
    written.instructionLength = 1;
    written.size = 1;
    written.address = 0x3F8;
    encoder.encode(written);
    written.rip += 0x345;
    written.retired += 1000;
    written.hostTime += 100_000;
    written.guestTime = 3000;
    written.handlerTime = 200;
    written.registers[0] = 0x41;
    written.value = 0x41;
    assertTrue(encoder.encode(written) <= 40);
  }

  @Test
  void shouldWaitForTheReaderWhenFull() throws Exception {
    final ExitRingWriter writer = writer(ExitRing.MIN_CAPACITY, ALL);
    final int count = 50_000;
    final Thread producer =
        new Thread(
            () -> {
              final RandomEvents events = new RandomEvents(4);
              final ExitEvent event = new ExitEvent();
              for (int i = 0; i < count; i++) {
                events.next(event);
                writer.write(event);
              }
            });
    producer.start();
    while (writer.waits() == 0) {
      Thread.onSpinWait();
    }
    final ExitRingReader reader = ExitRingReader.live(writer.file());
    final RandomEvents events = new RandomEvents(4);
    for (int i = 0; i < count; ) {
      if (reader.drain(this::decode, 1) == 0) {
        Thread.yield();
        continue;
      }
      events.next(written);
      written.sequence = i++;
      EventAssert.assertSame(written, read);
      reader.commit();
    }
    producer.join();
    assertEquals(0, writer.dropped());
    writer.close();
    writer.file().close();
  }

  @Test
  void shouldDropWhatComesAfterTheClose() throws IOException {
    final ExitRingWriter writer = writer(ExitRing.MIN_CAPACITY, ALL);
    writer.close();
    writer.file().close();
    written.kind = ExitKind.HLT;
    writer.write(written);
    assertEquals(1, writer.dropped());
  }

  @Test
  void shouldCountDropsWhenTheReaderFailed() throws IOException {
    final ExitRingWriter writer = writer(ExitRing.MIN_CAPACITY, ALL);
    writer.readerFailed();
    final RandomEvents events = new RandomEvents(5);
    while (writer.dropped() == 0) {
      events.next(written);
      writer.write(written);
    }
    final long kept = writer.sequence();
    writer.write(written);
    assertEquals(2, writer.dropped());
    assertEquals(kept, writer.sequence());
    writer.close();
    writer.file().close();
  }

  @Test
  void shouldSpendNoSequenceWhenAKindIsNotWanted() throws IOException {
    final ExitRingWriter writer = writer(ExitRing.MIN_CAPACITY, EnumSet.of(ExitKind.HLT));
    assertTrue(writer.wants(ExitKind.HLT));
    assertFalse(writer.wants(ExitKind.PIO));
    written.kind = ExitKind.PIO;
    writer.write(written);
    written.kind = ExitKind.HLT;
    writer.write(written);
    assertEquals(0, written.sequence);
    assertEquals(1, writer.sequence());
    writer.close();
    writer.file().close();
  }

  @Test
  void shouldReadFromTheLastCommitWhenLeftBehind() throws IOException {
    final ExitRingWriter writer = writer(ExitRing.MIN_CAPACITY, ALL);
    final RandomEvents events = new RandomEvents(6);
    for (int i = 0; i < 100; i++) {
      events.next(written);
      writer.write(written);
    }
    final ExitRingReader live = ExitRingReader.live(writer.file());
    assertEquals(64, live.drain(this::decode, 64));
    live.commit();
    live.release();
    assertEquals(36, live.drain(this::decode, 1000));
    // No commit, no close: the process is gone, the file stays.
    try (ExitRing ring = ExitRing.openReadOnly(folder.resolve("ring"))) {
      final ExitRingRemains remains = new ExitRingRemains(ring, 64);
      decoder.reset();
      for (int i = 64; i < 100; i++) {
        assertTrue(remains.next());
        decoder.decode(remains.address(), remains.length(), read);
        assertEquals(i, read.sequence);
      }
      EventAssert.assertSame(written, read);
      assertFalse(remains.next());
      assertNull(remains.damage());
    }
    writer.close();
    writer.file().close();
  }

  @Test
  void shouldHoldBackRoomForTheLastRecordsUntilReleased() throws IOException {
    for (final boolean anyCommit : new boolean[] {false, true}) {
      final Path file = folder.resolve("ring" + anyCommit);
      final ExitRingWriter writer =
          new ExitRingWriter(
              ExitRing.create(file, ExitRing.MIN_CAPACITY, 0, 0),
              ALL,
              OnFull.DROP,
              YieldingIdleStrategy.INSTANCE);
      final ExitRingReader live = ExitRingReader.live(writer.file());
      final RandomEvents events = new RandomEvents(9);
      if (anyCommit) {
        for (int i = 0; i < 300; i++) {
          events.next(written);
          writer.write(written);
        }
        live.drain((buffer, offset, length) -> true, 1000);
        live.commit();
      }
      while (writer.dropped() == 0) {
        events.next(written);
        writer.write(written);
      }
      final long full = live.backlog();
      live.release();
      final long free = full - live.backlog();
      // Room for eight of the longest, and not much more: the ring is not to be smaller for it.
      assertTrue(free >= ExitRing.HELD && free <= 3 * ExitRing.HELD, "free=" + free);
      writer.file().close();
    }
  }

  @Test
  void shouldGiveOutNoRecordOfAnEarlierLapWhenAClaimWasNotCommitted() throws IOException {
    final ExitRingWriter writer = writer(ExitRing.MIN_CAPACITY, ALL);
    final ExitRingReader live = ExitRingReader.live(writer.file());
    written.kind = ExitKind.HLT; // Small: many of the last lap lie in one claim of this.
    int claims = 0;
    for (int i = 1; i < 20_000; i++) {
      writer.write(written);
      live.drain(this::decode, 1);
      live.commit();
      live.release();
      if (i < 10_000) {
        continue; // the first lap has nothing behind it
      }
      final int claim = writer.file().ring().tryClaim(ExitRing.RECORD, ExitEncoder.MAX_LENGTH);
      // Killed with the tail moved and the header not yet written, or with all of it but the end.
      for (final int header : new int[] {0, -8 - ExitEncoder.MAX_LENGTH}) {
        writer.file().data().putInt(claim - 8, header);
        try (ExitRing ring = ExitRing.openReadOnly(folder.resolve("ring"))) {
          final ExitRingRemains remains = new ExitRingRemains(ring, i);
          assertFalse(remains.next());
          assertNull(remains.damage());
        }
      }
      writer.file().data().putInt(claim - 8, -8 - ExitEncoder.MAX_LENGTH);
      writer.file().ring().abort(claim);
      live.drain(this::decode, 1);
      live.commit();
      live.release();
      claims++;
    }
    assertTrue(claims > 1000, "claims=" + claims);
    writer.close();
    writer.file().close();
  }

  @Test
  void shouldNameWhatIsWrongWhenAFileIsNoRing() throws IOException {
    final Path file = folder.resolve("ring");
    writer(ExitRing.MIN_CAPACITY, ALL).file().close();
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.write(ByteBuffer.wrap(new byte[] {99, 0}), 6);
    }
    final IOException newer = assertThrows(IOException.class, () -> ExitRing.openReadOnly(file));
    assertTrue(newer.getMessage().contains("schema version 99"), newer.getMessage());
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.truncate(channel.size() / 2);
    }
    assertThrows(IOException.class, () -> ExitRing.openReadOnly(file));
    Files.write(file, new byte[1 << 20]);
    assertThrows(IOException.class, () -> ExitRing.openReadOnly(file));
  }

  @Test
  void shouldRefuseEveryDamageOfLengthsWithoutReadingOutside() {
    final ExitEncoder encoder = new ExitEncoder(1);
    final RandomEvents events = new RandomEvents(7);
    int refused = 0;
    for (int i = 0; i < 200; i++) {
      events.next(written);
      final int length = encoder.encode(written);
      final byte[] good = new byte[length];
      final UnsafeBuffer bytes = new UnsafeBuffer(encoder.address(), length);
      bytes.getBytes(0, good);
      for (int at = 0; at < length; at++) {
        final byte[] bad = Arrays.copyOf(good, length);
        bad[at] ^= (byte) (1 << (i & 7));
        bytes.putBytes(0, bad);
        try {
          decoder.decode(encoder.address(), length, read);
        } catch (final IllegalStateException e) {
          refused++;
        }
      }
    }
    assertTrue(refused > 1000, "refused=" + refused);
  }

  /** Records that can be read, by sequence; each must be what was written. */
  private int readable(final Path file, final boolean[] seen) throws IOException {
    final RandomEvents events = new RandomEvents(8);
    int count = 0;
    int next = 0;
    try (ExitRing ring = ExitRing.openReadOnly(file)) {
      final ExitRingRemains remains = new ExitRingRemains(ring, 0);
      decoder.reset();
      while (remains.next()) {
        final int sequence = (int) remains.sequenceLow();
        if (sequence != next) {
          decoder.reset();
        }
        for (; next <= sequence; next++) {
          events.next(written);
        }
        if (!decoder.isReady() && !remains.isFull()) {
          continue;
        }
        decoder.decode(remains.address(), remains.length(), read);
        written.sequence = sequence;
        EventAssert.assertSame(written, read);
        assertFalse(seen[sequence]);
        seen[sequence] = true;
        count++;
      }
      if (count < seen.length) {
        assertNotNull(remains.damage(), count + " of " + seen.length);
      }
    }
    return count;
  }

  @Test
  void shouldGiveOutNothingWrongWhenBitsAreFlipped() throws IOException {
    final int count = 300;
    try (ExitRingWriter writer = writer(ExitRing.MIN_CAPACITY, ALL)) {
      final RandomEvents events = new RandomEvents(8);
      for (int i = 0; i < count; i++) {
        events.next(written);
        writer.write(written);
      }
      writer.file().close();
    }
    final Path file = folder.resolve("ring");
    assertEquals(count, readable(file, new boolean[count]));
    final byte[] good = Files.readAllBytes(file);
    final int used = 4096 + count * 100;
    final Random random = new Random(9);
    int damaged = 0;
    for (int i = 0; i < 2000; i++) {
      final int at = i < 1900 ? 4096 + random.nextInt(used - 4096) : good.length - 768 + i - 1900;
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
        channel.write(ByteBuffer.wrap(new byte[] {(byte) (good[at] ^ 1 << (i & 7))}), at);
        damaged += readable(file, new boolean[count]) < count ? 1 : 0;
        channel.write(ByteBuffer.wrap(new byte[] {good[at]}), at);
      }
    }
    assertTrue(damaged > 1000, "damaged=" + damaged);
  }

  @Test
  void shouldLeaveAGapOfTheRightLengthWhenToldToDrop() throws IOException {
    final RandomEvents events = new RandomEvents(10);
    final RandomEvents expected = new RandomEvents(10);
    try (ExitRing ring = ExitRing.create(folder.resolve("ring"), ExitRing.MIN_CAPACITY, 0, 7)) {
      final ExitRingWriter writer =
          new ExitRingWriter(ring, ALL, OnFull.DROP, YieldingIdleStrategy.INSTANCE);
      final ExitRingReader reader = ExitRingReader.live(ring);
      final long[] next = new long[2];
      final ExitRingReader.Handler check =
          (buffer, offset, length) -> {
            decode(buffer, offset, length);
            assertEquals(next[0], read.sequence);
            if (read.kind == ExitKind.GAP) {
              assertEquals(ExitEvent.GAP_DROPPED, read.detail);
              assertEquals(read.sequence, read.address);
              assertTrue(read.value > 0, "value=" + read.value);
              next[0] += read.value;
              next[1] += read.value;
              for (int i = 0; i < read.value; i++) {
                expected.next(written);
              }
            } else {
              expected.next(written);
              written.sequence = next[0]++;
              EventAssert.assertSame(written, read);
            }
            return true;
          };
      final ExitEvent event = new ExitEvent();
      for (int i = 0; i < 50_000; i++) {
        events.next(event);
        writer.write(event);
        // Too slow by far, and in bursts.
        if (i % 7000 == 0) {
          reader.drain(check, 200 + i % 11);
          reader.commit();
        }
      }
      reader.drain(check, Integer.MAX_VALUE);
      reader.commit();
      assertTrue(next[1] > 10_000, "lost=" + next[1]);
      // The last gap is not closed: nobody wrote behind it.
      assertEquals(50_000, writer.sequence());
      assertEquals(writer.sequence() - next[0], writer.dropped() - next[1]);
      assertEquals(0, writer.waits());
    }
  }

  private ExitRingWriter writer(final int capacity, final Set<ExitKind> kinds) throws IOException {
    final IdleStrategy idle = YieldingIdleStrategy.INSTANCE;
    return ExitRingWriter.create(folder.resolve("ring"), capacity, 0, kinds, idle);
  }
}

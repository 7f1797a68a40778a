package dev.vmexit.exit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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
    assertEquals(36, live.drain(this::decode, 1000));
    // No commit, no close: the process is gone, the file stays.
    try (ExitRing ring = ExitRing.openReadOnly(folder.resolve("ring"))) {
      final ExitRingReader reader = ExitRingReader.leftBehind(ring);
      decoder.reset();
      assertEquals(1, reader.drain(this::decode, 1));
      assertEquals(64, read.sequence);
      assertEquals(35, reader.drain(this::decode, 1000));
      EventAssert.assertSame(written, read);
      assertEquals(0, reader.drain(this::decode, 1000));
    }
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

  private ExitRingWriter writer(final int capacity, final Set<ExitKind> kinds) throws IOException {
    final IdleStrategy idle = YieldingIdleStrategy.INSTANCE;
    return ExitRingWriter.create(folder.resolve("ring"), capacity, 0, kinds, idle);
  }
}

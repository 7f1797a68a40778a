package dev.vmexit.exit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.HostMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

final class ExitDecoderTest {
  /** Before and behind a record. */
  private static final int AROUND = 256;

  private final Arena arena = Arena.ofConfined();
  private final MemorySegment room =
      arena.allocate(AROUND + ExitEncoder.MAX_LENGTH + ExitDecoder.SLACK + AROUND);
  private final ExitEncoder encoder = new ExitEncoder(64);
  private final ExitEvent event = new ExitEvent();

  @AfterEach
  void tearDown() {
    arena.close();
  }

  /** Decodes a record between bytes of one value; returns what was wrong with it. */
  private String decode(
      final ExitDecoder decoder, final byte[] record, final int around, final ExitEvent to) {
    room.fill((byte) around);
    MemorySegment.copy(record, 0, room, ValueLayout.JAVA_BYTE, AROUND, record.length);
    try {
      decoder.decode(room.address() + AROUND, record.length, to);
      return "";
    } catch (final IllegalStateException e) {
      return e.getMessage();
    }
  }

  private byte[] encode() {
    final byte[] record = new byte[encoder.encode(event)];
    HostMemory.copyOut(encoder.address(), record, 0, record.length);
    return record;
  }

  @Test
  void shouldUseNothingOutsideOfARecordWhateverItSays() {
    final RandomEvents events = new RandomEvents(3);
    final Random random = new Random(4);
    final ExitDecoder[] decoders = {new ExitDecoder(), new ExitDecoder()};
    final ExitEvent[] decoded = {new ExitEvent(), new ExitEvent()};
    int refused = 0;
    int accepted = 0;
    for (int i = 0; i < 20_000; i++) {
      events.next(event);
      encoder.requestFull();
      final byte[] full = encode();
      events.next(event);
      final byte[] damaged = encode();
      for (int flips = random.nextInt(4); flips >= 0; flips--) {
        // Most of them among the fields of fixed size, which say how long the others are.
        final int at = random.nextInt(random.nextBoolean() ? 17 : damaged.length);
        damaged[at] = (byte) random.nextInt();
      }
      final String[] wrong = new String[2];
      for (int k = 0; k < 2; k++) {
        assertEquals("", decode(decoders[k], full, 0, decoded[k]));
        wrong[k] = decode(decoders[k], damaged, k == 0 ? 0 : 0xFF, decoded[k]);
      }
      assertEquals(wrong[0], wrong[1]);
      if (wrong[0].isEmpty()) {
        EventAssert.assertSame(decoded[0], decoded[1]);
        accepted++;
      } else {
        refused++;
      }
    }
    assertTrue(
        refused > 1_000 && accepted > 1_000, refused + " refused, " + accepted + " accepted");
  }

  @Test
  void shouldRefuseEveryLengthButTheRecordsOwn() {
    final RandomEvents events = new RandomEvents(5);
    for (int i = 0; i < 100; i++) {
      events.next(event);
      encoder.requestFull();
      final int length = encode().length;
      final ExitDecoder decoder = new ExitDecoder();
      for (int other = 0; other < length; other++) {
        final int shorter = other;
        assertThrows(
            IllegalStateException.class,
            () -> decoder.decode(encoder.address(), shorter, new ExitEvent()));
      }
    }
  }
}

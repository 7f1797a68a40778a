package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.sbe.BatchHeaderDecoder;
import dev.vmexit.exit.sbe.MessageHeaderDecoder;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Batches that are wrong though their checksum is right, as somebody could make them: behind the
 * checksum, too, nothing in a file may lead the reader out of its bounds.
 */
final class ForgedBatchTest {
  private static final int FORGERIES = Integer.getInteger("vmexit.forgeries", 1_000);
  private static final int RECORDS = 3_000;
  private static final int CHECKSUM =
      MessageHeaderDecoder.ENCODED_LENGTH + BatchHeaderDecoder.checksumEncodingOffset();
  private static final int STORED =
      MessageHeaderDecoder.ENCODED_LENGTH + BatchHeaderDecoder.storedLengthEncodingOffset();

  @TempDir Path temporary;

  private final Random random = new Random(7);

  private static List<Integer> batches(final ByteBuffer file) {
    final List<Integer> starts = new ArrayList<>();
    for (int i = 0; i + BatchWriter.HEADER <= file.capacity(); i += Integer.BYTES) {
      if (file.getLong(i) == BatchReader.SIGNATURE) {
        starts.add(i);
      }
    }
    return starts;
  }

  private void forge(final ByteBuffer file, final int batch) {
    final int stored = file.getInt(batch + STORED);
    for (int i = random.nextInt(4); i >= 0; i--) {
      final int at =
          batch
              + (random.nextInt(4) == 0
                  ? CHECKSUM + random.nextInt(BatchWriter.HEADER - CHECKSUM)
                  : BatchWriter.HEADER + random.nextInt(stored));
      file.put(at, (byte) (random.nextBoolean() ? random.nextInt() : file.get(at) ^ 1 << i));
    }
    final CRC32C crc = new CRC32C();
    final long now = Integer.toUnsignedLong(file.getInt(batch + STORED));
    final int end = (int) Math.min(batch + BatchWriter.HEADER + now, file.capacity());
    crc.update(file.array(), batch + BatchWriter.CHECKED, end - batch - BatchWriter.CHECKED);
    file.putInt(batch + CHECKSUM, (int) crc.getValue());
  }

  @Test
  void shouldStayInBoundsWhenABatchIsForged() throws IOException {
    final Path folder = TestTraces.record(temporary.resolve("trace"), RECORDS, 7, event -> {});
    final Path queue = TraceFolder.queueFiles(folder).getFirst();
    final byte[] good = Files.readAllBytes(queue);
    final ExitEvent event = new ExitEvent();
    int damaged = 0;
    for (int i = 0; i < FORGERIES; i++) {
      final ByteBuffer file = ByteBuffer.wrap(good.clone()).order(ByteOrder.LITTLE_ENDIAN);
      final List<Integer> batches = batches(file);
      assertTrue(batches.size() > 5);
      forge(file, batches.get(random.nextInt(batches.size())));
      Files.write(queue, file.array());
      try (TraceReader reader = TraceReader.open(folder)) {
        long next = 0;
        while (reader.next(event)) {
          assertEquals(next, event.sequence);
          next += event.kind == ExitKind.GAP ? event.value : 1;
        }
        damaged += reader.damages().isEmpty() ? 0 : 1;
      }
    }
    // Some only change a value, which nobody can know.
    assertTrue(damaged > FORGERIES / 4, damaged + " of " + FORGERIES + " were noticed");
  }
}

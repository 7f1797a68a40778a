package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import net.openhft.chronicle.queue.ExcerptTailer;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueue;
import net.openhft.chronicle.wire.DocumentContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class QueueWriterTest {
  private static final int PAGE = 4096;

  @TempDir Path temporary;

  /** Writes a queue of one excerpt; the offset behind the excerpt's last byte. */
  private static int write(final Path folder, final int length) throws IOException {
    final byte[] excerpt = new byte[length];
    Arrays.fill(excerpt, (byte) 0x55);
    try (QueueWriter writer = new QueueWriter(folder, 0, RecorderOptions.blocking(1 << 20))) {
      writer.append(excerpt, length, 1, 0);
    }
    final byte[] file = Files.readAllBytes(file(folder));
    assertEquals(0, file.length % PAGE);
    int end = file.length;
    while (file[end - 1] == 0) {
      end--;
    }
    return end;
  }

  private static Path file(final Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.filter(file -> file.toString().endsWith(".cq4")).findFirst().orElseThrow();
    }
  }

  /** The reader looks behind the last excerpt: where that is a page's end, another must follow. */
  @Test
  void shouldLeaveRoomForTheHeaderThatAReaderLooksFor() throws IOException {
    final int length = 1000;
    final int end = write(temporary.resolve("measure"), length);
    final int toPageEnd = PAGE - end % PAGE;
    for (int left = 0; left < 16; left++) {
      final Path folder = temporary.resolve("left" + left);
      assertEquals(end + toPageEnd - left, write(folder, length + toPageEnd - left));
      try (SingleChronicleQueue queue = TraceQueue.read(folder);
          ExcerptTailer tailer = queue.createTailer()) {
        try (DocumentContext document = tailer.readingDocument()) {
          assertTrue(document.isPresent());
          assertEquals(length + toPageEnd - left, document.wire().bytes().readRemaining());
        }
        try (DocumentContext document = tailer.readingDocument()) {
          assertFalse(document.isPresent(), "left=" + left);
        }
      }
    }
  }
}

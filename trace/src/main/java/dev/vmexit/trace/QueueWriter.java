package dev.vmexit.trace;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import net.openhft.chronicle.bytes.Bytes;
import net.openhft.chronicle.queue.ExcerptAppender;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueue;
import net.openhft.chronicle.wire.DocumentContext;

/** Appends batches to the queue with disk space reserved ahead. Used by one thread. */
final class QueueWriter implements AutoCloseable {
  /** Bytes to reserve at a time. */
  private static final long RESERVE = 4L << 20;

  /** The longest batch, and index pages that the queue may put before it. */
  private static final long MARGIN = 2L << 20;

  private static final long PAGE = 4096;

  /** What a reader looks at behind the last excerpt: the header of one more, on its alignment. */
  private static final long NEXT_HEADER = 16;

  private final SingleChronicleQueue queue;
  private final ExcerptAppender appender;
  private DiskSpace space;
  private Path file;
  private long reserved;
  private long position;

  QueueWriter(final Path folder, final long startMillis) {
    queue = TraceQueue.append(folder, startMillis);
    appender = queue.createAppender();
  }

  /**
   * Appends one excerpt: all of it, or nothing.
   *
   * @throws IOException if the disk is full
   */
  void append(final byte[] bytes, final int length) throws IOException {
    if (file != null && position + MARGIN > reserved) {
      reserve();
    }
    try (DocumentContext document = appender.writingDocument()) {
      try {
        final Bytes<?> to = document.wire().bytes();
        to.write(bytes, 0, length);
        position = to.writePosition();
      } catch (final RuntimeException | Error e) {
        // Leaving the block would commit what is there.
        document.rollbackOnClose();
        throw e;
      }
    }
    if (file == null) {
      file = appender.currentFile().toPath();
      space = new DiskSpace(file);
      reserve();
    }
  }

  private void reserve() throws IOException {
    final long end = position + MARGIN + RESERVE;
    space.reserve(reserved, end - reserved);
    reserved = end;
  }

  /** Closes the queue and gives back what was reserved in vain. */
  @Override
  public void close() throws IOException {
    try {
      appender.close();
      queue.close();
    } finally {
      if (space != null) {
        space.close();
      }
    }
    if (file != null) {
      final long end = (position + NEXT_HEADER + PAGE - 1) & -PAGE;
      try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
        if (channel.size() > end) {
          channel.truncate(end);
        }
      }
    }
  }
}

package dev.vmexit.trace;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * One file of the queue, made by us with its first blocks reserved before the queue maps it: a full
 * disk is then an exception, and never a SIGBUS in the middle of a batch. Used by one thread.
 */
final class QueuePart implements AutoCloseable {
  /** The longest batch, and index pages that the queue may put before it. */
  static final long MARGIN = 1L << 20;

  private static final long PAGE = 4096;

  /** What a reader looks at behind the last excerpt: the header of one more, on its alignment. */
  private static final long NEXT_HEADER = 16;

  private final Path file;
  private final long ahead;
  private final DiskSpace space;
  private final FileChannel channel;
  private long reserved;
  private long position;
  private long records;
  private long firstTime;
  private long lastTime;
  private boolean closed;

  private QueuePart(
      final Path file, final long ahead, final DiskSpace space, final FileChannel channel) {
    this.file = file;
    this.ahead = ahead;
    this.space = space;
    this.channel = channel;
  }

  /**
   * Makes the file.
   *
   * @param ahead bytes to reserve at a time
   * @throws DiskFullException if there is no room for it; then there is no file
   */
  static QueuePart create(final Path file, final long ahead) throws IOException {
    QueuePart part = null;
    try {
      Files.createFile(file);
      final DiskSpace space = new DiskSpace(file);
      part = new QueuePart(file, ahead, space, FileChannel.open(file, StandardOpenOption.WRITE));
      part.reserve();
      return part;
    } catch (final IOException e) {
      if (part != null) {
        part.space.close();
        part.channel.close();
      }
      Files.deleteIfExists(file);
      throw e instanceof FileSystemException system && DiskSpace.isFull(system.getReason())
          ? new DiskFullException("disk full: " + file)
          : e;
    }
  }

  Path file() {
    return file;
  }

  /** Bytes of it that are used, or will stay when it is closed. */
  long length() {
    return position;
  }

  long records() {
    return records;
  }

  /** Host time of its first batch. */
  long firstTime() {
    return firstTime;
  }

  /** Host time of its last batch. */
  long lastTime() {
    return lastTime;
  }

  /** Notes a batch that was appended. */
  void appended(final long end, final long count, final long time) {
    if (records == 0) {
      firstTime = time;
    }
    position = end;
    records += count;
    lastTime = time;
  }

  /**
   * Has room for the next batch.
   *
   * @throws DiskFullException if that cannot be
   */
  void reserve() throws IOException {
    if (position + MARGIN <= reserved) {
      return;
    }
    try {
      reserve(position + MARGIN + ahead);
    } catch (final DiskFullException e) {
      // The last blocks of a disk count too.
      reserve(position + MARGIN);
    }
  }

  private void reserve(final long end) throws IOException {
    space.reserve(reserved, end - reserved);
    reserved = end;
  }

  /** Brings it to the disk: what was written through the queue's mapping, too. */
  void sync() throws IOException {
    channel.force(false);
  }

  /** Gives back what was reserved in vain. The queue may still write what marks the file's end. */
  @Override
  public void close() throws IOException {
    if (closed) {
      return;
    }
    closed = true;
    space.close();
    final long end = (position + NEXT_HEADER + PAGE - 1) & -PAGE;
    try (channel) {
      if (channel.size() > end) {
        channel.truncate(end);
      }
    }
  }
}

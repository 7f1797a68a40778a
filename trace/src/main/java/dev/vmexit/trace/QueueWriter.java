package dev.vmexit.trace;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToLongFunction;
import net.openhft.chronicle.bytes.Bytes;
import net.openhft.chronicle.core.shutdown.PriorityHook;
import net.openhft.chronicle.queue.ExcerptAppender;
import net.openhft.chronicle.queue.RollCycle;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueue;
import net.openhft.chronicle.wire.DocumentContext;

/**
 * Appends batches to the queue with disk space reserved ahead, rolls its files by their length and
 * takes away the oldest ones. Used by one thread.
 *
 * <p>The queue rolls by time: its clock stands still until a file is long enough, and then makes a
 * step of one cycle. So the names of the files are in their order, but are no dates.
 */
final class QueueWriter implements AutoCloseable {
  /** Bytes to reserve at a time. */
  private static final long RESERVE = 4L << 20;

  /** Bytes of the queue's own file, which is mapped when it is opened. */
  private static final int METADATA = 128 << 10;

  private final Path folder;
  private final long rollBytes;
  private final TraceKeep keep;
  private final Durability durability;
  private final SingleChronicleQueue queue;
  private final ExcerptAppender appender;
  private final List<QueuePart> rolled = new ArrayList<>();
  private final RollCycle cycle;
  private final DateTimeFormatter name;
  private volatile long millis;
  private int rolls;
  private QueuePart part;

  QueueWriter(final Path folder, final long startMillis, final RecorderOptions options) {
    this.folder = folder;
    rollBytes = options.rollBytes();
    keep = options.keep();
    durability = options.durability();
    millis = startMillis;
    queue = TraceQueue.append(folder, () -> millis);
    cycle = queue.rollCycle();
    name = DateTimeFormatter.ofPattern(cycle.format(), Locale.ROOT).withZone(ZoneOffset.UTC);
    appender = queue.createAppender();
  }

  /**
   * Has a queue be opened later even in a process that is ending: the first one that the queue's
   * library is asked for adds its hook to the JVM's shutdown, which has to be before that.
   *
   * @throws IllegalStateException if the shutdown has begun
   */
  static void makeReady() {
    PriorityHook.add(0, () -> {});
  }

  /**
   * Sees that there is room to open a queue in a folder: a full disk would be a SIGBUS then.
   *
   * @throws DiskFullException if there is none
   */
  static void checkRoom(final Path folder) throws IOException {
    final Path room = folder.resolve("room");
    try {
      Files.write(room, new byte[METADATA]);
    } catch (final IOException e) {
      final String reason =
          e instanceof FileSystemException system ? system.getReason() : e.getMessage();
      throw DiskSpace.isFull(reason) ? new DiskFullException("disk full: " + folder) : e;
    } finally {
      Files.deleteIfExists(room);
    }
  }

  /**
   * Appends one excerpt: all of it, or nothing.
   *
   * @param count records in it
   * @param time host time of its first record, ns
   * @throws DiskFullException if the disk is full; it may be tried again
   */
  void append(final byte[] bytes, final int length, final long count, final long time)
      throws IOException {
    if (part != null && rollBytes > 0 && part.length() >= rollBytes) {
      roll();
    }
    if (part == null) {
      part = QueuePart.create(nextFile(), ahead());
    } else {
      part.reserve();
    }
    try (DocumentContext document = appender.writingDocument()) {
      try {
        final Bytes<?> to = document.wire().bytes();
        to.write(bytes, 0, length);
        part.appended(to.writePosition(), count, time);
      } catch (final RuntimeException | Error e) {
        // Leaving the block would commit what is there.
        document.rollbackOnClose();
        throw e;
      }
    }
    if (durability == Durability.BATCH) {
      part.sync();
    }
  }

  /** How often another file was begun. */
  int rolls() {
    return rolls;
  }

  private long ahead() {
    return rollBytes > 0 ? Math.min(RESERVE, rollBytes) : RESERVE;
  }

  private Path nextFile() {
    return folder.resolve(name.format(Instant.ofEpochMilli(millis)) + ".cq4");
  }

  private void roll() throws IOException {
    sync();
    part.close();
    rolled.add(part);
    part = null;
    rolls++;
    millis += cycle.lengthInMillis();
    while (!rolled.isEmpty() && isExcess()) {
      Files.deleteIfExists(rolled.removeFirst().file());
    }
  }

  /** Whether enough is kept without the oldest file; the next one is empty. */
  private boolean isExcess() {
    return switch (keep.unit()) {
      case ALL -> false;
      case RECORDS -> sum(QueuePart::records) - rolled.getFirst().records() >= keep.value();
      case TIME ->
          rolled.size() > 1
              && rolled.getLast().lastTime() - rolled.get(1).firstTime() >= keep.value();
      // The next file reaches as far as what is reserved behind its last batch.
      case BYTES -> sum(QueuePart::length) + rollBytes + QueuePart.MARGIN + ahead() > keep.value();
    };
  }

  private long sum(final ToLongFunction<QueuePart> of) {
    return rolled.stream().mapToLong(of).sum();
  }

  /** Brings what was appended to the disk, unless that is left to the kernel. */
  void sync() throws IOException {
    if (part != null && durability != Durability.NONE) {
      part.sync();
    }
  }

  /** Closes the queue and gives back what was reserved in vain. */
  @Override
  public void close() throws IOException {
    try {
      appender.close();
      queue.close();
    } finally {
      if (part != null) {
        sync();
        part.close();
      }
    }
  }
}

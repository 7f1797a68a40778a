package dev.vmexit.exit;

import dev.vmexit.memory.HostMemory;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.agrona.concurrent.IdleStrategy;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.ringbuffer.OneToOneRingBuffer;
import org.agrona.concurrent.ringbuffer.RingBuffer;

/**
 * The vCPU's side of an exit ring.
 *
 * <p>Nothing is lost in silence: on a full ring {@link #write} waits for the reader, and {@link
 * #waits} says how often. Only once the reader said that it will never read again ({@link
 * #readerFailed}) records are dropped, and {@link #dropped} says how many.
 *
 * <p>The counters may be read by any thread; all else belongs to the vCPU thread.
 */
public final class ExitRingWriter implements ExitSink {
  /** Records from one full record to the next. */
  public static final int FULL_INTERVAL = 64;

  private final ExitRing file;
  private final OneToOneRingBuffer ring;
  private final long data;
  private final int kinds;
  private final IdleStrategy idle;
  private final ExitEncoder encoder = new ExitEncoder(FULL_INTERVAL);

  private long sequence;
  private boolean ended;
  private final AtomicLong waits = new AtomicLong();
  private final AtomicLong dropped = new AtomicLong();
  private volatile boolean readerFailed;
  private volatile boolean closed;

  /**
   * Writes to a ring that is empty.
   *
   * @param kinds to keep
   * @param idle how to wait when the ring is full
   */
  public ExitRingWriter(final ExitRing file, final Set<ExitKind> kinds, final IdleStrategy idle) {
    this.file = file;
    this.ring = file.ring();
    final UnsafeBuffer buffer = file.data();
    this.data = buffer.addressOffset();
    int mask = 0;
    for (final ExitKind kind : kinds) {
      mask |= 1 << kind.ordinal();
    }
    this.kinds = mask;
    this.idle = idle;
  }

  /**
   * Creates the ring's file and its writer; {@link #file} gives the other end to the reader.
   *
   * @param capacity bytes, a power of two
   */
  public static ExitRingWriter create(
      final Path path,
      final int capacity,
      final int number,
      final Set<ExitKind> kinds,
      final IdleStrategy idle)
      throws IOException {
    return new ExitRingWriter(ExitRing.create(path, capacity, number), kinds, idle);
  }

  /** The ring that is written. */
  public ExitRing file() {
    return file;
  }

  @Override
  public boolean wants(final ExitKind kind) {
    return (kinds >>> kind.ordinal() & 1) != 0;
  }

  @Override
  public void write(final ExitEvent event) {
    if ((kinds >>> event.kind.ordinal() & 1) == 0) {
      return;
    }
    event.sequence = sequence;
    // After close() the mapping may go at any time.
    if (ended || closed) {
      drop();
      return;
    }
    final int length = encoder.encode(event);
    int index = ring.tryClaim(ExitRing.RECORD, length);
    if (index < 0) {
      index = await(length);
      if (index < 0) {
        return;
      }
    }
    sequence++;
    copy(encoder.address(), data + index, length);
    ring.commit(index);
  }

  /** Copies in eights; the last one overlaps, so that not a byte after the record is touched. */
  private static void copy(final long from, final long to, final int length) {
    final int last = length - Long.BYTES;
    for (int i = 0; i < last; i += Long.BYTES) {
      HostMemory.putLong(to + i, HostMemory.getLong(from + i));
    }
    HostMemory.putLong(to + last, HostMemory.getLong(from + last));
  }

  /** A lost record ends the ring: those after it are relative to it. */
  private void drop() {
    ended = true;
    dropped.incrementAndGet();
  }

  private int await(final int length) {
    waits.incrementAndGet();
    idle.reset();
    while (true) {
      final int index = ring.tryClaim(ExitRing.RECORD, length);
      if (index != RingBuffer.INSUFFICIENT_CAPACITY) {
        return index;
      }
      if (readerFailed) {
        drop();
        return index;
      }
      idle.idle();
    }
  }

  /** Records written: the next one's sequence. The vCPU thread alone. */
  public long sequence() {
    return sequence;
  }

  /** How often the ring was full. */
  public long waits() {
    return waits.get();
  }

  /** Records lost after the reader failed. */
  public long dropped() {
    return dropped.get();
  }

  /** Called by the reader when it gives up: no more waiting for it. */
  public void readerFailed() {
    readerFailed = true;
  }

  /** Whether {@link #close} was called: what the ring holds now is all that will come. */
  public boolean isClosed() {
    return closed;
  }

  /** Says that no more records come. The mapping stays, for the reader. */
  @Override
  public void close() {
    closed = true;
  }
}

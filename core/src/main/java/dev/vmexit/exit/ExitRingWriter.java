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
 * <p>Nothing is lost in silence. On a full ring {@link OnFull#BLOCK} has {@link #write} wait for
 * the reader, and {@link #waits} says how often. With {@link OnFull#DROP} a record is given up, but
 * its sequence number is spent, and once there is room again a record of kind {@link ExitKind#GAP}
 * stands where the lost ones would. Only when the reader said that it will never read again ({@link
 * #readerFailed}) records are dropped for good. {@link #dropped} says how many are lost.
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
  private final OnFull onFull;
  private final IdleStrategy idle;
  private final ExitEncoder encoder = new ExitEncoder(FULL_INTERVAL);
  private final ExitEvent gap = new ExitEvent();

  private long sequence;
  private long gapLength;
  private boolean ended;
  private final AtomicLong waits = new AtomicLong();
  private final AtomicLong dropped = new AtomicLong();
  private volatile boolean readerFailed;
  private volatile boolean closed;

  /**
   * Writes to a ring that is empty.
   *
   * @param kinds to keep
   * @param onFull what to do when the ring is full
   * @param idle how to wait then
   */
  public ExitRingWriter(
      final ExitRing file,
      final Set<ExitKind> kinds,
      final OnFull onFull,
      final IdleStrategy idle) {
    this.file = file;
    this.ring = file.ring();
    final UnsafeBuffer buffer = file.data();
    this.data = buffer.addressOffset();
    int mask = 0;
    for (final ExitKind kind : kinds) {
      mask |= 1 << kind.ordinal();
    }
    this.kinds = mask;
    this.onFull = onFull;
    this.idle = idle;
    gap.kind = ExitKind.GAP;
    // Padding, which the reader gives back when there is no other room.
    ring.abort(ring.tryClaim(ExitRing.RECORD, ExitRing.HELD));
  }

  /**
   * Creates the file of a ring that blocks, and its writer; {@link #file} gives the other end to
   * the reader.
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
    return new ExitRingWriter(
        ExitRing.create(path, capacity, number, 0), kinds, OnFull.BLOCK, idle);
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
    // After close() the mapping may go at any time.
    if (ended || closed) {
      event.sequence = sequence;
      dropped.incrementAndGet();
      return;
    }
    if (gapLength > 0 && !endGap(event)) {
      event.sequence = sequence;
      lose();
      return;
    }
    event.sequence = sequence;
    if (append(event)) {
      file.given(++sequence);
    } else if (!ended) {
      lose();
    }
  }

  private boolean append(final ExitEvent event) {
    final int length = encoder.encode(event);
    int index = ring.tryClaim(ExitRing.RECORD, length + RecordChecksum.LENGTH);
    if (index < 0) {
      index = await(length + RecordChecksum.LENGTH);
      if (index < 0) {
        return false;
      }
    }
    copy(encoder.address(), data + index, length);
    ring.commit(index);
    return true;
  }

  /** Copies in eights; the last one overlaps, so that not a byte after the record is touched. */
  private static void copy(final long from, final long to, final int length) {
    long state = RecordChecksum.start(length);
    final int last = length - Long.BYTES;
    for (int i = 0; i < last; i += Long.BYTES) {
      final long word = HostMemory.getLong(from + i);
      HostMemory.putLong(to + i, word);
      state = RecordChecksum.mix(state, word);
    }
    final long word = HostMemory.getLong(from + last);
    HostMemory.putLong(to + last, word);
    HostMemory.putInt(to + length, RecordChecksum.finish(RecordChecksum.mix(state, word)));
  }

  /** Gives one record up, with its number. */
  private void lose() {
    file.dropped(dropped.incrementAndGet());
    file.given(++sequence);
    gapLength++;
  }

  /** Writes what stands for the lost records, once there is room for more than that. */
  private boolean endGap(final ExitEvent event) {
    // A quarter of the ring: else a vCPU that is too fast would leave a gap at every other record.
    if (ring.size() > file.capacity() - file.capacity() / 4) {
      return false;
    }
    gap.sequence = sequence - gapLength;
    gap.vcpu = event.vcpu;
    gap.mode = event.mode;
    gap.retired = event.retired;
    gap.hostTime = event.hostTime;
    gap.address = gap.sequence;
    gap.value = gapLength;
    gap.detail = ExitEvent.GAP_DROPPED;
    // What is lost was the base of what comes: both start anew.
    encoder.requestFull();
    if (!append(gap)) {
      return false;
    }
    encoder.requestFull();
    gapLength = 0;
    return true;
  }

  /** The index of a claim, or a negative number where the record is lost. */
  private int await(final int length) {
    if (onFull == OnFull.DROP) {
      encoder.requestFull();
      return RingBuffer.INSUFFICIENT_CAPACITY;
    }
    waits.incrementAndGet();
    idle.reset();
    while (true) {
      final int index = ring.tryClaim(ExitRing.RECORD, length);
      if (index != RingBuffer.INSUFFICIENT_CAPACITY) {
        return index;
      }
      if (readerFailed) {
        // It ends the ring: the records after it are relative to it.
        ended = true;
        dropped.incrementAndGet();
        return index;
      }
      idle.idle();
    }
  }

  /** Numbers given to records, kept or lost: the next one's sequence. The vCPU thread alone. */
  public long sequence() {
    return sequence;
  }

  /** How often the ring was full. */
  public long waits() {
    return waits.get();
  }

  /** Records lost: dropped from a full ring, or written after the reader failed. */
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

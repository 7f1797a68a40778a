package dev.vmexit.exit;

import dev.vmexit.exit.sbe.ExitRecordEncoder;
import dev.vmexit.exit.sbe.MessageHeaderDecoder;
import dev.vmexit.exit.sbe.MessageHeaderEncoder;
import dev.vmexit.exit.sbe.RingHeaderDecoder;
import dev.vmexit.exit.sbe.RingHeaderEncoder;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.agrona.BitUtil;
import org.agrona.concurrent.UnsafeBuffer;
import org.agrona.concurrent.ringbuffer.OneToOneRingBuffer;
import org.agrona.concurrent.ringbuffer.RingBufferDescriptor;

/**
 * An exit ring in a mapped file: what a vCPU wrote outlives its process.
 *
 * <pre>
 *   0      messageHeader, RingHeader
 *   2048   how many numbers the writer has given: 48 bits, and 16 of their hash
 *   2056   how many of them went to records that were dropped, in the same way
 *   4096   Agrona one-to-one ring: data (capacity), then its trailer
 * </pre>
 *
 * Each record is a message of type {@code ExitRecord}'s template id, followed by four bytes of
 * checksum. The file is written in full at its creation, so that a full disk is an {@link
 * IOException} here and never a SIGBUS of the vCPU thread. Written by one thread, read by one
 * other.
 */
public final class ExitRing implements AutoCloseable {
  /** Message type of a record. */
  static final int RECORD = ExitRecordEncoder.TEMPLATE_ID;

  private static final int DATA_OFFSET = 4096;
  private static final int FILL_BYTES = 1 << 20;

  /** Far from what is read at the opening, in a cache line that is the writer's alone. */
  private static final int COUNT_OFFSET = 2048;

  private static final long COUNT_HASH = 0x9E37_79B9_7F4A_7C15L;

  /**
   * Bytes that the reader holds back until the run is being stopped. A vCPU that waits in a full
   * ring, for a disk that is full, has then room for the records that it is at.
   */
  static final int HELD = 8 * ExitEncoder.MAX_LENGTH;

  /** Bytes: the reader gives back whole batches, of which two of the longest must have room. */
  public static final int MIN_CAPACITY = 2 * ExitRingWriter.FULL_INTERVAL * ExitEncoder.MAX_LENGTH;

  /** The file's bytes; null in a copy. */
  private final MemorySegment mapping;

  /** Of the mapping alone; null in a copy. */
  private final Arena arena;

  private final UnsafeBuffer data;
  private final UnsafeBuffer header;
  private final OneToOneRingBuffer ring;
  private final int number;
  private final long trace;
  private boolean closed;

  private ExitRing(
      final MemorySegment mapping,
      final Arena arena,
      final int capacity,
      final int number,
      final long trace) {
    this.mapping = mapping;
    this.arena = arena;
    this.number = number;
    this.trace = trace;
    header = header(mapping);
    // Safe: the mapping has that length, and is kept as long as this is.
    data =
        new UnsafeBuffer(
            mapping.address() + DATA_OFFSET, capacity + RingBufferDescriptor.TRAILER_LENGTH);
    ring = new OneToOneRingBuffer(data);
  }

  /** A ring in memory of nobody else's, for a copy of another. */
  private ExitRing(final ExitRing of) {
    mapping = null;
    arena = null;
    number = of.number;
    trace = of.trace;
    header = new UnsafeBuffer(ByteBuffer.allocateDirect(0));
    data =
        new UnsafeBuffer(
            ByteBuffer.allocateDirect(of.capacity() + RingBufferDescriptor.TRAILER_LENGTH));
    ring = new OneToOneRingBuffer(data);
  }

  /** An empty one of the same size, in memory alone. */
  ExitRing sibling() {
    return new ExitRing(this);
  }

  /**
   * Creates the file.
   *
   * @param capacity bytes of the ring, a power of two
   * @param number of the ring in its trace: that of its vCPU
   * @param trace identity of that trace
   * @throws IOException if the file exists or the disk is full
   */
  public static ExitRing create(
      final Path file, final int capacity, final int number, final long trace) throws IOException {
    if (capacity < MIN_CAPACITY || !BitUtil.isPowerOfTwo(capacity)) {
      throw new IllegalArgumentException(
          "ring capacity=" + capacity + ", allowed: a power of two from " + MIN_CAPACITY);
    }
    final long length = DATA_OFFSET + (long) capacity + RingBufferDescriptor.TRAILER_LENGTH;
    try (FileChannel channel =
        FileChannel.open(
            file,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.READ,
            StandardOpenOption.WRITE)) {
      fill(channel, length);
      final Arena arena = Arena.ofShared();
      final MemorySegment mapping = map(channel, length, arena);
      final MessageHeaderEncoder messageHeader = new MessageHeaderEncoder();
      new RingHeaderEncoder()
          .wrapAndApplyHeader(header(mapping), 0, messageHeader)
          .capacity(capacity)
          .ring(number)
          .trace(trace);
      return new ExitRing(mapping, arena, capacity, number, trace);
    }
  }

  /**
   * Maps the file as a segment: the first buffer that a process maps is made by reflection, which
   * takes the start of a guest milliseconds.
   */
  private static MemorySegment map(final FileChannel channel, final long length, final Arena arena)
      throws IOException {
    boolean mapped = false;
    try {
      final MemorySegment mapping = channel.map(MapMode.READ_WRITE, 0, length, arena);
      mapped = true;
      return mapping;
    } finally {
      if (!mapped) {
        arena.close();
      }
    }
  }

  /** Safe as long as the mapping is there. */
  private static UnsafeBuffer header(final MemorySegment mapping) {
    return new UnsafeBuffer(mapping.address(), DATA_OFFSET);
  }

  /** Writes zeros, many pages at a time: a guest's start waits for it. */
  private static void fill(final FileChannel channel, final long length) throws IOException {
    final ByteBuffer zeros = ByteBuffer.allocateDirect(FILL_BYTES);
    while (channel.position() < length) {
      zeros.clear().limit((int) Math.min(FILL_BYTES, length - channel.position()));
      channel.write(zeros);
    }
  }

  /**
   * Opens a ring that was left behind. Nothing is written to the file.
   *
   * @throws IOException if it is missing, too short, or not a ring of this schema
   */
  public static ExitRing openReadOnly(final Path file) throws IOException {
    final long length = Files.size(file);
    if (length < DATA_OFFSET + MIN_CAPACITY || length > Integer.MAX_VALUE) {
      throw new IOException(file + ": length=" + length + ", not an exit ring");
    }
    final Arena arena = Arena.ofShared();
    boolean opened = false;
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      final MemorySegment mapping = channel.map(MapMode.READ_ONLY, 0, length, arena);
      final ExitRing ring = check(file, mapping, arena);
      opened = true;
      return ring;
    } finally {
      if (!opened) {
        arena.close();
      }
    }
  }

  private static ExitRing check(final Path file, final MemorySegment mapping, final Arena arena)
      throws IOException {
    final UnsafeBuffer start = header(mapping);
    final MessageHeaderDecoder header = new MessageHeaderDecoder().wrap(start, 0);
    final RingHeaderDecoder ring = new RingHeaderDecoder();
    if (header.schemaId() != RingHeaderDecoder.SCHEMA_ID
        || header.templateId() != RingHeaderDecoder.TEMPLATE_ID
        || header.blockLength() > DATA_OFFSET / 2) {
      throw new IOException(file + ": not an exit ring");
    }
    if (header.version() > RingHeaderDecoder.SCHEMA_VERSION) {
      throw new IOException(
          file
              + ": schema version "
              + header.version()
              + ", this vmexit reads up to "
              + RingHeaderDecoder.SCHEMA_VERSION);
    }
    ring.wrapAndApplyHeader(start, 0, header);
    final long capacity = ring.capacity();
    final long length = mapping.byteSize();
    if (capacity < MIN_CAPACITY
        || !BitUtil.isPowerOfTwo(capacity)
        || length < DATA_OFFSET + capacity + RingBufferDescriptor.TRAILER_LENGTH) {
      throw new IOException(file + ": capacity=" + capacity + " does not fit length=" + length);
    }
    return new ExitRing(mapping, arena, (int) capacity, (int) ring.ring(), ring.trace());
  }

  /** Where a byte of the data is in the file. */
  static long fileOffset(final int index) {
    return DATA_OFFSET + (long) index;
  }

  OneToOneRingBuffer ring() {
    return ring;
  }

  UnsafeBuffer data() {
    return data;
  }

  /**
   * Says that all records below a number are in the ring, or were: a reader of what a killed
   * process left can then tell an exit that never was from one that a damage has taken away.
   */
  void given(final long sequence) {
    put(COUNT_OFFSET, sequence);
  }

  /** Says how many records were dropped. */
  void dropped(final long count) {
    put(COUNT_OFFSET + Long.BYTES, count);
  }

  private void put(final int offset, final long count) {
    // Released: comes after the commit of the last record that it counts.
    header.putLongRelease(offset, count << 16 | count * COUNT_HASH >>> 48);
  }

  /** How many numbers its writer had given to records at least; 0 where that is damaged. */
  public long given() {
    return count(COUNT_OFFSET);
  }

  /** How many records its writer had dropped; 0 where that is damaged. */
  public long dropped() {
    return count(COUNT_OFFSET + Long.BYTES);
  }

  private long count(final int offset) {
    final long word = header.getLongVolatile(offset);
    final long count = word >>> 16;
    return (word & 0xFFFF) == count * COUNT_HASH >>> 48 ? count : 0;
  }

  /** Brings it to the disk. */
  public void force() {
    mapping.force();
  }

  /** Number of the ring in its trace. */
  public int number() {
    return number;
  }

  /** Identity of the ring's trace. */
  public long trace() {
    return trace;
  }

  /** Bytes of the ring. */
  public int capacity() {
    return ring.capacity();
  }

  /** Unmaps it; neither its writer nor its reader may be used any more. */
  @Override
  public void close() {
    if (!closed && arena != null) {
      closed = true;
      arena.close();
    }
  }
}

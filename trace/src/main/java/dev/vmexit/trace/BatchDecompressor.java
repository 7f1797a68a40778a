package dev.vmexit.trace;

import io.airlift.compress.v3.MalformedInputException;
import io.airlift.compress.v3.lz4.Lz4Decompressor;
import io.airlift.compress.v3.lz4.Lz4JavaDecompressor;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * LZ4: Java's at first, the native one when a process has read much. The native one, where there is
 * one, is twice as fast; but it takes a quarter of a second until it is there, in which Java's
 * reads millions of records. It is there for all readers at once, so all of them count. Not
 * thread-safe.
 */
final class BatchDecompressor {
  /** Batches that a process reads by Java. */
  private static final int LONG = 4_096;

  private static final AtomicInteger UNPACKED = new AtomicInteger();

  private Lz4Decompressor lz4 = new Lz4JavaDecompressor();
  private boolean isLong;

  /**
   * Unpacks one block.
   *
   * @return bytes of {@code to} that were filled
   * @throws IllegalStateException if it is none, or {@code to} is too short
   */
  int decompress(final MemorySegment from, final MemorySegment to) {
    if (!isLong && UNPACKED.incrementAndGet() > LONG) {
      isLong = true;
      lz4 = Lz4Decompressor.create();
    }
    try {
      return lz4.decompress(from, to);
    } catch (final MalformedInputException
        | IllegalArgumentException
        | IndexOutOfBoundsException e) {
      throw new IllegalStateException("batch does not decompress", e);
    }
  }
}

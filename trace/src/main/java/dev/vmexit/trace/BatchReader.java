package dev.vmexit.trace;

import dev.vmexit.exit.sbe.BatchHeaderDecoder;
import dev.vmexit.exit.sbe.MessageHeaderDecoder;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.zip.CRC32C;
import org.agrona.concurrent.UnsafeBuffer;

/** One batch in bytes that nobody has checked yet. Not thread-safe. */
final class BatchReader {
  /** The first eight bytes of every batch of this schema. */
  static final long SIGNATURE =
      BatchHeaderDecoder.BLOCK_LENGTH
          | (long) BatchHeaderDecoder.TEMPLATE_ID << 16
          | (long) BatchHeaderDecoder.SCHEMA_ID << 32
          | (long) BatchHeaderDecoder.SCHEMA_VERSION << 48;

  private final MessageHeaderDecoder messageHeader = new MessageHeaderDecoder();
  private final BatchHeaderDecoder header = new BatchHeaderDecoder();
  private final UnsafeBuffer buffer = new UnsafeBuffer(0, 0);
  private final CRC32C checksum = new CRC32C();
  private final BatchDecompressor decompressor = new BatchDecompressor();
  private byte[] bytes = {};
  private int start;
  private int size;

  // Fields of the batch, kept: the bytes behind the header go when the next one is looked at.
  private int ring;
  private long firstSequence;
  private long nextSequence;
  private long firstRetired;
  private long firstTime;
  private int count;
  private int length;

  /**
   * Checks the batch that may start somewhere.
   *
   * @param available bytes that are there from the start on
   * @return what is wrong, or null
   */
  String wrap(final byte[] from, final int at, final int available, final long trace) {
    if (available < BatchWriter.HEADER) {
      return "is cut short";
    }
    buffer.wrap(from, at, available);
    messageHeader.wrap(buffer, 0);
    if (buffer.getLong(0, java.nio.ByteOrder.LITTLE_ENDIAN) != SIGNATURE) {
      return "is not as vmexit has written it";
    }
    header.wrapAndApplyHeader(buffer, 0, messageHeader);
    final long stored = header.storedLength();
    if (stored > BatchWriter.MAX_LENGTH - BatchWriter.HEADER
        || header.length() > BatchWriter.MAX_LENGTH - BatchWriter.HEADER) {
      return "has a batch of impossible length";
    }
    if (available < BatchWriter.HEADER + stored) {
      return "is cut short";
    }
    checksum.reset();
    checksum.update(
        from, at + BatchWriter.CHECKED, BatchWriter.HEADER - BatchWriter.CHECKED + (int) stored);
    if (checksum.getValue() != header.checksum()) {
      return "has a batch whose checksum is wrong";
    }
    if (header.trace() != trace) {
      return "has a batch of another trace";
    }
    bytes = from;
    start = at;
    size = BatchWriter.HEADER + (int) stored;
    ring = header.ring();
    firstSequence = header.firstSequence();
    nextSequence = header.nextSequence();
    firstRetired = header.firstRetired();
    firstTime = header.firstTime();
    count = (int) header.count();
    length = (int) header.length();
    return null;
  }

  /** Bytes of it, with its headers. */
  int size() {
    return size;
  }

  int ring() {
    return ring;
  }

  long firstSequence() {
    return firstSequence;
  }

  long nextSequence() {
    return nextSequence;
  }

  long firstRetired() {
    return firstRetired;
  }

  long firstTime() {
    return firstTime;
  }

  int count() {
    return count;
  }

  /**
   * Unpacks the records.
   *
   * @param room for the longest batch
   * @return bytes of the records with their lengths
   * @throws IllegalStateException if that is not possible
   */
  int unpack(final MemorySegment room) {
    final MemorySegment to = room.asSlice(0, length);
    final int stored = size - BatchWriter.HEADER;
    switch (header.encoding()) {
      case BatchWriter.ENCODING_NONE -> {
        if (length != stored) {
          throw new IllegalStateException("batch length=" + length);
        }
        MemorySegment.copy(bytes, start + BatchWriter.HEADER, to, ValueLayout.JAVA_BYTE, 0, length);
      }
      case BatchWriter.ENCODING_LZ4 -> {
        if (decompressor.decompress(
                MemorySegment.ofArray(bytes).asSlice(start + BatchWriter.HEADER, stored), to)
            != length) {
          throw new IllegalStateException("batch decompresses to less than " + length);
        }
      }
      default -> throw new IllegalStateException("batch of encoding " + header.encoding());
    }
    return length;
  }
}

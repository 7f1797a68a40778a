package dev.vmexit.trace;

import dev.vmexit.exit.ExitDecoder;
import dev.vmexit.exit.ExitEncoder;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.exit.sbe.BatchHeaderEncoder;
import dev.vmexit.exit.sbe.MessageHeaderEncoder;
import java.nio.ByteOrder;
import java.util.zip.CRC32C;
import java.util.zip.Deflater;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Puts one batch together: headers, then each record after two bytes of its length. The first
 * record of a batch is a full one, so that each batch can be read by itself. Deflating halves a
 * batch for about 1 us a record, on the recorder's thread alone.
 */
final class BatchWriter implements AutoCloseable {
  static final int HEADER = MessageHeaderEncoder.ENCODED_LENGTH + BatchHeaderEncoder.BLOCK_LENGTH;
  static final int ENCODING_NONE = 0;
  static final int ENCODING_DEFLATE = 1;

  /** A batch of as many bytes ends before the next full record. */
  private static final int ENOUGH = 16 * 1024;

  /** Bytes that the longest batch needs. */
  static final int MAX_LENGTH =
      HEADER + ENOUGH + ExitRingWriter.FULL_INTERVAL * (ExitEncoder.MAX_LENGTH + Short.BYTES);

  private final byte[] plain = new byte[MAX_LENGTH];
  private final byte[] packed = new byte[MAX_LENGTH];
  private final UnsafeBuffer buffer = new UnsafeBuffer(plain);
  private final UnsafeBuffer headerBuffer = new UnsafeBuffer(plain);
  private final MessageHeaderEncoder messageHeader = new MessageHeaderEncoder();
  private final BatchHeaderEncoder header = new BatchHeaderEncoder();
  private final CRC32C checksum = new CRC32C();
  private final Deflater deflater = new Deflater(Deflater.BEST_SPEED, true);
  private final int ring;
  private byte[] bytes = plain;
  private long nextSequence;
  private int count;
  private int length = HEADER;

  BatchWriter(final int ring) {
    this.ring = ring;
  }

  int count() {
    return count;
  }

  /** Whether it is long enough to end before a full record. */
  boolean isEnough() {
    return length >= ENOUGH;
  }

  /** Records in finished batches. */
  long nextSequence() {
    return nextSequence;
  }

  /** What {@link #finish} made. */
  byte[] bytes() {
    return bytes;
  }

  void add(final DirectBuffer from, final int offset, final int recordLength) {
    if (ExitDecoder.sequenceLow(from, offset) != (nextSequence + count & 0xFFFF_FFFFL)) {
      throw new IllegalStateException(
          "ring " + ring + ": record is not number " + (nextSequence + count));
    }
    buffer.putShort(length, (short) recordLength, ByteOrder.LITTLE_ENDIAN);
    buffer.putBytes(length + Short.BYTES, from, offset, recordLength);
    length += Short.BYTES + recordLength;
    count++;
  }

  /**
   * Fills in the headers.
   *
   * @param small whether there is time to deflate it
   * @return the length of {@link #bytes}
   */
  int finish(final boolean small) {
    int encoding = ENCODING_NONE;
    int end = length;
    bytes = plain;
    if (small) {
      deflater.reset();
      deflater.setInput(plain, HEADER, length - HEADER);
      deflater.finish();
      final int size = deflater.deflate(packed, HEADER, length - HEADER);
      if (deflater.finished()) {
        encoding = ENCODING_DEFLATE;
        end = HEADER + size;
        bytes = packed;
      }
    }
    checksum.reset();
    checksum.update(bytes, HEADER, end - HEADER);
    headerBuffer.wrap(bytes);
    header
        .wrapAndApplyHeader(headerBuffer, 0, messageHeader)
        .firstSequence(nextSequence)
        .count(count)
        .length(length - HEADER)
        .storedLength(end - HEADER)
        .checksum(checksum.getValue())
        .ring(ring)
        .encoding(encoding);
    return end;
  }

  /** Starts the next batch. */
  void next() {
    nextSequence += count;
    count = 0;
    length = HEADER;
  }

  @Override
  public void close() {
    deflater.end();
  }
}

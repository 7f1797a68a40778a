package dev.vmexit.trace;

import dev.vmexit.exit.ExitDecoder;
import dev.vmexit.exit.ExitEncoder;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.exit.sbe.BatchHeaderEncoder;
import dev.vmexit.exit.sbe.MessageHeaderEncoder;
import java.nio.ByteOrder;
import java.util.zip.CRC32C;
import org.agrona.DirectBuffer;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Puts one batch together: headers, then each record after two bytes of its length. The first
 * record of a batch is a full one, so that each batch can be read by itself.
 */
final class BatchWriter {
  static final int HEADER = MessageHeaderEncoder.ENCODED_LENGTH + BatchHeaderEncoder.BLOCK_LENGTH;

  /** Bytes that the longest batch needs. */
  static final int MAX_LENGTH =
      HEADER + ExitRingWriter.FULL_INTERVAL * (ExitEncoder.MAX_LENGTH + Short.BYTES);

  private final byte[] bytes = new byte[MAX_LENGTH];
  private final UnsafeBuffer buffer = new UnsafeBuffer(bytes);
  private final MessageHeaderEncoder messageHeader = new MessageHeaderEncoder();
  private final BatchHeaderEncoder header = new BatchHeaderEncoder();
  private final CRC32C checksum = new CRC32C();
  private final int ring;
  private long nextSequence;
  private int count;
  private int length = HEADER;

  BatchWriter(final int ring) {
    this.ring = ring;
  }

  int count() {
    return count;
  }

  /** Records in finished batches. */
  long nextSequence() {
    return nextSequence;
  }

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

  /** Fills in the headers and returns the whole length. */
  int finish() {
    checksum.reset();
    checksum.update(bytes, HEADER, length - HEADER);
    header
        .wrapAndApplyHeader(buffer, 0, messageHeader)
        .firstSequence(nextSequence)
        .count(count)
        .length(length - HEADER)
        .checksum(checksum.getValue())
        .ring(ring);
    return length;
  }

  /** Starts the next batch. */
  void next() {
    nextSequence += count;
    count = 0;
    length = HEADER;
  }
}

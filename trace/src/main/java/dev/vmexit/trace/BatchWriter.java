package dev.vmexit.trace;

import dev.vmexit.exit.ExitDecoder;
import dev.vmexit.exit.ExitEncoder;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRingWriter;
import dev.vmexit.exit.sbe.BatchHeaderEncoder;
import dev.vmexit.exit.sbe.MessageHeaderEncoder;
import io.airlift.compress.v3.lz4.Lz4JavaCompressor;
import java.nio.ByteOrder;
import java.util.zip.CRC32C;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Puts one batch together: headers, then each record after two bytes of its length. The first
 * record of a batch is a full one, so that each batch can be read by itself; a GAP is a batch of
 * its own. LZ4 halves a batch for 0.1 to 0.2 us a record, on the recorder's thread alone; deflating
 * took ten times as long, and a reader ten times as long to undo it, for a sixth less.
 */
final class BatchWriter {
  static final int HEADER = MessageHeaderEncoder.ENCODED_LENGTH + BatchHeaderEncoder.BLOCK_LENGTH;

  /** The checksum is over what comes from here on. */
  static final int CHECKED =
      MessageHeaderEncoder.ENCODED_LENGTH
          + BatchHeaderEncoder.checksumEncodingOffset()
          + BatchHeaderEncoder.checksumEncodingLength();

  static final int ENCODING_NONE = 0;
  static final int ENCODING_LZ4 = 1;

  /** The most bytes after which a batch ends before the next full record. */
  private static final int MOST = 64 * 1024;

  /** A batch is in the ring until it is written: this part of the ring at most. */
  private static final int PART_OF_RING = 8;

  /** Bytes that the longest batch needs. */
  static final int MAX_LENGTH =
      HEADER + MOST + ExitRingWriter.FULL_INTERVAL * (ExitEncoder.MAX_LENGTH + Short.BYTES);

  private final byte[] plain = new byte[MAX_LENGTH];
  private final Lz4JavaCompressor compressor = new Lz4JavaCompressor();
  private final byte[] packed = new byte[HEADER + compressor.maxCompressedLength(MAX_LENGTH)];
  private final UnsafeBuffer buffer = new UnsafeBuffer(plain);
  private final UnsafeBuffer headerBuffer = new UnsafeBuffer(plain);
  private final MessageHeaderEncoder messageHeader = new MessageHeaderEncoder();
  private final BatchHeaderEncoder header = new BatchHeaderEncoder();
  private final CRC32C checksum = new CRC32C();
  private final ExitDecoder decoder = new ExitDecoder();
  private final ExitEvent first = new ExitEvent();
  private final int ring;
  private final long trace;
  private final int enough;
  private byte[] bytes = plain;
  private long firstSequence;
  private long nextSequence;
  private int count;
  private int length = HEADER;

  BatchWriter(final int ring, final long trace, final int ringCapacity) {
    this.ring = ring;
    this.trace = trace;
    enough = Math.min(MOST, ringCapacity / PART_OF_RING);
  }

  int count() {
    return count;
  }

  /** Whether it is long enough to end before a full record. */
  boolean isEnough() {
    return length >= enough || (count > 0 && first.kind == ExitKind.GAP);
  }

  /** Numbers that it takes: a GAP spans as many as it says. */
  long span() {
    return nextSequence - firstSequence;
  }

  /** Host time of its first record, ns. */
  long firstTime() {
    return first.hostTime;
  }

  /** The number of the record that comes next. */
  long nextSequence() {
    return nextSequence;
  }

  /** The number of the first record, where it is not 0; before any is added. */
  void startAt(final long sequence) {
    firstSequence = sequence;
    nextSequence = sequence;
  }

  /** What {@link #finish} made. */
  byte[] bytes() {
    return bytes;
  }

  void add(final UnsafeBuffer from, final int offset, final int recordLength) {
    if (ExitDecoder.sequenceLow(from, offset) != (nextSequence & 0xFFFF_FFFFL)) {
      throw new IllegalStateException("ring " + ring + ": record is not number " + nextSequence);
    }
    if (count == 0) {
      decoder.reset();
      decoder.decode(from.addressOffset() + offset, recordLength, first);
    }
    buffer.putShort(length, (short) recordLength, ByteOrder.LITTLE_ENDIAN);
    buffer.putBytes(length + Short.BYTES, from, offset, recordLength);
    length += Short.BYTES + recordLength;
    count++;
    nextSequence += first.kind == ExitKind.GAP ? first.value : 1;
  }

  /**
   * Fills in the headers.
   *
   * @param small whether there is time to compress it
   * @return the length of {@link #bytes}
   */
  int finish(final boolean small) {
    int encoding = ENCODING_NONE;
    int end = length;
    bytes = plain;
    if (small) {
      final int size =
          compressor.compress(
              plain, HEADER, length - HEADER, packed, HEADER, packed.length - HEADER);
      if (size < length - HEADER) {
        encoding = ENCODING_LZ4;
        end = HEADER + size;
        bytes = packed;
      }
    }
    headerBuffer.wrap(bytes);
    header
        .wrapAndApplyHeader(headerBuffer, 0, messageHeader)
        .ring(ring)
        .encoding(encoding)
        .trace(trace)
        .firstSequence(firstSequence)
        .nextSequence(nextSequence)
        .firstRetired(first.retired)
        .firstTime(first.hostTime)
        .count(count)
        .length(length - HEADER)
        .storedLength(end - HEADER);
    checksum.reset();
    checksum.update(bytes, CHECKED, end - CHECKED);
    header.checksum(checksum.getValue());
    return end;
  }

  /** Starts the next batch. */
  void next() {
    firstSequence = nextSequence;
    count = 0;
    length = HEADER;
  }
}

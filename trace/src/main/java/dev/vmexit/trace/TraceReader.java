package dev.vmexit.trace;

import dev.vmexit.exit.ExitDecoder;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.exit.ExitRing;
import dev.vmexit.exit.ExitRingReader;
import dev.vmexit.exit.sbe.BatchHeaderDecoder;
import dev.vmexit.exit.sbe.MessageHeaderDecoder;
import dev.vmexit.memory.HostMemory;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32C;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;
import net.openhft.chronicle.bytes.Bytes;
import net.openhft.chronicle.queue.ExcerptTailer;
import net.openhft.chronicle.queue.impl.single.SingleChronicleQueue;
import net.openhft.chronicle.wire.DocumentContext;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Reads a trace from its first record to its last: the queue, and then what a killed process left
 * in the rings. Touches nothing in the folder. Not thread-safe.
 *
 * <p>Where records are missing the reader delivers one of kind {@link ExitKind#GAP} in their place.
 */
public final class TraceReader implements AutoCloseable {
  private static final String CUT_SHORT = "is cut short";
  private static final String NOT_OURS = "is not as vmexit has written it";

  private final Path folder;
  private final TraceManifest manifest;
  private final SingleChronicleQueue queue;
  private final ExcerptTailer tailer;
  private final byte[] bytes = new byte[BatchWriter.MAX_LENGTH];
  private final UnsafeBuffer header = new UnsafeBuffer(bytes);
  private final MessageHeaderDecoder messageHeader = new MessageHeaderDecoder();
  private final BatchHeaderDecoder batchHeader = new BatchHeaderDecoder();
  private final CRC32C checksum = new CRC32C();
  private final Inflater inflater = new Inflater(true);
  private final byte[] plain = new byte[BatchWriter.MAX_LENGTH];
  private final ExitDecoder[] decoders;
  private final long[] expected;

  // The batch in work. Freed by close(); the bounds are those of BatchWriter.MAX_LENGTH.
  private final long batch = HostMemory.allocate(BatchWriter.MAX_LENGTH + Long.BYTES);
  private int batchRing;
  private long batchSequence;
  private int batchLeft;
  private int offset;
  private int length;

  private boolean queueDone;
  private int nextRing;
  private ExitRing ring;
  private ExitRingReader ringReader;
  private ExitEvent target;

  private ExitEvent afterGap;
  private long records;
  private long gaps;
  private boolean closed;

  private TraceReader(final Path folder, final TraceManifest manifest) {
    this.folder = folder;
    this.manifest = manifest;
    decoders = new ExitDecoder[manifest.vcpus()];
    expected = new long[manifest.vcpus()];
    for (int i = 0; i < decoders.length; i++) {
      decoders[i] = new ExitDecoder();
    }
    final Path queueFolder = TraceFolder.queue(folder);
    if (!Files.isDirectory(queueFolder)) {
      throw new TraceException(folder + ": truncated, no " + queueFolder.getFileName());
    }
    try {
      queue = TraceQueue.read(queueFolder);
      tailer = queue.createTailer().toStart();
    } catch (final Exception | InternalError e) {
      // Exception: the queue throws checked ones that it does not declare.
      throw new TraceException(
          folder + ": damaged, its queue " + (e instanceof InternalError ? CUT_SHORT : NOT_OURS),
          e);
    }
  }

  /**
   * Opens a trace, finished or not.
   *
   * @throws TraceException if it is no trace, of a newer schema, or damaged
   */
  public static TraceReader open(final Path folder) {
    return new TraceReader(folder, TraceFolder.load(folder));
  }

  /** What the trace is of. */
  public TraceManifest manifest() {
    return manifest;
  }

  /** Records delivered, without gaps. */
  public long records() {
    return records;
  }

  /** Records known to be missing so far. */
  public long gaps() {
    return gaps;
  }

  /**
   * Reads the next record.
   *
   * @return false at the end
   * @throws TraceException if the trace is damaged here, or ends before its last record
   */
  public boolean next(final ExitEvent event) {
    if (afterGap != null) {
      copy(afterGap, event);
      afterGap = null;
      records++;
      return true;
    }
    final int from = read(event);
    if (from < 0) {
      if (manifest.complete() && records + gaps < manifest.records()) {
        throw new TraceException(
            folder + ": truncated, it has " + records + " of " + manifest.records() + " records");
      }
      return false;
    }
    final long missing = event.sequence - expected[from];
    if (missing < 0) {
      throw new TraceException(
          folder + ": record " + event.sequence + " comes after " + (expected[from] - 1));
    }
    expected[from] = event.sequence + 1;
    if (missing > 0) {
      gaps += missing;
      afterGap = new ExitEvent();
      copy(event, afterGap);
      event.clearPayload();
      event.kind = ExitKind.GAP;
      event.address = event.sequence - missing;
      event.value = missing;
      event.sequence = event.address;
      event.guestTime = 0;
      event.handlerTime = 0;
      return true;
    }
    records++;
    return true;
  }

  /** Reads one record from where one is left; returns its ring, or -1 at the end. */
  private int read(final ExitEvent event) {
    try {
      while (!queueDone) {
        if (batchLeft > 0) {
          record(event);
          return batchRing;
        }
        queueDone = !nextBatch();
      }
      return leftBehind(event);
    } catch (final Exception | InternalError e) {
      final long last = expected[batchRing] - 1;
      throw new TraceException(
          folder
              + ": damaged "
              + (last < 0 ? "at its start: " : "after record " + last + ": ")
              + why(e),
          e);
    }
  }

  /** What is wrong, without what only the queue's authors could read. */
  private static String why(final Throwable e) {
    return switch (e) {
      case InternalError fault -> CUT_SHORT; // the mapping reaches over the file's end
      case IllegalStateException own -> own.getMessage();
      case FileSystemException host -> host.getFile() + ": " + host.getReason();
      case IOException file when file.getClass() == IOException.class -> file.getMessage();
      default -> NOT_OURS;
    };
  }

  private void record(final ExitEvent event) {
    if (offset + Short.BYTES > length) {
      throw new IllegalStateException("batch is shorter than its records");
    }
    final int recordLength = HostMemory.getShort(batch + offset);
    offset += Short.BYTES;
    if (recordLength > length - offset) {
      throw new IllegalStateException("record length=" + recordLength);
    }
    decoders[batchRing].decode(batch + offset, recordLength, event);
    if (event.sequence != batchSequence) {
      throw new IllegalStateException(
          "record says number " + event.sequence + " at place " + batchSequence);
    }
    offset += recordLength;
    batchSequence++;
    batchLeft--;
  }

  private boolean nextBatch() {
    final DocumentContext next;
    try {
      next = tailer.readingDocument();
    } catch (final InternalError e) {
      // The file ends here, or its disk was full and has no page for what a writer had mapped.
      return false;
    }
    try (DocumentContext document = next) {
      if (!document.isPresent()) {
        return false;
      }
      final Bytes<?> from = document.wire().bytes();
      final long size = from.readRemaining();
      if (size < BatchWriter.HEADER || size > bytes.length) {
        throw new IllegalStateException("batch length=" + size);
      }
      from.read(bytes, 0, (int) size);
      messageHeader.wrap(header, 0);
      if (messageHeader.schemaId() != BatchHeaderDecoder.SCHEMA_ID
          || messageHeader.templateId() != BatchHeaderDecoder.TEMPLATE_ID
          || messageHeader.blockLength() != BatchHeaderDecoder.BLOCK_LENGTH) {
        throw new IllegalStateException("batch header of another kind");
      }
      batchHeader.wrapAndApplyHeader(header, 0, messageHeader);
      final long stored = batchHeader.storedLength();
      if (stored != size - BatchWriter.HEADER
          || batchHeader.length() > BatchWriter.MAX_LENGTH - BatchWriter.HEADER) {
        throw new IllegalStateException(
            "batch length="
                + batchHeader.length()
                + ", stored length="
                + stored
                + " in an excerpt of "
                + size);
      }
      length = (int) batchHeader.length();
      if (batchHeader.ring() >= decoders.length) {
        throw new IllegalStateException("ring=" + batchHeader.ring());
      }
      checksum.reset();
      checksum.update(bytes, BatchWriter.HEADER, (int) stored);
      if (checksum.getValue() != batchHeader.checksum()) {
        throw new IllegalStateException("checksum of a batch is wrong");
      }
    }
    unpack();
    batchRing = batchHeader.ring();
    batchSequence = batchHeader.firstSequence();
    batchLeft = (int) batchHeader.count();
    offset = 0;
    decoders[batchRing].reset();
    return true;
  }

  private void unpack() {
    switch (batchHeader.encoding()) {
      case BatchWriter.ENCODING_NONE -> {
        if (length != batchHeader.storedLength()) {
          throw new IllegalStateException("batch length=" + length);
        }
        HostMemory.copyIn(bytes, BatchWriter.HEADER, batch, length);
      }
      case BatchWriter.ENCODING_DEFLATE -> {
        inflater.reset();
        inflater.setInput(bytes, BatchWriter.HEADER, (int) batchHeader.storedLength());
        try {
          if (inflater.inflate(plain, 0, length) != length) {
            throw new IllegalStateException("batch inflates to less than " + length);
          }
        } catch (final DataFormatException e) {
          throw new IllegalStateException("batch does not inflate", e);
        }
        HostMemory.copyIn(plain, 0, batch, length);
      }
      default -> throw new IllegalStateException("batch of encoding " + batchHeader.encoding());
    }
  }

  // ---- rings ----

  private int leftBehind(final ExitEvent event) throws IOException {
    while (true) {
      if (ringReader == null && !openRing()) {
        return -1;
      }
      target = event;
      final int count = ringReader.drain(this::onRingRecord, 1);
      if (count > 0) {
        if (event.sequence >= expected[batchRing]) {
          return batchRing;
        }
        // In the queue too: the process died between the append and the commit.
        continue;
      }
      ring.close();
      ring = null;
      ringReader = null;
    }
  }

  private boolean openRing() throws IOException {
    while (nextRing < decoders.length) {
      final Path file = TraceFolder.ring(folder, nextRing++);
      if (Files.exists(file)) {
        ring = ExitRing.openReadOnly(file);
        if (ring.number() >= decoders.length) {
          throw new IOException(file + ": ring=" + ring.number());
        }
        batchRing = ring.number();
        ringReader = ExitRingReader.leftBehind(ring);
        return true;
      }
      if (!manifest.complete()) {
        throw new IOException("no " + file.getFileName());
      }
    }
    return false;
  }

  private boolean onRingRecord(final UnsafeBuffer buffer, final int at, final int recordLength) {
    final ExitDecoder decoder = decoders[batchRing];
    if (ExitDecoder.isFull(buffer, at)) {
      decoder.reset();
    }
    decoder.decode(buffer.addressOffset() + at, recordLength, target);
    return true;
  }

  private static void copy(final ExitEvent from, final ExitEvent to) {
    ExitEvents.copy(from, to);
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      HostMemory.free(batch);
      inflater.end();
      if (ring != null) {
        ring.close();
      }
      tailer.close();
      queue.close();
    }
  }
}

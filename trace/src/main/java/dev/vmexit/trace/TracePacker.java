package dev.vmexit.trace;

import dev.vmexit.exit.ExitEncoder;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.PackedLayout.Block;
import dev.vmexit.trace.PackedLayout.Entry;
import io.airlift.compress.v3.zstd.ZstdCompressor;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import java.util.zip.CRC32C;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Packs a trace into one compact file ({@link PackedLayout}) that every reader takes as it takes
 * the folder. The records are read and written anew: those of the rings of a killed process, too,
 * and where some are lost a GAP says so.
 */
public final class TracePacker implements AutoCloseable {
  /** Slower than what a recorder could afford, for a fifth less; levels above gain little. */
  private static final int LEVEL = 9;

  /** Full records are needed at the start of a batch alone. */
  private static final int FULL_INTERVAL = 1 << 20;

  /** Room for the longest batch in a ring: then a batch is as long as can be. */
  private static final int RING = 1 << 20;

  private static final int COPY = 1 << 16;

  private final FileChannel out;
  private final List<Block> blocks = new ArrayList<>();
  private final List<Entry> files = new ArrayList<>();
  private final ZstdCompressor compressor = ZstdCompressor.create(LEVEL);
  private final byte[] plain = new byte[PackedLayout.MAX_BLOCK];
  private final byte[] packed = new byte[compressor.maxCompressedLength(PackedLayout.MAX_BLOCK)];
  private final UnsafeBuffer record = new UnsafeBuffer(0, 0);
  private final BatchReader header = new BatchReader();
  private final Source[] sources;
  private final long trace;
  private long position;
  private int length;

  /** Of one vCPU's ring. */
  private final class Source {
    private final ExitEncoder encoder = new ExitEncoder(FULL_INTERVAL);
    private final BatchWriter batch;
    private boolean started;

    Source(final int vcpu) {
      batch = new BatchWriter(vcpu, trace, RING);
    }

    void add(final ExitEvent event) throws IOException {
      if (!started) {
        started = true;
        batch.startAt(event.sequence);
      }
      if (batch.count() > 0 && (batch.isEnough() || event.kind == ExitKind.GAP)) {
        flush();
      }
      if (batch.count() == 0) {
        encoder.requestFull();
      }
      final int bytes = encoder.encode(event);
      record.wrap(encoder.address(), bytes);
      batch.add(record, 0, bytes);
    }

    void flush() throws IOException {
      if (batch.count() > 0) {
        final int bytes = batch.finish(false);
        if (length + bytes > PackedLayout.BLOCK) {
          flushBlock();
        }
        System.arraycopy(batch.bytes(), 0, plain, length, bytes);
        length += bytes;
        batch.next();
      }
    }
  }

  /**
   * What was packed.
   *
   * @param records that there are
   * @param gaps records that are missing
   * @param damages where, as far as the trace was damaged
   * @param bytes of the packed trace
   */
  public record Result(long records, long gaps, List<TraceDamage> damages, long bytes) {
    /** Takes a copy of the list. */
    public Result {
      damages = List.copyOf(damages);
    }
  }

  private TracePacker(final FileChannel out, final TraceManifest manifest) {
    this.out = out;
    trace = manifest.trace();
    sources = new Source[manifest.vcpus()];
    for (int vcpu = 0; vcpu < sources.length; vcpu++) {
      sources[vcpu] = new Source(vcpu);
    }
  }

  /**
   * Packs a trace.
   *
   * @param folder whose recording has ended
   * @param target is made; it is never seen half-written
   * @throws TraceException if that is not possible
   */
  public static Result pack(final Path folder, final Path target) {
    if (Files.isDirectory(folder) && RecordingLock.isTaken(folder)) {
      throw new TraceException(folder + ": is being recorded: pack it when its run has ended");
    }
    try (TraceReader reader = TraceReader.open(folder)) {
      if (TraceFiles.isPacked(folder)) {
        throw new TraceException(folder + ": is packed already");
      }
      if (Files.exists(target)) {
        throw new TraceException(target + ": exists: choose another file with --output");
      }
      return pack(reader, folder, target.toAbsolutePath());
    } catch (final FileSystemException e) {
      throw new TraceException(
          target + ": cannot be written: " + (e.getReason() == null ? e : e.getReason()), e);
    } catch (final IOException e) {
      throw new TraceException(target + ": cannot be written: " + e.getMessage(), e);
    }
  }

  private static Result pack(final TraceReader reader, final Path folder, final Path target)
      throws IOException {
    final Path temporary =
        target.resolveSibling(target.getFileName() + "." + ProcessHandle.current().pid());
    try {
      final long bytes;
      try (TracePacker packer =
          new TracePacker(
              FileChannel.open(temporary, StandardOpenOption.WRITE, StandardOpenOption.CREATE),
              reader.manifest())) {
        packer.records(reader);
        packer.file(
            TraceFolder.manifest(folder).getFileName().toString(),
            reader.manifest().text().getBytes(StandardCharsets.UTF_8));
        packer.files(folder);
        bytes = packer.finish();
      }
      try {
        Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
      } catch (final FileAlreadyExistsException e) {
        throw new TraceException(target + ": exists: choose another file with --output", e);
      }
      return new Result(reader.records(), reader.gaps(), reader.damages(), bytes);
    } finally {
      Files.deleteIfExists(temporary);
    }
  }

  private void records(final TraceReader reader) throws IOException {
    write(
        ByteBuffer.allocate(Long.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(PackedLayout.MAGIC)
            .flip());
    final ExitEvent event = new ExitEvent();
    while (reader.next(event)) {
      // A forged record may speak of a vCPU that there is not.
      sources[Math.min(event.vcpu, sources.length - 1)].add(event);
    }
    for (final Source source : sources) {
      source.flush();
    }
    flushBlock();
  }

  private void flushBlock() throws IOException {
    if (length == 0) {
      return;
    }
    final String wrong = header.wrap(plain, 0, length, trace);
    if (wrong != null) {
      throw new IllegalStateException("what was just made " + wrong);
    }
    final int size = compressor.compress(plain, 0, length, packed, 0, packed.length);
    blocks.add(
        new Block(
            position,
            size,
            length,
            header.firstSequence(),
            header.firstRetired(),
            header.firstTime()));
    write(ByteBuffer.wrap(packed, 0, size));
    length = 0;
  }

  private void file(final String name, final byte[] content) throws IOException {
    final CRC32C crc = new CRC32C();
    crc.update(content);
    files.add(new Entry(name, position, content.length, (int) crc.getValue()));
    write(ByteBuffer.wrap(content));
  }

  /** All that is neither records, nor the manifest, nor a thing of the recorder's alone. */
  private void files(final Path folder) throws IOException {
    try (Stream<Path> all = Files.walk(folder)) {
      for (final Path path : (Iterable<Path>) all.filter(Files::isRegularFile).sorted()::iterator) {
        final String name = folder.relativize(path).toString();
        if (!path.startsWith(TraceFolder.queue(folder))
            && !path.equals(TraceFolder.manifest(folder))
            && !path.equals(TraceFolder.lock(folder))
            && !TraceFolder.isRing(path)) {
          copy(path, name);
        }
      }
    }
  }

  private void copy(final Path path, final String name) throws IOException {
    final long start = position;
    final CRC32C crc = new CRC32C();
    final byte[] buffer = new byte[COPY];
    try (InputStream in = Files.newInputStream(path)) {
      for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
        crc.update(buffer, 0, count);
        write(ByteBuffer.wrap(buffer, 0, count));
      }
    }
    files.add(new Entry(name, start, position - start, (int) crc.getValue()));
  }

  private long finish() throws IOException {
    write(new PackedLayout(blocks, files).encode(position));
    out.force(true);
    return position;
  }

  private void write(final ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      position += out.write(bytes);
    }
  }

  @Override
  public void close() throws IOException {
    out.close();
  }
}

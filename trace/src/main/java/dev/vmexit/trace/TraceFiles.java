package dev.vmexit.trace;

import dev.vmexit.trace.PackedLayout.Entry;
import java.io.BufferedInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.CRC32C;

/**
 * The files of a trace beside its records, in a folder or packed: what is {@code
 * boot/memory.bin.gz} of a folder {@code boot} is the same of a packed trace {@code boot}.
 */
public final class TraceFiles {
  private TraceFiles() {}

  /** Whether a trace is packed: one file. */
  public static boolean isPacked(final Path trace) {
    return Files.isRegularFile(trace);
  }

  /** Whether there is such a file. */
  public static boolean exists(final Path file) throws IOException {
    final Path packed = packed(file);
    if (packed == null) {
      return Files.exists(file);
    }
    try (FileChannel channel = FileChannel.open(packed, StandardOpenOption.READ)) {
      return entry(packed, channel, file) != null;
    }
  }

  /**
   * Opens a file to read.
   *
   * @throws NoSuchFileException if there is none
   */
  public static InputStream open(final Path file) throws IOException {
    final Path packed = packed(file);
    if (packed == null) {
      return Files.newInputStream(file);
    }
    final FileChannel channel = FileChannel.open(packed, StandardOpenOption.READ);
    try {
      final Entry entry = entry(packed, channel, file);
      if (entry == null) {
        throw new NoSuchFileException(file.toString());
      }
      channel.position(entry.offset());
      return new Part(new BufferedInputStream(Channels.newInputStream(channel)), entry, packed);
    } catch (final IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  /** The packed trace that a path leads into, or null. */
  private static Path packed(final Path file) {
    for (Path parent = file.getParent(); parent != null; parent = parent.getParent()) {
      if (Files.isDirectory(parent)) {
        return null;
      }
      if (Files.isRegularFile(parent)) {
        return parent;
      }
    }
    return null;
  }

  private static Entry entry(final Path packed, final FileChannel channel, final Path file)
      throws IOException {
    final String name = packed.relativize(file).toString();
    return PackedLayout.read(packed, channel).files().stream()
        .filter(entry -> entry.name().equals(name))
        .findFirst()
        .orElse(null);
  }

  /** A part of a file; at its end its checksum is compared. */
  private static final class Part extends FilterInputStream {
    private final Entry entry;
    private final Path packed;
    private final CRC32C checksum = new CRC32C();
    private long left;

    Part(final InputStream in, final Entry entry, final Path packed) {
      super(in);
      this.entry = entry;
      this.packed = packed;
      left = entry.length();
    }

    @Override
    public int read() throws IOException {
      final byte[] one = new byte[1];
      return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
    }

    @Override
    public int read(final byte[] to, final int offset, final int length) throws IOException {
      if (left == 0 || length == 0) {
        return left == 0 ? -1 : 0;
      }
      final int count = in.read(to, offset, (int) Math.min(left, length));
      if (count < 0) {
        throw new TraceException(packed + ": truncated in " + entry.name());
      }
      checksum.update(to, offset, count);
      left -= count;
      if (left == 0 && (int) checksum.getValue() != entry.checksum()) {
        throw new TraceException(
            packed + ": damaged, the checksum of " + entry.name() + " is wrong");
      }
      return count;
    }

    @Override
    public long skip(final long count) throws IOException {
      return 0; // nothing may pass by the checksum
    }

    @Override
    public int available() throws IOException {
      return (int) Math.min(left, in.available());
    }

    @Override
    public boolean markSupported() {
      return false;
    }
  }
}

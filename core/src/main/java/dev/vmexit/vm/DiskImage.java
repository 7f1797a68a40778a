package dev.vmexit.vm;

import dev.vmexit.device.BlockStore;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.Map;
import java.util.function.Consumer;

/**
 * A disk image in a file, a flat sequence of sectors. A snapshot keeps what the guest writes in
 * memory and leaves the file as it is. Where the host fails, the guest's drive reports an error and
 * the first failure is told in words.
 */
public final class DiskImage implements BlockStore, AutoCloseable {
  /** What a guest's writes do. */
  public enum Mode {
    /** They go to the file, which is locked against other machines. */
    WRITE,
    /** They are kept in memory until the end of the run. */
    SNAPSHOT,
    /** They are refused. */
    READ_ONLY
  }

  private static final int PAGE = 4096;

  private final Path path;
  private final FileChannel channel;
  private final long bytes;
  private final Mode mode;
  private final Consumer<String> trouble;

  /** Pages that a snapshot's guest has written, by number. */
  private final Map<Long, byte[]> written = new HashMap<>();

  private boolean told;

  private DiskImage(
      final Path path,
      final FileChannel channel,
      final long bytes,
      final Mode mode,
      final Consumer<String> trouble) {
    this.path = path;
    this.channel = channel;
    this.bytes = bytes;
    this.mode = mode;
    this.trouble = trouble;
  }

  /**
   * Opens an image.
   *
   * @param block its size is a multiple of this: 512 for a disk, 2048 for a CD
   * @param trouble told once, in one line, when the host fails to read or write
   * @throws IOException where the file cannot be had; its message names the file and the reason
   */
  public static DiskImage open(
      final Path path, final Mode mode, final int block, final Consumer<String> trouble)
      throws IOException {
    if (!Files.exists(path)) {
      throw new IOException(path + ": no such file");
    }
    if (Files.isDirectory(path)) {
      throw new IOException(path + ": is a directory");
    }
    if (!Files.isReadable(path) || mode == Mode.WRITE && !Files.isWritable(path)) {
      throw new IOException(
          path
              + ": no permission to "
              + (Files.isReadable(path) ? "write; ,snapshot and ,readonly need none" : "read"));
    }
    final FileChannel channel =
        mode == Mode.WRITE
            ? FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)
            : FileChannel.open(path, StandardOpenOption.READ);
    try {
      if (mode == Mode.WRITE) {
        lock(path, channel);
      }
      final long size = channel.size();
      if (size == 0 || size % block != 0) {
        throw new IOException(
            path + ": " + size + " bytes, wanted: a multiple of " + block + " above 0");
      }
      return new DiskImage(path, channel, size, mode, trouble);
    } catch (final IOException e) {
      channel.close();
      throw e;
    }
  }

  /** The lock is held until the channel is closed. */
  private static void lock(final Path path, final FileChannel channel) throws IOException {
    FileLock lock;
    try {
      lock = channel.tryLock();
    } catch (final OverlappingFileLockException e) {
      lock = null;
    }
    if (lock == null) {
      throw new IOException(path + ": another machine writes to it; ,snapshot leaves it as it is");
    }
  }

  @Override
  public long bytes() {
    return bytes;
  }

  @Override
  public boolean isWritable() {
    return mode != Mode.READ_ONLY;
  }

  @Override
  public boolean read(final long offset, final byte[] to, final int at, final int length) {
    if (!fromFile(offset, to, at, length)) {
      return false;
    }
    if (!written.isEmpty()) {
      overlay(offset, to, at, length, false);
    }
    return true;
  }

  private boolean fromFile(final long offset, final byte[] to, final int at, final int length) {
    final ByteBuffer buffer = ByteBuffer.wrap(to, at, length);
    try {
      while (buffer.hasRemaining()) {
        final long from = offset + (buffer.position() - at);
        if (channel.read(buffer, from) < 0) {
          return fail("read", "the file ends at " + channel.size() + ", it was longer");
        }
      }
      return true;
    } catch (final IOException e) {
      return fail("read", e.getMessage());
    }
  }

  @Override
  public boolean write(final long offset, final byte[] from, final int at, final int length) {
    switch (mode) {
      case READ_ONLY -> {
        return false;
      }
      case SNAPSHOT -> {
        return keep(offset, from, at, length);
      }
      default -> {
        final ByteBuffer buffer = ByteBuffer.wrap(from, at, length);
        try {
          while (buffer.hasRemaining()) {
            channel.write(buffer, offset + (buffer.position() - at));
          }
          return true;
        } catch (final IOException e) {
          return fail("write", e.getMessage());
        }
      }
    }
  }

  @Override
  public boolean flush() {
    if (mode != Mode.WRITE) {
      return true;
    }
    try {
      channel.force(false);
      return true;
    } catch (final IOException e) {
      return fail("write", e.getMessage());
    }
  }

  private boolean keep(final long offset, final byte[] from, final int at, final int length) {
    for (long page = offset / PAGE; page * PAGE < offset + length; page++) {
      if (!written.containsKey(page)) {
        final byte[] content = new byte[PAGE];
        if (!fromFile(page * PAGE, content, 0, (int) Math.min(PAGE, bytes - page * PAGE))) {
          return false;
        }
        written.put(page, content);
      }
    }
    overlay(offset, from, at, length, true);
    return true;
  }

  /** Copies between an array and those pages of a range that were written. */
  private void overlay(
      final long offset, final byte[] array, final int at, final int length, final boolean in) {
    for (long page = offset / PAGE; page * PAGE < offset + length; page++) {
      final byte[] content = written.get(page);
      if (content != null) {
        final long first = Math.max(offset, page * PAGE);
        final int count = (int) (Math.min(offset + length, (page + 1) * PAGE) - first);
        final int inPage = (int) (first - page * PAGE);
        final int inArray = at + (int) (first - offset);
        if (in) {
          System.arraycopy(array, inArray, content, inPage, count);
        } else {
          System.arraycopy(content, inPage, array, inArray, count);
        }
      }
    }
  }

  private boolean fail(final String what, final String why) {
    if (!told) {
      told = true;
      trouble.accept("disk " + path + ": cannot " + what + ": " + why);
    }
    return false;
  }

  /** Gives file and lock back. */
  @Override
  public void close() throws IOException {
    channel.close();
  }
}

package dev.vmexit.boot;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/**
 * A kernel or an initrd as read from disk: little-endian fields behind bounds checks whose failures
 * name the file and what is missing.
 */
public final class ImageFile {
  private final String role;
  private final String name;
  private final byte[] bytes;
  private final ByteBuffer buffer;

  private ImageFile(final String role, final String name, final byte[] bytes) {
    this.role = role;
    this.name = name;
    this.bytes = bytes;
    this.buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }

  /**
   * Wraps bytes that are in memory already; they are not copied.
   *
   * @param role what messages call it: "kernel", "initrd"
   */
  public static ImageFile of(final String role, final String name, final byte[] bytes) {
    return new ImageFile(role, name, bytes);
  }

  /**
   * Reads a file.
   *
   * @param role what messages call it: "kernel", "initrd"
   * @param limit largest size in bytes that can be of use, the guest's memory
   * @throws BootException where it is missing, not a file, not readable, empty or too large
   */
  public static ImageFile read(final String role, final Path path, final long limit) {
    final String option = "--" + role;
    final String subject = role + " " + path + ": ";
    if (!Files.exists(path)) {
      throw new BootException(subject + "no such file, give its path by " + option);
    }
    if (Files.isDirectory(path)) {
      throw new BootException(subject + "is a directory, give a file by " + option);
    }
    try {
      final long size = Files.size(path);
      if (size > Math.min(limit, Integer.MAX_VALUE - 16)) {
        throw new BootException(
            String.format(
                Locale.ROOT,
                "%s%s do not fit into a memory of %s, give more by --memory",
                subject,
                BootException.size(size),
                BootException.size(limit)));
      }
      final byte[] content = Files.readAllBytes(path);
      if (content.length == 0) {
        throw new BootException(subject + "is empty, give another by " + option);
      }
      return new ImageFile(role, path.toString(), content);
    } catch (final IOException e) {
      throw new BootException(subject + "cannot be read (" + e.getMessage() + ")", e);
    }
  }

  /** File name as given. */
  public String name() {
    return name;
  }

  /** Length in bytes. */
  public int length() {
    return bytes.length;
  }

  byte[] bytes() {
    return bytes;
  }

  /** An exception about this image: "kernel NAME: WHAT". */
  BootException error(final String what) {
    return new BootException(role + " " + name + ": " + what);
  }

  /** Whether the file holds all of a range; false for one that is negative or overflows. */
  boolean contains(final long offset, final long size) {
    return offset >= 0 && size >= 0 && offset <= bytes.length && size <= bytes.length - offset;
  }

  /** Checks that the file holds all of a range. */
  void require(final long offset, final long size, final String what) {
    if (!contains(offset, size)) {
      throw error(
          String.format(
              Locale.ROOT,
              "truncated or damaged: its %s is at %s, length %s, but the file has %d bytes;"
                  + " fetch it again",
              what,
              BootException.hex(offset),
              BootException.hex(size),
              bytes.length));
    }
  }

  int u8(final long offset, final String what) {
    require(offset, 1, what);
    return buffer.get((int) offset) & 0xFF;
  }

  int u16(final long offset, final String what) {
    require(offset, 2, what);
    return buffer.getShort((int) offset) & 0xFFFF;
  }

  long u32(final long offset, final String what) {
    require(offset, 4, what);
    return buffer.getInt((int) offset) & 0xFFFF_FFFFL;
  }

  long u64(final long offset, final String what) {
    require(offset, 8, what);
    return buffer.getLong((int) offset);
  }
}

package dev.vmexit.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/**
 * Writes an initramfs archive: the {@code newc} form of cpio, the one that the Linux kernel unpacks
 * (kernel documentation, "initramfs buffer format").
 *
 * <p>Inode numbers count up and times are zero, so the same entries give the same bytes.
 *
 * <pre>
 *   "070701"  inode mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize 0
 *             13 fields of 8 hexadecimal digits; namesize counts the closing NUL
 *   name NUL  zeros up to a multiple of 4 from the start of the archive
 *   data      zeros up to a multiple of 4
 *   ...       closed by an entry named TRAILER!!!
 * </pre>
 */
final class CpioWriter implements AutoCloseable {
  private static final int DIRECTORY = 0040000;
  private static final int CHARACTER_DEVICE = 0020000;
  private static final int REGULAR_FILE = 0100000;
  private static final int SYMBOLIC_LINK = 0120000;
  private static final byte[] NONE = {};

  private final OutputStream out;
  private long written;
  private int inode;

  /** Writes to a stream that {@link #close} closes. */
  CpioWriter(final OutputStream out) {
    this.out = out;
  }

  /** Adds a directory; its parents must have been added before. */
  void directory(final String path, final int permissions) throws IOException {
    entry(path, DIRECTORY | permissions, 2, 0, 0, NONE);
  }

  /** Adds a regular file. */
  void file(final String path, final int permissions, final byte[] content) throws IOException {
    entry(path, REGULAR_FILE | permissions, 1, 0, 0, content);
  }

  /** Adds a symbolic link. */
  void link(final String path, final String target) throws IOException {
    entry(path, SYMBOLIC_LINK | 0777, 1, 0, 0, target.getBytes(StandardCharsets.UTF_8));
  }

  /** Adds a character device node. */
  void device(final String path, final int permissions, final int major, final int minor)
      throws IOException {
    entry(path, CHARACTER_DEVICE | permissions, 1, major, minor, NONE);
  }

  /** Writes the closing entry and closes the stream. */
  @Override
  public void close() throws IOException {
    try (out) {
      inode = -1;
      entry("TRAILER!!!", 0, 1, 0, 0, NONE);
    }
  }

  private void entry(
      final String path,
      final int mode,
      final int links,
      final int deviceMajor,
      final int deviceMinor,
      final byte[] data)
      throws IOException {
    final byte[] name = path.getBytes(StandardCharsets.UTF_8);
    inode++;
    final int[] fields = {
      inode, mode, 0, 0, links, 0, data.length, 0, 0, deviceMajor, deviceMinor, name.length + 1, 0
    };
    final StringBuilder header = new StringBuilder(110).append("070701");
    for (final int field : fields) {
      header.append(String.format(Locale.ROOT, "%08X", field));
    }
    write(header.toString().getBytes(StandardCharsets.US_ASCII));
    write(name);
    write(new byte[1]);
    pad();
    write(data);
    pad();
  }

  private void write(final byte[] bytes) throws IOException {
    out.write(bytes);
    written += bytes.length;
  }

  private void pad() throws IOException {
    write(new byte[(int) (-written & 3)]);
  }
}

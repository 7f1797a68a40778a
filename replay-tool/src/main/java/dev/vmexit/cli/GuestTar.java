package dev.vmexit.cli;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/**
 * Finds files in a tar stream (POSIX ustar, with GNU's long names): what {@code dpkg-deb
 * --fsys-tarfile} writes.
 *
 * <pre>
 *   000 name 100    07C size 12, octal    09C type 1: '0' file, 'L' name of the next entry
 *   then the data, padded to 512 bytes; two blocks of zeros end the archive
 * </pre>
 */
final class GuestTar {
  /** A file that was found. */
  static final class Entry {
    private final String name;
    private final byte[] content;

    private Entry(final String name, final byte[] content) {
      this.name = name;
      this.content = content;
    }

    /** Path without a leading "./". */
    String name() {
      return name;
    }

    /** The file's bytes, not copied. */
    byte[] content() {
      return content;
    }
  }

  private static final int BLOCK = 512;
  private static final int SIZE_OFFSET = 0x7C;
  private static final int TYPE_OFFSET = 0x9C;
  private static final int LARGEST = 1 << 30;

  private GuestTar() {}

  /**
   * Reads up to the first regular file whose path is wanted.
   *
   * @return null where the archive has none
   * @throws IOException where the stream is no tar archive or ends early
   */
  static Entry find(final InputStream tar, final Predicate<String> wanted) throws IOException {
    return find(tar, wanted, 1).stream().findFirst().orElse(null);
  }

  /**
   * Reads the regular files whose path is wanted.
   *
   * @param most how many of them; the archive is not read beyond
   * @throws IOException where the stream is no tar archive or ends early
   */
  static List<Entry> find(final InputStream tar, final Predicate<String> wanted, final int most)
      throws IOException {
    final List<Entry> found = new ArrayList<>();
    String longName = null;
    while (found.size() < most) {
      final byte[] header = tar.readNBytes(BLOCK);
      if (header.length == 0 || (header.length == BLOCK && header[0] == 0)) {
        return found;
      }
      if (header.length < BLOCK) {
        throw new EOFException("tar archive ends inside a header");
      }
      final long size = octal(header);
      final char type = (char) header[TYPE_OFFSET];
      final String name = strip(longName != null ? longName : text(header, 100));
      final boolean file = type == '0' || type == 0;
      longName = null;
      if (type == 'L') {
        longName = text(read(tar, size), (int) size);
      } else if (file && wanted.test(name)) {
        found.add(new Entry(name, read(tar, size)));
      } else {
        tar.skipNBytes(padded(size));
      }
    }
    return found;
  }

  private static byte[] read(final InputStream tar, final long size) throws IOException {
    if (size > LARGEST) {
      throw new IOException("tar entry of " + size + " bytes");
    }
    final byte[] content = tar.readNBytes((int) size);
    if (content.length < size) {
      throw new EOFException("tar archive ends inside a file");
    }
    tar.skipNBytes(padded(size) - size);
    return content;
  }

  private static long padded(final long size) {
    return (size + BLOCK - 1) & -BLOCK;
  }

  private static long octal(final byte[] header) throws IOException {
    final String digits =
        new String(header, SIZE_OFFSET, 12, StandardCharsets.US_ASCII).replace('\0', ' ').strip();
    try {
      return Long.parseUnsignedLong(digits, 8);
    } catch (final NumberFormatException e) {
      throw new IOException("not a tar archive: size field \"" + digits + "\"", e);
    }
  }

  private static String text(final byte[] bytes, final int most) {
    int length = 0;
    while (length < most && bytes[length] != 0) {
      length++;
    }
    return new String(bytes, 0, length, StandardCharsets.UTF_8);
  }

  private static String strip(final String path) {
    return path.startsWith("./") ? path.substring(2) : path;
  }
}

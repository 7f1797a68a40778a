package dev.vmexit.boot;

import java.util.Locale;

/**
 * A guest that cannot be started from what the user gave. The message is one line for the user: the
 * thing, its value, and what to do about it.
 */
public final class BootException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Says what is wrong and the way out. */
  public BootException(final String message) {
    super(message);
  }

  /** Says what is wrong and the way out, and keeps what the host said. */
  public BootException(final String message, final Throwable cause) {
    super(message, cause);
  }

  /** A size as people write it: whole KiB or MiB rounded up, bytes below one KiB. */
  static String size(final long bytes) {
    if (bytes >= 0 && bytes < 1024) {
      return bytes + " bytes";
    }
    if (bytes >>> 20 == 0) {
      return ((bytes + 1023) >>> 10) + " KiB";
    }
    return ((bytes >>> 20) + ((bytes & 0xF_FFFF) == 0 ? 0 : 1)) + " MiB";
  }

  /** A number in hexadecimal with its prefix. */
  static String hex(final long value) {
    return String.format(Locale.ROOT, "0x%x", value);
  }
}

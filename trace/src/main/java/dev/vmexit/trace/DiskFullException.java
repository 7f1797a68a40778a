package dev.vmexit.trace;

import java.io.IOException;

/** There is no room now; nothing was written. */
final class DiskFullException extends IOException {
  private static final long serialVersionUID = 1;

  DiskFullException(final String message) {
    super(message);
  }
}

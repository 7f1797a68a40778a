package dev.vmexit.memory;

/** A C library call failed. The message names the call, its arguments and the error. */
public final class ErrnoException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final int errno;

  public ErrnoException(final String call, final int errno, final String text) {
    super(call + ": " + text + " (errno " + errno + ")");
    this.errno = errno;
  }

  /** The C library's errno. */
  public int errno() {
    return errno;
  }
}

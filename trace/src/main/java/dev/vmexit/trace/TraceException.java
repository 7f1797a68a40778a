package dev.vmexit.trace;

/** A trace that cannot be written or read; the message is one line for the user. */
public final class TraceException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** Says what is wrong, with its value, and what to do where that is known. */
  public TraceException(final String message) {
    super(message);
  }

  /** Keeps the cause for {@code --debug}. */
  public TraceException(final String message, final Throwable cause) {
    super(message, cause);
  }
}

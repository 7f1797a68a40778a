package dev.vmexit.cli;

/** A catalogue guest that cannot be had. The message is one line for the user. */
final class GuestException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  GuestException(final String message) {
    super(message);
  }

  GuestException(final String message, final Throwable cause) {
    super(message, cause);
  }
}

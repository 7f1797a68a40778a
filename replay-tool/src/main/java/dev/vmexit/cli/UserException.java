package dev.vmexit.cli;

/**
 * Something that the user gave is wrong. The message is one line: the thing, the value, the way
 * out.
 */
final class UserException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  UserException(final String message) {
    super(message);
  }

  UserException(final String message, final Throwable cause) {
    super(message, cause);
  }
}

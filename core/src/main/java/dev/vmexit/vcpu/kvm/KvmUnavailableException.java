package dev.vmexit.vcpu.kvm;

/** This host's KVM cannot be used; the message says why, and what to do, in one line. */
public final class KvmUnavailableException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public KvmUnavailableException(final String message) {
    super(message);
  }

  public KvmUnavailableException(final String message, final Throwable cause) {
    super(message, cause);
  }
}

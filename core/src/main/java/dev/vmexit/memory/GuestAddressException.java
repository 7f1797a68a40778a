package dev.vmexit.memory;

/** An access by a loader or a device that is not wholly inside guest memory. */
public final class GuestAddressException extends IndexOutOfBoundsException {
  private static final long serialVersionUID = 1L;

  private final long gpa;
  private final long length;

  GuestAddressException(final String what, final long gpa, final long length) {
    super(what + ": gpa=0x" + Long.toHexString(gpa) + ", length=" + length);
    this.gpa = gpa;
    this.length = length;
  }

  /** First guest-physical address of the access. */
  public long gpa() {
    return gpa;
  }

  /** Length of the access in bytes. */
  public long length() {
    return length;
  }
}

package dev.vmexit.memory;

/**
 * One contiguous piece of guest-physical memory.
 *
 * @param gpa first guest-physical address, page-aligned
 * @param bytes length, whole pages
 * @param host address of its first byte in this process; valid until the memory is closed
 * @param readOnly ROM: guest writes become MMIO exits
 */
public record Slot(long gpa, long bytes, long host, boolean readOnly) {
  /** First address after the slot. */
  public long end() {
    return gpa + bytes;
  }

  @Override
  public String toString() {
    return String.format(
        java.util.Locale.ROOT,
        "0x%x-0x%x %s",
        gpa,
        gpa + bytes - 1,
        readOnly ? "read-only" : "ram");
  }
}

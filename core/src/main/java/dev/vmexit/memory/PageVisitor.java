package dev.vmexit.memory;

/** Receives pages of guest memory. */
@FunctionalInterface
public interface PageVisitor {
  /**
   * One page.
   *
   * @param gpa its guest-physical address
   * @param host its address in this process, {@link GuestMemory#PAGE_SIZE} bytes
   */
  void page(long gpa, long host);
}

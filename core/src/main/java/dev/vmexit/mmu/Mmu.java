package dev.vmexit.mmu;

/** A translation that follows the control registers. */
public interface Mmu extends Translation {
  /**
   * Takes the values of the paging registers after any of them was written. With PAE paging the
   * PDPTEs are read from guest memory at this moment; see {@link PagingContext#set}.
   *
   * @return false where a PDPTE has a reserved bit set: the write must raise #GP(0), and the MMU
   *     still goes by the old values
   */
  boolean setContext(long cr0, long cr3, long cr4, long efer);

  /** The registers that the MMU goes by. */
  PagingContext context();
}

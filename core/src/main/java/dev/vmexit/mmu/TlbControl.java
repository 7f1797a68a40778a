package dev.vmexit.mmu;

/** How an MMU reaches the TLBs that were filled from it. */
public interface TlbControl {
  /** Drops everything, global entries included. */
  void flushAll();

  /** Drops what is not global: a write of CR3. */
  default void flushNonGlobal() {
    flushAll();
  }

  /** Drops one linear page. */
  void flushPage(long gva);

  /** Takes write access to a guest-physical frame away from all entries. */
  void writeProtectFrame(long gfn);

  /** Drops all entries that map a guest-physical frame. */
  void flushFrame(long gfn);
}

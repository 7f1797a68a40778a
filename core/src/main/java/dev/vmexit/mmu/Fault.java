package dev.vmexit.mmu;

/**
 * What became of a shadow page fault: a reused flyweight. The outcomes have the numbers that exit
 * records give them.
 */
public final class Fault {
  /** An spte was installed; the instruction restarts. */
  public static final int FILLED = 1;

  /** The guest's own tables forbid it: inject #PF with {@link #errorCode}. */
  public static final int REFLECTED = 2;

  /** A store to a shadowed guest table: let it happen once, then tell the MMU. */
  public static final int TABLE_WRITE = 3;

  /** No slot backs {@link #gpa}: the access is MMIO. */
  public static final int NO_SLOT = 4;

  /** A store to a read-only slot at {@link #gpa}: MMIO. */
  public static final int READ_ONLY = 5;

  public int outcome;

  /** Full guest-physical address, offset included; 0 where {@link #REFLECTED}. */
  public long gpa;

  /** The architecture's error code of the #PF to inject; 0 where not {@link #REFLECTED}. */
  public int errorCode;

  /** The entries that were read, among other things. */
  public final Walk walk = new Walk();
}

package dev.vmexit.mmu;

/** What a walk of the guest's tables found: a reused flyweight. */
public final class Walk {
  /** Entries that one walk can read. */
  public static final int MAX_ENTRIES = 4;

  /** Given by the caller: PKRU where protection keys are in force, else 0. */
  public int pkru;

  /**
   * Given by the caller: a store to a page of a key in this set is taken for a load, as the key may
   * forbid it. Bit 0 is key 0, bit 1 are all others.
   */
  public int suspectKeys;

  /** The access as it was taken. */
  public int access;

  /** The access is allowed; else {@link #errorCode} is that of the #PF. */
  public boolean ok;

  public int errorCode;

  /** Full guest-physical address, offset included; valid where {@link #ok}. */
  public long gpa;

  /** log2 of the page's size: 12, 21, 22 or 30. */
  public int pageShift;

  // Of all entries together.
  public boolean writable;
  public boolean user;
  public boolean noExecute;

  /** G of the entry that maps the page, and CR4.PGE. */
  public boolean global;

  /** The mapping entry's dirty bit, after this access. */
  public boolean dirty;

  /** MAY_* bits of {@link PagingContext} for the access's privilege. */
  public int rights;

  /** Entries read, from the top; PAE's PDPTEs are not among them: they are read with CR3. */
  public int count;

  /** Bytes of an entry: 4 or 8. */
  public int entrySize;

  public final long[] entryAddress = new long[MAX_ENTRIES];

  /** As read, before this walk set accessed or dirty bits. */
  public final long[] entryValue = new long[MAX_ENTRIES];
}

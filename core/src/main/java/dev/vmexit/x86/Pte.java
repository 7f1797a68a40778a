package dev.vmexit.x86;

/** Bits of paging-structure entries (SDM Vol. 3A, 4.3 to 4.5). */
public final class Pte {
  public static final long PRESENT = 1;
  public static final long WRITABLE = 1 << 1;
  public static final long USER = 1 << 2;
  public static final long PWT = 1 << 3;
  public static final long PCD = 1 << 4;
  public static final long ACCESSED = 1 << 5;
  public static final long DIRTY = 1 << 6;

  /** Maps a page in an entry above the last level. */
  public static final long PAGE_SIZE = 1 << 7;

  public static final long GLOBAL = 1 << 8;

  /** 4-level paging, in the entry that maps a page: number of its protection key. */
  public static final long PROTECTION_KEY = 0xFL << 59;

  public static final int PROTECTION_KEY_SHIFT = 59;
  public static final long NO_EXECUTE = 1L << 63;

  private Pte() {}
}

package dev.vmexit.x86;

/** Bits of the page-fault error code (SDM Vol. 3A, 4.7). */
public final class PageFaultError {
  /** Set: a protection violation; clear: a not-present entry. */
  public static final int PRESENT = 1;

  public static final int WRITE = 1 << 1;
  public static final int USER = 1 << 2;
  public static final int RESERVED = 1 << 3;
  public static final int FETCH = 1 << 4;

  /** The page's protection key forbids the access. */
  public static final int PROTECTION_KEY = 1 << 5;

  private PageFaultError() {}
}

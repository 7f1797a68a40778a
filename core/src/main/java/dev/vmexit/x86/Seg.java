package dev.vmexit.x86;

/** Segment registers by their number in instruction encodings (SDM Vol. 2A, table 3-1 ff.). */
public final class Seg {
  public static final int ES = 0;
  public static final int CS = 1;
  public static final int SS = 2;
  public static final int DS = 3;
  public static final int FS = 4;
  public static final int GS = 5;

  /** Local descriptor table register; not encodable as a segment operand. */
  public static final int LDTR = 6;

  /** Task register; not encodable as a segment operand. */
  public static final int TR = 7;

  /** Registers with a descriptor cache. */
  public static final int COUNT = 8;

  private Seg() {}
}

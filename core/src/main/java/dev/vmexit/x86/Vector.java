package dev.vmexit.x86;

/** Exception vectors (SDM Vol. 3A, table 6-1). */
public final class Vector {
  public static final int DE = 0;
  public static final int DB = 1;
  public static final int NMI = 2;
  public static final int BP = 3;
  public static final int OF = 4;
  public static final int BR = 5;
  public static final int UD = 6;
  public static final int NM = 7;
  public static final int DF = 8;
  public static final int TS = 10;
  public static final int NP = 11;
  public static final int SS = 12;
  public static final int GP = 13;
  public static final int PF = 14;
  public static final int MF = 16;
  public static final int AC = 17;
  public static final int MC = 18;
  public static final int XM = 19;

  private static final String[] NAMES = {
    "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "#9", "#TS", "#NP", "#SS", "#GP",
    "#PF", "#15", "#MF", "#AC", "#MC", "#XM"
  };

  private Vector() {}

  /** Whether delivery pushes an error code. */
  public static boolean hasErrorCode(final int vector) {
    return vector == DF || (vector >= TS && vector <= PF) || vector == AC;
  }

  /** The manual's name of an exception, or the number of an interrupt. */
  public static String name(final int vector) {
    return vector >= 0 && vector < NAMES.length
        ? NAMES[vector]
        : "0x" + Integer.toHexString(vector);
  }
}

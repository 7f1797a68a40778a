package dev.vmexit.x86.encode;

/** Condition codes in the order of their encodings (SDM Vol. 1, appendix B). */
public enum Condition {
  O,
  NO,
  B,
  AE,
  E,
  NE,
  BE,
  A,
  S,
  NS,
  P,
  NP,
  L,
  GE,
  LE,
  G;

  /** The low four bits of Jcc, SETcc and CMOVcc opcodes. */
  public int code() {
    return ordinal();
  }
}

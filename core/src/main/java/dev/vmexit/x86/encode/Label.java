package dev.vmexit.x86.encode;

/**
 * A place in the code of one {@link Assembler}: made by {@link Assembler#label}, placed by {@link
 * Assembler#bind}, before or after its uses.
 */
public final class Label {
  static final int UNBOUND = -1;

  /** Stands at an address outside the code. */
  static final int FIXED = -2;

  private final String name;

  /** Index of the item in the code that the label stands before. */
  int item = UNBOUND;

  /** Address after the layout. */
  long address;

  Label(final String name) {
    this.name = name;
  }

  boolean isBound() {
    return item != UNBOUND;
  }

  @Override
  public String toString() {
    return name;
  }
}

package dev.vmexit.mmu;

/** The paging modes (SDM Vol. 3A, 4.1.1). */
public enum PagingMode {
  /** CR0.PG clear: linear addresses are physical. */
  NONE,
  /** Two levels of 4-byte entries. */
  BITS32,
  /** Four PDPTEs held in the processor, then two levels of 8-byte entries. */
  PAE,
  /** Four levels of 8-byte entries: long mode. */
  LEVEL4
}

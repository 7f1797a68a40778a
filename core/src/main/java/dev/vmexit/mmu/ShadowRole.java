package dev.vmexit.mmu;

/**
 * What a shadow page stands for besides its guest frame, packed into an int. The same frame may be
 * shadowed in several roles at once: as tables of several levels, or of several paging modes.
 *
 * <p>CR0.WP, CR4.SMEP and CR4.SMAP are not in it: sptes carry the guest's own bits, and the rules
 * of the moment are applied when they are looked up.
 *
 * <pre>
 *   9       8    7    6..5      4..3   2..0
 *   direct  PSE  NXE  quadrant  mode   level (1: maps 4 KiB)
 * </pre>
 */
final class ShadowRole {
  private static final int MODE_SHIFT = 3;
  private static final int QUADRANT_SHIFT = 5;
  private static final int NXE = 1 << 7;
  private static final int PSE = 1 << 8;
  private static final int DIRECT = 1 << 9;

  private ShadowRole() {}

  /** The part of a role that the registers decide. */
  static int base(final PagingContext context) {
    return code(context.mode()) << MODE_SHIFT
        | (context.nxe() ? NXE : 0)
        | (context.pse() ? PSE : 0);
  }

  /**
   * Role of a guest table.
   *
   * @param quadrant which part of a 32-bit table, whose 1,024 entries take two shadow pages as a
   *     page table, and as a page directory, each of its entries taking two sptes, four
   */
  static int table(final int base, final int level, final int quadrant) {
    return base | level | quadrant << QUADRANT_SHIFT;
  }

  /** Role of a page that splits a large guest page, or stands in where there is no guest table. */
  static int direct(final int level) {
    return DIRECT | level;
  }

  private static int code(final PagingMode mode) {
    return switch (mode) {
      case NONE -> 0;
      case BITS32 -> 1;
      case PAE -> 2;
      case LEVEL4 -> 3;
    };
  }

  static int level(final int role) {
    return role & 7;
  }

  static PagingMode mode(final int role) {
    return switch (role >> MODE_SHIFT & 3) {
      case 1 -> PagingMode.BITS32;
      case 2 -> PagingMode.PAE;
      case 3 -> PagingMode.LEVEL4;
      default -> PagingMode.NONE;
    };
  }

  static int quadrant(final int role) {
    return role >> QUADRANT_SHIFT & 3;
  }

  static boolean nxe(final int role) {
    return (role & NXE) != 0;
  }

  static boolean isDirect(final int role) {
    return (role & DIRECT) != 0;
  }
}

package dev.vmexit.mmu;

import java.util.Arrays;

/**
 * An int for each guest frame number, in chunks made when one of their frames first gets a value:
 * neighbours in guest memory are neighbours here, which a hash would lose. Costs 4 bytes for each
 * frame in use and 256 KiB flat.
 */
final class FrameTable {
  static final int NONE = ShadowPages.NONE;

  private static final int CHUNK_SHIFT = 12;
  private static final int CHUNK_MASK = (1 << CHUNK_SHIFT) - 1;
  private static final int CHUNKS = 1 << (PagingContext.PHYSICAL_BITS - 12 - CHUNK_SHIFT);

  private final int[][] chunks = new int[CHUNKS][];

  /** The value of a frame, or NONE; any number is allowed. */
  int get(final long gfn) {
    final long i = gfn >>> CHUNK_SHIFT;
    final int[] chunk = i < CHUNKS ? chunks[(int) i] : null;
    return chunk == null ? NONE : chunk[(int) gfn & CHUNK_MASK];
  }

  /** Sets the value of a frame below the physical address width. */
  void put(final long gfn, final int value) {
    final int i = (int) (gfn >>> CHUNK_SHIFT);
    int[] chunk = chunks[i];
    if (chunk == null) {
      chunk = newChunk();
      chunks[i] = chunk;
    }
    chunk[(int) gfn & CHUNK_MASK] = value;
  }

  private static int[] newChunk() {
    final int[] chunk = new int[1 << CHUNK_SHIFT];
    Arrays.fill(chunk, NONE);
    return chunk;
  }
}

package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.decode.Instruction;
import org.agrona.collections.Long2ObjectHashMap;

/**
 * Decoded blocks by the host address of their bytes (which stands for the guest-physical one) and
 * code size, with the pages that they were decoded from, so that a write to a page finds them.
 * Bounded: when full, everything is dropped.
 */
final class BlockCache {
  private static final int BUCKETS = 1 << 16;
  private static final int MAX_BLOCKS = 200_000;

  /** Last byte of a second page that may have had a say in the decoding of an instruction. */
  private static final int CROSS_LAST = Instruction.MAX_LENGTH - 2;

  private final Block[] buckets = new Block[BUCKETS];
  private final Long2ObjectHashMap<CodePage> pages = new Long2ObjectHashMap<>();
  private int size;

  /** Blocks decoded from one page, in no order. */
  private static final class CodePage {
    Block[] blocks = new Block[8];
    int count;

    /** One bit per 64 bytes of the page that hold code. */
    long lines;

    void add(final Block block, final long lineMask) {
      if (count == blocks.length) {
        blocks = java.util.Arrays.copyOf(blocks, count * 2);
      }
      blocks[count++] = block;
      lines |= lineMask;
    }
  }

  Block find(final long host, final int codeSize) {
    Block block = buckets[bucket(host)];
    while (block != null && (block.host != host || block.codeSize != codeSize)) {
      block = block.chain;
    }
    return block;
  }

  boolean hasCode(final long host) {
    return pages.containsKey(host >>> 12);
  }

  /** Adds a block; true where one of its pages held no code before (drop its write mappings). */
  boolean add(final Block block) {
    if (size >= MAX_BLOCKS) {
      clear();
    }
    final int bucket = bucket(block.host);
    block.chain = buckets[bucket];
    buckets[bucket] = block;
    size++;
    final int first = (int) (block.host & 0xFFF);
    final int last = Math.min(first + block.length, 4096) - 1;
    boolean fresh = link(block.host >>> 12, block, first, last);
    if (block.crossHost != 0) {
      fresh |= link(block.crossHost >>> 12, block, 0, CROSS_LAST);
    }
    return fresh;
  }

  /** Takes a block out that its second page no longer goes with. */
  void remove(final Block block) {
    if (block.isValid()) {
      unhash(block);
      block.invalidate();
    }
  }

  private boolean link(final long pageNumber, final Block block, final int first, final int last) {
    CodePage page = pages.get(pageNumber);
    final boolean fresh = page == null;
    if (fresh) {
      page = new CodePage();
      pages.put(pageNumber, page);
    }
    page.add(block, lineMask(first, last));
    return fresh;
  }

  private static long lineMask(final int first, final int last) {
    final int low = first >> 6;
    final int high = last >> 6;
    return (-1L << low) & (-1L >>> (63 - high));
  }

  /** A write to a page with code: drops the blocks that it overlaps. */
  void written(final long host, final int length) {
    final CodePage page = pages.get(host >>> 12);
    if (page == null) {
      return;
    }
    final int first = (int) (host & 0xFFF);
    final int last = Math.min(first + length, 4096) - 1;
    if ((page.lines & lineMask(first, last)) == 0) {
      return;
    }
    final long pageStart = host & -4096L;
    int kept = 0;
    long lines = 0;
    for (int i = 0; i < page.count; i++) {
      final Block block = page.blocks[i];
      if (!block.isValid()) {
        continue;
      }
      long covered = 0;
      boolean hit = false;
      if ((block.host & -4096L) == pageStart) {
        final int from = (int) (block.host - pageStart);
        final int to = Math.min(from + block.length, 4096) - 1;
        covered = lineMask(from, to);
        hit = from <= last && first <= to;
      }
      // Not else: both of its pages may be this one.
      if (block.crossHost == pageStart) {
        covered |= lineMask(0, CROSS_LAST);
        hit |= first <= CROSS_LAST;
      }
      if (hit) {
        remove(block);
      } else {
        page.blocks[kept++] = block;
        lines |= covered;
      }
    }
    for (int i = kept; i < page.count; i++) {
      page.blocks[i] = null;
    }
    page.count = kept;
    page.lines = lines;
    if (kept == 0) {
      pages.remove(host >>> 12);
    }
  }

  private void unhash(final Block block) {
    final int bucket = bucket(block.host);
    Block previous = null;
    Block at = buckets[bucket];
    while (at != null && at != block) {
      previous = at;
      at = at.chain;
    }
    if (at == null) {
      return;
    }
    if (previous == null) {
      buckets[bucket] = block.chain;
    } else {
      previous.chain = block.chain;
    }
    size--;
  }

  /** Drops all; the pages' write mappings come back by themselves on the next miss. */
  void clear() {
    for (int i = 0; i < BUCKETS; i++) {
      for (Block block = buckets[i]; block != null; block = block.chain) {
        block.invalidate();
      }
      buckets[i] = null;
    }
    pages.clear();
    size = 0;
  }

  int size() {
    return size;
  }

  private static int bucket(final long host) {
    final long mixed = host * 0x9E37_79B9_7F4A_7C15L;
    return (int) (mixed >>> 48) & (BUCKETS - 1);
  }
}

package dev.vmexit.memory;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.function.LongConsumer;

/**
 * One bit for each page of a slot. Marks may come from several threads; a mark that races with a
 * harvest ends up in this harvest or the next, never nowhere.
 */
final class DirtyLog {
  private static final VarHandle WORDS = MethodHandles.arrayElementVarHandle(long[].class);

  private final long firstGfn;
  private final long[] words;

  DirtyLog(final long firstGfn, final long pages) {
    this.firstGfn = firstGfn;
    this.words = new long[Math.toIntExact((pages + 63) >>> 6)];
  }

  /** Marks a page by its number in the slot. */
  void mark(final long page) {
    final int word = (int) (page >>> 6);
    final long bit = 1L << page;
    // Most marks find the bit set: a plain look spares them the locked operation.
    if ((words[word] & bit) == 0) {
      WORDS.getAndBitwiseOr(words, word, bit);
    }
  }

  boolean isMarked(final long page) {
    return ((long) WORDS.getOpaque(words, (int) (page >>> 6)) & 1L << page) != 0;
  }

  /** Hands each marked frame number to the consumer, in ascending order, and clears it. */
  void harvest(final LongConsumer consumer) {
    for (int i = 0; i < words.length; i++) {
      if (words[i] == 0) {
        continue;
      }
      // Acquire pairs with mark's full-fence OR: a harvested page's store is visible.
      long bits = (long) WORDS.getAndSet(words, i, 0L);
      while (bits != 0) {
        consumer.accept(firstGfn + ((long) i << 6) + Long.numberOfTrailingZeros(bits));
        bits &= bits - 1;
      }
    }
  }
}

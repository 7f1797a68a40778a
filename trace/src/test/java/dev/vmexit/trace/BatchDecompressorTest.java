package dev.vmexit.trace;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.airlift.compress.v3.lz4.Lz4JavaCompressor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

final class BatchDecompressorTest {
  /** Beyond the number from which the native one is taken, where there is one. */
  private static final int BLOCKS = 5_000;

  private static final int LENGTH = 300;

  @Test
  void shouldGiveTheSameFromTheFirstBlockToManyThousands() {
    final Random random = new Random(5);
    final Lz4JavaCompressor compressor = new Lz4JavaCompressor();
    final byte[] packed = new byte[compressor.maxCompressedLength(LENGTH)];
    final byte[] plain = new byte[LENGTH];
    final byte[] unpacked = new byte[LENGTH];
    final BatchDecompressor decompressor = new BatchDecompressor();
    for (int i = 0; i < BLOCKS; i++) {
      for (int at = 0; at < LENGTH; at++) {
        plain[at] = (byte) random.nextInt(3);
      }
      final int length = compressor.compress(plain, 0, LENGTH, packed, 0, packed.length);
      final MemorySegment from = MemorySegment.ofArray(packed).asSlice(0, length);
      final MemorySegment to = MemorySegment.ofArray(unpacked);
      Arrays.fill(unpacked, (byte) -1);
      assertEquals(LENGTH, decompressor.decompress(from, to));
      assertArrayEquals(plain, unpacked);
      if (i % 100 == 0) {
        // A match that reaches back before the start.
        final MemorySegment wrong = MemorySegment.ofArray(new byte[] {0x1F, 'a', 9, 9, 1, 0x50});
        assertThrows(IllegalStateException.class, () -> decompressor.decompress(wrong, to));
      }
    }
  }
}

package dev.vmexit.trace;

import dev.vmexit.trace.PackedLayout.Block;
import io.airlift.compress.v3.MalformedInputException;
import io.airlift.compress.v3.zstd.ZstdDecompressor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;

/** The batches of a packed trace. Not thread-safe. */
final class PackedRecords implements BatchSource {
  private final Path file;
  private final FileChannel channel;
  private final long trace;
  private final List<Block> blocks;
  private final ZstdDecompressor decompressor = ZstdDecompressor.create();
  private final byte[] plain = new byte[PackedLayout.MAX_BLOCK];
  private int nextBlock;
  private int position;
  private int length;
  private long blockAt;
  private String damage;
  private long damageFrom;
  private long damageTo;

  PackedRecords(final Path file, final long trace) throws IOException {
    this.file = file;
    this.trace = trace;
    channel = FileChannel.open(file, StandardOpenOption.READ);
    boolean read = false;
    try {
      blocks = PackedLayout.read(file, channel).blocks();
      read = true;
    } finally {
      if (!read) {
        channel.close();
      }
    }
  }

  @Override
  public Path file() {
    return file;
  }

  @Override
  public boolean next(final BatchReader batch, final long expected) throws IOException {
    damage = null;
    while (true) {
      if (position == length) {
        if (nextBlock == blocks.size()) {
          return false;
        }
        load(blocks.get(nextBlock++));
      } else {
        final String wrong = batch.wrap(plain, position, length - position, trace);
        if (wrong == null) {
          position += batch.size();
          return true;
        }
        damaged(wrong);
      }
    }
  }

  private void load(final Block block) throws IOException {
    blockAt = block.offset();
    position = 0;
    length = 0;
    final ByteBuffer stored = PackedLayout.bytes(channel, block.offset(), block.stored());
    try {
      if (decompressor.decompress(stored.array(), 0, stored.limit(), plain, 0, block.length())
          != block.length()) {
        damaged("has a block of the wrong length");
        return;
      }
    } catch (final MalformedInputException
        | IllegalArgumentException
        | IndexOutOfBoundsException e) {
      damaged("has a block that does not decompress");
      return;
    }
    length = block.length();
  }

  /** The rest of the block is lost. */
  private void damaged(final String what) {
    if (damage == null) {
      damage = what;
      damageFrom = blockAt;
    }
    final Block block = blocks.get(nextBlock - 1);
    damageTo = block.offset() + block.stored();
    position = length;
  }

  @Override
  public boolean seek(final BatchKey key, final long value, final BatchReader batch)
      throws IOException {
    int low = 0;
    int high = blocks.size() - 1;
    while (low < high) {
      final int middle = (low + high + 1) >>> 1;
      if (blocks.get(middle).key(key) <= value) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    nextBlock = low;
    position = length;
    // Where the block is damaged, reading from the start says what is missing up to the next one.
    if (!next(batch, 0) || damage != null || key.of(batch) > value) {
      nextBlock = 0;
      position = length;
      return false;
    }
    int best = 0;
    while (position < length
        && batch.wrap(plain, position, length - position, trace) == null
        && key.of(batch) <= value) {
      best = position;
      position += batch.size();
    }
    position = best;
    return true;
  }

  @Override
  public boolean first(final BatchReader batch) throws IOException {
    final int block = nextBlock;
    nextBlock = 0;
    position = length;
    final boolean there = next(batch, 0);
    nextBlock = block;
    position = length;
    return there;
  }

  @Override
  public long batchOffset() {
    return blockAt;
  }

  @Override
  public String damage() {
    return damage;
  }

  @Override
  public long damageFrom() {
    return damageFrom;
  }

  @Override
  public long damageTo() {
    return damageTo;
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}

package dev.vmexit.trace;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * What a packed trace holds, and where. All numbers are little-endian.
 *
 * <pre>
 *   0                 "vmexitz1"
 *   8                 blocks: each a zstd frame over batches as the queue has them, not compressed
 *                     files: the other files of the folder, as they are
 *   table             uint32 number of blocks, then for each
 *                       int64 offset, uint32 bytes, uint32 bytes that they stand for,
 *                       int64 first sequence, int64 first retired, int64 first time
 *                     uint32 number of files, then for each
 *                       int64 offset, int64 bytes, uint32 CRC-32C, uint16 bytes of name, name
 *   end - 24          int64 offset of the table, uint32 its bytes, uint32 its CRC-32C, "vmexitze"
 * </pre>
 *
 * A file that was cut off anywhere lacks its end, and is refused.
 *
 * @param blocks in the order of their records
 * @param files the manifest among them
 */
record PackedLayout(List<Block> blocks, List<Entry> files) {
  static final long MAGIC = 0x317A_7469_7865_6D76L;
  private static final long END_MAGIC = 0x657A_7469_7865_6D76L;
  private static final int END = 24;

  /** A block is full when it has as many bytes; one batch may go beyond. */
  static final int BLOCK = 1 << 20;

  /** No block stands for more. */
  static final int MAX_BLOCK = BLOCK + BatchWriter.MAX_LENGTH;

  /** Bytes of the longest table: of a trace of some terabytes. */
  private static final int MAX_TABLE = 128 << 20;

  /** One block: of batches, so that the keys are those of the first one. */
  record Block(
      long offset, int stored, int length, long firstSequence, long firstRetired, long firstTime) {
    private static final int BYTES = 40;

    long key(final BatchSource.BatchKey key) {
      return switch (key) {
        case SEQUENCE -> firstSequence;
        case RETIRED -> firstRetired;
        case TIME -> firstTime;
      };
    }
  }

  /** One file, by its name in the folder. */
  record Entry(String name, long offset, long length, int checksum) {
    private static final int BYTES = 22;
  }

  /** The table and what comes after it. */
  ByteBuffer encode(final long offset) {
    int size = 2 * Integer.BYTES + blocks.size() * Block.BYTES;
    for (final Entry entry : files) {
      size += Entry.BYTES + entry.name().getBytes(StandardCharsets.UTF_8).length;
    }
    final ByteBuffer to = ByteBuffer.allocate(size + END).order(ByteOrder.LITTLE_ENDIAN);
    to.putInt(blocks.size());
    for (final Block block : blocks) {
      to.putLong(block.offset()).putInt(block.stored()).putInt(block.length());
      to.putLong(block.firstSequence()).putLong(block.firstRetired()).putLong(block.firstTime());
    }
    to.putInt(files.size());
    for (final Entry entry : files) {
      final byte[] name = entry.name().getBytes(StandardCharsets.UTF_8);
      to.putLong(entry.offset()).putLong(entry.length()).putInt(entry.checksum());
      to.putShort((short) name.length).put(name);
    }
    final CRC32C crc = new CRC32C();
    crc.update(to.array(), 0, size);
    to.putLong(offset).putInt(size).putInt((int) crc.getValue()).putLong(END_MAGIC);
    return to.flip();
  }

  /**
   * Reads it.
   *
   * @throws TraceException if it is no packed trace, cut off or damaged
   */
  static PackedLayout read(final Path file, final FileChannel channel) throws IOException {
    final long size = channel.size();
    if (size < Long.BYTES || bytes(channel, 0, Long.BYTES).getLong() != MAGIC) {
      throw new TraceException(file + ": not a trace (neither a folder nor a packed one)");
    }
    final ByteBuffer end = bytes(channel, Math.max(0, size - END), END);
    if (end.remaining() < END || end.getLong(16) != END_MAGIC) {
      throw new TraceException(
          file + ": truncated, its " + size + " bytes lack the end: copy or pack it again");
    }
    final long offset = end.getLong();
    final int length = end.getInt();
    final int checksum = end.getInt();
    if (length < 0 || length > MAX_TABLE || offset != size - END - length) {
      throw new TraceException(file + ": damaged, its end is not as vmexit has written it");
    }
    final ByteBuffer table = bytes(channel, offset, length);
    final CRC32C crc = new CRC32C();
    crc.update(table.duplicate());
    if ((int) crc.getValue() != checksum) {
      throw new TraceException(file + ": damaged, the checksum of its table is wrong");
    }
    try {
      return decode(table, offset);
    } catch (final java.nio.BufferUnderflowException | IllegalArgumentException e) {
      throw new TraceException(file + ": damaged, its table makes no sense", e);
    }
  }

  /** The checksum is right; what somebody has forged must not lead out of the file all the same. */
  private static PackedLayout decode(final ByteBuffer table, final long end) {
    final List<Block> blocks = new ArrayList<>();
    for (int i = table.getInt(); i > 0; i--) {
      final Block block =
          new Block(
              table.getLong(),
              table.getInt(),
              table.getInt(),
              table.getLong(),
              table.getLong(),
              table.getLong());
      if (!isInside(block.offset(), block.stored(), end)
          || block.stored() > 2 * MAX_BLOCK
          || block.length() < 0
          || block.length() > MAX_BLOCK) {
        throw new IllegalArgumentException(block.toString());
      }
      blocks.add(block);
    }
    final List<Entry> files = new ArrayList<>();
    for (int i = table.getInt(); i > 0; i--) {
      final long offset = table.getLong();
      final long length = table.getLong();
      final int checksum = table.getInt();
      final byte[] name = new byte[Short.toUnsignedInt(table.getShort())];
      table.get(name);
      if (!isInside(offset, length, end)) {
        throw new IllegalArgumentException("file at " + offset);
      }
      files.add(new Entry(new String(name, StandardCharsets.UTF_8), offset, length, checksum));
    }
    return new PackedLayout(blocks, files);
  }

  private static boolean isInside(final long offset, final long length, final long end) {
    return offset >= Long.BYTES && length >= 0 && length <= end - offset;
  }

  /** Bytes of a file; fewer than wanted at its end. */
  static ByteBuffer bytes(final FileChannel channel, final long offset, final int length)
      throws IOException {
    final ByteBuffer to = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    while (to.hasRemaining()) {
      if (channel.read(to, offset + to.position()) <= 0) {
        break;
      }
    }
    return to.flip();
  }
}

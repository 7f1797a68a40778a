package dev.vmexit.trace;

import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Finds the batches in one file of the queue, whatever has happened to it.
 *
 * <p>Chronicle's own tailer follows addresses and lengths that it finds in the file through a
 * mapping: a flipped bit sends it anywhere. This reads by {@code pread}, and believes nothing but
 * the checksum of a batch. What it knows of the file is that documents follow one another at
 * multiples of four bytes, each after a word of
 *
 * <pre>
 *   bits 29:0   length of the document
 *   bit 30      metadata: an index page, say
 *   bit 31      not complete: its writer is at it, or died
 * </pre>
 *
 * <p>Where that does not lead on, the next batch is searched by its signature. The same way a
 * search in the middle of the file finds the batch that holds a given place, with no index: see
 * {@link #seek}. Not thread-safe.
 */
final class QueueFile implements BatchSource {
  private static final VarHandle INT =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private static final int META = 1 << 30;
  private static final int LENGTH = META - 1;
  private static final int WORD = Integer.BYTES;

  /** Read at a time. */
  static final int WINDOW = 4 * BatchWriter.MAX_LENGTH;

  /** And of that by one call: the copy that the JDK makes on the way stays in the cache. */
  private static final int PIECE = 1 << 16;

  /** So many zero bytes are in no batch and in no index page: the file ends before them. */
  private static final int END_ZEROS = 1 << 20;

  private final Path file;
  private final FileChannel channel;
  private final long trace;
  private final byte[] window = new byte[WINDOW];
  private final ByteBuffer windowBuffer = ByteBuffer.wrap(window);
  private long windowStart;
  private int windowLength;
  private int windows;

  /** The document that comes next. */
  private long position;

  private long batchAt;
  private long damageFrom;
  private long damageTo;
  private String damage;

  QueueFile(final Path file, final long trace) throws IOException {
    this.file = file;
    this.trace = trace;
    channel = FileChannel.open(file, StandardOpenOption.READ);
  }

  @Override
  public Path file() {
    return file;
  }

  @Override
  public long batchOffset() {
    return batchAt;
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
  public boolean next(final BatchReader batch, final long expected) throws IOException {
    damage = null;
    final long from = position;
    while (true) {
      final String wrong = wrap(position, batch);
      if (wrong == null) {
        final boolean skippedSome = position != from && batch.firstSequence() != expected;
        if (skippedSome && earlier(from, position, batch)) {
          return true;
        }
        return found(position, batch);
      }
      final int available = load(position, WORD);
      if (available < WORD) {
        break;
      }
      final int word = (int) INT.get(window, (int) (position - windowStart));
      if (word <= 0) {
        // The end; or a word that was lost, with more behind it.
        return resync(from, position, "has a hole", batch);
      }
      final long next = align(position + WORD + (word & LENGTH));
      if ((word & META) != 0 && next <= channel.size()) {
        position = next;
      } else {
        return resync(from, position, wrong, batch) || lost(position, wrong);
      }
    }
    return resync(from, from, "is cut short", batch);
  }

  /**
   * Goes to the next batch of a file that is being written. Nothing is searched: what cannot be
   * read is not there yet.
   */
  boolean nextLive(final BatchReader batch) throws IOException {
    damage = null;
    while (true) {
      if (wrap(position, batch) == null) {
        return found(position, batch);
      }
      final boolean word = load(position, WORD) >= WORD;
      final int header = word ? (int) INT.get(window, (int) (position - windowStart)) : 0;
      // Read anew the next time.
      windowLength = 0;
      final long next = align(position + WORD + (header & LENGTH));
      if (header <= 0 || (header & META) == 0 || next > channel.size()) {
        return false;
      }
      position = next;
    }
  }

  private boolean found(final long at, final BatchReader batch) {
    batchAt = at;
    position = align(at + WORD + batch.size());
    return true;
  }

  /** Metadata has led past batches: its length was wrong. */
  private boolean earlier(final long from, final long to, final BatchReader batch)
      throws IOException {
    final long at = search(from, to, Long.MAX_VALUE, batch);
    if (at < 0) {
      wrap(to, batch);
      return false;
    }
    damaged(from, at, "is not as vmexit has written it");
    return found(at, batch);
  }

  private boolean resync(
      final long from, final long wrongAt, final String wrong, final BatchReader batch)
      throws IOException {
    final long at = search(from, Long.MAX_VALUE, Long.MAX_VALUE, batch);
    if (at < 0) {
      position = wrongAt;
      return false;
    }
    damaged(Math.min(wrongAt, at), at, wrong);
    return found(at, batch);
  }

  private boolean lost(final long at, final String wrong) throws IOException {
    damaged(at, channel.size(), wrong);
    position = channel.size();
    return false;
  }

  private void damaged(final long from, final long to, final String what) {
    damage = what;
    damageFrom = from;
    damageTo = to;
  }

  private String wrap(final long at, final BatchReader batch) throws IOException {
    int available = load(at, WORD + BatchWriter.HEADER);
    if (at != windowStart && available < WORD + BatchWriter.MAX_LENGTH) {
      final String wrong =
          batch.wrap(window, (int) (at - windowStart) + WORD, available - WORD, trace);
      if (wrong == null) {
        return null;
      }
      // The window's end, or what was not yet written when it was read.
      available = load(at, WORD + BatchWriter.MAX_LENGTH);
    }
    return batch.wrap(window, (int) (at - windowStart) + WORD, available - WORD, trace);
  }

  /**
   * Searches the document of a batch.
   *
   * @param maxZeros gives up behind so many zero bytes
   * @return where, or -1
   */
  private long search(final long from, final long to, final long maxZeros, final BatchReader batch)
      throws IOException {
    long at = align(from);
    long zeros = 0;
    while (at < to && zeros < maxZeros) {
      if (load(at, WORD + Long.BYTES) < WORD + Long.BYTES) {
        return -1;
      }
      final int last = windowLength - WORD - Long.BYTES;
      int i = (int) (at - windowStart);
      long word = 0;
      for (; i <= last && word != BatchReader.SIGNATURE; i += WORD) {
        word = (long) LONG.get(window, i + WORD);
        zeros = word == 0 ? zeros + WORD : 0;
      }
      at = windowStart + i;
      if (word == BatchReader.SIGNATURE && at - WORD < to && wrap(at - WORD, batch) == null) {
        return at - WORD;
      }
    }
    return -1;
  }

  @Override
  public boolean first(final BatchReader batch) throws IOException {
    return search(0, Long.MAX_VALUE, END_ZEROS, batch) >= 0;
  }

  @Override
  public boolean seek(final BatchKey key, final long value, final BatchReader batch)
      throws IOException {
    long low = 0;
    long high = channel.size();
    while (high - low > WINDOW) {
      final long middle = align((low + high) >>> 1);
      final long at = search(middle, high, END_ZEROS, batch);
      if (at < 0 || key.of(batch) > value) {
        high = middle;
      } else {
        low = at;
      }
    }
    // The rest is few batches: the last one that does not start too late.
    long best = search(low, Long.MAX_VALUE, END_ZEROS, batch);
    long at = best;
    while (at >= 0 && key.of(batch) <= value) {
      best = at;
      at = search(align(at + WORD + batch.size()), Long.MAX_VALUE, END_ZEROS, batch);
    }
    final boolean found = best >= 0 && wrap(best, batch) == null && key.of(batch) <= value;
    // Read from the start where the place is lost: then it is said what is damaged there.
    position = found ? best : 0;
    return found;
  }

  /** How often bytes were read. */
  int windows() {
    return windows;
  }

  /** Where the next document is looked for. */
  long position() {
    return position;
  }

  /**
   * Has bytes of the file in the window.
   *
   * @return bytes that are there from {@code at} on: fewer than wanted only at the file's end
   */
  private int load(final long at, final int wanted) throws IOException {
    final long there = windowStart + windowLength - at;
    if (at >= windowStart && there >= wanted) {
      return (int) there;
    }
    windows++;
    windowStart = at;
    windowLength = 0;
    int count = 0;
    do {
      windowLength += count;
      windowBuffer.limit(Math.min(WINDOW, windowLength + PIECE)).position(windowLength);
      count = windowBuffer.hasRemaining() ? channel.read(windowBuffer, at + windowLength) : 0;
    } while (count > 0);
    return windowLength;
  }

  private static long align(final long offset) {
    return (offset + WORD - 1) & -WORD;
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}

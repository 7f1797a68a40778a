package dev.vmexit.memory;

import java.io.FileInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.util.Arrays;
import java.util.BitSet;
import org.agrona.concurrent.UnsafeBuffer;

/**
 * Finds the pages of a slot that the host has ever given memory to, from /proc/self/pagemap (bit 63
 * present, bit 62 swapped out; Linux, Documentation/admin-guide/mm/pagemap). Where that file is
 * missing every page is looked at: a read of an untouched page of a private mapping costs a page
 * table entry, no memory.
 */
final class TouchedPages implements AutoCloseable {
  private static final int CHUNK_PAGES = 1 << 15;

  /** Most pages of a fresh guest have none: so many are passed at a time. */
  private static final int GROUP = 8;

  private static final long PRESENT_OR_SWAPPED = 3L << 62;
  private static final byte[] ZEROS = new byte[GuestMemory.PAGE_SIZE];

  private final FileInputStream file;
  private final ByteBuffer buffer;

  /** Where the buffer is. Safe: it is kept, and never moves. */
  private final long entries;

  TouchedPages() {
    FileInputStream opened;
    try {
      opened = new FileInputStream("/proc/self/pagemap");
    } catch (final IOException e) {
      opened = null;
    }
    file = opened;
    buffer = ByteBuffer.allocateDirect(CHUNK_PAGES * 8).order(ByteOrder.nativeOrder());
    entries = new UnsafeBuffer(buffer).addressOffset();
  }

  void visit(final Slot slot, final PageVisitor visitor) {
    final long pages = slot.bytes() >>> GuestMemory.PAGE_SHIFT;
    for (long first = 0; first < pages; first += CHUNK_PAGES) {
      final int n = (int) Math.min(CHUNK_PAGES, pages - first);
      final boolean known = load(slot.host(), first, n);
      for (int group = 0; group < n; group += GROUP) {
        if (known && noneOf(group)) {
          continue;
        }
        for (int i = group; i < Math.min(group + GROUP, n); i++) {
          if (known && (entry(i) & PRESENT_OR_SWAPPED) == 0) {
            continue;
          }
          final long offset = (first + i) << GuestMemory.PAGE_SHIFT;
          if (!isZero(slot.host() + offset)) {
            visitor.page(slot.gpa() + offset, slot.host() + offset);
          }
        }
      }
    }
  }

  /** Whether no page of a group has memory; entries behind the last are of an earlier chunk. */
  private boolean noneOf(final int group) {
    final long at = entries + group * 8L;
    final long bits =
        HostMemory.getLong(at)
            | HostMemory.getLong(at + 8)
            | HostMemory.getLong(at + 16)
            | HostMemory.getLong(at + 24)
            | HostMemory.getLong(at + 32)
            | HostMemory.getLong(at + 40)
            | HostMemory.getLong(at + 48)
            | HostMemory.getLong(at + 56);
    return (bits & PRESENT_OR_SWAPPED) == 0;
  }

  private long entry(final int page) {
    return HostMemory.getLong(entries + page * 8L);
  }

  /** Visits the pages of a slot whose memory is a file: reading that gives holes no pages. */
  void visitFile(final Slot slot, final int file, final PageVisitor visitor) {
    final byte[] page = new byte[GuestMemory.PAGE_SIZE];
    try (FileInputStream in = new FileInputStream("/proc/self/fd/" + file)) {
      for (long offset = 0; offset < slot.bytes(); offset += GuestMemory.PAGE_SIZE) {
        if (in.readNBytes(page, 0, page.length) == page.length
            && Arrays.mismatch(page, ZEROS) >= 0) {
          visitor.page(slot.gpa() + offset, slot.host() + offset);
        }
      }
    } catch (final IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  /**
   * Pages of a slot that have memory; all of them where the host does not tell.
   *
   * @param second another address that its pages may be mapped at, or the same
   */
  long count(final Slot slot, final long second) {
    final long pages = slot.bytes() >>> GuestMemory.PAGE_SHIFT;
    long count = 0;
    for (long first = 0; first < pages; first += CHUNK_PAGES) {
      final int n = (int) Math.min(CHUNK_PAGES, pages - first);
      if (!load(slot.host(), first, n)) {
        count += n;
        continue;
      }
      final BitSet present = new BitSet(n);
      collect(present, n);
      if (second != slot.host() && load(second, first, n)) {
        collect(present, n);
      }
      count += present.cardinality();
    }
    return count;
  }

  private void collect(final BitSet present, final int pages) {
    for (int i = 0; i < pages; i++) {
      if (entry(i) < 0) {
        present.set(i);
      }
    }
  }

  private boolean load(final long host, final long firstPage, final int pages) {
    if (file == null) {
      return false;
    }
    try {
      final FileChannel channel = file.getChannel();
      long position = ((host >>> GuestMemory.PAGE_SHIFT) + firstPage) * 8;
      buffer.clear().limit(pages * 8);
      while (buffer.hasRemaining()) {
        final int n = channel.read(buffer, position);
        if (n <= 0) {
          return false;
        }
        position += n;
      }
      return true;
    } catch (final IOException e) {
      return false;
    }
  }

  private static boolean isZero(final long page) {
    for (long at = page; at < page + GuestMemory.PAGE_SIZE; at += 32) {
      final long bits =
          HostMemory.getLong(at)
              | HostMemory.getLong(at + 8)
              | HostMemory.getLong(at + 16)
              | HostMemory.getLong(at + 24);
      if (bits != 0) {
        return false;
      }
    }
    return true;
  }

  @Override
  public void close() {
    try {
      if (file != null) {
        file.close();
      }
    } catch (final IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}

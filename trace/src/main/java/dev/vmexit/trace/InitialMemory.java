package dev.vmexit.trace;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.Deflater;
import java.util.zip.GZIPInputStream;
import java.util.zip.GZIPOutputStream;

/**
 * Guest memory in a file: gzip over
 *
 * <pre>
 *   8 bytes  magic "vmexitm1"
 *   then for each page that is not all zero: 8 bytes frame number, 4096 bytes
 *   8 bytes  -1: end
 * </pre>
 *
 * Numbers are big-endian. The guest must stand still meanwhile; what memory it sees where may
 * change, as a machine that is being built has it.
 */
public final class InitialMemory {
  private static final long MAGIC = 0x766D_6578_6974_6D31L;
  private static final long END = -1;
  private static final int BUFFER = 1 << 16;

  private InitialMemory() {}

  /** What matters more. */
  public enum Aim {
    /** Speed: only pages of whose words about half repeat the one before are compressed. */
    FAST,
    /** Size: only pages that come to more than about three quarters of theirs are not. */
    SMALL
  }

  /**
   * Writes all pages that hold something.
   *
   * @return number of pages
   */
  public static long save(final Path file, final GuestMemory memory, final Aim aim)
      throws IOException {
    try (OutputStream raw = Files.newOutputStream(file);
        FastGzip gzip = new FastGzip(raw, aim);
        DataOutputStream out = new DataOutputStream(new BufferedOutputStream(gzip, BUFFER))) {
      out.writeLong(MAGIC);
      final byte[] page = new byte[GuestMemory.PAGE_SIZE];
      final long[] count = new long[1];
      memory.forEachTouchedPage(
          (gpa, host) -> {
            // Safe: a whole page of a slot. By the host's address, as the guest's may be mapped
            // anew.
            HostMemory.copyOut(host, page, 0, page.length);
            try {
              if (gzip.wantsOther(page, host)) {
                out.flush();
                gzip.change();
              }
              out.writeLong(gpa >>> GuestMemory.PAGE_SHIFT);
              out.write(page);
            } catch (final IOException e) {
              throw new UncheckedIOException(e);
            }
            count[0]++;
          });
      out.writeLong(END);
      return count[0];
    } catch (final UncheckedIOException e) {
      throw new IOException(file + ": " + e.getCause().getMessage(), e.getCause());
    }
  }

  /** Takes pages. */
  @FunctionalInterface
  public interface PageHandler {
    /** One page; the array is reused. */
    void onPage(long gfn, byte[] content);
  }

  /**
   * Reads a file page by page.
   *
   * @return number of pages
   * @throws TraceException if the file is missing, damaged or cut off
   */
  public static long forEachPage(final Path file, final PageHandler handler) {
    try (InputStream raw = TraceFiles.open(file);
        DataInputStream in =
            new DataInputStream(
                new BufferedInputStream(new GZIPInputStream(raw, BUFFER), BUFFER))) {
      if (in.readLong() != MAGIC) {
        throw new TraceException(file + ": not a memory file");
      }
      final byte[] page = new byte[GuestMemory.PAGE_SIZE];
      long count = 0;
      for (long gfn = in.readLong(); gfn != END; gfn = in.readLong()) {
        in.readFully(page);
        handler.onPage(gfn, page);
        count++;
      }
      // Reading on to the end has the checksum compared.
      if (in.read() >= 0) {
        throw new TraceException(file + ": more than a memory file");
      }
      return count;
    } catch (final EOFException e) {
      throw new TraceException(file + ": truncated", e);
    } catch (final IOException e) {
      throw new TraceException(file + ": cannot be read: " + e.getMessage(), e);
    }
  }

  /**
   * Fills a fresh memory.
   *
   * @return number of pages
   * @throws TraceException if the file is damaged or holds a page that the memory has no room for
   */
  public static long load(final Path file, final GuestMemory memory) {
    return forEachPage(
        file,
        (gfn, content) -> {
          final long gpa = gfn << GuestMemory.PAGE_SHIFT;
          if (gfn < 0
              || gfn >= GuestMemory.MAX_GPA >>> GuestMemory.PAGE_SHIFT
              || !memory.isBacked(gpa, GuestMemory.PAGE_SIZE)) {
            throw new TraceException(
                file + ": frame 0x" + Long.toHexString(gfn) + " is in no slot");
          }
          if (!memory.isReadOnly(gpa)) {
            memory.write(gpa, content, 0, content.length);
          }
        });
  }

  /**
   * The guest waits for this. The greater part of a fresh guest is its kernel and initrd,
   * compressed already: such pages are stored as they are, hundreds of times as fast.
   */
  private static final class FastGzip extends GZIPOutputStream {
    /** From one word that is looked at to the next, bytes: a cache line. */
    private static final int LINE = 64;

    /** So many of a page's 64 words that are looked at repeat the one before: not dense. */
    private static final int REPEATED = 32;

    /** One byte of so many is counted. */
    private static final int STRIDE = 4;

    /**
     * Sum of the squares of 256 counts of 1,024 of a page's bytes, 1,024 * 5 where they are random:
     * below this it is dense.
     */
    private static final int DENSE = 1024 * 32;

    private static final byte[] NOTHING = {};

    private final int[] counts = new int[256];
    private final Aim aim;
    private boolean storing;

    FastGzip(final OutputStream out, final Aim aim) throws IOException {
      super(out, BUFFER);
      this.aim = aim;
      def.setLevel(Deflater.BEST_SPEED);
    }

    /** Whether a page, and where it is, is better written otherwise than those before it. */
    boolean wantsOther(final byte[] page, final long host) {
      return isDense(page, host) != storing;
    }

    /** Writes what comes from here on otherwise. */
    void change() throws IOException {
      storing = !storing;
      def.setLevel(storing ? Deflater.NO_COMPRESSION : Deflater.BEST_SPEED);
      // The input at hand is still written the old way: so there must be none.
      def.setInput(NOTHING);
      deflate();
    }

    /** Whether compressing it would save little. */
    private boolean isDense(final byte[] page, final long host) {
      return aim == Aim.FAST ? repeated(host) < REPEATED : squares(page) < DENSE;
    }

    /** A few dozen looks, as this runs before it is compiled. */
    private static int repeated(final long page) {
      int repeated = 0;
      long last = 0;
      for (int i = 0; i < GuestMemory.PAGE_SIZE; i += LINE) {
        final long word = HostMemory.getLong(page + i);
        if (word == last) {
          repeated++;
        }
        last = word;
      }
      return repeated;
    }

    private int squares(final byte[] page) {
      Arrays.fill(counts, 0);
      for (int i = 0; i < page.length; i += STRIDE) {
        counts[page[i] & 0xFF]++;
      }
      int sum = 0;
      for (final int count : counts) {
        sum += count * count;
      }
      return sum;
    }
  }
}

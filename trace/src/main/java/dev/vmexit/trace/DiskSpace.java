package dev.vmexit.trace;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;

/**
 * Reserves blocks of a file ahead of the writes to its mapping, so that a full disk is an {@link
 * IOException} and not a SIGBUS in the middle of a record. Used by one thread.
 *
 * <p>{@code posix_fallocate} leaves alone what is there and fills holes; it reports its errno as
 * its result, so nothing has to be captured.
 */
final class DiskSpace implements AutoCloseable {
  private static final int O_RDWR = 2;
  private static final int ENOSPC = 28;
  private static final int EDQUOT = 122;

  private static final Linker LINKER = Linker.nativeLinker();
  private static final MethodHandle OPEN =
      handle(
          "open",
          FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_INT),
          Linker.Option.firstVariadicArg(2));
  private static final MethodHandle FALLOCATE =
      handle(
          "posix_fallocate",
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG));
  private static final MethodHandle CLOSE =
      handle("close", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));

  private final Path file;
  private final int fd;

  DiskSpace(final Path file) throws IOException {
    this.file = file;
    try (Arena arena = Arena.ofConfined()) {
      // The path's copy lives until open() has returned; the kernel keeps no pointer to it.
      final MemorySegment path = arena.allocateFrom(file.toAbsolutePath().toString());
      fd = (int) OPEN.invokeExact(path, O_RDWR);
    } catch (final Throwable e) {
      throw new IllegalStateException("open", e);
    }
    if (fd < 0) {
      throw new IOException(file + ": cannot be opened to reserve space");
    }
  }

  @SuppressWarnings("restricted") // Signatures as in POSIX; native access is granted to vmexit.
  private static MethodHandle handle(
      final String name, final FunctionDescriptor descriptor, final Linker.Option... options) {
    final SymbolLookup lookup = LINKER.defaultLookup();
    return LINKER.downcallHandle(
        lookup.find(name).orElseThrow(() -> new IllegalStateException("no C function " + name)),
        descriptor,
        options);
  }

  /** Whether the host's words say that a disk, or the user's share of it, is full. */
  static boolean isFull(final String reason) {
    return "No space left on device".equals(reason) || "Disk quota exceeded".equals(reason);
  }

  /**
   * Makes sure that a range has its blocks.
   *
   * @throws DiskFullException if the disk, or the user's share of it, is full
   */
  void reserve(final long offset, final long length) throws IOException {
    final int error;
    try {
      // fd is open until close(), which the same thread calls.
      error = (int) FALLOCATE.invokeExact(fd, offset, length);
    } catch (final Throwable e) {
      throw new IllegalStateException("posix_fallocate", e);
    }
    if (error == ENOSPC || error == EDQUOT) {
      throw new DiskFullException("disk full: " + file);
    }
    if (error != 0) {
      throw new IOException(file + ": posix_fallocate failed, errno=" + error);
    }
  }

  @Override
  public void close() {
    try {
      // The descriptor is this object's own and is closed once.
      final int ignored = (int) CLOSE.invokeExact(fd);
      assert ignored == 0;
    } catch (final Throwable e) {
      throw new IllegalStateException("close", e);
    }
  }
}

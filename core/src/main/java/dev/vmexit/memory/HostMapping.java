package dev.vmexit.memory;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.nio.charset.StandardCharsets;
import java.util.Locale;

/**
 * Mappings of this process: mmap(2), munmap(2), madvise(2), memfd_create(2) through FFM. Constants
 * are those of Linux on x86-64 and AArch64 alike.
 */
@SuppressWarnings("restricted") // the flags file enables native access
final class HostMapping {
  private static final int PROT_READ = 1;
  private static final int PROT_WRITE = 2;
  private static final int PROT_EXEC = 4;
  private static final int MAP_SHARED = 0x01;
  private static final int MAP_PRIVATE = 0x02;
  private static final int MAP_ANONYMOUS = 0x20;
  private static final int MAP_NORESERVE = 0x4000;
  private static final int MADV_HUGEPAGE = 14;
  private static final int MFD_CLOEXEC = 1;
  private static final long MAP_FAILED = -1;

  /** Alignment of a mapping to its guest address, so that huge pages can back it. */
  private static final long HUGE = 2L << 20;

  private static final long CODE_PAGE = 4096;

  private static final Linker LINKER = Linker.nativeLinker();
  private static final StructLayout ERRNO_STATE = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO =
      ERRNO_STATE.varHandle(MemoryLayout.PathElement.groupElement("errno"));
  private static final MethodHandle MMAP =
      errnoCall(
          "mmap",
          FunctionDescriptor.of(
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_LONG));
  private static final MethodHandle MEMFD_CREATE =
      errnoCall(
          "memfd_create",
          FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.JAVA_INT));
  private static final MethodHandle FTRUNCATE =
      errnoCall(
          "ftruncate",
          FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG));
  private static final MethodHandle CLOSE =
      errnoCall("close", FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
  private static final MethodHandle MUNMAP =
      errnoCall(
          "munmap",
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
  private static final MethodHandle MADVISE =
      errnoCall(
          "madvise",
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_INT));
  private static final MethodHandle MPROTECT =
      errnoCall(
          "mprotect",
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_INT));
  private static final MethodHandle STRERROR =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("strerror"),
          FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.JAVA_INT));

  private HostMapping() {}

  private static MethodHandle errnoCall(final String name, final FunctionDescriptor type) {
    return LINKER.downcallHandle(
        LINKER.defaultLookup().findOrThrow(name), type, Linker.Option.captureCallState("errno"));
  }

  /**
   * Reserves zeroed, readable and writable memory; pages cost nothing until touched.
   *
   * @param bytes whole pages
   * @param congruentTo the result equals this modulo 2 MiB
   * @return its address
   */
  static long map(final long bytes, final long congruentTo, final boolean hugePages) {
    // Over-reserve, then give head and tail back: mmap alone promises page alignment only.
    final long reserved = bytes + HUGE;
    final long base = mmap(reserved, bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    final long address = base + ((congruentTo - base) & (HUGE - 1));
    if (address != base) {
      unmap(base, address - base);
    }
    final long end = address + bytes;
    if (end != base + reserved) {
      unmap(end, base + reserved - end);
    }
    if (hugePages) {
      try {
        adviseHugePages(address, bytes);
      } catch (final ErrnoException e) {
        unmap(address, bytes);
        throw e;
      }
    }
    return address;
  }

  /** Makes a file of zeros that is in memory alone; its pages cost nothing until touched. */
  static int createFile(final long bytes) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      // Safe: the name is a NUL-terminated copy that outlives the call.
      final int fd =
          (int) MEMFD_CREATE.invokeExact(state, arena.allocateFrom("guest"), MFD_CLOEXEC);
      if (fd < 0) {
        throw failure("memfd_create", state);
      }
      if ((int) FTRUNCATE.invokeExact(state, fd, bytes) != 0) {
        final ErrnoException failure = failure("ftruncate(" + bytes + ")", state);
        closeFile(fd);
        throw failure;
      }
      return fd;
    } catch (final Throwable t) {
      throw rethrow(t);
    }
  }

  /** Closes a descriptor, which the caller owns and uses no more; mappings of it stay. */
  static void closeFile(final int fd) {
    try (Arena arena = Arena.ofConfined()) {
      final int ignored = (int) CLOSE.invokeExact(arena.allocate(ERRNO_STATE), fd);
    } catch (final Throwable t) {
      throw rethrow(t);
    }
  }

  /** Maps all of a file, shared, readable and writable. */
  static long mapFile(final int fd, final long bytes) {
    return mmap(bytes, bytes, MAP_SHARED | MAP_NORESERVE, fd);
  }

  private static long mmap(final long reserved, final long asked, final int flags, final int fd) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      // Safe: a new mapping touches no existing one, as no address is asked for.
      final long address =
          (long) MMAP.invokeExact(state, 0L, reserved, PROT_READ | PROT_WRITE, flags, fd, 0L);
      if (address == MAP_FAILED) {
        throw failure(
            String.format(
                Locale.ROOT,
                "cannot reserve guest memory of %d bytes (%d MiB), allowed: what the host's"
                    + " address-space limit (ulimit -v) and overcommit policy leave; mmap",
                asked,
                asked >> 20),
            state);
      }
      return address;
    } catch (final Throwable t) {
      throw rethrow(t);
    }
  }

  /**
   * Maps x86-64 machine code for ever, never writable and executable at once.
   *
   * @param code position-independent, of one page at most
   * @return its address, or 0 where this host runs no such code
   */
  static long executable(final byte[] code) {
    if (!System.getProperty("os.arch").equals("amd64")) {
      return 0;
    }
    final long page = mmap(CODE_PAGE, CODE_PAGE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    HostMemory.copyIn(code, 0, page, code.length);
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      // Safe: the page is this call's own until it returns it.
      if ((int) MPROTECT.invokeExact(state, page, CODE_PAGE, PROT_READ | PROT_EXEC) == 0) {
        return page;
      }
    } catch (final Throwable t) {
      throw rethrow(t);
    }
    unmap(page, CODE_PAGE);
    return 0;
  }

  /** Gives a mapping, or a part of one, back. The caller owns the range and uses it no more. */
  static void unmap(final long address, final long bytes) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      if ((int) MUNMAP.invokeExact(state, address, bytes) != 0) {
        throw failure(call("munmap", address, bytes), state);
      }
    } catch (final Throwable t) {
      throw rethrow(t);
    }
  }

  private static void adviseHugePages(final long address, final long bytes) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      // Safe: advice changes no contents.
      if ((int) MADVISE.invokeExact(state, address, bytes, MADV_HUGEPAGE) != 0) {
        throw failure(
            "huge pages asked for, but the host's kernel offers no transparent ones; "
                + call("madvise", address, bytes),
            state);
      }
    } catch (final Throwable t) {
      throw rethrow(t);
    }
  }

  private static String call(final String name, final long address, final long bytes) {
    return String.format(Locale.ROOT, "%s(0x%x, %d)", name, address, bytes);
  }

  private static ErrnoException failure(final String call, final MemorySegment state)
      throws Throwable {
    final int errno = (int) ERRNO.get(state, 0L);
    final MemorySegment text = (MemorySegment) STRERROR.invokeExact(errno);
    // Safe: strerror answers a NUL-terminated string; no message is longer than this bound.
    final String message = text.reinterpret(256).getString(0, StandardCharsets.UTF_8);
    return new ErrnoException(call, errno, message);
  }

  private static RuntimeException rethrow(final Throwable t) {
    if (t instanceof final RuntimeException e) {
      return e;
    }
    if (t instanceof final Error e) {
      throw e;
    }
    return new IllegalStateException(t);
  }
}

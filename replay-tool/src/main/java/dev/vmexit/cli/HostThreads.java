package dev.vmexit.cli;

import dev.vmexit.memory.Slot;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.VarHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.Optional;
import java.util.stream.Stream;

/** Where this process's threads may run, and memory that stays: what the kernel decides else. */
@SuppressWarnings("restricted") // the flags file enables native access
final class HostThreads {
  /** Bytes of the C library's cpu_set_t. */
  private static final int CPU_SET_SIZE = 128;

  /** Locks pages as they are touched, not all at once. */
  private static final int MLOCK_ONFAULT = 1;

  private static final int LOOKS = 10_000;
  private static final Path TASKS = Path.of("/proc/self/task");

  private static final Linker LINKER = Linker.nativeLinker();
  private static final StructLayout ERRNO_STATE = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO =
      ERRNO_STATE.varHandle(MemoryLayout.PathElement.groupElement("errno"));
  private static final FunctionDescriptor AFFINITY =
      FunctionDescriptor.of(
          ValueLayout.JAVA_INT, ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS);
  private static final MethodHandle SET_AFFINITY = call("sched_setaffinity", AFFINITY);
  private static final MethodHandle GET_AFFINITY = call("sched_getaffinity", AFFINITY);
  private static final MethodHandle MLOCK2 =
      call(
          "mlock2",
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_LONG,
              ValueLayout.JAVA_INT));

  private HostThreads() {}

  private static MethodHandle call(final String name, final FunctionDescriptor type) {
    return LINKER.downcallHandle(
        LINKER.defaultLookup().findOrThrow(name), type, Linker.Option.captureCallState("errno"));
  }

  /** The CPUs that a thread may run on; 0: the calling thread. */
  static BitSet cpus(final int thread) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      final MemorySegment set = arena.allocate(CPU_SET_SIZE, 8);
      // Safe: the set has as many bytes as is said, and outlives the call.
      if ((int) GET_AFFINITY.invokeExact(state, thread, (long) CPU_SET_SIZE, set) < 0) {
        throw new IllegalStateException("sched_getaffinity: errno " + errno(state));
      }
      return BitSet.valueOf(set.toArray(ValueLayout.JAVA_LONG));
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * Lets a thread run on one CPU only.
   *
   * @param thread its number as the kernel has it; 0: the calling thread
   * @return the errno, 0 where it is done
   */
  static int pin(final int thread, final int cpu) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      final MemorySegment set = arena.allocate(CPU_SET_SIZE, 8);
      set.setAtIndex(ValueLayout.JAVA_LONG, cpu / Long.SIZE, 1L << cpu % Long.SIZE);
      // Safe: the set has as many bytes as is said, and outlives the call.
      final int result = (int) SET_AFFINITY.invokeExact(state, thread, (long) CPU_SET_SIZE, set);
      return result < 0 ? errno(state) : 0;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * The number of this process's thread of that name, as {@code top -H} shows both. A thread gives
   * itself its name, a little after it was started: it is looked for more than once.
   */
  static Optional<Integer> named(final String name) {
    for (int i = 0; i < LOOKS; i++) {
      final Optional<Integer> found = look(name);
      if (found.isPresent()) {
        return found;
      }
      Thread.yield();
    }
    return Optional.empty();
  }

  private static Optional<Integer> look(final String name) {
    try (Stream<Path> tasks = Files.list(TASKS)) {
      return tasks
          .filter(task -> name.equals(nameOf(task)))
          .map(task -> Integer.valueOf(task.getFileName().toString()))
          .findFirst();
    } catch (final IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static String nameOf(final Path task) {
    try {
      return Files.readString(task.resolve("comm")).trim();
    } catch (final IOException e) {
      return ""; // it has ended meanwhile
    }
  }

  /**
   * Keeps the pages of a slot in memory from when they are touched.
   *
   * @return the errno, 0 where it is done
   */
  static int lock(final Slot slot) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      // Safe: the slot is mapped; locking changes no contents.
      final int result = (int) MLOCK2.invokeExact(state, slot.host(), slot.bytes(), MLOCK_ONFAULT);
      return result < 0 ? errno(state) : 0;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  private static int errno(final MemorySegment state) {
    return (int) ERRNO.get(state, 0L);
  }

  private static RuntimeException unexpected(final Throwable t) {
    if (t instanceof final RuntimeException e) {
      return e;
    }
    if (t instanceof final Error e) {
      throw e;
    }
    return new IllegalStateException(t);
  }
}

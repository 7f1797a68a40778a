package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.ErrnoException;
import dev.vmexit.memory.HostCode;
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

/**
 * The C library's calls that KVM needs, by FFM. Each answers what the C function answers, a failure
 * as {@code -errno}; addresses are raw. None is a critical call: {@code KVM_RUN} may stay long, and
 * a critical call would hold up the JVM's safepoints.
 */
@SuppressWarnings("restricted") // the flags file enables native access
final class Libc {
  static final int EPERM = 1;
  static final int ENOENT = 2;
  static final int EINTR = 4;
  static final int E2BIG = 7;
  static final int EAGAIN = 11;
  static final int EEXIST = 17;
  static final int EINVAL = 22;
  static final int ENOMEM = 12;
  static final int EACCES = 13;
  static final int EFAULT = 14;
  static final int EBUSY = 16;
  static final int EHWPOISON = 133;

  static final int O_RDWR = 2;
  static final int O_CLOEXEC = 0x8_0000;
  static final int O_NONBLOCK = 0x800;

  private static final int PROT_READ_WRITE = 3;
  private static final int MAP_SHARED = 1;
  private static final int SIG_UNBLOCK = 1;
  private static final int SIGEV_THREAD_ID = 4;
  private static final int CLOCK_MONOTONIC = 1;
  private static final byte SYS_IOCTL = 16;
  private static final long SYS_PERF_EVENT_OPEN = 298;
  private static final long PERF_FLAG_FD_CLOEXEC = 8;

  /** Bytes of the C library's sigset_t; the kernel looks at the first 8. */
  private static final int SIGSET_SIZE = 128;

  // struct sigaction of the C library: handler 8, mask 128, flags 4, padding 4, restorer 8.
  private static final int SIGACTION_FLAGS = 136;
  private static final int SIGACTION_SIZE = 152;
  private static final int SA_SIGINFO = 4;
  private static final int SA_RESTART = 0x1000_0000;

  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
  private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
  private static final Linker LINKER = Linker.nativeLinker();
  private static final StructLayout ERRNO_STATE = Linker.Option.captureStateLayout();
  private static final VarHandle ERRNO =
      ERRNO_STATE.varHandle(MemoryLayout.PathElement.groupElement("errno"));

  private static final MethodHandle OPEN =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("open"),
          FunctionDescriptor.of(INT, LONG, INT),
          Linker.Option.firstVariadicArg(2),
          Linker.Option.captureCallState("errno"));
  private static final MethodHandle IOCTL =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("ioctl"),
          FunctionDescriptor.of(INT, INT, LONG, LONG),
          Linker.Option.firstVariadicArg(2),
          Linker.Option.captureCallState("errno"));
  private static final MethodHandle SYSCALL_IOCTL = syscallIoctl();
  private static final MethodHandle CLOSE = call("close", FunctionDescriptor.of(INT, INT));
  private static final MethodHandle MMAP =
      call("mmap", FunctionDescriptor.of(LONG, LONG, LONG, INT, INT, INT, LONG));
  private static final MethodHandle MUNMAP = call("munmap", FunctionDescriptor.of(INT, LONG, LONG));
  private static final MethodHandle EVENTFD = call("eventfd", FunctionDescriptor.of(INT, INT, INT));
  private static final MethodHandle WRITE =
      call("write", FunctionDescriptor.of(LONG, INT, LONG, LONG));
  private static final MethodHandle READ =
      call("read", FunctionDescriptor.of(LONG, INT, LONG, LONG));
  private static final MethodHandle POLL =
      call("poll", FunctionDescriptor.of(INT, LONG, LONG, INT));
  private static final MethodHandle SYSCALL =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("syscall"),
          FunctionDescriptor.of(LONG, LONG, LONG),
          Linker.Option.firstVariadicArg(1),
          Linker.Option.captureCallState("errno"));
  private static final MethodHandle PERF_EVENT_OPEN =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("syscall"),
          FunctionDescriptor.of(LONG, LONG, LONG, INT, INT, INT, LONG),
          Linker.Option.firstVariadicArg(1),
          Linker.Option.captureCallState("errno"));
  private static final MethodHandle GETPID = call("getpid", FunctionDescriptor.of(INT));
  private static final MethodHandle GETTID = call("gettid", FunctionDescriptor.of(INT));
  private static final MethodHandle TGKILL =
      call("tgkill", FunctionDescriptor.of(INT, INT, INT, INT));
  private static final MethodHandle SIGMASK =
      call("pthread_sigmask", FunctionDescriptor.of(INT, INT, LONG, LONG));
  private static final MethodHandle SIGACTION =
      call("sigaction", FunctionDescriptor.of(INT, INT, LONG, LONG));
  private static final MethodHandle TIMER_CREATE =
      call("timer_create", FunctionDescriptor.of(INT, INT, LONG, LONG));
  private static final MethodHandle TIMER_SETTIME =
      call("timer_settime", FunctionDescriptor.of(INT, LONG, INT, LONG, LONG));
  private static final MethodHandle TIMER_DELETE =
      call("timer_delete", FunctionDescriptor.of(INT, LONG));
  private static final MethodHandle STRERROR =
      LINKER.downcallHandle(
          LINKER.defaultLookup().findOrThrow("strerror"),
          FunctionDescriptor.of(ValueLayout.ADDRESS, INT));

  private Libc() {}

  private static MethodHandle call(final String name, final FunctionDescriptor type) {
    return LINKER.downcallHandle(
        LINKER.defaultLookup().findOrThrow(name), type, Linker.Option.captureCallState("errno"));
  }

  /** Room for the errno of one thread's calls; given back by the garbage collector. */
  static MemorySegment errnoState() {
    return Arena.ofAuto().allocate(ERRNO_STATE);
  }

  private static int failed(final MemorySegment state) {
    return -(int) ERRNO.get(state, 0L);
  }

  static int open(final String path, final int flags) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      // Safe: the path is a NUL-terminated copy that outlives the call.
      final int fd = (int) OPEN.invokeExact(state, arena.allocateFrom(path).address(), flags);
      return fd < 0 ? failed(state) : fd;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /** Closes a descriptor; the caller owns it and uses it no more. */
  static void close(final int fd) {
    try {
      // Safe: it takes no address; nothing is to be done about an error.
      final int ignored = (int) CLOSE.invokeExact(errnoState(), fd);
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * ioctl(2).
   *
   * @param state room for errno, this thread's
   * @param argument a number, or the address of a live struct of the request's size: the caller
   *     says why it is
   */
  static int ioctl(
      final MemorySegment state, final int fd, final long request, final long argument) {
    try {
      final int result = (int) IOCTL.invokeExact(state, fd, request, argument);
      return result < 0 ? failed(state) : result;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * ioctl(2) by the kernel's own calling convention, which carries no errno from call to call: for
   * what is called a million times a second. The C library's where this host has another one.
   */
  static int quickIoctl(
      final MemorySegment state, final int fd, final long request, final long argument) {
    if (SYSCALL_IOCTL == null) {
      return ioctl(state, fd, request, argument);
    }
    try {
      return (int) SYSCALL_IOCTL.invokeExact(fd, request, argument);
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  private static MethodHandle syscallIoctl() {
    // Number and arguments are where the C convention has them, but for the number (System V ABI
    // of AMD64, A.2.1).
    final byte[] code = {
      (byte) 0xF3,
      0x0F,
      0x1E,
      (byte) 0xFA, // endbr64
      (byte) 0xB8,
      SYS_IOCTL,
      0,
      0,
      0, // mov eax, SYS_ioctl
      0x0F,
      0x05, // syscall
      (byte) 0xC3 // ret
    };
    final long address = HostCode.address(code);
    return address == 0
        ? null
        : LINKER.downcallHandle(
            MemorySegment.ofAddress(address), FunctionDescriptor.of(INT, INT, LONG, LONG));
  }

  /** Maps a descriptor, shared, readable and writable; a small negative number is -errno. */
  static long map(final int fd, final long bytes) {
    return map(fd, bytes, 0);
  }

  /** As above, from a place in the file. */
  static long map(final int fd, final long bytes, final long offset) {
    final MemorySegment state = errnoState();
    try {
      // Safe: a new mapping touches no existing one, as no address is asked for.
      final long address =
          (long) MMAP.invokeExact(state, 0L, bytes, PROT_READ_WRITE, MAP_SHARED, fd, offset);
      return address == -1 ? failed(state) : address;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /** Gives a mapping back; the caller owns it and touches it no more. */
  static void unmap(final long address, final long bytes) {
    try {
      final int ignored = (int) MUNMAP.invokeExact(errnoState(), address, bytes);
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /** Makes an event counter, for this process alone, whose writes do not wait. */
  static int eventFd() {
    final MemorySegment state = errnoState();
    try {
      // Safe: numbers only.
      final int fd = (int) EVENTFD.invokeExact(state, 0, O_CLOEXEC | O_NONBLOCK);
      if (fd < 0) {
        throw failure("eventfd", -failed(state));
      }
      return fd;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /** syscall(2) with one argument, a number; its answer, or -errno. */
  static int systemCall(final long number, final long argument) {
    final MemorySegment state = errnoState();
    try {
      final long result = (long) SYSCALL.invokeExact(state, number, argument);
      return result < 0 ? failed(state) : (int) result;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * perf_event_open(2), for the calling thread on any CPU.
   *
   * @param attr address of a struct perf_event_attr that says its own size
   * @return the descriptor, or -errno
   */
  static int perfEventOpen(final long attr) {
    final MemorySegment state = errnoState();
    try {
      final long fd =
          (long)
              PERF_EVENT_OPEN.invokeExact(
                  state, SYS_PERF_EVENT_OPEN, attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
      return fd < 0 ? failed(state) : (int) fd;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * poll(2), without a limit of time.
   *
   * @param descriptors address of so many structs pollfd
   * @return how many have something, or -errno
   */
  static int poll(final MemorySegment state, final long descriptors, final int count) {
    try {
      final int ready = (int) POLL.invokeExact(state, descriptors, (long) count, -1);
      return ready < 0 ? failed(state) : ready;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * read(2).
   *
   * @param to address of room for so many bytes
   * @return bytes read, or -errno
   */
  static long read(final MemorySegment state, final int fd, final long to, final long bytes) {
    try {
      final long got = (long) READ.invokeExact(state, fd, to, bytes);
      return got < 0 ? failed(state) : got;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * write(2).
   *
   * @param from address of as many bytes
   * @return bytes written, or -errno
   */
  static long write(final MemorySegment state, final int fd, final long from, final long bytes) {
    try {
      final long written = (long) WRITE.invokeExact(state, fd, from, bytes);
      return written < 0 ? failed(state) : written;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  static int processId() {
    try {
      // Safe: it takes nothing and cannot fail.
      return (int) GETPID.invokeExact(errnoState());
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  static int threadId() {
    try {
      // Safe: it takes nothing and cannot fail.
      return (int) GETTID.invokeExact(errnoState());
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /** Sends a signal to one thread of this process. Safe: numbers only. */
  static int signalThread(final int process, final int thread, final int signal) {
    final MemorySegment state = errnoState();
    try {
      final int result = (int) TGKILL.invokeExact(state, process, thread, signal);
      return result < 0 ? failed(state) : result;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /** Lets a signal through to the calling thread, whose creator may have blocked it. */
  static void unblockSignal(final int signal) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment set = arena.allocate(SIGSET_SIZE, 8);
      set.set(LONG, 0, 1L << signal - 1);
      // Safe: the set outlives the call, and nobody asks for the mask from before.
      final int error = (int) SIGMASK.invokeExact(errnoState(), SIG_UNBLOCK, set.address(), 0L);
      if (error != 0) {
        throw failure("pthread_sigmask", error);
      }
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /** Whether anybody has set what a signal does to this process. */
  static boolean hasSignalAction(final int signal) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      final MemorySegment action = arena.allocate(SIGACTION_SIZE, 8);
      // Safe: the struct outlives the call; no new action is given.
      if ((int) SIGACTION.invokeExact(state, signal, 0L, action.address()) < 0) {
        throw failure("sigaction(" + signal + ")", -failed(state));
      }
      // SIG_DFL is 0.
      return action.get(LONG, 0) != 0;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * Gives a signal a handler of machine code; system calls that it interrupts go on.
   *
   * @param handler address of a {@code void (int, siginfo_t *, void *)} that stays for ever
   */
  static void handleSignal(final int signal, final long handler) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      final MemorySegment action = arena.allocate(SIGACTION_SIZE, 8);
      action.set(LONG, 0, handler);
      action.set(INT, SIGACTION_FLAGS, SA_SIGINFO | SA_RESTART);
      // Safe: the struct outlives the call, and the C library copies it.
      if ((int) SIGACTION.invokeExact(state, signal, action.address(), 0L) < 0) {
        throw failure("sigaction(" + signal + ")", -failed(state));
      }
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * Makes a timer of the monotonic clock that signals one thread.
   *
   * @param value what its signals carry
   * @return the timer's id
   */
  static long createTimer(final int thread, final int signal, final long value) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment state = arena.allocate(ERRNO_STATE);
      // struct sigevent: value 0, signo 8, notify 12, thread id 16; 64 bytes in all.
      final MemorySegment event = arena.allocate(64, 8);
      event.set(LONG, 0, value);
      event.set(INT, 8, signal);
      event.set(INT, 12, SIGEV_THREAD_ID);
      event.set(INT, 16, thread);
      final MemorySegment id = arena.allocate(LONG);
      // Safe: both structs outlive the call.
      final int result =
          (int) TIMER_CREATE.invokeExact(state, CLOCK_MONOTONIC, event.address(), id.address());
      if (result < 0) {
        throw failure("timer_create", -failed(state));
      }
      return id.get(LONG, 0);
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /**
   * Arms a timer, relative to now.
   *
   * @param spec address of a struct itimerspec
   */
  static int armTimer(final MemorySegment state, final long timer, final long spec) {
    try {
      final int result = (int) TIMER_SETTIME.invokeExact(state, timer, 0, spec, 0L);
      return result < 0 ? failed(state) : result;
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  static void deleteTimer(final long timer) {
    try {
      // Safe: the id is one that createTimer gave, used no more.
      final int ignored = (int) TIMER_DELETE.invokeExact(errnoState(), timer);
    } catch (final Throwable t) {
      throw unexpected(t);
    }
  }

  /** The exception of a failed call. */
  static ErrnoException failure(final String call, final int errno) {
    return new ErrnoException(call, errno, text(errno));
  }

  /** The C library's words for an errno. */
  static String text(final int errno) {
    try {
      final MemorySegment text = (MemorySegment) STRERROR.invokeExact(errno);
      // Safe: strerror answers a NUL-terminated string; no message is longer than this bound.
      return text.reinterpret(256).getString(0, StandardCharsets.UTF_8);
    } catch (final Throwable t) {
      throw unexpected(t);
    }
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

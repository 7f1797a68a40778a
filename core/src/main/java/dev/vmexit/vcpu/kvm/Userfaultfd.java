package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.ErrnoException;
import dev.vmexit.memory.HostMemory;
import java.lang.foreign.MemorySegment;

/**
 * A userfaultfd: the faults of some ranges of this process's memory, and what ends them (Linux,
 * Documentation/admin-guide/mm/userfaultfd). Here for memory that is a file mapped twice: nobody
 * but a hypervisor uses the ranges, so whoever reads the descriptor can never wait for itself.
 */
final class Userfaultfd implements AutoCloseable {
  static final String DEVICE = "/dev/userfaultfd";

  // Requests; a test compares them with the header.
  static final long NEW = 0xAA00L;
  static final long API = 0xC018_AA3FL;
  static final long REGISTER = 0xC020_AA00L;
  static final long WAKE = 0x8010_AA02L;
  static final long COPY = 0xC028_AA03L;
  static final long WRITEPROTECT = 0xC018_AA06L;
  static final long CONTINUE = 0xC020_AA07L;

  // struct uffd_msg.
  static final int MESSAGE_SIZE = 32;
  static final int EVENT = 0;
  static final int FAULT_FLAGS = 8;
  static final int FAULT_ADDRESS = 16;
  static final int FAULT_THREAD = 24;
  static final int EVENT_PAGEFAULT = 0x12;
  static final int FLAG_WRITE = 1;
  static final int FLAG_WP = 2;
  static final int FLAG_MINOR = 4;

  static final long API_VERSION = 0xAA;
  static final long FEATURE_PAGEFAULT_FLAG_WP = 1;
  static final long FEATURE_MISSING_SHMEM = 1 << 5;
  static final long FEATURE_THREAD_ID = 1 << 8;
  static final long FEATURE_MINOR_SHMEM = 1 << 10;
  static final long FEATURE_WP_HUGETLBFS_SHMEM = 1 << 12;
  static final long MODE_MISSING = 1;
  static final long MODE_WP = 2;
  static final long MODE_MINOR = 4;
  static final long COPY_MODE_WP = 2;

  /** Since Linux 6.4. */
  private static final long CONTINUE_MODE_WP = 2;

  private static final long FEATURES =
      FEATURE_PAGEFAULT_FLAG_WP
          | FEATURE_MISSING_SHMEM
          | FEATURE_THREAD_ID
          | FEATURE_MINOR_SHMEM
          | FEATURE_WP_HUGETLBFS_SHMEM;

  private static final long SYS_USERFAULTFD = 323;

  /** The largest of the requests' structs: uffdio_copy. */
  private static final int STRUCT_SIZE = 40;

  private static final int PAGE = 4096;
  private static final int MESSAGES = 16;

  private final int fd;
  private final MemorySegment errno = Libc.errnoState();

  // Ours until close.
  private final long struct = HostMemory.allocate(STRUCT_SIZE);
  private final long zeros = HostMemory.allocate(PAGE);
  private final long messages = HostMemory.allocate((long) MESSAGES * MESSAGE_SIZE);

  private long continueMode = CONTINUE_MODE_WP;

  private Userfaultfd(final int fd) {
    this.fd = fd;
    HostMemory.fill(zeros, PAGE, 0);
  }

  /**
   * Opens one.
   *
   * @throws KvmUnavailableException this process may not, or the kernel is too old
   */
  static Userfaultfd open() {
    final Userfaultfd made = new Userfaultfd(descriptor());
    HostMemory.putLong(made.struct, API_VERSION);
    HostMemory.putLong(made.struct + 8, FEATURES);
    // Safe: the struct outlives the call.
    final int result = Libc.ioctl(made.errno, made.fd, API, made.struct);
    if (result < 0) {
      made.close();
      throw new KvmUnavailableException(
          "userfaultfd cannot watch shared memory, its pages' first writes and who makes them: it"
              + " takes Linux 5.19 or newer");
    }
    return made;
  }

  private static int descriptor() {
    // The device is for whom its file's mode says; the call for whom the sysctl says.
    final MemorySegment errno = Libc.errnoState();
    final int device = Libc.open(DEVICE, Libc.O_RDWR | Libc.O_CLOEXEC);
    int fd = device;
    if (device >= 0) {
      // Safe: the argument is a number.
      fd = Libc.ioctl(errno, device, NEW, Libc.O_CLOEXEC | Libc.O_NONBLOCK);
      Libc.close(device);
    }
    if (fd < 0) {
      fd = Libc.systemCall(SYS_USERFAULTFD, Libc.O_CLOEXEC | Libc.O_NONBLOCK);
    }
    if (fd < 0) {
      throw new KvmUnavailableException(
          "userfaultfd is not to be had: "
              + Libc.text(-fd)
              + "; as root: sysctl vm.unprivileged_userfaultfd=1, or give this user "
              + DEVICE);
    }
    return fd;
  }

  int descriptorNumber() {
    return fd;
  }

  /** Watches a range, which is a mapping of a file in memory. */
  void watch(final long address, final long bytes) {
    HostMemory.putLong(struct, address);
    HostMemory.putLong(struct + 8, bytes);
    HostMemory.putLong(struct + 16, MODE_MISSING | MODE_WP | MODE_MINOR);
    // Safe: the struct outlives the call; of the range only faults change, and those are served.
    check("UFFDIO_REGISTER", Libc.ioctl(errno, fd, REGISTER, struct));
  }

  /** Reads what waits; the number of messages, which {@link #message} finds. */
  int read() {
    // Safe: there is room for so many messages.
    final long got = Libc.read(errno, fd, messages, (long) MESSAGES * MESSAGE_SIZE);
    if (got == -Libc.EAGAIN || got == -Libc.EINTR) {
      return 0;
    }
    check("read(userfaultfd)", (int) got);
    return (int) (got / MESSAGE_SIZE);
  }

  /** Address of a message that {@link #read} got. */
  long message(final int index) {
    return messages + (long) index * MESSAGE_SIZE;
  }

  /** Gives a page its memory: zeros, or what the file has there by now. */
  void fill(final long page, final boolean isThere, final boolean writable) {
    int result = isThere ? -Libc.EEXIST : copyZeros(page, writable);
    if (result == -Libc.EEXIST) {
      // The file has got that page, by our own hand or another vCPU's.
      result = proceed(page, writable);
    }
    if (result == -Libc.EEXIST) {
      HostMemory.putLong(struct, page);
      HostMemory.putLong(struct + 8, PAGE);
      // Safe: the struct outlives the call.
      result = Libc.ioctl(errno, fd, WAKE, struct);
    }
    check("page fault at 0x" + Long.toHexString(page), result);
  }

  private int copyZeros(final long page, final boolean writable) {
    while (true) {
      HostMemory.putLong(struct, page);
      HostMemory.putLong(struct + 8, zeros);
      HostMemory.putLong(struct + 16, PAGE);
      HostMemory.putLong(struct + 24, writable ? 0 : COPY_MODE_WP);
      // Safe: the struct and the page of zeros outlive the call; the page is in a watched range.
      final int result = Libc.ioctl(errno, fd, COPY, struct);
      if (result != -Libc.EAGAIN) {
        return result;
      }
    }
  }

  private int proceed(final long page, final boolean writable) {
    while (true) {
      HostMemory.putLong(struct, page);
      HostMemory.putLong(struct + 8, PAGE);
      HostMemory.putLong(struct + 16, writable ? 0 : continueMode);
      // Safe: the struct outlives the call; the page is in a watched range.
      final int result = Libc.ioctl(errno, fd, CONTINUE, struct);
      if (result == -Libc.EINVAL && !writable && continueMode != 0) {
        // Before Linux 6.4: of pages that we have filled the first write is not seen apart.
        continueMode = 0;
      } else if (result != -Libc.EAGAIN) {
        return result;
      }
    }
  }

  /** Lets a page be written from now on. */
  void allowWrites(final long page) {
    while (true) {
      HostMemory.putLong(struct, page);
      HostMemory.putLong(struct + 8, PAGE);
      HostMemory.putLong(struct + 16, 0);
      // Safe: the struct outlives the call; the page is in a watched range.
      final int result = Libc.ioctl(errno, fd, WRITEPROTECT, struct);
      if (result != -Libc.EAGAIN) {
        check("UFFDIO_WRITEPROTECT", result);
        return;
      }
    }
  }

  private static void check(final String call, final int result) {
    if (result < 0) {
      throw new ErrnoException(call, -result, Libc.text(-result));
    }
  }

  /** Gives the ranges back to the kernel, which serves them as any; who waits goes on. */
  @Override
  public void close() {
    Libc.close(fd);
    HostMemory.free(struct);
    HostMemory.free(zeros);
    HostMemory.free(messages);
  }
}

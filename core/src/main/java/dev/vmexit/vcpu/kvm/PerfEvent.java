package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A tracepoint's events of one thread, by perf_event_open(2): each of them becomes a record with
 * its time on CLOCK_MONOTONIC and its raw data, in the ring of this event or of another one.
 */
final class PerfEvent implements AutoCloseable {
  // struct perf_event_attr, version 5.
  private static final int ATTR_SIZE = 112;
  private static final int TYPE = 0;
  private static final int SIZE = 4;
  private static final int CONFIG = 8;
  private static final int SAMPLE_PERIOD = 16;
  private static final int SAMPLE_TYPE = 24;
  private static final int READ_FORMAT = 32;
  private static final int FLAGS = 40;
  private static final int WAKEUP = 48;
  private static final int CLOCK = 92;

  private static final int TYPE_TRACEPOINT = 2;
  private static final long SAMPLE_TIME = 1 << 2;
  private static final long SAMPLE_RAW = 1 << 10;
  private static final long FLAG_DISABLED = 1;
  private static final long FLAG_WATERMARK = 1 << 14;
  private static final long FLAG_USE_CLOCK = 1 << 25;
  private static final int CLOCK_MONOTONIC = 1;

  /** Since Linux 6.0: what read(2) answers has the number of records that were lost. */
  private static final long FORMAT_LOST = 1 << 4;

  // What it answers then: value 8, lost 8.
  private static final int READ_LOST = 8;
  private static final int READ_SIZE = 16;

  private static final long IOC_ENABLE = 0x2400;
  private static final long IOC_SET_OUTPUT = 0x2405;

  private static final Path PARANOID = Path.of("/proc/sys/kernel/perf_event_paranoid");

  private final int fd;
  private boolean closed;

  private PerfEvent(final int fd) {
    this.fd = fd;
  }

  /**
   * Asks for a tracepoint's events of the calling thread, wherever it runs; none comes before
   * {@link #enable}.
   *
   * @param tracepoint its number in tracefs
   * @param watermark bytes in the ring at which whoever polls the descriptor is woken; 0: never
   * @throws KvmUnavailableException where the kernel does not allow it
   */
  static PerfEvent open(final int tracepoint, final int watermark) {
    final long attr = HostMemory.allocate(ATTR_SIZE);
    try {
      HostMemory.putInt(attr + TYPE, TYPE_TRACEPOINT);
      HostMemory.putInt(attr + SIZE, ATTR_SIZE);
      HostMemory.putLong(attr + CONFIG, tracepoint);
      HostMemory.putLong(attr + SAMPLE_PERIOD, 1);
      HostMemory.putLong(attr + SAMPLE_TYPE, SAMPLE_TIME | SAMPLE_RAW);
      HostMemory.putLong(attr + FLAGS, FLAG_DISABLED | FLAG_USE_CLOCK | FLAG_WATERMARK);
      HostMemory.putInt(attr + WAKEUP, watermark == 0 ? Integer.MAX_VALUE : watermark);
      HostMemory.putInt(attr + CLOCK, CLOCK_MONOTONIC);
      HostMemory.putLong(attr + READ_FORMAT, FORMAT_LOST);
      int fd = Libc.perfEventOpen(attr);
      if (fd == -Libc.EINVAL) {
        HostMemory.putLong(attr + READ_FORMAT, 0);
        fd = Libc.perfEventOpen(attr);
      }
      if (fd < 0) {
        throw new KvmUnavailableException(
            fd == -Libc.EACCES || fd == -Libc.EPERM
                ? "perf_event_open is refused, as kernel.perf_event_paranoid is "
                    + paranoid()
                    + ": run as root, or as root: sysctl kernel.perf_event_paranoid=-1"
                : "perf_event_open of tracepoint " + tracepoint + ": " + Libc.text(-fd));
      }
      return new PerfEvent(fd);
    } finally {
      HostMemory.free(attr);
    }
  }

  private static String paranoid() {
    try {
      return Files.readString(PARANOID).strip();
    } catch (final IOException e) {
      return "not to be read";
    }
  }

  int descriptorNumber() {
    return fd;
  }

  /** Puts its records into the ring of another event of the same thread. */
  void sendTo(final PerfEvent other) {
    call("PERF_EVENT_IOC_SET_OUTPUT", IOC_SET_OUTPUT, other.fd);
  }

  /** Records that found no room, in all; 0 where the kernel does not tell. */
  long lost() {
    final long answer = HostMemory.allocate(READ_SIZE);
    try {
      // Safe: as many bytes as are asked for.
      final long got = Libc.read(Libc.errnoState(), fd, answer, READ_SIZE);
      return got == READ_SIZE ? HostMemory.getLong(answer + READ_LOST) : 0;
    } finally {
      HostMemory.free(answer);
    }
  }

  /** From here on there are records. */
  void enable() {
    call("PERF_EVENT_IOC_ENABLE", IOC_ENABLE, 0);
  }

  private void call(final String name, final long request, final long argument) {
    // Safe: the arguments are numbers.
    final int result = Libc.ioctl(Libc.errnoState(), fd, request, argument);
    if (result < 0) {
      throw Libc.failure(name, -result);
    }
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      Libc.close(fd);
    }
  }
}

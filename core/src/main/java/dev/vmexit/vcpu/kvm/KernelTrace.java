package dev.vmexit.vcpu.kvm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.KernelEvent;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.KernelEvents;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * The events of KVM's tracepoints in one vCPU's thread. They come while the thread is inside the
 * kernel, and it takes them when it is out: so all that it finds was before the exit that it is to
 * tell of, in the order in which it happened, and none is added while it takes them.
 *
 * <p>A guest may go on for long without an exit. Another thread waits for the ring to be half full,
 * and calls the vCPU out for that.
 *
 * <p>{@link #start} and all that follows belong to that thread; {@link #close} to whoever closes
 * the vCPU.
 */
final class KernelTrace implements KernelEvents {
  /** Some tens of thousands of events. */
  static final int RING_BYTES = 4 << 20;

  // struct pollfd: fd 4, events 2, revents 2.
  private static final int POLL_SIZE = 8;
  private static final int POLL_EVENTS = 4;
  private static final int POLL_ANSWER = 6;
  private static final int POLLIN = 1;

  private static final int TYPE_SIZE = 2;

  private final KernelTracepoints tracepoints;
  private final int ringBytes;
  private final List<PerfEvent> events = new ArrayList<>();

  /** By number, from {@link #firstId}. */
  private final Tracepoint[] byId;

  private final int firstId;
  private final int typeOffset;
  private PerfRing ring;
  private Thread watcher;
  private int stop;

  /** As the ring has told. */
  private long told;

  /** As the kernel counts; as of the end, when it cannot be asked any more. */
  private long counted;

  /**
   * Makes one.
   *
   * @param ringBytes a power of two, of whole pages
   */
  KernelTrace(final KernelTracepoints tracepoints, final int ringBytes) {
    this.tracepoints = tracepoints;
    this.ringBytes = ringBytes;
    typeOffset = tracepoints.typeOffset();
    firstId = tracepoints.list().stream().mapToInt(Tracepoint::id).min().orElseThrow();
    final int last = tracepoints.list().stream().mapToInt(Tracepoint::id).max().orElseThrow();
    byId = new Tracepoint[last - firstId + 1];
    for (final Tracepoint tracepoint : tracepoints.list()) {
      byId[tracepoint.id() - firstId] = tracepoint;
    }
  }

  /**
   * Begins, with the calling thread.
   *
   * @param signal calls it out of the guest; closed after this
   */
  void start(final VcpuSignal signal) {
    for (final Tracepoint tracepoint : tracepoints.list()) {
      events.add(PerfEvent.open(tracepoint.id(), ringBytes / 2));
      if (ring == null) {
        ring = PerfRing.map(events.getFirst(), ringBytes);
      } else {
        events.getLast().sendTo(events.getFirst());
      }
    }
    events.forEach(PerfEvent::enable);
    stop = Libc.eventFd();
    watcher = new Thread(() -> watch(signal), "kernel-trace");
    watcher.setDaemon(true);
    watcher.start();
  }

  /** Calls the vCPU out whenever the ring is half full, until the thread or this ends. */
  private void watch(final VcpuSignal signal) {
    final MemorySegment errno = Libc.errnoState();
    final long polls = HostMemory.allocate(2L * POLL_SIZE);
    try {
      HostMemory.putInt(polls, events.getFirst().descriptorNumber());
      HostMemory.putShort(polls + POLL_EVENTS, POLLIN);
      HostMemory.putInt(polls + POLL_SIZE, stop);
      HostMemory.putShort(polls + POLL_SIZE + POLL_EVENTS, POLLIN);
      while (true) {
        // Safe: two structs, this call's own.
        final int ready = Libc.poll(errno, polls, 2);
        if (ready < 0 && ready != -Libc.EINTR
            || HostMemory.getShort(polls + POLL_SIZE + POLL_ANSWER) != 0) {
          return;
        }
        final int answer = ready > 0 ? HostMemory.getShort(polls + POLL_ANSWER) : 0;
        if (answer == POLLIN) {
          signal.send();
        } else if (answer != 0) {
          // The thread has ended: there is nothing more to come.
          return;
        }
      }
    } finally {
      HostMemory.free(polls);
    }
  }

  private Tracepoint tracepoint() {
    if (ring.rawLength() < typeOffset + TYPE_SIZE) {
      return null;
    }
    // Safe: inside the data, whose length was just looked at.
    final int index = HostMemory.getShort(ring.raw() + typeOffset) - firstId;
    return index >= 0 && index < byId.length ? byId[index] : null;
  }

  @Override
  public boolean hasNext() {
    if (ring == null) {
      return false;
    }
    while (ring.next()) {
      switch (ring.type()) {
        case PerfRing.RECORD_LOST, PerfRing.RECORD_THROTTLE -> {
          return true;
        }
        case PerfRing.RECORD_SAMPLE -> {
          if (tracepoint() != null) {
            return true;
          }
        }
        default -> {}
      }
      ring.take();
    }
    return false;
  }

  @Override
  public void next(final ExitEvent event) {
    switch (ring.type()) {
      case PerfRing.RECORD_SAMPLE -> {
        event.hostTime = ring.time();
        tracepoint().fill(ring.raw(), ring.rawLength(), event);
      }
      case PerfRing.RECORD_LOST -> {
        event.detail = KernelEvent.LOST.ordinal();
        event.value = ring.lost();
        told += event.value;
      }
      // Held back for a while, by the limit of events a second: nobody counts them.
      default -> {
        event.detail = KernelEvent.LOST.ordinal();
        told++;
        counted++;
      }
    }
    ring.take();
  }

  @Override
  public long lost() {
    return Math.max(told, counted + events.stream().mapToLong(PerfEvent::lost).sum());
  }

  @Override
  public long untold() {
    return lost() - told;
  }

  void close() {
    if (watcher != null) {
      stopWatching();
    }
    counted = lost();
    if (ring != null) {
      ring.close();
      ring = null;
    }
    events.forEach(PerfEvent::close);
    events.clear();
  }

  private void stopWatching() {
    final long one = HostMemory.allocate(Long.BYTES);
    HostMemory.putLong(one, 1);
    // Safe: eight bytes, which the call copies.
    Libc.write(Libc.errnoState(), stop, one, Long.BYTES);
    HostMemory.free(one);
    boolean interrupted = false;
    while (watcher.isAlive()) {
      try {
        watcher.join();
      } catch (final InterruptedException e) {
        interrupted = true;
      }
    }
    watcher = null;
    Libc.close(stop);
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}

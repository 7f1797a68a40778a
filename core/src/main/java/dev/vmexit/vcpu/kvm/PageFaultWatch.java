package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.ErrnoException;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.memory.Slot;
import java.lang.foreign.MemorySegment;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;

/**
 * Sees which pages of guest memory KVM touches for the first time, and which it writes to after it
 * had only read them: once each.
 *
 * <p>The faults are served by a thread of its own ({@link #run}), as the vCPU's is inside KVM_RUN
 * and waits for just that. It gives the page its memory, which changes nothing that the guest could
 * see, and keeps the fault in the vCPU's {@link FaultQueue} <em>before</em> it lets it go on. The
 * vCPU's own thread tells of it when it is out of the guest, before it tells of the exit that
 * brought it out: so the records stand in the vCPU's ring, in order, written by the one thread that
 * writes there.
 *
 * <p>A fault of a thread that is no vCPU's (the kernel may touch memory on behalf of one) is told
 * by the first.
 */
public final class PageFaultWatch implements Runnable, AutoCloseable {
  private static final long PAGE = GuestMemory.PAGE_SIZE;

  // struct pollfd: fd 4, events 2, revents 2.
  private static final int POLL_SIZE = 8;
  private static final int POLL_EVENTS = 4;
  private static final int POLLIN = 1;

  private final MemorySegment errno = Libc.errnoState();
  private final Userfaultfd faults;
  private final int stop;

  /** Ours until close: two structs pollfd, and the 1 that is written to {@link #stop}. */
  private final long polls = HostMemory.allocate(2L * POLL_SIZE);

  private final long one = HostMemory.allocate(8);

  private final List<Slot> slots;
  private final long[] addresses;
  private final BitSet[] touched;
  private final BitSet[] written;
  private final FaultQueue[] queues;
  private String trouble = "";

  private PageFaultWatch(final Userfaultfd faults, final GuestMemory memory, final int vcpus) {
    this.faults = faults;
    stop = Libc.eventFd();
    slots = memory.slots();
    addresses = new long[slots.size()];
    touched = new BitSet[slots.size()];
    written = new BitSet[slots.size()];
    for (int i = 0; i < addresses.length; i++) {
      addresses[i] = memory.hypervisorAddress(slots.get(i).host());
      touched[i] = new BitSet();
      written[i] = new BitSet();
    }
    queues = new FaultQueue[vcpus];
    for (int i = 0; i < vcpus; i++) {
      queues[i] = new FaultQueue();
    }
    HostMemory.putLong(one, 1);
    HostMemory.putInt(polls, faults.descriptorNumber());
    HostMemory.putShort(polls + POLL_EVENTS, POLLIN);
    HostMemory.putInt(polls + POLL_SIZE, stop);
    HostMemory.putShort(polls + POLL_SIZE + POLL_EVENTS, POLLIN);
  }

  /**
   * Begins to watch: from here on a thread must {@link #run} this.
   *
   * @param memory with a second view, which KVM is given
   * @throws KvmUnavailableException where the host does not let us
   */
  public static PageFaultWatch create(final GuestMemory memory, final int vcpus) {
    if (!memory.hasSecondView()) {
      throw new IllegalArgumentException("guest memory without a second view cannot be watched");
    }
    final PageFaultWatch watch = new PageFaultWatch(Userfaultfd.open(), memory, vcpus);
    try {
      for (int i = 0; i < watch.addresses.length; i++) {
        watch.faults.watch(watch.addresses[i], watch.slots.get(i).bytes());
      }
    } catch (final ErrnoException e) {
      watch.close();
      throw e;
    }
    return watch;
  }

  /** Why this host does not let us watch; empty where it does. */
  public static Optional<String> missing() {
    try {
      Userfaultfd.open().close();
      return Optional.empty();
    } catch (final KvmUnavailableException e) {
      return Optional.of(e.getMessage());
    }
  }

  /** Where a vCPU finds its faults. */
  FaultQueue queue(final int vcpu) {
    return queues[vcpu];
  }

  /** Why faults are not served any more; for who has taken {@link FaultQueue#BROKEN}. */
  String trouble() {
    return trouble;
  }

  /** Serves faults until {@link #stop}. */
  @Override
  public void run() {
    try {
      while (true) {
        // Safe: two structs, ours until close, which comes after the end of this.
        final int ready = Libc.poll(errno, polls, 2);
        if (ready < 0 && ready != -Libc.EINTR) {
          throw Libc.failure("poll", -ready);
        }
        if (HostMemory.getShort(polls + POLL_SIZE + 6) != 0) {
          return;
        }
        final int count = faults.read();
        for (int i = 0; i < count; i++) {
          serve(faults.message(i));
        }
      }
    } catch (final RuntimeException e) {
      trouble = e.getMessage();
      for (final FaultQueue queue : queues) {
        queue.put(FaultQueue.BROKEN);
      }
    }
  }

  private void serve(final long message) {
    if (HostMemory.getByte(message + Userfaultfd.EVENT) != Userfaultfd.EVENT_PAGEFAULT) {
      return;
    }
    final long flags = HostMemory.getLong(message + Userfaultfd.FAULT_FLAGS);
    final long address = HostMemory.getLong(message + Userfaultfd.FAULT_ADDRESS) & -PAGE;
    final int slot = slotOf(address);
    final int page = (int) ((address - addresses[slot]) / PAGE);
    final long gpa = slots.get(slot).gpa() + page * PAGE;
    final FaultQueue queue = queueOf(HostMemory.getInt(message + Userfaultfd.FAULT_THREAD));
    final boolean write = (flags & (Userfaultfd.FLAG_WRITE | Userfaultfd.FLAG_WP)) != 0;
    if (!touched[slot].get(page)) {
      touched[slot].set(page);
      queue.put(gpa | FaultQueue.FAULT | (write ? FaultQueue.WRITE : 0));
    } else if (write && !written[slot].get(page)) {
      queue.put(gpa | FaultQueue.FAULT | FaultQueue.WRITE | FaultQueue.WAS_READ);
    }
    if (write) {
      written[slot].set(page);
    }
    if ((flags & Userfaultfd.FLAG_WP) != 0) {
      faults.allowWrites(address);
    } else {
      faults.fill(address, (flags & Userfaultfd.FLAG_MINOR) != 0, written[slot].get(page));
    }
  }

  private int slotOf(final long address) {
    for (int i = 0; i < addresses.length; i++) {
      if (Long.compareUnsigned(address - addresses[i], slots.get(i).bytes()) < 0) {
        return i;
      }
    }
    throw new IllegalStateException(
        "page fault at 0x" + Long.toHexString(address) + ", which is not guest memory");
  }

  private FaultQueue queueOf(final int thread) {
    for (final FaultQueue queue : queues) {
      if (queue.thread() == thread) {
        return queue;
      }
    }
    return queues[0];
  }

  /** Ends {@link #run}; no vCPU may be in the guest any more. Any thread. */
  public void stop() {
    // Safe: 8 bytes, ours until close.
    Libc.write(Libc.errnoState(), stop, one, 8);
  }

  /** Gives all back; {@link #run} has ended. */
  @Override
  public void close() {
    faults.close();
    Libc.close(stop);
    HostMemory.free(polls);
    HostMemory.free(one);
  }
}

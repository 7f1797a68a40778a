package dev.vmexit.vm;

import dev.vmexit.irq.Irqchip;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicIntegerArray;

/**
 * What the run loops of one machine share: the lock under which one of them at a time is out of the
 * guest and works on devices, interrupt controllers and clock; who must be called out of the guest;
 * how the run ended.
 *
 * <p>Of a single vCPU the lock costs nothing. It is held for the microseconds of an exit's handler,
 * so those who want it spin, and yield after a while; nothing here allocates. A halted loop gives
 * it back while it waits.
 */
final class VcpuGroup {
  private static final int FREE = 0;
  private static final int TAKEN = 1;
  private static final int SPINS = 2_000;
  private static final VarHandle LOCK;

  static {
    try {
      LOCK = MethodHandles.lookup().findVarHandle(VcpuGroup.class, "lock", int.class);
    } catch (final ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private final int size;
  private final Runnable[] kicks;
  private final Runnable[] wakes;

  /** Will not run again unless another one wakes it. Under the lock, as all below. */
  private final boolean[] asleep;

  /** Not 0 while a vCPU may be in the guest. Set under the lock, cleared before it is taken. */
  private final AtomicIntegerArray inGuest;

  /** Waits outside the guest. */
  private final boolean[] resting;

  @SuppressWarnings("UnusedVariable") // through LOCK
  private int lock;

  /** When the first loop, which serves the timers, wants to be back; ns of the machine's clock. */
  private long timersWatched = Long.MIN_VALUE;

  /** Written under the lock, read by whoever waits for a run's end. */
  private volatile RunEnd end;

  private String endDetail = "";
  private int endStatus;
  private int endedBy;

  VcpuGroup(final int size) {
    this.size = size;
    kicks = new Runnable[size];
    wakes = new Runnable[size];
    asleep = new boolean[size];
    inGuest = new AtomicIntegerArray(size);
    resting = new boolean[size];
  }

  /** Tells how a vCPU is called out of the guest, and how where it waits outside. */
  void onKick(final int number, final Runnable kick, final Runnable wake) {
    kicks[number] = kick;
    wakes[number] = wake;
  }

  // ---- the lock ----

  void lock() {
    if (size == 1) {
      return;
    }
    int spins = 0;
    // Pairs with unlock(): what the last holder wrote is seen by the next.
    while (!LOCK.weakCompareAndSetAcquire(this, FREE, TAKEN)) {
      if (++spins < SPINS) {
        Thread.onSpinWait();
      } else {
        Thread.yield();
      }
    }
  }

  void unlock() {
    if (size > 1) {
      LOCK.setRelease(this, FREE);
    }
  }

  // ---- waking each other ----

  /** Calls a vCPU out of the guest, or out of its waiting. */
  private void call(final int number) {
    (resting[number] ? wakes : kicks)[number].run();
  }

  /** A vCPU is going to wait outside the guest, or is back. */
  void rests(final int number, final boolean rests) {
    resting[number] = rests;
  }

  /** A vCPU enters; if it is the first, it is to be back then. Out again: {@link #left}. */
  void enters(final long deadline, final int number) {
    watchTimers(deadline, number);
    if (size > 1) {
      inGuest.setRelease(number, 1);
    }
  }

  /** A vCPU is out of the guest; not yet under the lock. */
  void left(final int number) {
    if (size > 1) {
      // Pairs with stopOthers(): what the guest has done comes before.
      inGuest.setRelease(number, 0);
    }
  }

  /** Has all others out of the guest, and kept out until the caller gives the lock back. */
  void stopOthers(final int number) {
    for (int i = 0; i < size; i++) {
      if (i != number && inGuest.getAcquire(i) != 0) {
        kicks[i].run();
        while (inGuest.getAcquire(i) != 0) {
          Thread.yield();
        }
      }
    }
  }

  /** The first one's timers; it waits, or enters. */
  void watchTimers(final long deadline, final int number) {
    if (number == 0) {
      timersWatched = deadline;
    }
  }

  /**
   * Calls those out of the guest whom a vCPU has sent something; and the first one, which serves
   * the timers, where the next of them is earlier than it knows.
   *
   * @param deadline the next timer's, ns of the machine's clock
   */
  void callOthers(final int number, final Irqchip irqchip, final long deadline) {
    if (size == 1) {
      return;
    }
    for (int i = 0; i < size; i++) {
      // Its own news it looks at by itself.
      if (irqchip.takeNews(i) && i != number) {
        call(i);
      }
    }
    if (number != 0 && deadline < timersWatched) {
      call(0);
    }
  }

  /**
   * A vCPU halts with interrupts off, or waits for its start; or does not any more.
   *
   * @return whether now none is left that could wake another
   */
  boolean sleeps(final int number, final boolean sleeping) {
    asleep[number] = sleeping;
    for (final boolean one : asleep) {
      if (!one) {
        return false;
      }
    }
    return true;
  }

  // ---- the end ----

  boolean hasEnded() {
    return end != null;
  }

  /** Ends the run of all, unless it has ended. */
  void end(final RunEnd reason, final int number) {
    if (end == null) {
      endedBy = number;
      end = reason;
      for (int i = 0; i < size; i++) {
        if (i != number) {
          kicks[i].run();
          wakes[i].run();
        }
      }
    }
  }

  /** The first loop is through, in order or not: no other one goes on. */
  void abandon() {
    left(0);
    lock();
    end(RunEnd.VCPU_FAILED, 0);
    unlock();
  }

  /** Words for the end that is to follow. */
  void detail(final String words) {
    if (end == null) {
      endDetail = words;
    }
  }

  /** The status that the guest gave with the end that is to follow. */
  void status(final int status) {
    if (end == null) {
      endStatus = status;
    }
  }

  /** The vCPU that ended the run; 0 while it lasts. */
  int endedBy() {
    return endedBy;
  }

  /** How the run ended, when all loops have. */
  RunResult result(final long retired, final long exits) {
    return new RunResult(end, endDetail, endStatus, retired, exits);
  }

  @Override
  public String toString() {
    return size + " vCPUs, asleep: " + Arrays.toString(asleep) + ", end: " + end;
  }
}

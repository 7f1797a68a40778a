package dev.vmexit.vm;

import java.util.function.LongSupplier;
import org.agrona.concurrent.NanoClock;

/**
 * Machine time that follows the host's. It stands still between two exits: the run loop moves it,
 * so that all devices agree on when an exit happened and the clock is read once for all of them.
 */
final class HostClock implements RunClock {
  /** The interpreter's speed, roughly, in instructions per 16 ns: errs on the early side. */
  private static final int INSTRUCTION_SHIFT = 4;

  private static final long MIN_QUANTUM = 256;
  private static final long MAX_QUANTUM = 50_000;

  private final NanoClock source;
  private final LongSupplier entropy;
  private final long start;
  private long now;

  /** {@link #now} is of the past: the next who asks brings it up to date. */
  private boolean stale;

  HostClock(final NanoClock source, final LongSupplier entropy) {
    this.source = source;
    this.entropy = entropy;
    this.start = source.nanoTime();
  }

  @Override
  public long nanos() {
    if (stale) {
      advance(source.nanoTime());
    }
    return now;
  }

  @Override
  public void passed() {
    stale = true;
  }

  @Override
  public void advance(final long hostNanos) {
    stale = false;
    now = Math.max(now, hostNanos - start);
  }

  @Override
  public void deviceExit() {
    // It has taken its time.
  }

  @Override
  public long retiredLimit(final long retired, final long deadline) {
    if (deadline <= now) {
      return retired + 1;
    }
    final long quantum = deadline - now >> INSTRUCTION_SHIFT;
    return retired + Math.max(MIN_QUANTUM, Math.min(MAX_QUANTUM, quantum));
  }

  @Override
  public boolean skipTo(final long deadline) {
    advance(source.nanoTime());
    return false;
  }

  @Override
  public long random() {
    return entropy.getAsLong();
  }
}

package dev.vmexit.vcpu;

import dev.vmexit.exit.ExitEvent;

/**
 * What the host's kernel tells of its own work for a vCPU, beside the exits: events that came
 * before the exit that {@link Vcpu#enter} has just told of. For the vCPU's thread.
 */
public interface KernelEvents {
  /** Whether there is one that was not taken. */
  boolean hasNext();

  /**
   * Takes the oldest one; {@link #hasNext} has said that there is one.
   *
   * @param event its payload is cleared, and the rest the vCPU's state as of the exit: here the
   *     payload of kind KERNEL is filled in, what else the event tells, and as {@code hostTime} the
   *     moment on the host's monotonic clock, ns
   */
  void next(ExitEvent event);

  /** How many were lost so far; a loss is told by {@link #next}, where events come after it. */
  long lost();

  /** How many of those {@link #next} has not told of. */
  long untold();
}

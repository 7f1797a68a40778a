package dev.vmexit.device;

/** The one source of time of a machine: host or virtual. Read by the vCPU thread alone. */
public interface MachineClock {
  /** Nanoseconds since the machine was powered on; never goes back. */
  long nanos();
}

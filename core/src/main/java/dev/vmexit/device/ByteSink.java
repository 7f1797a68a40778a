package dev.vmexit.device;

/** Takes the bytes that a device sends to the outside, one at a time, on the vCPU thread. */
@FunctionalInterface
public interface ByteSink {
  /** Takes one byte, 0 to 255; must not block for long, as the guest waits. */
  void accept(int value);
}

package dev.vmexit.device;

/** A device in guest-physical memory. Called by the vCPU thread alone. */
public interface MmioDevice {
  /**
   * Answers a load.
   *
   * @param offset from the start of the device's range
   * @param size 1, 2, 4 or 8 bytes
   */
  long readMmio(long offset, int size);

  /** Takes a store. */
  void writeMmio(long offset, int size, long value);
}

package dev.vmexit.device;

/** A device on I/O ports. Called by the vCPU thread alone, between two guest instructions. */
public interface PortDevice {
  /**
   * Answers IN.
   *
   * @param port absolute port number
   * @param size 1, 2 or 4 bytes
   * @return the value, zero-extended
   */
  int readPort(int port, int size);

  /** Takes OUT; the value is zero-extended. */
  void writePort(int port, int size, int value);
}

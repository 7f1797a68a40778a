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

  /**
   * Answers INS with a repeat prefix: the same port again and again.
   *
   * @param times at least 1
   * @param to takes {@code size * times} bytes, little-endian
   */
  default void readString(final int port, final int size, final int times, final byte[] to) {
    for (int i = 0; i < times; i++) {
      final int value = readPort(port, size);
      for (int b = 0; b < size; b++) {
        to[i * size + b] = (byte) (value >>> 8 * b);
      }
    }
  }
}

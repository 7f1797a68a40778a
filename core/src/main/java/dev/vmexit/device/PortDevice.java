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

  /**
   * Takes OUTS with a repeat prefix: the same port again and again.
   *
   * @param times at least 1
   * @param from holds {@code size * times} bytes, little-endian
   */
  default void writeString(final int port, final int size, final int times, final byte[] from) {
    for (int i = 0; i < times; i++) {
      writePort(port, size, element(from, size, i));
    }
  }

  /** One element of a string, zero-extended. */
  static int element(final byte[] string, final int size, final int index) {
    int value = 0;
    for (int b = 0; b < size; b++) {
      value |= (string[index * size + b] & 0xFF) << 8 * b;
    }
    return value;
  }
}

package dev.vmexit.device;

/**
 * A device whose registers are all eight bits wide: a wider access is split into bytes at
 * consecutive ports, lowest first, as an ISA bus does it.
 */
public abstract class BytePortDevice implements PortDevice {
  /** Answers a one-byte IN with 0 to 255. */
  protected abstract int readByte(int port);

  /** Takes a one-byte OUT, 0 to 255. */
  protected abstract void writeByte(int port, int value);

  @Override
  public int readPort(final int port, final int size) {
    if (size == 1) {
      return readByte(port);
    }
    int value = 0;
    for (int i = 0; i < size; i++) {
      value |= readByte(port + i) << (8 * i);
    }
    return value;
  }

  @Override
  public void writePort(final int port, final int size, final int value) {
    for (int i = 0; i < size; i++) {
      writeByte(port + i, (value >>> (8 * i)) & 0xFF);
    }
  }
}

package dev.vmexit.device;

/**
 * The configuration space of one PCI function (PCI Local Bus Specification 3.0, chapter 6): 256
 * bytes, and which bits of them the guest can write. Used by the vCPU thread alone.
 */
public class PciFunction {
  /** Bytes of a function's configuration space. */
  public static final int SIZE = 256;

  public static final int COMMAND = 0x04;
  public static final int HEADER_TYPE = 0x0E;
  public static final int BAR0 = 0x10;
  public static final int SUBSYSTEM = 0x2C;
  public static final int INTERRUPT_LINE = 0x3C;

  /** The function takes part in a device with several. */
  public static final int MULTI_FUNCTION = 0x80;

  /** I/O space is decoded. */
  public static final int COMMAND_IO = 1;

  /** The function may master the bus. */
  public static final int COMMAND_MASTER = 1 << 2;

  private final byte[] bytes = new byte[SIZE];
  private final byte[] writable = new byte[SIZE];

  /**
   * Makes a function with nothing writable but its interrupt line.
   *
   * @param vendorDevice vendor in the low half, device in the high half
   * @param classRevision revision in the low byte, programming interface, subclass, class above
   */
  public PciFunction(final int vendorDevice, final int classRevision) {
    set(0, 4, vendorDevice);
    set(8, 4, classRevision);
    writable(INTERRUPT_LINE, 1, 0xFF);
  }

  /** Sets registers to what they are at power-on, or as hardware does; little-endian. */
  public final void set(final int register, final int size, final int value) {
    for (int i = 0; i < size; i++) {
      bytes[register + i] = (byte) (value >>> 8 * i);
    }
  }

  /** Says which bits of a register keep what the guest writes. */
  public final void writable(final int register, final int size, final int mask) {
    for (int i = 0; i < size; i++) {
      writable[register + i] = (byte) (mask >>> 8 * i);
    }
  }

  /**
   * Reads a register, whoever asks.
   *
   * @param size 1, 2 or 4 bytes, not across the end of the space
   */
  public final int get(final int register, final int size) {
    int value = 0;
    for (int i = 0; i < size; i++) {
      value |= (bytes[register + i] & 0xFF) << 8 * i;
    }
    return value;
  }

  /** Takes a guest's write of 1, 2 or 4 bytes inside one aligned group of four. */
  public final void write(final int register, final int size, final int value) {
    for (int i = 0; i < size; i++) {
      final int mask = writable[register + i];
      final int written = value >>> 8 * i;
      bytes[register + i] = (byte) (bytes[register + i] & ~mask | written & mask);
    }
    written(register, size);
  }

  /** Told after a guest's write; does nothing here. */
  protected void written(final int register, final int size) {}
}

package dev.vmexit.device;

/**
 * PCI configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2) of bus 0: the address
 * register at 0xCF8 holds what is written, the data register at 0xCFC to 0xCFF reaches the function
 * that it names. A function that is not there answers all ones; by default none is.
 *
 * <p>Only a four-byte access reaches the address register; narrower ones are ordinary port
 * accesses, and the byte at 0xCF9 is the reset control register.
 */
public final class PciConfig implements PortDevice {
  /** First port: the address register. */
  public static final int FIRST_PORT = 0xCF8;

  /** Last port: the end of the data register. */
  public static final int LAST_PORT = 0xCFF;

  private static final int DATA_PORT = 0xCFC;

  /** Enable bit, bus, device, function, register; bits 30:24 and 1:0 are hardwired to 0. */
  private static final int ADDRESS_BITS = 0x80FF_FFFC;

  private final ResetControl resetControl;

  /** By device and function: bits 15:8 of the address. */
  private final PciFunction[] functions = new PciFunction[256];

  private int address;

  public PciConfig(final ResetControl resetControl) {
    this.resetControl = resetControl;
  }

  /**
   * Plugs a function into bus 0.
   *
   * @param device 0 to 31
   * @param function 0 to 7
   * @throws IllegalArgumentException where one is there already
   */
  public void plug(final int device, final int function, final PciFunction what) {
    final int at = device << 3 | function;
    if (functions[at] != null) {
      throw new IllegalArgumentException(
          "PCI function 00:" + device + "." + function + " is taken");
    }
    functions[at] = what;
  }

  @Override
  public int readPort(final int port, final int size) {
    if (port >= DATA_PORT) {
      final PciFunction function = addressed();
      final int at = port - DATA_PORT;
      return function == null || at + size > 4 ? -1 : function.get(address & 0xFC | at, size);
    }
    if (port == FIRST_PORT && size == 4) {
      return address;
    }
    if (port == ResetControl.PORT && size == 1) {
      return resetControl.readPort(port, size);
    }
    return -1;
  }

  @Override
  public void writePort(final int port, final int size, final int value) {
    if (port >= DATA_PORT) {
      final PciFunction function = addressed();
      final int at = port - DATA_PORT;
      if (function != null && at + size <= 4) {
        function.write(address & 0xFC | at, size, value);
      }
    } else if (port == FIRST_PORT && size == 4) {
      address = value & ADDRESS_BITS;
    } else if (port == ResetControl.PORT && size == 1) {
      resetControl.writePort(port, size, value);
    }
    // All else goes to a function that is not there: a master abort, dropped.
  }

  /** The function that the address names, or null: disabled, another bus, or an empty place. */
  private PciFunction addressed() {
    return address < 0 && (address & 0x00FF_0000) == 0 ? functions[address >>> 8 & 0xFF] : null;
  }
}

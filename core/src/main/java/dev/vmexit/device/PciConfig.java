package dev.vmexit.device;

/**
 * PCI configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2) of a machine with no
 * PCI device: the address register at 0xCF8 holds what is written, and every function answers all
 * ones at 0xCFC to 0xCFF.
 *
 * <p>Only a four-byte access reaches the address register; narrower ones are ordinary port
 * accesses, and the byte at 0xCF9 is the reset control register.
 */
public final class PciConfig implements PortDevice {
  /** First port: the address register. */
  public static final int FIRST_PORT = 0xCF8;

  /** Last port: the end of the data register. */
  public static final int LAST_PORT = 0xCFF;

  /** Enable bit, bus, device, function, register; bits 30:24 and 1:0 are hardwired to 0. */
  private static final int ADDRESS_BITS = 0x80FF_FFFC;

  private final ResetControl resetControl;
  private int address;

  public PciConfig(final ResetControl resetControl) {
    this.resetControl = resetControl;
  }

  @Override
  public int readPort(final int port, final int size) {
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
    if (port == FIRST_PORT && size == 4) {
      address = value & ADDRESS_BITS;
    } else if (port == ResetControl.PORT && size == 1) {
      resetControl.writePort(port, size, value);
    }
    // All else goes to a function that is not there: a master abort, dropped.
  }
}

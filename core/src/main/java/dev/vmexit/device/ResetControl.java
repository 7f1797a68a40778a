package dev.vmexit.device;

/**
 * The reset control register of PC chipsets at port 0xCF9: bit 1 chooses a hard reset, and a change
 * of bit 2 from 0 to 1 performs it. Writes of 0x06 and 0x0E at once are what ACPI and Linux do.
 */
public final class ResetControl extends BytePortDevice {
  /** Its port, inside the range of {@link PciConfig}. */
  public static final int PORT = 0xCF9;

  private static final int RESET_CPU = 1 << 2;

  /** Bits that hold what was written: system reset, reset CPU, full reset. */
  private static final int WRITABLE = 0x0E;

  private final Runnable reset;
  private int value;

  /** Calls {@code reset} on the vCPU thread when the guest asks for it. */
  public ResetControl(final Runnable reset) {
    this.reset = reset;
  }

  @Override
  protected int readByte(final int port) {
    return value;
  }

  @Override
  protected void writeByte(final int port, final int written) {
    final boolean rises = (written & ~value & RESET_CPU) != 0;
    value = written & WRITABLE;
    if (rises) {
      value &= ~RESET_CPU;
      reset.run();
    }
  }
}

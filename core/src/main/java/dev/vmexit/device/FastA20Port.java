package dev.vmexit.device;

/**
 * System control port A, 0x92: bit 0 rising resets the machine, bit 1 is the A20 gate, the rest is
 * remembered.
 */
public final class FastA20Port extends BytePortDevice {
  /** Its port. */
  public static final int PORT = 0x92;

  private static final int RESET = 1;
  private static final int A20 = 1 << 1;

  private final A20Gate a20;
  private final Runnable reset;
  private int value;

  /** Calls {@code reset} on the vCPU thread when the guest asks for it. */
  public FastA20Port(final A20Gate a20, final Runnable reset) {
    this.a20 = a20;
    this.reset = reset;
  }

  @Override
  protected int readByte(final int port) {
    return value | (a20.enabled() ? A20 : 0);
  }

  @Override
  protected void writeByte(final int port, final int written) {
    final boolean resets = (written & ~value & RESET) != 0;
    value = written & ~A20;
    a20.enabled((written & A20) != 0);
    if (resets) {
      value &= ~RESET;
      reset.run();
    }
  }
}

package dev.vmexit.device;

/**
 * The diagnostic port 0x80: keeps the last code written. Linux writes it as a delay ({@code
 * io_delay}), so it must be cheap.
 */
public final class PostCodePort extends BytePortDevice {
  /** Its port. */
  public static final int PORT = 0x80;

  private int code;

  /** The last code written, 0 at power-on. */
  public int code() {
    return code;
  }

  @Override
  protected int readByte(final int port) {
    return code;
  }

  @Override
  protected void writeByte(final int port, final int value) {
    code = value;
  }
}

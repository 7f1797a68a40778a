package dev.vmexit.device;

/**
 * The debug console at port 0xE9: each byte written goes to a sink; a read yields 0xE9, by which
 * firmware tells that the port exists.
 */
public final class DebugPort extends BytePortDevice {
  /** Its port. */
  public static final int PORT = 0xE9;

  /** Where SeaBIOS looks for another one, for its log. */
  public static final int FIRMWARE_PORT = 0x402;

  private final ByteSink sink;

  public DebugPort(final ByteSink sink) {
    this.sink = sink;
  }

  @Override
  protected int readByte(final int port) {
    return PORT;
  }

  @Override
  protected void writeByte(final int port, final int value) {
    sink.accept(value);
  }
}

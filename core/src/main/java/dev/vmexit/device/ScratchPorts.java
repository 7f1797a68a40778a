package dev.vmexit.device;

/**
 * Ports that remember what was written and do nothing else: they stand for the 8237 DMA controllers
 * and their page registers, which a guest initializes and, with no ISA DMA device, never uses.
 */
public final class ScratchPorts extends BytePortDevice {
  private final int first;
  private final byte[] registers;

  /** Covers {@code first} to {@code last}, both included. */
  public ScratchPorts(final int first, final int last) {
    this.first = first;
    this.registers = new byte[last - first + 1];
  }

  @Override
  protected int readByte(final int port) {
    return registers[port - first] & 0xFF;
  }

  @Override
  protected void writeByte(final int port, final int value) {
    registers[port - first] = (byte) value;
  }
}

package dev.vmexit.device;

import java.util.function.IntConsumer;

/**
 * Lets a test guest end the machine with a status, in the manner of the isa-debug-exit device: a
 * write of {@code v} ends it with status {@code (v << 1) | 1}, which is never 0.
 */
public final class DebugExit implements PortDevice {
  /** The port it usually has. */
  public static final int PORT = 0xF4;

  private final IntConsumer exit;

  /** Calls {@code exit} with the status, on the vCPU thread, at each write. */
  public DebugExit(final IntConsumer exit) {
    this.exit = exit;
  }

  @Override
  public int readPort(final int port, final int size) {
    return 0;
  }

  @Override
  public void writePort(final int port, final int size, final int value) {
    exit.accept((value << 1) | 1);
  }
}

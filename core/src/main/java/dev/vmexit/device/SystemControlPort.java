package dev.vmexit.device;

/**
 * System control port B, 0x61: the gate of PIT channel 2 and the speaker, OUT 2, and the refresh
 * bit that software of old (and Linux's delay calibration) watches toggle every 15.085 us.
 */
public final class SystemControlPort extends BytePortDevice {
  /** Its port. */
  public static final int PORT = 0x61;

  private static final int GATE2 = 1;
  private static final int WRITABLE = 0x0F;
  private static final int REFRESH = 1 << 4;
  private static final int OUT2 = 1 << 5;
  private static final long REFRESH_NANOS = 15_085;

  private final Pit8254 pit;
  private final MachineClock clock;
  private int control;

  public SystemControlPort(final Pit8254 pit, final MachineClock clock) {
    this.pit = pit;
    this.clock = clock;
  }

  @Override
  protected int readByte(final int port) {
    return control
        | ((clock.nanos() / REFRESH_NANOS & 1) != 0 ? REFRESH : 0)
        | (pit.speakerOut() ? OUT2 : 0);
  }

  @Override
  protected void writeByte(final int port, final int value) {
    control = value & WRITABLE;
    pit.setSpeakerGate((value & GATE2) != 0);
  }
}

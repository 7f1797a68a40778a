package dev.vmexit.device;

/**
 * The 8254 interval timer at ports 0x40 to 0x43: channel 0 drives IRQ 0, channel 2 the speaker,
 * both at 1.193182 MHz. Channel 1, the DRAM refresh of old, counts and drives nothing.
 *
 * <p>Only rising edges of channel 0's OUT are turned into edges of the interrupt line, each at its
 * exact tick; the controllers look at nothing else of it.
 */
public final class Pit8254 extends BytePortDevice {
  /** First port; channels 0 to 2, then the control word. */
  public static final int BASE = 0x40;

  /** Number of ports. */
  public static final int PORTS = 4;

  /** Frequency of the counters' input. */
  public static final int INPUT_HZ = 1_193_182;

  private static final int READ_BACK = 3;

  private final ClockRate rate = new ClockRate(INPUT_HZ);
  private final MachineClock clock;
  private final InterruptLine line;
  private final TimerQueue.Timer riseTimer;
  private final PitChannel[] channels = {
    new PitChannel(true), new PitChannel(true), new PitChannel(false)
  };

  /**
   * Makes a timer at power-on, with nothing counting and OUT high.
   *
   * @param line IRQ 0
   */
  public Pit8254(final InterruptLine line, final MachineClock clock, final TimerQueue timers) {
    this.line = line;
    this.clock = clock;
    this.riseTimer = timers.newTimer(this::rise);
    line.set(channels[0].outAt(0));
  }

  /** Opens or shuts the gate of channel 2. */
  public void setSpeakerGate(final boolean level) {
    channels[2].setGate(level, now());
  }

  /** The gate of channel 2. */
  public boolean speakerGate() {
    return channels[2].gate();
  }

  /** OUT of channel 2. */
  public boolean speakerOut() {
    return channels[2].outAt(now());
  }

  @Override
  protected int readByte(final int port) {
    final int index = port - BASE;
    return index == 3 ? 0xFF : channels[index].readData(now());
  }

  @Override
  protected void writeByte(final int port, final int value) {
    final int index = port - BASE;
    final long tick = now();
    if (index < 3) {
      channels[index].writeData(value, tick);
      if (index == 0) {
        reprogrammed(tick);
      }
      return;
    }
    final int select = value >> 6;
    if (select == READ_BACK) {
      readBack(value, tick);
    } else if ((value & 0x30) == 0) {
      channels[select].latchCount(tick);
    } else {
      channels[select].writeControl(value, tick);
      if (select == 0) {
        reprogrammed(tick);
      }
    }
  }

  private void readBack(final int value, final long tick) {
    for (int i = 0; i < 3; i++) {
      if ((value & 2 << i) != 0) {
        // Bits 5 and 4 are active low; with both, the status is read first.
        if ((value & 0x20) == 0) {
          channels[i].latchCount(tick);
        }
        if ((value & 0x10) == 0) {
          channels[i].latchStatus(tick);
        }
      }
    }
  }

  private long now() {
    return rate.ticksAt(clock.nanos());
  }

  private void reprogrammed(final long tick) {
    line.set(channels[0].outAt(tick));
    scheduleRise(tick);
  }

  private void rise() {
    line.set(false);
    line.set(true);
    // Rises that passed unseen while the vCPU thread was late are lost, as they are when a guest
    // keeps interrupts off for longer than a period.
    scheduleRise(now());
  }

  private void scheduleRise(final long tick) {
    final long rise = channels[0].nextRise(tick);
    if (rise == PitChannel.NEVER) {
      riseTimer.cancel();
    } else {
      riseTimer.schedule(rate.nanosAt(rise));
    }
  }
}

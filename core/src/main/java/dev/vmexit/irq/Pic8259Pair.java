package dev.vmexit.irq;

import dev.vmexit.device.BytePortDevice;
import dev.vmexit.device.InterruptLine;
import dev.vmexit.device.MachineClock;
import dev.vmexit.exit.VectorState;

/**
 * The two cascaded 8259s of a PC: master at 0x20/0x21, slave at 0xA0/0xA1 on the master's line 2,
 * and the edge/level control registers at 0x4D0/0x4D1.
 */
public final class Pic8259Pair extends BytePortDevice {
  public static final int MASTER = 0x20;
  public static final int SLAVE = 0xA0;
  public static final int ELCR = 0x4D0;

  private static final int CASCADE = 2;

  /** IRQ 0, 1, 2, 8 and 13 cannot be made level-triggered. */
  private static final int ELCR_MASTER = 0xF8;

  private static final int ELCR_SLAVE = 0xDE;

  private final Pic8259 master;
  private final Pic8259 slave;
  private final InterruptLine output;
  private long acknowledgedAt;

  /**
   * Makes a pair at power-on, not initialized.
   *
   * @param clock tells when a line that rises now was meant to rise
   * @param output INT of the master; told at every change, and maybe when nothing changed
   */
  public Pic8259Pair(final MachineClock clock, final InterruptLine output) {
    this.master = new Pic8259(clock, 1 << CASCADE);
    this.slave = new Pic8259(clock, 0);
    this.output = output;
  }

  /** Drives IRQ 0 to 15, other than 2. */
  public void setIrq(final int irq, final boolean level) {
    if (irq < 8) {
      master.setLine(irq, level);
    } else {
      slave.setLine(irq - 8, level);
    }
    propagate();
  }

  /** Writes what {@link VectorState} says of the pair. */
  void save(final byte[] to) {
    master.save(to, VectorState.PIC);
    slave.save(to, VectorState.PIC + VectorState.PIC_LENGTH);
  }

  /** Whether INT is asserted. */
  public boolean output() {
    return master.output();
  }

  /**
   * The processor's interrupt acknowledge cycle.
   *
   * @return the vector: that of IRQ 7 or 15 when the request is gone (spurious)
   */
  public int acknowledge() {
    final int line = master.acknowledge();
    final int vector;
    if (line == CASCADE) {
      final int slaveLine = slave.acknowledge();
      vector = slave.vector(slaveLine);
      acknowledgedAt = slaveLine < 0 ? master.raisedAt(line) : slave.raisedAt(slaveLine);
      dropCascade();
    } else {
      vector = master.vector(line);
      acknowledgedAt = line < 0 ? -1 : master.raisedAt(line);
    }
    propagate();
    return vector;
  }

  /** Clock time, in ns, at which the interrupt last acknowledged was raised; -1 if spurious. */
  public long acknowledgedAt() {
    return acknowledgedAt;
  }

  @Override
  protected int readByte(final int port) {
    final int value =
        switch (port) {
          case MASTER, MASTER + 1 -> master.read(port != MASTER);
          case SLAVE, SLAVE + 1 -> slave.read(port != SLAVE);
          case ELCR -> master.elcr();
          case ELCR + 1 -> slave.elcr();
          default -> 0xFF;
        };
    // A read may have been a poll, which acknowledges.
    propagate();
    return value;
  }

  @Override
  protected void writeByte(final int port, final int value) {
    switch (port) {
      case MASTER, MASTER + 1 -> master.write(port != MASTER, value);
      case SLAVE, SLAVE + 1 -> slave.write(port != SLAVE, value);
      case ELCR -> master.elcr(value & ELCR_MASTER);
      case ELCR + 1 -> slave.elcr(value & ELCR_SLAVE);
      default -> {
        // No other port is registered.
      }
    }
    propagate();
  }

  /**
   * The slave's INT falls at its acknowledge, if only for a moment: without that the master would
   * miss the edge of a second request that waits already.
   */
  private void dropCascade() {
    master.setLine(CASCADE, false);
  }

  private void propagate() {
    master.setLine(CASCADE, slave.output());
    output.set(master.output());
  }
}

package dev.vmexit.device;

/**
 * An IDE channel with up to two drives: the command block of eight ports and the control port.
 * Writes to the task file reach both drives, reads come from the selected one; where that is not
 * there, the other one answers with a status of 0 (ATA/ATAPI-6, 9.16).
 */
final class IdeChannel implements PortDevice {
  private static final int DATA = 0;
  private static final int STATUS = 7;
  private static final int SELECT_SECOND = 1 << 4;
  private static final int CONTROL_NO_INTERRUPT = 1 << 1;
  private static final int CONTROL_RESET = 1 << 2;
  private static final int CONTROL_HIGH_BYTES = 1 << 7;
  private static final int BUSY = 1 << 7;
  private static final int DEVICE_OBSOLETE = 0xA0;

  private final int base;
  private final InterruptLine line;
  private final IdeDrive[] drives = new IdeDrive[2];
  private int selected;
  private int control;

  /** Told while the selected drive waits for the bus master. */
  private Runnable onDma = () -> {};

  /**
   * Makes a channel with no drive.
   *
   * @param base first port of the command block; the control port is at this plus 0x206
   */
  IdeChannel(final int base, final InterruptLine line) {
    this.base = base;
    this.line = line;
  }

  int commandPort() {
    return base;
  }

  int controlPort() {
    return base + 0x206;
  }

  void plug(final int number, final IdeDrive drive) {
    drives[number] = drive;
  }

  void onDma(final Runnable action) {
    onDma = action;
  }

  boolean isEmpty() {
    return drives[0] == null && drives[1] == null;
  }

  /** The selected drive, or null. */
  IdeDrive drive() {
    return drives[selected];
  }

  /** Drives the interrupt line; to be called after whatever a drive has done. */
  void update() {
    final IdeDrive drive = drives[selected];
    line.set(drive != null && drive.interrupts() && (control & CONTROL_NO_INTERRUPT) == 0);
    if (drive != null && drive.wantsDma()) {
      onDma.run();
    }
  }

  @Override
  public int readPort(final int port, final int size) {
    final IdeDrive drive = drives[selected];
    if (port == base + DATA) {
      final int value = drive == null ? 0 : drive.readData(size);
      update();
      return value;
    }
    int value = 0;
    for (int i = 0; i < size; i++) {
      value |= readByte(port + i, drive) << 8 * i;
    }
    return value;
  }

  private int readByte(final int port, final IdeDrive drive) {
    if (port == controlPort()) {
      return status(drive);
    }
    if (drive == null) {
      return 0;
    }
    final boolean before = (control & CONTROL_HIGH_BYTES) != 0;
    return switch (port - base) {
      case 1 -> drive.error;
      case 2 -> before ? drive.countBefore : drive.count;
      case 3 -> before ? drive.lowBefore : drive.low;
      case 4 -> before ? drive.midBefore : drive.mid;
      case 5 -> before ? drive.highBefore : drive.high;
      case 6 -> drive.device & ~SELECT_SECOND | DEVICE_OBSOLETE | selected << 4;
      case STATUS -> {
        final int status = status(drive);
        drive.interrupts(false);
        update();
        yield status;
      }
      default -> 0xFF;
    };
  }

  private int status(final IdeDrive drive) {
    if (drive == null) {
      return 0;
    }
    return (control & CONTROL_RESET) != 0 ? BUSY : drive.status;
  }

  @Override
  public void writePort(final int port, final int size, final int value) {
    if (port == base + DATA) {
      final IdeDrive drive = drives[selected];
      if (drive != null) {
        drive.writeData(size, value);
        update();
      }
      return;
    }
    for (int i = 0; i < size; i++) {
      writeByte(port + i, value >>> 8 * i & 0xFF);
    }
  }

  private void writeByte(final int port, final int value) {
    if (port == controlPort()) {
      writeControl(value);
      return;
    }
    control &= ~CONTROL_HIGH_BYTES;
    if (port == base + STATUS) {
      writeCommand(value);
      return;
    }
    if (port == base + 6) {
      selected = (value & SELECT_SECOND) != 0 ? 1 : 0;
    }
    for (final IdeDrive drive : drives) {
      if (drive != null) {
        writeRegister(drive, port - base, value);
      }
    }
    update();
  }

  private static void writeRegister(final IdeDrive drive, final int register, final int value) {
    switch (register) {
      case 1 -> drive.features = value;
      case 2 -> {
        drive.countBefore = drive.count;
        drive.count = value;
      }
      case 3 -> {
        drive.lowBefore = drive.low;
        drive.low = value;
      }
      case 4 -> {
        drive.midBefore = drive.mid;
        drive.mid = value;
      }
      case 5 -> {
        drive.highBefore = drive.high;
        drive.high = value;
      }
      case 6 -> drive.device = value;
      default -> {
        // The data register is 16 bits wide: no byte of it is here.
      }
    }
  }

  private void writeCommand(final int command) {
    if (command == 0x90) {
      // EXECUTE DEVICE DIAGNOSTIC goes to both.
      for (final IdeDrive drive : drives) {
        if (drive != null) {
          drive.reset();
          drive.interrupts(true);
        }
      }
      selected = 0;
    } else if (drives[selected] != null) {
      drives[selected].interrupts(false);
      drives[selected].command(command);
    }
    update();
  }

  private void writeControl(final int value) {
    final boolean resets = (control & CONTROL_RESET) != 0 && (value & CONTROL_RESET) == 0;
    control = value;
    if (resets) {
      selected = 0;
      for (final IdeDrive drive : drives) {
        if (drive != null) {
          drive.reset();
        }
      }
    }
    update();
  }

  @Override
  public void writeString(final int port, final int size, final int times, final byte[] from) {
    final IdeDrive drive = drives[selected];
    if (port == base + DATA && drive != null) {
      for (int i = 0; i < times; i++) {
        drive.writeData(size, PortDevice.element(from, size, i));
      }
      update();
    } else {
      PortDevice.super.writeString(port, size, times, from);
    }
  }

  @Override
  public void readString(final int port, final int size, final int times, final byte[] to) {
    final IdeDrive drive = drives[selected];
    if (port == base + DATA && drive != null) {
      drive.readData(size, times, to);
      update();
    } else {
      PortDevice.super.readString(port, size, times, to);
    }
  }
}

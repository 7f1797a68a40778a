package dev.vmexit.device;

/**
 * The keyboard controller at ports 0x60 and 0x64, with no mouse, and a keyboard where one was
 * plugged in.
 *
 * <p>The controller itself answers: self-test, configuration byte, output port, A20, reset. A byte
 * sent to a device that is not there comes back at once as 0xFE with the timeout bit set, as the
 * 8042's firmware reports a device that does not clock the byte in; thus a guest that probes learns
 * that nothing is there without waiting. Scan codes are translated to set 1 while the configuration
 * says so. Commands are named in the IBM PS/2 Hardware Interface Technical Reference, "Keyboard and
 * Auxiliary Device Controller".
 */
public final class I8042 extends BytePortDevice {
  /** Data port. */
  public static final int DATA_PORT = 0x60;

  /** Status (read) and command (write) port. */
  public static final int COMMAND_PORT = 0x64;

  private static final int STATUS_OUTPUT_FULL = 1;
  private static final int STATUS_SYSTEM = 1 << 2;
  private static final int STATUS_COMMAND = 1 << 3;
  private static final int STATUS_UNLOCKED = 1 << 4;
  private static final int STATUS_AUX = 1 << 5;
  private static final int STATUS_TIMEOUT = 1 << 6;

  private static final int CONFIG_KEYBOARD_INTERRUPT = 1;
  private static final int CONFIG_AUX_INTERRUPT = 1 << 1;
  private static final int CONFIG_SYSTEM = 1 << 2;
  private static final int CONFIG_KEYBOARD_DISABLED = 1 << 4;
  private static final int CONFIG_AUX_DISABLED = 1 << 5;
  private static final int CONFIG_TRANSLATE = 1 << 6;

  private static final int OUTPUT_NOT_RESET = 1;
  private static final int OUTPUT_A20 = 1 << 1;
  private static final int OUTPUT_IDLE = 0xCC;

  private static final int RESEND = 0xFE;
  private static final int SELF_TEST_PASSED = 0x55;

  /** Interface test result: the clock line is stuck, which is how an empty mouse socket looks. */
  private static final int CLOCK_STUCK_LOW = 0x01;

  private static final int NO_COMMAND = -1;

  private final A20Gate a20;
  private final Runnable reset;
  private final InterruptLine keyboardLine;
  private final InterruptLine auxLine;
  private final int[] ram = new int[32];

  private int status = STATUS_UNLOCKED;
  private int data;
  private int pendingCommand = NO_COMMAND;
  private boolean fromDevice;

  /** Null where none is plugged in. */
  private Ps2Keyboard keyboard;

  /** The translator has swallowed the prefix of a released key. */
  private boolean releasing;

  /**
   * Makes a controller at power-on.
   *
   * @param keyboardLine IRQ 1
   * @param auxLine IRQ 12
   * @param reset called on the vCPU thread when the guest pulses the reset line
   */
  public I8042(
      final InterruptLine keyboardLine,
      final InterruptLine auxLine,
      final A20Gate a20,
      final Runnable reset) {
    this.keyboardLine = keyboardLine;
    this.auxLine = auxLine;
    this.a20 = a20;
    this.reset = reset;
    ram[0] = CONFIG_KEYBOARD_DISABLED | CONFIG_AUX_DISABLED;
  }

  /** Plugs a keyboard in, at power-on. */
  public void plug(final Ps2Keyboard what) {
    keyboard = what;
    ram[0] |= CONFIG_TRANSLATE;
  }

  /** Takes what the keyboard has to send, if the guest has read all before. */
  public void poll() {
    while (keyboard != null
        && (status & STATUS_OUTPUT_FULL) == 0
        && (ram[0] & CONFIG_KEYBOARD_DISABLED) == 0) {
      final int sent = keyboard.next();
      if (sent < 0) {
        return;
      }
      if ((ram[0] & CONFIG_TRANSLATE) == 0) {
        deviceAnswer(sent, 0);
      } else if (sent == ScanCodes.BREAK) {
        releasing = true;
      } else {
        final int code = ScanCodes.toSet1(sent);
        deviceAnswer(releasing && code < 0x80 ? code | 0x80 : code, 0);
        releasing = false;
      }
    }
  }

  @Override
  protected int readByte(final int port) {
    if (port == COMMAND_PORT) {
      return status | (ram[0] & CONFIG_SYSTEM & STATUS_SYSTEM);
    }
    status &= ~(STATUS_OUTPUT_FULL | STATUS_AUX | STATUS_TIMEOUT);
    fromDevice = false;
    updateLines();
    final int value = data;
    poll();
    return value;
  }

  @Override
  protected void writeByte(final int port, final int value) {
    if (port == COMMAND_PORT) {
      status |= STATUS_COMMAND;
      pendingCommand = NO_COMMAND;
      command(value);
    } else {
      status &= ~STATUS_COMMAND;
      final int command = pendingCommand;
      pendingCommand = NO_COMMAND;
      parameter(command, value);
    }
    poll();
  }

  private void command(final int command) {
    switch (command) {
      case 0xA7 -> ram[0] |= CONFIG_AUX_DISABLED;
      case 0xA8 -> ram[0] &= ~CONFIG_AUX_DISABLED;
      case 0xA9 -> answer(CLOCK_STUCK_LOW);
      case 0xAA -> {
        ram[0] |= CONFIG_SYSTEM;
        answer(SELF_TEST_PASSED);
      }
      case 0xAB -> answer(0);
      case 0xAD -> ram[0] |= CONFIG_KEYBOARD_DISABLED;
      case 0xAE -> ram[0] &= ~CONFIG_KEYBOARD_DISABLED;
      case 0xC0 -> answer(0x80);
      case 0xD0 -> answer(OUTPUT_IDLE | OUTPUT_NOT_RESET | (a20.enabled() ? OUTPUT_A20 : 0));
      case 0xD1, 0xD2, 0xD3, 0xD4 -> pendingCommand = command;
      case 0xDD -> a20.enabled(false);
      case 0xDF -> a20.enabled(true);
      case 0xE0 -> answer(0);
      default -> {
        if (command >= 0x20 && command <= 0x3F) {
          answer(ram[command & 0x1F]);
        } else if (command >= 0x60 && command <= 0x7F) {
          pendingCommand = command;
        } else if (command >= 0xF0 && (command & OUTPUT_NOT_RESET) == 0) {
          // Pulses low those lines of the output port whose bit is 0.
          reset.run();
        }
      }
    }
  }

  private void parameter(final int command, final int value) {
    switch (command) {
      case NO_COMMAND -> {
        // A byte for the keyboard also enables its interface.
        ram[0] &= ~CONFIG_KEYBOARD_DISABLED;
        if (keyboard == null) {
          deviceAnswer(RESEND, STATUS_TIMEOUT);
        } else {
          keyboard.command(value);
        }
      }
      case 0xD1 -> {
        a20.enabled((value & OUTPUT_A20) != 0);
        if ((value & OUTPUT_NOT_RESET) == 0) {
          reset.run();
        }
      }
      case 0xD2 -> deviceAnswer(value, 0);
      // The loop through the mouse's lines fails as the mouse's interface test does.
      case 0xD3, 0xD4 -> deviceAnswer(RESEND, STATUS_AUX | STATUS_TIMEOUT);
      default -> {
        ram[command & 0x1F] = value;
        updateLines();
      }
    }
  }

  /** The controller's own answers raise no interrupt. */
  private void answer(final int value) {
    data = value;
    status = (status & ~(STATUS_AUX | STATUS_TIMEOUT)) | STATUS_OUTPUT_FULL;
    fromDevice = false;
    updateLines();
  }

  private void deviceAnswer(final int value, final int bits) {
    data = value;
    status = (status & ~(STATUS_AUX | STATUS_TIMEOUT)) | STATUS_OUTPUT_FULL | bits;
    // A line that is still high from an unread byte would hide the edge of this one.
    fromDevice = false;
    updateLines();
    fromDevice = true;
    updateLines();
  }

  private void updateLines() {
    final boolean aux = (status & STATUS_AUX) != 0;
    keyboardLine.set(fromDevice && !aux && (ram[0] & CONFIG_KEYBOARD_INTERRUPT) != 0);
    auxLine.set(fromDevice && aux && (ram[0] & CONFIG_AUX_INTERRUPT) != 0);
  }
}

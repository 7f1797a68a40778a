package dev.vmexit.device;

/**
 * An IBM enhanced keyboard behind the keyboard controller (IBM PS/2 Hardware Interface Technical
 * Reference, "Keyboards"): answers commands and sends scan codes of set 2, or 1 where the guest
 * asks for it. What does not fit into its buffer is dropped key by key, as is what is pressed while
 * scanning is off. Used by the vCPU thread alone.
 */
public final class Ps2Keyboard {
  private static final int ACKNOWLEDGE = 0xFA;
  private static final int RESEND = 0xFE;
  private static final int SELF_TEST_PASSED = 0xAA;
  private static final int ECHO = 0xEE;

  /** Room for the answer to any command beside the keys. */
  private static final int CAPACITY = 256;

  private static final int NO_COMMAND = -1;

  private final byte[] queue = new byte[CAPACITY];
  private int head;
  private int tail;
  private int last = RESEND;
  private int pending = NO_COMMAND;
  private int scanSet = 2;
  private boolean scanning = true;

  /** Takes a byte from the controller: a command or its parameter. */
  void command(final int value) {
    final int command = pending;
    pending = NO_COMMAND;
    switch (command) {
      case 0xED, 0xF3 -> answer(ACKNOWLEDGE);
      case 0xF0 -> {
        answer(ACKNOWLEDGE);
        if (value == 0) {
          answer(scanSet);
        } else if (value <= 3) {
          scanSet = value;
        }
      }
      default -> begin(value);
    }
  }

  private void begin(final int command) {
    switch (command) {
      case 0xED, 0xF0, 0xF3 -> {
        pending = command;
        answer(ACKNOWLEDGE);
      }
      case 0xEE -> answer(ECHO);
      case 0xF2 -> {
        answer(ACKNOWLEDGE);
        answer(0xAB);
        answer(0x83);
      }
      case 0xF4 -> {
        clear();
        scanning = true;
        answer(ACKNOWLEDGE);
      }
      case 0xF5, 0xF6 -> {
        clear();
        scanning = command == 0xF6;
        scanSet = 2;
        answer(ACKNOWLEDGE);
      }
      // Modes of single keys, of scan set 3 alone: taken, and of no effect on the other sets.
      case 0xF7, 0xF8, 0xF9, 0xFA -> answer(ACKNOWLEDGE);
      case 0xFE -> answer(last);
      case 0xFF -> {
        clear();
        scanning = true;
        scanSet = 2;
        answer(ACKNOWLEDGE);
        answer(SELF_TEST_PASSED);
      }
      default -> answer(RESEND);
    }
  }

  private void clear() {
    head = tail;
  }

  private void answer(final int value) {
    if (tail - head < CAPACITY) {
      queue[tail++ & CAPACITY - 1] = (byte) value;
    }
  }

  /** Whether a whole key, pressed and released with its shifts, still fits. */
  public boolean canPress() {
    return tail - head < CAPACITY / 2;
  }

  /** Takes one byte of a scan code, of set 2, as keys are pressed and released. */
  public void press(final int code) {
    if (scanning) {
      answer(code);
    }
  }

  /** The next byte for the controller, or -1. */
  int next() {
    if (head == tail) {
      return -1;
    }
    last = queue[head++ & CAPACITY - 1] & 0xFF;
    return last;
  }
}

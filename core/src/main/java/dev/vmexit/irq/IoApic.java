package dev.vmexit.irq;

import dev.vmexit.device.MmioDevice;
import dev.vmexit.exit.VectorState;

/**
 * The I/O APIC: 24 pins and their redirection table (Intel 82093AA datasheet, order number 290566),
 * with the EOI register of version 0x20 parts.
 *
 * <pre>
 *   0x00  IOREGSEL   register index
 *   0x10  IOWIN      the register
 *   0x40  EOIR       vector to end
 * </pre>
 *
 * <p>Lines are active when set, whatever polarity an entry says: a device's {@code set(true)} means
 * "asserted".
 */
public final class IoApic implements MmioDevice {
  /** Where it stands by default. */
  public static final long BASE = 0xFEC0_0000L;

  /** Length of its page. */
  public static final long LENGTH = 0x1000;

  /** Number of pins. */
  public static final int PINS = 24;

  private static final int SELECT = 0x00;
  private static final int WINDOW = 0x10;
  private static final int EOI = 0x40;

  private static final int REG_ID = 0;
  private static final int REG_VERSION = 1;
  private static final int REG_ARBITRATION = 2;
  private static final int REG_TABLE = 0x10;

  private static final int VERSION = 0x20 | (PINS - 1) << 16;

  private static final long LOGICAL = 1 << 11;
  private static final long REMOTE_IRR = 1 << 14;
  private static final long LEVEL = 1 << 15;
  private static final long MASKED = 1 << 16;

  /** Vector, delivery mode, destination mode, polarity, trigger, mask. */
  private static final long WRITABLE_LOW = 0x1_AFFF;

  private static final long WRITABLE_HIGH = 0xFF00_0000L;

  private final ApicBus bus;
  private final long[] table = new long[PINS];
  private int lines;
  private int select;
  private int id;

  IoApic(final ApicBus bus) {
    this.bus = bus;
    for (int pin = 0; pin < PINS; pin++) {
      table[pin] = MASKED;
    }
  }

  /** Drives a pin. */
  void setPin(final int pin, final boolean level) {
    final int bit = 1 << pin;
    if (level == ((lines & bit) != 0)) {
      return;
    }
    lines ^= bit;
    if (level) {
      // An edge at a masked pin is lost; a level waits.
      serve(pin);
    }
  }

  /** A local APIC has ended a level-triggered interrupt of a vector. */
  void endOfInterrupt(final int vector) {
    for (int pin = 0; pin < PINS; pin++) {
      final long entry = table[pin];
      if ((entry & (LEVEL | REMOTE_IRR)) == (LEVEL | REMOTE_IRR) && (entry & 0xFF) == vector) {
        table[pin] = entry & ~REMOTE_IRR;
        if ((lines & 1 << pin) != 0) {
          serve(pin);
        }
      }
    }
  }

  /** A redirection entry, for reports and tests. */
  public long entry(final int pin) {
    return table[pin];
  }

  /** Writes what {@link VectorState} says of it. */
  void save(final byte[] to) {
    for (final long entry : table) {
      VectorState.add(to, (int) entry & 0xFF);
    }
    to[VectorState.IOAPIC_SELECT] = (byte) select;
  }

  @Override
  public long readMmio(final long offset, final int size) {
    final int register = (int) offset & ~3;
    final int value =
        switch (register) {
          case SELECT -> select;
          case WINDOW -> readWindow();
          default -> 0;
        };
    return (value & 0xFFFF_FFFFL) >>> (8 * (offset & 3));
  }

  @Override
  public void writeMmio(final long offset, final int size, final long value) {
    switch ((int) offset) {
      case SELECT -> select = (int) value & 0xFF;
      case WINDOW -> {
        if (size >= 4) {
          writeWindow((int) value);
        }
      }
      case EOI -> endOfInterrupt((int) value & 0xFF);
      default -> {
        // Reserved.
      }
    }
  }

  private int readWindow() {
    return switch (select) {
      case REG_ID, REG_ARBITRATION -> id;
      case REG_VERSION -> VERSION;
      default -> {
        final int index = select - REG_TABLE;
        yield index < 0 || index >= 2 * PINS ? 0 : (int) (table[index >> 1] >>> (32 * (index & 1)));
      }
    };
  }

  private void writeWindow(final int value) {
    if (select == REG_ID) {
      id = value & 0x0F00_0000;
      return;
    }
    final int index = select - REG_TABLE;
    if (index < 0 || index >= 2 * PINS) {
      return;
    }
    final int pin = index >> 1;
    final long entry = table[pin];
    if ((index & 1) != 0) {
      table[pin] = (entry & 0xFFFF_FFFFL) | (value & WRITABLE_HIGH) << 32;
      return;
    }
    long changed = (entry & ~WRITABLE_LOW) | (value & WRITABLE_LOW);
    if ((changed & LEVEL) == 0) {
      // An entry turned to edge forgets that it waits for an EOI; Linux relies on it.
      changed &= ~REMOTE_IRR;
    }
    table[pin] = changed;
    if ((changed & LEVEL) != 0 && (lines & 1 << pin) != 0) {
      serve(pin);
    }
  }

  /** Sends the message of a pin whose line is asserted, if its entry lets it. */
  private void serve(final int pin) {
    final long entry = table[pin];
    if ((entry & MASKED) != 0) {
      return;
    }
    final boolean level = (entry & LEVEL) != 0;
    final int mode = (int) (entry >> 8) & 7;
    final boolean acknowledged =
        level && (mode == ApicMessage.FIXED || mode == ApicMessage.LOWEST_PRIORITY);
    if (acknowledged && (entry & REMOTE_IRR) != 0) {
      return;
    }
    final boolean taken =
        bus.deliver((int) (entry >>> 56), (entry & LOGICAL) != 0, mode, (int) entry & 0xFF, level);
    if (acknowledged && taken) {
      table[pin] = entry | REMOTE_IRR;
    }
  }
}

package dev.vmexit.device;

/**
 * Power management of the 82371AB (Intel datasheet 290562, chapter 7), function 3: {@link AcpiPm}
 * at the ports that PMBASE names, while PMREGMISC has them decoded. Its general-purpose events are
 * where SeaBIOS's tables look for them; none ever happens.
 */
public final class Piix4Power extends PciFunction implements PortDevice {
  /** The general-purpose event block. */
  public static final int GPE0 = 0xAFE0;

  /** Ports of {@link #GPE0}. */
  public static final int GPE0_PORTS = 4;

  private static final int ID = 0x7113_8086;
  private static final int PMBASE = 0x40;
  private static final int PMBASE_BITS = 0xFFC0;
  private static final int DEVACTB = 0x58;
  private static final int APMC_EN = 1 << 25;
  private static final int PMREGMISC = 0x80;
  private static final int SMBBASE = 0x90;
  private static final int SMBHSTCFG = 0xD2;
  private static final int PORTS = 0x40;

  private static final int CONTROL = 4;
  private static final int SLEEP_TYPE_SHIFT = 10;
  private static final int SLEEP_TYPE = 7 << SLEEP_TYPE_SHIFT;

  private final PortBus ports;
  private final AcpiPm registers;

  /** Where the block is now, or 0. */
  private int base;

  /** Makes the function at power-on. */
  public Piix4Power(final PortBus ports, final AcpiPm registers) {
    super(ID, 0x0680_0003);
    this.ports = ports;
    this.registers = registers;
    set(COMMAND, 4, 0x0280_0000);
    writable(COMMAND, 2, COMMAND_IO);
    set(0x3D, 1, 1);
    set(PMBASE, 4, 1);
    writable(PMBASE, 4, PMBASE_BITS);
    // To firmware: system management mode is set up, leave it alone. There is none.
    set(DEVACTB, 4, APMC_EN);
    writable(PMREGMISC, 1, 1);
    set(SMBBASE, 4, 1);
    writable(SMBBASE, 4, 0xFFF0);
    writable(SMBHSTCFG, 1, 0x0F);
  }

  @Override
  protected void written(final int register, final int size) {
    final int wanted = (get(PMREGMISC, 1) & 1) != 0 ? get(PMBASE, 4) & PMBASE_BITS : 0;
    if (wanted == base) {
      return;
    }
    if (base != 0) {
      ports.release(base, base + PORTS - 1);
    }
    base = wanted != 0 && ports.claimIfFree(this, wanted, wanted + PORTS - 1) ? wanted : 0;
  }

  @Override
  public int readPort(final int port, final int size) {
    final int offset = port - base;
    return port >= base && offset + size <= AcpiPm.PORTS
        ? registers.readPort(AcpiPm.BASE + offset, size)
        : 0;
  }

  @Override
  public void writePort(final int port, final int size, final int value) {
    final int offset = port - base;
    if (offset + size > AcpiPm.PORTS) {
      return;
    }
    int written = value;
    // Of the sleep types, 0 is soft off here (datasheet, PMCNTRL).
    final int shift = offset == CONTROL && size >= 2 ? 0 : offset == CONTROL + 1 ? 8 : -1;
    if (shift >= 0) {
      final int type = value << shift & SLEEP_TYPE;
      final int ours = type == 0 ? AcpiPm.SLEEP_TYPE_S5 << SLEEP_TYPE_SHIFT : 0;
      written = value & ~(SLEEP_TYPE >> shift) | ours >> shift;
    }
    registers.writePort(AcpiPm.BASE + offset, size, written);
  }
}

package dev.vmexit.device;

/**
 * ACPI fixed hardware (ACPI specification 6.5, 4.8): PM1a event and control blocks and the power
 * management timer. There is no legacy mode and no SMI command port, so SCI_EN is always set.
 *
 * <pre>
 *   0x600  PM1a status    2   write 1 to clear
 *   0x602  PM1a enable    2
 *   0x604  PM1a control   2   SCI_EN, SLP_TYP, SLP_EN
 *   0x608  PM timer       4   3.579545 MHz
 * </pre>
 */
public final class AcpiPm extends BytePortDevice {
  /** First port; the block is {@link #PORTS} long. */
  public static final int BASE = 0x600;

  /** Number of ports. */
  public static final int PORTS = 12;

  public static final int PM1_EVENT = BASE;
  public static final int PM1_CONTROL = BASE + 4;
  public static final int PM_TIMER = BASE + 8;

  /** Frequency of the PM timer. */
  public static final int TIMER_HZ = 3_579_545;

  /** SLP_TYP of S5, soft off; the DSDT's {@code \_S5} must say the same. */
  public static final int SLEEP_TYPE_S5 = 5;

  private static final int TMR = 1;
  private static final int GBL = 1 << 5;
  private static final int PWRBTN = 1 << 8;
  private static final int ENABLES = TMR | GBL | PWRBTN | 1 << 9 | 1 << 10 | 1 << 14;

  private static final int SCI_EN = 1;
  private static final int BM_RLD = 1 << 1;
  private static final int SLP_TYP_SHIFT = 10;
  private static final int SLP_EN = 1 << 13;

  private final ClockRate rate = new ClockRate(TIMER_HZ);
  private final MachineClock clock;
  private final TimerQueue.Timer carry;
  private final InterruptLine sci;
  private final Runnable powerOff;
  private final int timerBits;

  private int status;
  private int enable;
  private int control = SCI_EN;

  /** How often the timer's top bit had toggled when TMR_STS was last looked at. */
  private long seenCarries;

  /**
   * Makes the block at power-on.
   *
   * @param timerBits 24, or 32 when the FADT says TMR_VAL_EXT
   * @param sci the system control interrupt, IRQ 9, level
   * @param powerOff called on the vCPU thread when the guest enters S5
   */
  public AcpiPm(
      final int timerBits,
      final InterruptLine sci,
      final MachineClock clock,
      final TimerQueue timers,
      final Runnable powerOff) {
    if (timerBits != 24 && timerBits != 32) {
      throw new IllegalArgumentException("timerBits=" + timerBits + ", allowed: 24, 32");
    }
    this.timerBits = timerBits;
    this.sci = sci;
    this.clock = clock;
    this.powerOff = powerOff;
    this.carry = timers.newTimer(this::update);
  }

  /** Presses the power button: a guest that listens shuts down. */
  public void pressPowerButton() {
    status |= PWRBTN;
    update();
  }

  @Override
  public int readPort(final int port, final int size) {
    if (port == PM_TIMER && size == 4) {
      return timer();
    }
    return super.readPort(port, size);
  }

  @Override
  protected int readByte(final int port) {
    final int offset = port - BASE;
    return switch (offset) {
      case 0, 1 -> {
        update();
        yield (status >> (8 * offset)) & 0xFF;
      }
      case 2, 3 -> (enable >> (8 * (offset - 2))) & 0xFF;
      case 4, 5 -> (control >> (8 * (offset - 4))) & 0xFF;
      case 8, 9, 10, 11 -> (timer() >>> (8 * (offset - 8))) & 0xFF;
      default -> 0;
    };
  }

  @Override
  protected void writeByte(final int port, final int value) {
    final int offset = port - BASE;
    switch (offset) {
      case 0, 1 -> {
        update();
        status &= ~(value << (8 * offset));
        update();
      }
      case 2, 3 -> {
        final int shift = 8 * (offset - 2);
        enable = ((enable & ~(0xFF << shift)) | value << shift) & ENABLES;
        update();
      }
      case 4 -> control = (control & 0xFF00) | (value & BM_RLD) | SCI_EN;
      case 5 -> writeSleep(value << 8);
      default -> {
        // The timer is read-only.
      }
    }
  }

  private void writeSleep(final int value) {
    // SLP_EN reads as 0.
    control = (control & 0xFF) | (value & (7 << SLP_TYP_SHIFT));
    if ((value & SLP_EN) != 0 && (value >> SLP_TYP_SHIFT & 7) == SLEEP_TYPE_S5) {
      powerOff.run();
    }
  }

  private int timer() {
    final int ticks = (int) rate.ticksAt(clock.nanos());
    return timerBits == 24 ? ticks & 0xFF_FFFF : ticks;
  }

  /** Sets TMR_STS when the top bit has toggled, drives SCI, and watches for the next toggle. */
  private void update() {
    final long carries = rate.ticksAt(clock.nanos()) >> (timerBits - 1);
    if (carries != seenCarries) {
      seenCarries = carries;
      status |= TMR;
    }
    if ((enable & TMR) != 0 && (status & TMR) == 0) {
      carry.schedule(rate.nanosAt((carries + 1) << (timerBits - 1)));
    } else {
      carry.cancel();
    }
    sci.set((status & enable) != 0);
  }
}

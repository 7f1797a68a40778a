package dev.vmexit.device;

/**
 * The MC146818 real-time clock with its CMOS RAM at ports 0x70 (index; bit 7 masks NMI) and 0x71.
 *
 * <p>Time is the epoch given at construction plus the machine's clock. It is computed when looked
 * at: a timer runs only while an interrupt is enabled that has not been raised yet. With DV set to
 * reset, or SET, the time stands still.
 *
 * <pre>
 *   0x00-0x09  seconds, alarm, minutes, alarm, hours, alarm, weekday, day, month, year
 *   0x0A-0x0D  registers A to D
 *   0x0F       shutdown status
 *   0x15-0x18  base and extended memory, KiB      0x34  memory above 16 MiB, 64 KiB
 *   0x32       century                            0x5B  memory above 4 GiB, 64 KiB
 * </pre>
 */
public final class CmosRtc extends BytePortDevice {
  /** Index port. */
  public static final int INDEX_PORT = 0x70;

  /** Data port. */
  public static final int DATA_PORT = 0x71;

  /** Register of the century; the FADT names it. */
  public static final int CENTURY = 0x32;

  /** A value of {@link #bootOrder}. */
  public static final int BOOT_DISK = 2;

  /** A value of {@link #bootOrder}. */
  public static final int BOOT_CDROM = 3;

  private static final int SECONDS = 0;
  private static final int SECONDS_ALARM = 1;
  private static final int MINUTES = 2;
  private static final int MINUTES_ALARM = 3;
  private static final int HOURS = 4;
  private static final int HOURS_ALARM = 5;
  private static final int WEEKDAY = 6;
  private static final int DAY = 7;
  private static final int MONTH = 8;
  private static final int YEAR = 9;
  private static final int REG_A = 0x0A;
  private static final int REG_B = 0x0B;
  private static final int REG_C = 0x0C;
  private static final int REG_D = 0x0D;

  private static final int A_UIP = 1 << 7;
  private static final int A_RESET = 0x60;
  private static final int B_24H = 1 << 1;
  private static final int B_BINARY = 1 << 2;
  private static final int B_SQWE = 1 << 3;
  private static final int B_UIE = 1 << 4;
  private static final int B_AIE = 1 << 5;
  private static final int B_PIE = 1 << 6;
  private static final int B_SET = 1 << 7;
  private static final int C_UF = 1 << 4;
  private static final int C_AF = 1 << 5;
  private static final int C_PF = 1 << 6;
  private static final int C_IRQF = 1 << 7;
  private static final int D_VALID = 1 << 7;
  private static final int PM = 1 << 7;

  /** An alarm register from here up matches any value. */
  private static final int ANY = 0xC0;

  private static final int BASE_MEMORY_KIB = 640;
  private static final long MIB = 1 << 20;

  private static final long SECOND = 1_000_000_000L;

  /** UIP rises 244 us before an update cycle, which takes 1984 us and ends on the second. */
  private static final long UPDATE_NANOS = 2_228_000;

  /** When the divider leaves reset, the first update follows half a second later. */
  private static final long HALF_SECOND = SECOND / 2;

  private final ClockRate oscillator = new ClockRate(32_768);
  private final MachineClock clock;
  private final InterruptLine line;
  private final TimerQueue.Timer timer;
  private final byte[] ram = new byte[128];

  private int index = REG_D;

  /** The time at {@link #baseNanos}, in seconds since 1970, and thus at each second after it. */
  private long baseSeconds;

  /** Clock time of a moment at which a second began; may be negative. */
  private long baseNanos;

  /** What the guest added to the weekday that the date has. */
  private int weekdayShift;

  /** Flags of register C have been brought up to here. */
  private long seenSecond;

  private long seenNanos;

  /**
   * Makes a clock.
   *
   * @param epochSeconds what it shows at time 0 of the machine's clock, seconds since 1970, UTC
   * @param lowRam bytes of RAM below 4 GiB
   * @param highRam bytes of RAM above 4 GiB
   * @param line IRQ 8
   */
  public CmosRtc(
      final long epochSeconds,
      final long lowRam,
      final long highRam,
      final InterruptLine line,
      final MachineClock clock,
      final TimerQueue timers) {
    this.clock = clock;
    this.line = line;
    this.timer = timers.newTimer(this::update);
    this.baseSeconds = epochSeconds;
    this.seenSecond = epochSeconds;
    put(REG_A, 0x26);
    put(REG_B, B_24H);
    put(REG_D, D_VALID);
    final long extended = Math.max(0, lowRam - MIB) / 1024;
    putWord(0x15, BASE_MEMORY_KIB);
    putWord(0x17, Math.min(extended, 0xFFFF));
    putWord(0x30, Math.min(extended, 0xFFFF));
    putWord(0x34, Math.min(Math.max(0, lowRam - 16 * MIB) >> 16, 0xFFFF));
    final long high = Math.min(highRam >> 16, 0xFF_FFFF);
    putWord(0x5B, high & 0xFFFF);
    put(0x5D, (int) (high >> 16));
    // Equipment: a coprocessor, no display, no diskette.
    put(0x14, 0x02);
    refreshTime(epochSeconds);
  }

  /**
   * Says what a BIOS shall boot from, where SeaBIOS looks: a value in each half of register 0x3D.
   */
  public void bootOrder(final int first, final int second) {
    put(0x3D, first | second << 4);
  }

  /**
   * Takes over what a battery keeps of a clock in a machine that is reset: time and RAM. Its
   * interrupts and the square wave are off (MC146818A datasheet, RESET).
   */
  public void keep(final CmosRtc old) {
    System.arraycopy(old.ram, 0, ram, 0, ram.length);
    baseSeconds = old.baseSeconds;
    baseNanos = old.baseNanos;
    weekdayShift = old.weekdayShift;
    seenSecond = old.seenSecond;
    seenNanos = old.seenNanos;
    put(REG_B, get(REG_B) & ~(B_PIE | B_AIE | B_UIE | B_SQWE));
    put(REG_C, 0);
  }

  /** Whether the guest has masked NMI by bit 7 of the index port. */
  public boolean nmiMasked() {
    return (index & 0x80) != 0;
  }

  @Override
  protected int readByte(final int port) {
    if (port != DATA_PORT) {
      return 0xFF;
    }
    final int register = index & 0x7F;
    return switch (register) {
      case REG_A -> get(REG_A) | (updating() ? A_UIP : 0);
      case REG_C -> readFlags();
      default -> {
        if (register <= YEAR || register == CENTURY) {
          update();
        }
        yield get(register);
      }
    };
  }

  @Override
  protected void writeByte(final int port, final int value) {
    if (port != DATA_PORT) {
      index = value;
      return;
    }
    final int register = index & 0x7F;
    switch (register) {
      case REG_A -> writeControlA(value);
      case REG_B -> writeControlB(value);
      case REG_C, REG_D -> {
        // Read-only.
      }
      case SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM -> {
        update();
        put(register, value);
        arm();
      }
      default -> {
        if (register <= YEAR || register == CENTURY) {
          update();
          put(register, value);
          if (!halted()) {
            adopt();
          }
        } else {
          put(register, value);
        }
      }
    }
  }

  // ---- control registers ----

  private void writeControlA(final int value) {
    update();
    final boolean wasHalted = halted();
    final boolean wasReset = dividerReset();
    put(REG_A, value & 0x7F);
    if (wasReset && !dividerReset()) {
      // The chain starts anew, half a second before the next update.
      baseNanos = seenNanos - HALF_SECOND;
    }
    if (wasHalted && !halted()) {
      adopt();
    }
    arm();
  }

  private void writeControlB(final int value) {
    update();
    final boolean wasHalted = halted();
    // SET aborts an update and clears its interrupt's enable.
    put(REG_B, (value & B_SET) != 0 ? value & ~B_UIE : value);
    if (wasHalted && !halted()) {
      adopt();
    } else if (!halted()) {
      // The format may have changed.
      refreshTime(seenSecond);
    }
    raise();
    arm();
  }

  private int readFlags() {
    update();
    final int flags = get(REG_C);
    put(REG_C, 0);
    line.set(false);
    arm();
    return flags;
  }

  private boolean dividerReset() {
    return (get(REG_A) & A_RESET) == A_RESET;
  }

  private boolean halted() {
    return (get(REG_B) & B_SET) != 0 || dividerReset();
  }

  // ---- time ----

  private boolean updating() {
    return !halted() && SECOND - Math.floorMod(clock.nanos() - baseNanos, SECOND) <= UPDATE_NANOS;
  }

  private long secondAt(final long nanos) {
    return baseSeconds + Math.floorDiv(nanos - baseNanos, SECOND);
  }

  /** Brings time registers and flags up to now, raises what is due and waits for what comes. */
  private void update() {
    final long nanos = clock.nanos();
    if (!dividerReset()) {
      final long period = periodTicks();
      if (period != 0
          && oscillator.ticksAt(nanos - baseNanos) / period
              != oscillator.ticksAt(seenNanos - baseNanos) / period) {
        put(REG_C, get(REG_C) | C_PF);
      }
    }
    seenNanos = nanos;
    if (!halted()) {
      final long second = secondAt(nanos);
      if (second != seenSecond) {
        int flags = get(REG_C) | C_UF;
        if (nextAlarm(seenSecond) <= second) {
          flags |= C_AF;
        }
        put(REG_C, flags);
        seenSecond = second;
        refreshTime(second);
      }
    }
    raise();
    arm();
  }

  private void raise() {
    final int flags = get(REG_C);
    // The enables of B stand at the positions of the flags in C.
    if ((flags & get(REG_B) & (C_PF | C_AF | C_UF)) != 0) {
      put(REG_C, flags | C_IRQF);
      line.set(true);
    } else {
      put(REG_C, flags & ~C_IRQF);
      line.set(false);
    }
  }

  private void arm() {
    final int enables = get(REG_B);
    if ((enables & (B_PIE | B_AIE | B_UIE)) == 0 || (get(REG_C) & C_IRQF) != 0) {
      timer.cancel();
      return;
    }
    long deadline = TimerQueue.NEVER;
    final long period = periodTicks();
    if ((enables & B_PIE) != 0 && period != 0 && !dividerReset()) {
      final long ticks = oscillator.ticksAt(seenNanos - baseNanos);
      deadline = baseNanos + oscillator.nanosAt((ticks / period + 1) * period);
    }
    if (!halted()) {
      long second = Long.MAX_VALUE;
      if ((enables & B_AIE) != 0) {
        second = nextAlarm(seenSecond);
      }
      if ((enables & B_UIE) != 0) {
        second = seenSecond + 1;
      }
      if (second != Long.MAX_VALUE) {
        deadline = Math.min(deadline, baseNanos + (second - baseSeconds) * SECOND);
      }
    }
    if (deadline == TimerQueue.NEVER) {
      timer.cancel();
    } else {
      timer.schedule(deadline);
    }
  }

  /** Period of PF in ticks of 32.768 kHz (datasheet, table 3), 0 for none. */
  private long periodTicks() {
    final int select = get(REG_A) & 0x0F;
    return switch (select) {
      case 0 -> 0;
      case 1, 2 -> 64L << select;
      default -> 1L << (select - 1);
    };
  }

  /** The first second after one that the alarm registers match, or MAX_VALUE if none ever does. */
  private long nextAlarm(final long after) {
    final int hour = alarmHour();
    final int minute = alarmField(MINUTES_ALARM);
    final int second = alarmField(SECONDS_ALARM);
    long candidate = after + 1;
    final long limit = candidate + 86_400;
    while (candidate <= limit) {
      final int ofDay = (int) Math.floorMod(candidate, 86_400L);
      if (hour >= 0 && ofDay / 3600 != hour) {
        candidate += 3600 - ofDay % 3600;
      } else if (minute >= 0 && ofDay / 60 % 60 != minute) {
        candidate += 60 - ofDay % 60;
      } else if (second >= 0 && ofDay % 60 != second) {
        candidate++;
      } else {
        return candidate;
      }
    }
    return Long.MAX_VALUE;
  }

  /** An alarm register's value, or -1 if it matches any. */
  private int alarmField(final int register) {
    final int value = get(register);
    return value >= ANY ? -1 : decode(value);
  }

  private int alarmHour() {
    final int value = get(HOURS_ALARM);
    return value >= ANY ? -1 : decodeHour(value);
  }

  // ---- registers and numbers ----

  private void refreshTime(final long seconds) {
    final CivilTime time = CivilTime.ofEpochSecond(seconds);
    put(SECONDS, encode(time.second()));
    put(MINUTES, encode(time.minute()));
    put(HOURS, encodeHour(time.hour()));
    put(WEEKDAY, encode((CivilTime.dayOfWeek(seconds) - 1 + weekdayShift) % 7 + 1));
    put(DAY, encode(time.day()));
    put(MONTH, encode(time.month()));
    put(YEAR, encode(time.year() % 100));
    put(CENTURY, encode(time.year() / 100));
  }

  /** Takes the registers as the time; the second in progress goes on. */
  private void adopt() {
    final int century = decode(get(CENTURY));
    final long seconds =
        new CivilTime(
                century * 100 + decode(get(YEAR)),
                decode(get(MONTH)),
                decode(get(DAY)),
                decodeHour(get(HOURS)),
                decode(get(MINUTES)),
                decode(get(SECONDS)))
            .epochSecond();
    final long nanos = clock.nanos();
    baseNanos = nanos - Math.floorMod(nanos - baseNanos, SECOND);
    baseSeconds = seconds;
    seenSecond = seconds;
    weekdayShift = Math.floorMod(decode(get(WEEKDAY)) - CivilTime.dayOfWeek(seconds), 7);
    arm();
  }

  private boolean binary() {
    return (get(REG_B) & B_BINARY) != 0;
  }

  private int encode(final int value) {
    return binary() ? value : ((value / 10) << 4) | (value % 10);
  }

  private int decode(final int value) {
    return binary() ? value : (value >> 4) * 10 + (value & 0x0F);
  }

  private int encodeHour(final int hour) {
    if ((get(REG_B) & B_24H) != 0) {
      return encode(hour);
    }
    return encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? PM : 0);
  }

  private int decodeHour(final int value) {
    if ((get(REG_B) & B_24H) != 0) {
      return decode(value);
    }
    return decode(value & 0x7F) % 12 + ((value & PM) != 0 ? 12 : 0);
  }

  private int get(final int register) {
    return ram[register] & 0xFF;
  }

  private void put(final int register, final int value) {
    ram[register] = (byte) value;
  }

  private void putWord(final int register, final long value) {
    put(register, (int) value & 0xFF);
    put(register + 1, (int) (value >> 8) & 0xFF);
  }
}

package dev.vmexit.device;

/**
 * A 16550A serial port (National Semiconductor PC16550D datasheet).
 *
 * <pre>
 *   base+0  RBR (read) / THR (write)   DLL when LCR.DLAB
 *   base+1  IER                        DLM when LCR.DLAB
 *   base+2  IIR (read) / FCR (write)
 *   base+3  LCR
 *   base+4  MCR
 *   base+5  LSR
 *   base+6  MSR
 *   base+7  SCR
 * </pre>
 *
 * <p>A byte is transmitted at once, so the transmitter is always empty when the guest looks;
 * everything else follows the datasheet, the character timeout at the programmed speed included.
 * The modem inputs CTS, DSR and DCD are always on. The interrupt pin is not gated by MCR.OUT2: on a
 * PC the board does that, but enough guests never set it. Used by the vCPU thread alone.
 */
public final class Uart16550 extends BytePortDevice {
  /** Base port of the first serial port; it uses IRQ 4. */
  public static final int COM1 = 0x3F8;

  /** Number of ports. */
  public static final int PORTS = 8;

  private static final int FIFO_SIZE = 16;
  private static final int INPUT_CLOCK_HZ = 1_843_200;

  private static final int IER_RX = 1;
  private static final int IER_THRE = 1 << 1;
  private static final int IER_LINE = 1 << 2;
  private static final int IER_MODEM = 1 << 3;

  private static final int IIR_MODEM = 0x0;
  private static final int IIR_NONE = 0x1;
  private static final int IIR_THRE = 0x2;
  private static final int IIR_RX = 0x4;
  private static final int IIR_LINE = 0x6;
  private static final int IIR_TIMEOUT = 0xC;
  private static final int IIR_FIFOS = 0xC0;

  private static final int FCR_ENABLE = 1;
  private static final int FCR_CLEAR_RX = 1 << 1;

  private static final int LCR_PARITY = 1 << 3;
  private static final int LCR_STOP = 1 << 2;
  private static final int LCR_BREAK = 1 << 6;
  private static final int LCR_DLAB = 1 << 7;

  private static final int MCR_DTR = 1;
  private static final int MCR_RTS = 1 << 1;
  private static final int MCR_OUT1 = 1 << 2;
  private static final int MCR_OUT2 = 1 << 3;
  private static final int MCR_LOOP = 1 << 4;

  private static final int LSR_DATA = 1;
  private static final int LSR_OVERRUN = 1 << 1;
  private static final int LSR_BREAK = 1 << 4;
  private static final int LSR_ERRORS = 0x1E;
  private static final int LSR_TRANSMITTER_EMPTY = 0x60;
  private static final int LSR_FIFO_ERROR = 1 << 7;

  private static final int MSR_CTS = 1 << 4;
  private static final int MSR_DSR = 1 << 5;
  private static final int MSR_RI = 1 << 6;
  private static final int MSR_DCD = 1 << 7;
  private static final int MSR_OUTSIDE = MSR_CTS | MSR_DSR | MSR_DCD;
  private static final int MSR_DELTAS = 0x0F;

  /** Marks an entry of the FIFO that came with a break. */
  private static final int WITH_BREAK = LSR_BREAK << 8;

  private final int base;
  private final InterruptLine line;
  private final MachineClock clock;
  private final TimerQueue.Timer timeoutTimer;
  private final ByteSink output;

  /** Low byte: data; bits above: the LSR error bits that came with it, shifted by 8. */
  private final int[] fifo = new int[FIFO_SIZE];

  private int fifoHead;
  private int fifoCount;

  private int divisor = 12;
  private int ier;
  private int fcr;

  /** Eight data bits, as firmware leaves it: many a small guest just writes. */
  private int lcr = 3;

  private int mcr;
  private int scratch;

  /** Error bits of LSR alone. */
  private int lineErrors;

  private int modemStatus = MSR_OUTSIDE;
  private boolean threPending;
  private boolean timeoutPending;
  private boolean asserted;

  /**
   * Makes a port at reset.
   *
   * @param base first of its eight I/O ports
   * @param line its interrupt
   * @param output takes what the guest transmits
   */
  public Uart16550(
      final int base,
      final InterruptLine line,
      final MachineClock clock,
      final TimerQueue timers,
      final ByteSink output) {
    this.base = base;
    this.line = line;
    this.clock = clock;
    this.output = output;
    this.timeoutTimer = timers.newTimer(this::timeout);
  }

  /** Whether a byte from outside would be taken without loss now. */
  public boolean canReceive() {
    return (mcr & MCR_LOOP) == 0 && fifoCount < capacity();
  }

  /**
   * A byte arrives from outside. In loopback mode it is lost, and when there is no room it overruns
   * as it does on a wire: ask {@link #canReceive} first.
   */
  public void receive(final int value) {
    if ((mcr & MCR_LOOP) == 0) {
      arrive(value & 0xFF);
    }
  }

  /** A break arrives from outside: a zero byte marked as such (Linux: SysRq on a console). */
  public void receiveBreak() {
    if ((mcr & MCR_LOOP) == 0) {
      arrive(WITH_BREAK);
    }
  }

  @Override
  protected int readByte(final int port) {
    return switch (port - base) {
      case 0 -> dlab() ? divisor & 0xFF : readReceiver();
      case 1 -> dlab() ? divisor >> 8 : ier;
      case 2 -> readInterruptId();
      case 3 -> lcr;
      case 4 -> mcr;
      case 5 -> readLineStatus();
      case 6 -> readModemStatus();
      case 7 -> scratch;
      default -> 0xFF;
    };
  }

  @Override
  protected void writeByte(final int port, final int value) {
    switch (port - base) {
      case 0 -> {
        if (dlab()) {
          divisor = (divisor & 0xFF00) | value;
        } else {
          transmit(value);
        }
      }
      case 1 -> {
        if (dlab()) {
          divisor = (divisor & 0x00FF) | value << 8;
        } else {
          writeInterruptEnable(value);
        }
      }
      case 2 -> writeFifoControl(value);
      case 3 -> writeLineControl(value);
      case 4 -> writeModemControl(value);
      case 7 -> scratch = value;
      default -> {
        // LSR and MSR: writes are for the factory's tests only.
      }
    }
  }

  private boolean dlab() {
    return (lcr & LCR_DLAB) != 0;
  }

  private boolean fifoMode() {
    return (fcr & FCR_ENABLE) != 0;
  }

  private int capacity() {
    return fifoMode() ? FIFO_SIZE : 1;
  }

  private int triggerLevel() {
    if (!fifoMode()) {
      return 1;
    }
    return switch (fcr >> 6) {
      case 0 -> 1;
      case 1 -> 4;
      case 2 -> 8;
      default -> 14;
    };
  }

  // ---- transmitter ----

  private void transmit(final int value) {
    threPending = false;
    update();
    if ((mcr & MCR_LOOP) != 0) {
      arrive(value & dataMask());
    } else {
      output.accept(value & dataMask());
    }
    // The byte is gone: THR is empty again, which is a new interrupt and, on an edge, a new edge.
    threPending = true;
    update();
  }

  private int dataMask() {
    return 0xFF >> (3 - (lcr & 3));
  }

  // ---- receiver ----

  private void arrive(final int entry) {
    if (fifoCount == capacity()) {
      lineErrors |= LSR_OVERRUN;
      if (!fifoMode()) {
        // The holding register is overwritten; a full FIFO keeps what it has.
        fifo[fifoHead] = entry;
        lineErrors |= entry >> 8;
      }
    } else {
      fifo[(fifoHead + fifoCount) % FIFO_SIZE] = entry;
      fifoCount++;
      if (fifoCount == 1) {
        lineErrors |= entry >> 8;
      }
      restartTimeout();
    }
    update();
  }

  private int readReceiver() {
    if (fifoCount == 0) {
      return 0;
    }
    final int value = fifo[fifoHead] & 0xFF;
    fifoHead = (fifoHead + 1) % FIFO_SIZE;
    fifoCount--;
    if (fifoCount > 0) {
      // Errors are revealed when their character reaches the top.
      lineErrors |= fifo[fifoHead] >> 8;
    }
    timeoutPending = false;
    restartTimeout();
    update();
    return value;
  }

  private void clearReceiver() {
    fifoHead = 0;
    fifoCount = 0;
    timeoutPending = false;
    timeoutTimer.cancel();
  }

  /** Four character times without a character coming or going. */
  private void restartTimeout() {
    if (fifoMode() && fifoCount > 0) {
      timeoutTimer.schedule(clock.nanos() + 4 * characterNanos());
    } else {
      timeoutTimer.cancel();
    }
  }

  /** Start bit, data, parity and stop bits; half a stop bit is rounded up. */
  private long characterNanos() {
    final int bits =
        1 + 5 + (lcr & 3) + ((lcr & LCR_PARITY) != 0 ? 1 : 0) + ((lcr & LCR_STOP) != 0 ? 2 : 1);
    final long clocks = 16L * (divisor == 0 ? 0x1_0000 : divisor);
    return bits * clocks * 1_000_000_000L / INPUT_CLOCK_HZ;
  }

  private void timeout() {
    if (fifoCount > 0) {
      timeoutPending = true;
      update();
    }
  }

  // ---- control and status ----

  private void writeInterruptEnable(final int value) {
    final int rising = value & ~ier;
    ier = value & 0x0F;
    if ((rising & IER_THRE) != 0) {
      threPending = true;
    }
    update();
  }

  private void writeFifoControl(final int value) {
    if (((value ^ fcr) & FCR_ENABLE) != 0) {
      clearReceiver();
    }
    if ((value & FCR_ENABLE) == 0) {
      fcr = 0;
    } else {
      fcr = value & 0xC9;
      if ((value & FCR_CLEAR_RX) != 0) {
        clearReceiver();
      }
    }
    update();
  }

  private void writeLineControl(final int value) {
    final int rising = value & ~lcr;
    lcr = value;
    if ((rising & LCR_BREAK) != 0 && (mcr & MCR_LOOP) != 0) {
      arrive(WITH_BREAK);
    }
  }

  private void writeModemControl(final int value) {
    mcr = value & 0x1F;
    int inputs = MSR_OUTSIDE;
    if ((mcr & MCR_LOOP) != 0) {
      inputs =
          ((mcr & MCR_RTS) != 0 ? MSR_CTS : 0)
              | ((mcr & MCR_DTR) != 0 ? MSR_DSR : 0)
              | ((mcr & MCR_OUT1) != 0 ? MSR_RI : 0)
              | ((mcr & MCR_OUT2) != 0 ? MSR_DCD : 0);
    }
    final int before = modemStatus & ~MSR_DELTAS;
    // The delta of RI is its trailing edge alone.
    final int deltas = ((before ^ inputs) & ~MSR_RI) | (before & ~inputs & MSR_RI);
    modemStatus = inputs | (modemStatus & MSR_DELTAS) | deltas >> 4;
    update();
  }

  private int readInterruptId() {
    final int id = interruptId();
    if (id == IIR_THRE) {
      threPending = false;
      update();
    }
    return id | (fifoMode() ? IIR_FIFOS : 0);
  }

  private int readLineStatus() {
    int status = LSR_TRANSMITTER_EMPTY | lineErrors;
    if (fifoCount > 0) {
      status |= LSR_DATA;
    }
    if (fifoMode() && errorInFifo()) {
      status |= LSR_FIFO_ERROR;
    }
    if (lineErrors != 0) {
      lineErrors = 0;
      if (fifoCount > 0) {
        fifo[fifoHead] &= 0xFF;
      }
      update();
    }
    return status;
  }

  private boolean errorInFifo() {
    for (int i = 0; i < fifoCount; i++) {
      if (fifo[(fifoHead + i) % FIFO_SIZE] > 0xFF) {
        return true;
      }
    }
    return false;
  }

  private int readModemStatus() {
    final int status = modemStatus;
    if ((status & MSR_DELTAS) != 0) {
      modemStatus &= ~MSR_DELTAS;
      update();
    }
    return status;
  }

  // ---- interrupts ----

  /** The most urgent enabled source (datasheet, table IV). */
  private int interruptId() {
    if ((ier & IER_LINE) != 0 && (lineErrors & LSR_ERRORS) != 0) {
      return IIR_LINE;
    }
    if ((ier & IER_RX) != 0) {
      if (fifoCount >= triggerLevel()) {
        return IIR_RX;
      }
      if (timeoutPending) {
        return IIR_TIMEOUT;
      }
    }
    if ((ier & IER_THRE) != 0 && threPending) {
      return IIR_THRE;
    }
    if ((ier & IER_MODEM) != 0 && (modemStatus & MSR_DELTAS) != 0) {
      return IIR_MODEM;
    }
    return IIR_NONE;
  }

  private void update() {
    final boolean wanted = interruptId() != IIR_NONE;
    if (wanted != asserted) {
      asserted = wanted;
      line.set(wanted);
    }
  }
}

package dev.vmexit.irq;

import dev.vmexit.device.MachineClock;
import dev.vmexit.device.MmioDevice;
import dev.vmexit.device.TimerQueue;

/**
 * The local APIC of one vCPU (SDM Vol. 3A, chapter 11), its registers in memory or, in x2APIC mode,
 * in MSRs ({@link X2ApicMsrs}).
 *
 * <pre>
 *   0x020 ID       0x080 TPR   0x0D0 LDR   0x100-0x170 ISR    0x2F0       -
 *   0x030 version  0x0A0 PPR   0x0E0 DFR   0x180-0x1F0 TMR    0x300/0x310 ICR
 *                  0x0B0 EOI   0x0F0 SVR   0x200-0x270 IRR    0x320-0x370 LVT
 *   0x280 ESR      0x380 initial count     0x390 current count 0x3E0      divide
 * </pre>
 *
 * <p>Registers are 32 bits wide on 16-byte boundaries; a narrower store is undefined by the manual
 * and dropped here. The class is long because IRR, ISR, the priorities and the registers that show
 * them are one state machine; the timer is its own ({@code LapicTimer}).
 */
public final class LocalApic implements MmioDevice {
  /** Where it stands by default. */
  public static final long BASE = 0xFEE0_0000L;

  /** Length of its page. */
  public static final long LENGTH = 0x1000;

  /** IA32_APIC_BASE: this is the bootstrap processor. */
  public static final long BASE_BSP = 1 << 8;

  /** IA32_APIC_BASE: x2APIC mode. */
  public static final long BASE_X2APIC = 1 << 10;

  /** IA32_APIC_BASE: enabled. */
  public static final long BASE_ENABLE = 1 << 11;

  /** Nothing to deliver. */
  public static final int NONE = -1;

  /** Integrated APIC, 6 entries in the LVT. */
  private static final int VERSION = 0x14 | 5 << 16;

  private static final int SVR_ENABLE = 1 << 8;
  private static final int LVT_MASKED = 1 << 16;
  private static final int LVT_LEVEL = 1 << 15;

  private static final int TIMER = 0;
  private static final int THERMAL = 1;
  private static final int PERFORMANCE = 2;
  private static final int LINT0 = 3;
  private static final int LINT1 = 4;
  private static final int ERROR = 5;

  /** Writable bits of each LVT entry. */
  private static final int[] LVT_BITS = {
    0x7_00FF, 0x1_07FF, 0x1_07FF, 0x1_A7FF, 0x1_A7FF, 0x1_00FF
  };

  private static final int ERROR_SEND_VECTOR = 1 << 5;
  private static final int ERROR_RECEIVE_VECTOR = 1 << 6;
  private static final int ERROR_REGISTER = 1 << 7;

  private static final int ICR_LOGICAL = 1 << 11;
  private static final int ICR_ASSERT = 1 << 14;
  private static final int ICR_LEVEL = 1 << 15;
  private static final int ICR_BITS = 0xC_CFFF;

  private final int id;
  private final MachineClock requests;
  private final ApicBus bus;
  private final LapicTimer timer;
  private final VectorSet irr = new VectorSet();
  private final VectorSet isr = new VectorSet();
  private final VectorSet tmr = new VectorSet();
  private final int[] lvt = new int[6];
  private final long[] raisedAt = new long[256];

  private long apicBase;
  private int idRegister;
  private int tpr;
  private int ldr;
  private int dfr;
  private int svr;
  private int icrLow;
  private int icrHigh;
  private int errors;
  private int errorStatus;

  private boolean lint0Level;
  private boolean lint1Level;

  /** An ExtINT message came through the I/O APIC. */
  private boolean extIntMessage;

  private boolean nmi;
  private boolean init;
  private int startupVector = NONE;

  /**
   * Whether {@link #pendingVector} or the PIC has something: kept up to date, asked at each entry.
   */
  private boolean pending;

  /** Something came, perhaps by another vCPU's doing, since {@link #takeNews}. */
  private boolean news;

  LocalApic(final int id, final MachineClock clock, final TimerQueue timers, final ApicBus bus) {
    this.id = id;
    this.requests = timers.dueTimes(clock);
    this.bus = bus;
    this.timer = new LapicTimer(clock, timers, this::timerFired);
    this.apicBase = BASE | BASE_ENABLE | (id == 0 ? BASE_BSP : 0);
    reset();
    if (id == 0) {
      // Virtual wire mode, as firmware leaves the bootstrap processor (MP specification, 3.6.2.2):
      // the PIC reaches it until the guest says otherwise.
      lvt[LINT0] = ApicMessage.EXT_INT << 8;
      lvt[LINT1] = ApicMessage.NMI << 8;
    }
  }

  /** State after power-up, or when enabled again by IA32_APIC_BASE. */
  private void reset() {
    idRegister = id << 24;
    tpr = 0;
    ldr = 0;
    dfr = -1;
    svr = 0xFF;
    icrLow = 0;
    icrHigh = 0;
    errors = 0;
    errorStatus = 0;
    extIntMessage = false;
    irr.clear();
    isr.clear();
    tmr.clear();
    for (int i = 0; i < lvt.length; i++) {
      lvt[i] = LVT_MASKED;
    }
    timer.reset();
    update();
  }

  // ---- what the run loop asks, through Irqchip ----

  boolean pending() {
    return pending;
  }

  /** Whether the PIC's INT is what is pending; it goes before the APIC's own. */
  boolean extIntPending() {
    if (!lint0Level) {
      return false;
    }
    return !hardwareEnabled()
        || extIntMessage
        || ((lvt[LINT0] & LVT_MASKED) == 0 && mode(lvt[LINT0]) == ApicMessage.EXT_INT);
  }

  void extIntTaken() {
    extIntMessage = false;
    update();
  }

  /** The vector that would be delivered now, or {@link #NONE}. */
  int pendingVector() {
    if (!hardwareEnabled()) {
      return NONE;
    }
    final int vector = irr.highest();
    return vector >= 0 && vector >> 4 > processorPriority() >> 4 ? vector : NONE;
  }

  /** Moves {@link #pendingVector} from IRR to ISR. */
  int acknowledge() {
    final int vector = pendingVector();
    if (vector != NONE) {
      irr.clear(vector);
      isr.set(vector);
      update();
    }
    return vector;
  }

  long raisedAt(final int vector) {
    return raisedAt[vector];
  }

  boolean nmiPending() {
    return nmi;
  }

  void acceptNmi() {
    nmi = false;
  }

  boolean takeInit() {
    final boolean taken = init;
    init = false;
    return taken;
  }

  int takeStartup() {
    final int vector = startupVector;
    startupVector = NONE;
    return vector;
  }

  boolean messagePending() {
    return init || startupVector != NONE;
  }

  /** Whether something came since the last call that the vCPU must look at. */
  boolean takeNews() {
    final boolean taken = news;
    news = false;
    return taken;
  }

  /** What INIT does: the state after power-up but for the ID and the base. */
  void initReset() {
    nmi = false;
    reset();
  }

  int cr8() {
    return tpr >> 4;
  }

  void cr8(final int value) {
    tpr = (value & 0xF) << 4;
    update();
  }

  long apicBase() {
    return apicBase;
  }

  /** Writes IA32_APIC_BASE; false when that must be #GP. */
  boolean apicBase(final long value) {
    final boolean same = (value & ~(BASE_ENABLE | BASE_BSP | BASE_X2APIC)) == BASE;
    if (!same || (value & BASE_BSP) != (apicBase & BASE_BSP) || !reaches(value)) {
      return false;
    }
    final boolean wasEnabled = hardwareEnabled();
    apicBase = value;
    if (wasEnabled != hardwareEnabled()) {
      reset();
    }
    return true;
  }

  /** Whether the modes may follow each other (SDM Vol. 3A, figure 11-27). */
  private boolean reaches(final long value) {
    final boolean enable = (value & BASE_ENABLE) != 0;
    if ((value & BASE_X2APIC) != 0) {
      return enable && hardwareEnabled();
    }
    return !(enable && x2apic());
  }

  /** Whether the registers are in MSRs. */
  boolean x2apic() {
    return (apicBase & BASE_X2APIC) != 0;
  }

  boolean hardwareEnabled() {
    return (apicBase & BASE_ENABLE) != 0;
  }

  boolean softwareEnabled() {
    return (svr & SVR_ENABLE) != 0;
  }

  long tscDeadline() {
    return timer.tscDeadline();
  }

  void tscDeadline(final long value) {
    timer.tscDeadline(value);
  }

  void tscOffset(final long offset) {
    timer.tscOffset(offset);
  }

  int id() {
    return id;
  }

  // ---- messages and wires ----

  boolean matches(final int destination, final boolean logical) {
    if (!hardwareEnabled()) {
      return false;
    }
    if (x2apic()) {
      return X2ApicMsrs.matches(id, destination, logical);
    }
    if (!logical) {
      return destination == ApicMessage.BROADCAST_X2APIC
          || destination == ApicMessage.BROADCAST
          || destination == idRegister >>> 24;
    }
    final int mine = ldr >>> 24;
    if (dfr >>> 28 == 0xF) {
      return (destination & mine) != 0;
    }
    // Cluster model: 4 bits of cluster, 4 bits of set; cluster 15 is all.
    final boolean cluster = destination >> 4 == 0xF || destination >> 4 == mine >> 4;
    return cluster && (destination & mine & 0xF) != 0;
  }

  /** Takes a message; false when it was refused and its sender may try again. */
  boolean accept(final int mode, final int vector, final boolean level) {
    switch (mode) {
      case ApicMessage.FIXED, ApicMessage.LOWEST_PRIORITY -> {
        return acceptVector(vector, level);
      }
      case ApicMessage.NMI -> {
        nmi = true;
        news = true;
      }
      case ApicMessage.INIT -> {
        init = true;
        news = true;
      }
      case ApicMessage.STARTUP -> {
        startupVector = vector;
        news = true;
      }
      case ApicMessage.EXT_INT -> {
        extIntMessage = true;
        update();
      }
      default -> {
        // SMI: there is no system management mode.
      }
    }
    return true;
  }

  private boolean acceptVector(final int vector, final boolean level) {
    if (!softwareEnabled()) {
      return false;
    }
    if (vector < 16) {
      error(ERROR_RECEIVE_VECTOR);
      return true;
    }
    if (!irr.get(vector)) {
      irr.set(vector);
      raisedAt[vector] = requests.nanos();
    }
    if (level) {
      tmr.set(vector);
    } else {
      tmr.clear(vector);
    }
    update();
    return true;
  }

  /** The wire from the PIC. */
  void lint0(final boolean level) {
    final boolean rises = level && !lint0Level;
    lint0Level = level;
    if (rises && mode(lvt[LINT0]) != ApicMessage.EXT_INT) {
      local(LINT0);
    }
    update();
  }

  /** The wire of NMI. */
  void lint1(final boolean level) {
    final boolean rises = level && !lint1Level;
    lint1Level = level;
    if (!hardwareEnabled()) {
      nmi |= rises;
    } else if (rises) {
      local(LINT1);
    }
  }

  private void timerFired() {
    local(TIMER);
  }

  /** An interrupt of the local vector table. */
  private void local(final int entry) {
    final int value = lvt[entry];
    if ((value & LVT_MASKED) != 0 || !hardwareEnabled()) {
      return;
    }
    final boolean fixedOnly = entry == TIMER || entry == ERROR;
    final int mode = fixedOnly ? ApicMessage.FIXED : mode(value);
    accept(mode, value & 0xFF, entry == LINT0 && (value & LVT_LEVEL) != 0);
  }

  private static int mode(final int entry) {
    return entry >> 8 & 7;
  }

  private void error(final int bit) {
    final boolean first = (errors & bit) == 0;
    errors |= bit;
    if (first && (lvt[ERROR] & 0xFF) >= 16) {
      local(ERROR);
    }
  }

  // ---- priorities ----

  /** TPR, or the class of the highest in service when that is higher (SDM Vol. 3A, 11.8.3.1). */
  int processorPriority() {
    final int serving = Math.max(0, isr.highest());
    return tpr >> 4 >= serving >> 4 ? tpr : serving & 0xF0;
  }

  private void update() {
    final boolean was = pending;
    pending = extIntPending() || pendingVector() != NONE;
    news |= pending && !was;
  }

  private void endOfInterrupt() {
    final int vector = isr.highest();
    if (vector < 0) {
      return;
    }
    isr.clear(vector);
    update();
    if (tmr.get(vector)) {
      bus.endOfInterrupt(vector);
    }
  }

  // ---- registers ----

  @Override
  public long readMmio(final long offset, final int size) {
    if (!hardwareEnabled() || x2apic()) {
      return -1;
    }
    if ((offset & 0xC) != 0) {
      return 0;
    }
    return (readRegister((int) offset >> 4) & 0xFFFF_FFFFL) >>> (8 * (offset & 3));
  }

  @Override
  public void writeMmio(final long offset, final int size, final long value) {
    if (hardwareEnabled() && !x2apic() && (offset & 0xF) == 0 && size >= 4) {
      writeRegister((int) offset >> 4, (int) value);
    }
  }

  /** A register by its offset in memory over 16. */
  int readRegister(final int register) {
    return switch (register) {
      case 0x02 -> idRegister;
      case 0x03 -> VERSION;
      case 0x08 -> tpr;
      case 0x0A -> processorPriority();
      // Arbitration priority and remote read are gone since the Pentium 4.
      case 0x09, 0x0B, 0x0C -> 0;
      case 0x0D -> ldr;
      case 0x0E -> dfr;
      case 0x0F -> svr;
      case 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17 -> isr.register(register & 7);
      case 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F -> tmr.register(register & 7);
      case 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27 -> irr.register(register & 7);
      case 0x28 -> errorStatus;
      case 0x30 -> icrLow;
      case 0x31 -> icrHigh;
      case 0x32, 0x33, 0x34, 0x35, 0x36, 0x37 -> lvt[register - 0x32];
      case 0x38 -> timer.initialCount();
      case 0x39 -> timer.currentCount();
      case 0x3E -> timer.divideConfiguration();
      default -> {
        error(ERROR_REGISTER);
        yield 0;
      }
    };
  }

  void writeRegister(final int register, final int value) {
    switch (register) {
      case 0x02 -> idRegister = value & 0xFF00_0000;
      case 0x08 -> {
        tpr = value & 0xFF;
        update();
      }
      case 0x0B -> endOfInterrupt();
      case 0x0D -> ldr = value & 0xFF00_0000;
      case 0x0E -> dfr = value | 0x0FFF_FFFF;
      case 0x0F -> writeSpurious(value);
      case 0x28 -> {
        // A write brings the errors since the last one into view.
        errorStatus = errors;
        errors = 0;
      }
      case 0x30 -> {
        icrLow = value & ICR_BITS;
        send();
      }
      case 0x31 -> icrHigh = value & 0xFF00_0000;
      case 0x32, 0x33, 0x34, 0x35, 0x36, 0x37 -> writeLvt(register - 0x32, value);
      case 0x38 -> timer.initialCount(value);
      case 0x3E -> timer.divideConfiguration(value);
      default -> {
        if (!readOnly(register)) {
          error(ERROR_REGISTER);
        }
      }
    }
  }

  private static boolean readOnly(final int register) {
    return register == 0x03
        || register == 0x09
        || register == 0x0A
        || register == 0x0C
        || register == 0x39
        || (register >= 0x10 && register < 0x28);
  }

  private void writeSpurious(final int value) {
    svr = value & 0x3FF;
    if (!softwareEnabled()) {
      // Software disable masks the whole table.
      for (int i = 0; i < lvt.length; i++) {
        lvt[i] |= LVT_MASKED;
      }
    }
    update();
  }

  private void writeLvt(final int entry, final int value) {
    int written = value & LVT_BITS[entry];
    if (!softwareEnabled()) {
      written |= LVT_MASKED;
    }
    lvt[entry] = written;
    if (entry == TIMER) {
      timer.mode(written >> 17 & 3);
    }
    if (entry == THERMAL || entry == PERFORMANCE) {
      // Kept for the guest to read back: nothing raises them.
      return;
    }
    update();
  }

  /** Writes both halves of the ICR, as in x2APIC mode, and sends. */
  void command(final int high, final int low) {
    icrHigh = high;
    icrLow = low & ICR_BITS;
    send();
  }

  private void send() {
    final int mode = icrLow >> 8 & 7;
    final int vector = icrLow & 0xFF;
    if (mode == ApicMessage.INIT && (icrLow & (ICR_LEVEL | ICR_ASSERT)) == ICR_LEVEL) {
      // INIT level de-assert: no processor since the Pentium 4 acts on it.
      return;
    }
    final boolean vectored = mode == ApicMessage.FIXED || mode == ApicMessage.LOWEST_PRIORITY;
    if (vectored && vector < 16) {
      error(ERROR_SEND_VECTOR);
      return;
    }
    switch (icrLow >> 18 & 3) {
      case 0 ->
          bus.deliver(
              x2apic() ? icrHigh : icrHigh >>> 24,
              (icrLow & ICR_LOGICAL) != 0,
              mode,
              vector,
              false);
      case 1 -> {
        if (vectored) {
          acceptVector(vector, false);
        } else {
          error(ERROR_SEND_VECTOR);
        }
      }
      case 2 -> bus.deliverToAll(this, true, mode, vector);
      default -> bus.deliverToAll(this, false, mode, vector);
    }
  }
}

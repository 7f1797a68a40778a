package dev.vmexit.irq;

import dev.vmexit.device.InterruptLine;
import dev.vmexit.device.MachineClock;
import dev.vmexit.device.MmioDevice;
import dev.vmexit.device.TimerQueue;
import dev.vmexit.exit.VectorState;
import java.util.Arrays;

/**
 * All interrupt controllers of a machine, wired as on a PC, behind one face.
 *
 * <pre>
 *   device ── line(gsi) ──┬── PIC pair ── INT ──┬── LINT0 of each local APIC
 *                         │                     └── I/O APIC pin 0 (ExtINT)
 *                         └── I/O APIC (IRQ 0 at pin 2) ── messages ── local APICs
 * </pre>
 *
 * <p>Used by the vCPU thread alone. {@link #interruptPending} is a field's read: it is asked before
 * each entry.
 */
public final class Irqchip {
  /** Interrupt lines: the I/O APIC's pins. */
  public static final int LINES = IoApic.PINS;

  /** Nothing was pending. */
  public static final int NONE = -1;

  private static final int ISA_LINES = 16;
  private static final int CASCADE = 2;
  private static final int PIC_PIN = 0;
  private static final int TIMER_PIN = 2;

  /** Registers of a local APIC, by their offsets over 16. */
  private static final int APIC_SPURIOUS = 0x0F;

  private static final int APIC_IRR = 0x20;
  private static final int APIC_ICR = 0x30;
  private static final int APIC_LVT = 0x32;
  private static final int APIC_LVT_ENTRIES = 6;

  private final Pic8259Pair pic;
  private final IoApic ioApic;
  private final LocalApic[] apics;
  private final InterruptLine[] lines = new InterruptLine[LINES];

  /** Per vCPU, per vector: when the PIC's interrupt last acknowledged was raised, or -1. */
  private final long[][] requestTimes;

  private boolean picOutput;
  private int selected;

  /**
   * Makes the controllers at power-on.
   *
   * @param vcpus 1 to 255; APIC IDs are 0 upwards
   * @throws IllegalArgumentException for any other number
   */
  public Irqchip(final int vcpus, final MachineClock clock, final TimerQueue timers) {
    if (vcpus < 1 || vcpus > 255) {
      throw new IllegalArgumentException("vcpus=" + vcpus + ", allowed: 1 to 255");
    }
    final ApicBus bus = new Bus();
    apics = new LocalApic[vcpus];
    requestTimes = new long[vcpus][256];
    for (int i = 0; i < vcpus; i++) {
      apics[i] = new LocalApic(i, clock, timers, bus);
    }
    ioApic = new IoApic(bus);
    pic = new Pic8259Pair(timers.dueTimes(clock), this::picChanged);
    for (int gsi = 0; gsi < LINES; gsi++) {
      lines[gsi] = wire(gsi);
    }
  }

  // ---- devices ----

  /**
   * The wire of a device.
   *
   * @param gsi 0 to 15 is an ISA IRQ, at both PIC and I/O APIC (IRQ 0 at pin 2 there, which the
   *     MADT must say); 16 to 23 a pin of the I/O APIC alone
   * @throws IllegalArgumentException for another number, or 2, the PICs' cascade
   */
  public InterruptLine line(final int gsi) {
    if (gsi < 0 || gsi >= LINES || gsi == CASCADE) {
      throw new IllegalArgumentException("gsi=" + gsi + ", allowed: 0 to 23 without 2");
    }
    return lines[gsi];
  }

  private InterruptLine wire(final int gsi) {
    if (gsi >= ISA_LINES) {
      return level -> ioApic.setPin(gsi, level);
    }
    final int pin = gsi == 0 ? TIMER_PIN : gsi;
    return level -> {
      pic.setIrq(gsi, level);
      ioApic.setPin(pin, level);
    };
  }

  /** The 8259s, for the port bus. */
  public Pic8259Pair pic() {
    return pic;
  }

  /** The I/O APIC, for the MMIO bus. */
  public IoApic ioApic() {
    return ioApic;
  }

  /** The local APIC of a vCPU. */
  public LocalApic localApic(final int vcpu) {
    return apics[vcpu];
  }

  /** The page at 0xFEE00000, which shows each vCPU its own APIC: see {@link #select}. */
  public MmioDevice localApicPage() {
    return new ApicPage();
  }

  /** Says which vCPU makes the accesses that follow. */
  public void select(final int vcpu) {
    selected = vcpu;
  }

  // ---- the run loop ----

  /** Whether a maskable interrupt waits for the vCPU. */
  public boolean interruptPending(final int vcpu) {
    return apics[vcpu].pending();
  }

  /**
   * Takes the interrupt that waits, as the processor does when it accepts one.
   *
   * @return its vector, which may be the PIC's spurious one; {@link #NONE} if none waits
   */
  public int acknowledge(final int vcpu) {
    final LocalApic apic = apics[vcpu];
    if (apic.extIntPending()) {
      final int vector = pic.acknowledge();
      apic.extIntTaken();
      requestTimes[vcpu][vector] = pic.acknowledgedAt();
      return vector;
    }
    final int vector = apic.acknowledge();
    if (vector != NONE) {
      requestTimes[vcpu][vector] = apic.raisedAt(vector);
    }
    return vector;
  }

  /**
   * When the interrupt that was last acknowledged with a vector had been raised: a timer's at its
   * deadline.
   *
   * @return ns of the machine's clock; -1 for a spurious one, 0 when there was none
   */
  public long requestTime(final int vcpu, final int vector) {
    return requestTimes[vcpu][vector];
  }

  /** Whether an NMI waits for the vCPU. */
  public boolean nmiPending(final int vcpu) {
    return apics[vcpu].nmiPending();
  }

  /** Takes the NMI that waits. */
  public void acceptNmi(final int vcpu) {
    apics[vcpu].acceptNmi();
  }

  /** Pulses the NMI wire, LINT1 of every vCPU. */
  public void pulseNmi() {
    for (final LocalApic apic : apics) {
      apic.lint1(true);
      apic.lint1(false);
    }
  }

  /**
   * Says which vectors a vCPU may come to get with no further access to the controllers.
   *
   * @param to room for {@link VectorState#LENGTH} bytes, filled as that class says
   */
  public void saveVectors(final int vcpu, final byte[] to) {
    Arrays.fill(to, 0, VectorState.LENGTH, (byte) 0);
    final LocalApic apic = apics[vcpu];
    VectorState.add(to, apic.readRegister(APIC_SPURIOUS) & 0xFF);
    VectorState.add(to, apic.readRegister(APIC_ICR) & 0xFF);
    for (int i = 0; i < APIC_LVT_ENTRIES; i++) {
      VectorState.add(to, apic.readRegister(APIC_LVT + i) & 0xFF);
    }
    for (int vector = 0; vector < 256; vector++) {
      if ((apic.readRegister(APIC_IRR + (vector >> 5)) >>> (vector & 31) & 1) != 0) {
        VectorState.add(to, vector);
      }
    }
    ioApic.save(to);
    pic.save(to);
  }

  /** CR8: the task priority class. */
  public int cr8(final int vcpu) {
    return apics[vcpu].cr8();
  }

  /** Writes CR8, 0 to 15. */
  public void cr8(final int vcpu, final int value) {
    apics[vcpu].cr8(value);
  }

  /** IA32_APIC_BASE. */
  public long apicBase(final int vcpu) {
    return apics[vcpu].apicBase();
  }

  /**
   * Writes IA32_APIC_BASE.
   *
   * @return false when the guest must get #GP: reserved bits, a mode that cannot follow, or another
   *     address, as the page cannot be moved here
   */
  public boolean apicBase(final int vcpu, final long value) {
    return apics[vcpu].apicBase(value);
  }

  /**
   * Whether a vCPU's x2APIC has a register that can be read.
   *
   * @param msr {@code Msr.X2APIC_FIRST} to {@code X2APIC_LAST}
   */
  public boolean x2apicReadable(final int vcpu, final int msr) {
    return X2ApicMsrs.readable(apics[vcpu], msr & 0xFF);
  }

  /** Reads a register that {@link #x2apicReadable} knows. */
  public long x2apic(final int vcpu, final int msr) {
    return X2ApicMsrs.read(apics[vcpu], msr & 0xFF);
  }

  /** Writes a register of the x2APIC; false when the guest must get #GP. */
  public boolean x2apic(final int vcpu, final int msr, final long value) {
    return X2ApicMsrs.write(apics[vcpu], msr & 0xFF, value);
  }

  /** IA32_TSC_DEADLINE. */
  public long tscDeadline(final int vcpu) {
    return apics[vcpu].tscDeadline();
  }

  /** Writes IA32_TSC_DEADLINE; one in the past raises the interrupt at once. */
  public void tscDeadline(final int vcpu, final long value) {
    apics[vcpu].tscDeadline(value);
  }

  /** Tells that a vCPU's time-stamp counter is the machine's clock plus an offset. */
  public void tscOffset(final int vcpu, final long offset) {
    apics[vcpu].tscOffset(offset);
  }

  /** Whether an INIT came since the last call. */
  public boolean takeInit(final int vcpu) {
    return apics[vcpu].takeInit();
  }

  /** The vector of a start-up IPI that came since the last call, or {@link #NONE}. */
  public int takeStartup(final int vcpu) {
    return apics[vcpu].takeStartup();
  }

  /** Whether an INIT or a start-up IPI waits to be taken. */
  public boolean messagePending(final int vcpu) {
    return apics[vcpu].messagePending();
  }

  /** Whether something came since the last call that a vCPU must leave the guest for. */
  public boolean takeNews(final int vcpu) {
    return apics[vcpu].takeNews();
  }

  /** Resets a local APIC, as INIT does: all but its ID (SDM Vol. 3A, 11.4.7.3). */
  public void reset(final int vcpu) {
    apics[vcpu].initReset();
  }

  private void picChanged(final boolean level) {
    if (level == picOutput) {
      return;
    }
    picOutput = level;
    for (final LocalApic apic : apics) {
      apic.lint0(level);
    }
    ioApic.setPin(PIC_PIN, level);
  }

  /** Carries messages to all local APICs. */
  private final class Bus implements ApicBus {
    @Override
    public boolean deliver(
        final int destination,
        final boolean logical,
        final int mode,
        final int vector,
        final boolean level) {
      LocalApic lowest = null;
      boolean taken = false;
      for (final LocalApic apic : apics) {
        if (apic.matches(destination, logical)) {
          if (mode != ApicMessage.LOWEST_PRIORITY) {
            taken |= apic.accept(mode, vector, level);
          } else if (apic.softwareEnabled()
              && (lowest == null || apic.processorPriority() < lowest.processorPriority())) {
            lowest = apic;
          }
        }
      }
      if (lowest != null) {
        taken = lowest.accept(mode, vector, level);
      }
      return taken;
    }

    @Override
    public void deliverToAll(
        final LocalApic sender, final boolean includingSender, final int mode, final int vector) {
      for (final LocalApic apic : apics) {
        if (apic.hardwareEnabled() && (includingSender || apic != sender)) {
          apic.accept(mode, vector, false);
        }
      }
    }

    @Override
    public void endOfInterrupt(final int vector) {
      ioApic.endOfInterrupt(vector);
    }
  }

  /** The APIC page of whichever vCPU is selected. */
  private final class ApicPage implements MmioDevice {
    @Override
    public long readMmio(final long offset, final int size) {
      return apics[selected].readMmio(offset, size);
    }

    @Override
    public void writeMmio(final long offset, final int size, final long value) {
      apics[selected].writeMmio(offset, size, value);
    }
  }
}

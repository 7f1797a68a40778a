package dev.vmexit.vm;

import dev.vmexit.device.A20Gate;
import dev.vmexit.device.AcpiPm;
import dev.vmexit.device.ByteSink;
import dev.vmexit.device.CmosRtc;
import dev.vmexit.device.DebugExit;
import dev.vmexit.device.DebugPort;
import dev.vmexit.device.FastA20Port;
import dev.vmexit.device.FwCfg;
import dev.vmexit.device.GuestDma;
import dev.vmexit.device.I8042;
import dev.vmexit.device.InterruptLine;
import dev.vmexit.device.MachineClock;
import dev.vmexit.device.MmioBus;
import dev.vmexit.device.PcChipset;
import dev.vmexit.device.PciConfig;
import dev.vmexit.device.Piix4Power;
import dev.vmexit.device.PiixIde;
import dev.vmexit.device.Pit8254;
import dev.vmexit.device.PortBus;
import dev.vmexit.device.PostCodePort;
import dev.vmexit.device.Ps2Keyboard;
import dev.vmexit.device.ResetControl;
import dev.vmexit.device.ScratchPorts;
import dev.vmexit.device.SystemControlPort;
import dev.vmexit.device.TimerQueue;
import dev.vmexit.device.Uart16550;
import dev.vmexit.device.Vga;
import dev.vmexit.irq.IoApic;
import dev.vmexit.irq.Irqchip;
import dev.vmexit.irq.LocalApic;
import dev.vmexit.irq.Pic8259Pair;
import dev.vmexit.memory.MemoryMap;
import java.util.function.IntFunction;

/**
 * The devices of a PC with a serial console, and what else its {@link Peripherals} name, built,
 * wired to the interrupt controllers and put on the buses. A machine that is reset is a new
 * platform.
 *
 * <pre>
 *   ports  0x000-0x00F DMA   0x020 0x0A0 0x4D0 PIC   0x040-0x043 PIT    0x060 0x064 i8042
 *          0x061 control     0x070-0x071 CMOS        0x080 POST code    0x081-0x08F DMA pages
 *          0x092 fast A20    0x0C0-0x0DF DMA         0x0E9 debug        0x0F4 debug exit
 *          0x3F8-0x3FF UART  0x600-0x60B ACPI PM     0xCF8-0xCFF PCI, reset control
 *   with a BIOS      0x402 its log   0x510-0x511 firmware configuration
 *   with a display   0x3B0-0x3BB 0x3C0-0x3DF VGA     memory 0xA0000-0xBFFFF
 *   with drives      0x1F0-0x1F7 0x3F6 0x170-0x177 0x376 IDE   IRQ 14, 15
 *   memory 0xFEC00000 I/O APIC                       0xFEE00000 local APIC
 *   IRQs   0 PIT   1, 12 i8042   4 UART   8 RTC   9 SCI, level
 * </pre>
 */
public final class PcPlatform {
  /** The system control interrupt of ACPI. */
  private static final int SCI = 9;

  private final PortBus ports = new PortBus();
  private final MmioBus memory = new MmioBus();
  private final Irqchip irqchip;
  private final Uart16550 uart;
  private final boolean kernelIrqchip;
  private final CmosRtc rtc;
  private final AcpiPm acpiPm;
  private final I8042 i8042;
  private final Ps2Keyboard keyboard = new Ps2Keyboard();
  private final PostCodePort postCode = new PostCodePort();
  private final PlatformEvents events;
  private final A20Gate a20 = new A20Gate(this::memoryChanged);

  /** Null where there is no PCI bus. */
  private final PcChipset chipset;

  /**
   * What can be chosen.
   *
   * @param epochSeconds what the RTC shows at time 0 of the machine's clock, seconds since 1970,
   *     UTC
   * @param lowRam bytes of RAM below 4 GiB
   * @param highRam bytes of RAM above 4 GiB
   * @param vcpus number of vCPUs, 1 to 255
   * @param console takes what the guest sends to the first serial port
   * @param debugConsole takes what it writes to port 0xE9
   * @param debugExit whether the debug exit device is there
   */
  public record Options(
      long epochSeconds,
      long lowRam,
      long highRam,
      int vcpus,
      ByteSink console,
      ByteSink debugConsole,
      boolean debugExit) {}

  /**
   * Builds a machine's devices at power-on.
   *
   * @param clock the machine's clock, for all of them
   * @param timers the queue that the run loop drives
   * @param events told what the guest asks of the machine
   */
  public PcPlatform(
      final MachineClock clock,
      final TimerQueue timers,
      final Options options,
      final PlatformEvents events) {
    this(clock, timers, options, events, Peripherals.NONE, null);
  }

  /**
   * Builds a machine's devices at power-on.
   *
   * @param clock the machine's clock, for all of them
   * @param timers the queue that the run loop drives
   * @param events told what the guest asks of the machine
   * @param dma guest memory for bus masters; may be null where there are none
   */
  PcPlatform(
      final MachineClock clock,
      final TimerQueue timers,
      final Options options,
      final PlatformEvents events,
      final Peripherals peripherals,
      final GuestDma dma) {
    this(clock, timers, options, events, peripherals, dma, null);
  }

  /**
   * Builds a machine's devices at power-on.
   *
   * @param clock the machine's clock, for all of them
   * @param timers the queue that the run loop drives
   * @param events told what the guest asks of the machine
   * @param dma guest memory for bus masters; may be null where there are none
   * @param kernelLines the wires where interrupt controllers and PIT are the kernel's, by number;
   *     null where they are ours
   */
  PcPlatform(
      final MachineClock clock,
      final TimerQueue timers,
      final Options options,
      final PlatformEvents events,
      final Peripherals peripherals,
      final GuestDma dma,
      final IntFunction<InterruptLine> kernelLines) {
    this.events = events;
    irqchip = new Irqchip(options.vcpus(), clock, timers);
    kernelIrqchip = kernelLines != null;
    final IntFunction<InterruptLine> lines = kernelIrqchip ? kernelLines : irqchip::line;
    uart = new Uart16550(Uart16550.COM1, lines.apply(4), clock, timers, options.console());
    rtc =
        new CmosRtc(
            options.epochSeconds(),
            options.lowRam(),
            options.highRam(),
            lines.apply(8),
            clock,
            timers);
    acpiPm = new AcpiPm(24, lines.apply(SCI), clock, timers, events::powerOff);
    i8042 =
        new I8042(
            lines.apply(1),
            lines.apply(12),
            a20,
            () -> events.reset("keyboard controller (port 0x64)"));
    final ResetControl resetControl =
        new ResetControl(() -> events.reset("reset control register (port 0xcf9)"));

    ports.register(new ScratchPorts(0x00, 0x0F), 0x00, 0x0F);
    ports.register(i8042, I8042.DATA_PORT, I8042.DATA_PORT);
    ports.register(i8042, I8042.COMMAND_PORT, I8042.COMMAND_PORT);
    ports.register(rtc, CmosRtc.INDEX_PORT, CmosRtc.DATA_PORT);
    ports.register(postCode, PostCodePort.PORT, PostCodePort.PORT);
    ports.register(new ScratchPorts(0x81, 0x8F), 0x81, 0x8F);
    ports.register(
        new FastA20Port(a20, () -> events.reset("system control port (port 0x92)")),
        FastA20Port.PORT,
        FastA20Port.PORT);
    ports.register(new ScratchPorts(0xC0, 0xDF), 0xC0, 0xDF);
    ports.register(new DebugPort(options.debugConsole()), DebugPort.PORT, DebugPort.PORT);
    if (options.debugExit()) {
      ports.register(new DebugExit(events::debugExit), DebugExit.PORT, DebugExit.PORT);
    }
    ports.register(uart, Uart16550.COM1, Uart16550.COM1 + Uart16550.PORTS - 1);
    ports.register(acpiPm, AcpiPm.BASE, AcpiPm.BASE + AcpiPm.PORTS - 1);
    final PciConfig pci = new PciConfig(resetControl);
    ports.register(pci, PciConfig.FIRST_PORT, PciConfig.LAST_PORT);
    chipset =
        peripherals.hasPci()
            ? new PcChipset(peripherals.firmware().isEmpty(), areas -> memoryChanged())
            : null;
    if (chipset != null) {
      chipset.plug(pci);
      final Piix4Power power = new Piix4Power(ports, acpiPm);
      pci.plug(1, 3, power);
      if (!peripherals.disks().isEmpty() || peripherals.cdrom().isPresent()) {
        pci.plug(
            1,
            1,
            new PiixIde(
                ports,
                dma,
                clock,
                timers,
                lines.apply(14),
                lines.apply(15),
                peripherals.disks(),
                peripherals.cdrom().orElse(null)));
      }
      ports.register(power, Piix4Power.GPE0, Piix4Power.GPE0 + Piix4Power.GPE0_PORTS - 1);
    }
    peripherals.screen().ifPresent(screen -> plugDisplay(new Vga(clock, timers, screen)));
    if (peripherals.firmware().isPresent() || peripherals.screen().isPresent()) {
      i8042.plug(keyboard);
    }
    peripherals.firmware().ifPresent(firmware -> plugFirmware(firmware, options.vcpus()));

    if (!kernelIrqchip) {
      plugIrqchip(new Pit8254(irqchip.line(0), clock, timers), clock);
    }
  }

  private void plugIrqchip(final Pit8254 pit, final MachineClock clock) {
    ports.register(irqchip.pic(), Pic8259Pair.MASTER, Pic8259Pair.MASTER + 1);
    ports.register(irqchip.pic(), Pic8259Pair.SLAVE, Pic8259Pair.SLAVE + 1);
    ports.register(irqchip.pic(), Pic8259Pair.ELCR, Pic8259Pair.ELCR + 1);
    ports.register(pit, Pit8254.BASE, Pit8254.BASE + Pit8254.PORTS - 1);
    ports.register(
        new SystemControlPort(pit, clock), SystemControlPort.PORT, SystemControlPort.PORT);
    memory.register(irqchip.ioApic(), IoApic.BASE, IoApic.LENGTH);
    memory.register(irqchip.localApicPage(), LocalApic.BASE, LocalApic.LENGTH);
    // As firmware does it: the SCI is level-triggered at the PIC too.
    ports.write(Pic8259Pair.ELCR + 1, 1, 1 << (SCI - 8));
  }

  /** Takes over what a reset leaves of the platform before it. */
  void keep(final PcPlatform old) {
    rtc.keep(old.rtc);
  }

  /** What memory there is, as {@link MemoryMap} has it. */
  long memoryState() {
    return (chipset == null ? MemoryMap.PLAIN : chipset.areas())
        | (a20.enabled() ? 0 : MemoryMap.A20_LOW);
  }

  private void memoryChanged() {
    events.memoryMapped(memoryState());
  }

  private void plugDisplay(final Vga vga) {
    ports.register(vga, Vga.FIRST_PORT, Vga.LAST_PORT);
    ports.register(vga, Vga.MONO_FIRST_PORT, Vga.MONO_LAST_PORT);
    memory.register(vga.memory(), Vga.MEMORY, Vga.MEMORY_LENGTH);
  }

  private void plugFirmware(final Peripherals.Firmware firmware, final int vcpus) {
    ports.register(new FwCfg(vcpus, firmware.files()), FwCfg.SELECTOR_PORT, FwCfg.DATA_PORT);
    ports.register(new DebugPort(firmware.log()), DebugPort.FIRMWARE_PORT, DebugPort.FIRMWARE_PORT);
    rtc.bootOrder(CmosRtc.BOOT_DISK, CmosRtc.BOOT_CDROM);
  }

  /** The I/O ports. */
  public PortBus ports() {
    return ports;
  }

  /** The memory that is not RAM. */
  public MmioBus memory() {
    return memory;
  }

  public Irqchip irqchip() {
    return irqchip;
  }

  /** Whether the devices' lines go to the kernel's controllers, and {@link #irqchip} is idle. */
  boolean hasKernelIrqchip() {
    return kernelIrqchip;
  }

  /** Presses keys as far as the keyboard's buffer goes; the rest waits. */
  void press(final InputQueue keys) {
    while (!keys.isEmpty() && keyboard.canPress()) {
      keyboard.press(keys.next());
    }
    i8042.poll();
  }

  /** The serial port of the console, whose input the run loop feeds. */
  public Uart16550 uart() {
    return uart;
  }

  public CmosRtc rtc() {
    return rtc;
  }

  public AcpiPm acpiPm() {
    return acpiPm;
  }

  /** The last code that the guest wrote to port 0x80. */
  public int postCode() {
    return postCode.code();
  }
}

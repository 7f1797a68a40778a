/**
 * The machine's buses and devices: port and MMIO dispatch, UART, PIT, RTC/CMOS, i8042 and keyboard,
 * ACPI power management, PCI with the chipset's functions, IDE, VGA, firmware configuration, debug
 * ports.
 *
 * <p>A device here is a deterministic function of the guest's accesses, {@link
 * dev.vmexit.device.MachineClock} and the inputs it is handed; it never looks at a clock, a file or
 * a thread of its own. All of it runs on the vCPU thread, between two guest instructions. The
 * package knows only {@code x86} and {@code memory}; interrupt controllers and the machine's
 * assembly know it, and it reaches them through {@link dev.vmexit.device.InterruptLine} alone.
 */
package dev.vmexit.device;

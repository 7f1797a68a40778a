/**
 * The interrupt controllers of a PC: the pair of 8259s, the I/O APIC, a local APIC per vCPU, and
 * {@link dev.vmexit.irq.Irqchip}, the one face that devices and the run loop see.
 *
 * <p>Devices drive an {@link dev.vmexit.device.InterruptLine}; the run loop asks whether something
 * is pending and acknowledges it at an entry. All state is kept here, in userspace, so that every
 * injection passes the run loop; the kernel's controllers, an option with KVM, are none of these.
 * The package knows {@code device}'s interfaces, {@code x86} and what a record says of vectors; the
 * virtual machine's assembly and run loop know it. Used by the vCPU thread alone.
 */
package dev.vmexit.irq;

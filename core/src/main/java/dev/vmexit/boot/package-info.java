/**
 * What firmware and boot loader do before a guest's first instruction: the memory map, the ACPI
 * tables, and the loaders that place a kernel into guest memory and say in which state the
 * processor starts ({@link dev.vmexit.boot.BootEntry}). Knows guest memory and the architecture's
 * vocabulary, and the addresses of the machine's fixed devices as numbers only; the machine and the
 * command line may know it.
 *
 * <p>Every byte of an image is hostile until checked: a loader either returns an entry or throws a
 * {@link dev.vmexit.boot.BootException} of one line, never anything else.
 */
package dev.vmexit.boot;

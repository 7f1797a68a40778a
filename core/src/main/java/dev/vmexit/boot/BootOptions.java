package dev.vmexit.boot;

import java.util.Optional;

/**
 * What a kernel is given beside itself.
 *
 * @param initrd initial RAM disk, or a multiboot kernel's only module
 * @param commandLine empty for none
 * @param rsdp guest-physical address of the ACPI root pointer, 0 where there are no tables
 */
public record BootOptions(Optional<ImageFile> initrd, String commandLine, long rsdp) {
  /** No initrd, no command line, no ACPI tables. */
  public static final BootOptions NONE = new BootOptions(Optional.empty(), "", 0);
}

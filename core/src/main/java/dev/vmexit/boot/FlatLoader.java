package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Gpr;

/** Loads a file as it is, and starts at its first byte: boot sectors, test programs, firmware. */
public final class FlatLoader {
  /** Where a BIOS puts the boot sector. */
  public static final long BOOT_SECTOR = 0x7C00;

  private static final int FIRST_DISK = 0x80;

  private FlatLoader() {}

  /**
   * Places the image.
   *
   * <p>In real mode, below 64 KiB, CS is 0 and the stack grows down from 0x7C00 as a BIOS leaves
   * it; higher up, CS is the paragraph of the address. In the other modes segments are flat, the
   * stack grows down from 0x7000, and in 64-bit mode the first 4 GiB are mapped to themselves.
   *
   * @param memory zeroed
   * @param address where the first byte goes
   * @throws BootException where it does not fit
   */
  public static BootEntry load(
      final GuestMemory memory,
      final ImageFile image,
      final long address,
      final BootEntry.Mode mode) {
    if (LowMemory.isBaseMemory(memory)) {
      LowMemory.prepare(memory); // test programs may come with less, they get no BIOS data
    }
    if (address < 0 || !memory.isRam(address, image.length())) {
      throw image.error(
          BootException.size(image.length())
              + " at "
              + BootException.hex(address)
              + " are not all in RAM, the guest has "
              + BootException.size(memory.ramBytes())
              + "; give another address or more --memory");
    }
    final BootEntry entry =
        switch (mode) {
          case REAL16 -> real(image, address);
          case PROTECTED32 -> {
            checkAddress(memory, image, address);
            LowMemory.writeGdt(memory, BootEntry.CODE_32);
            yield BootEntry.protected32(address).with(Gpr.RSP, LowMemory.STACK_TOP);
          }
          case LONG64 -> {
            checkAddress(memory, image, address);
            LowMemory.writeGdt(memory, BootEntry.CODE_64);
            LowMemory.writePageTables(memory);
            yield BootEntry.long64(address).with(Gpr.RSP, LowMemory.STACK_TOP);
          }
        };
    Placement.copy(memory, image, 0, image.length(), address);
    return entry;
  }

  private static BootEntry real(final ImageFile image, final long address) {
    if (address + image.length() > LowMemory.EBDA) {
      throw image.error(
          BootException.size(image.length())
              + " at "
              + BootException.hex(address)
              + " reach over the base memory's end at "
              + BootException.hex(LowMemory.EBDA)
              + "; give a lower address or another mode");
    }
    final boolean low = address <= 0xFFFF;
    final BootEntry entry =
        BootEntry.real(low ? 0 : (int) (address >> 4), (int) (low ? address : address & 0xF));
    return entry.with(Gpr.RSP, BOOT_SECTOR).with(Gpr.RDX, FIRST_DISK);
  }

  private static void checkAddress(
      final GuestMemory memory, final ImageFile image, final long address) {
    if (!memory.isRam(0, LowMemory.END)) {
      throw new BootException(
          "memory of "
              + BootException.size(memory.ramBytes())
              + ": too small for the tables of protected mode, give at least --memory 2M");
    }
    LowMemory.checkFree(image, address, address + image.length());
    if (address >= 1L << 32) {
      throw image.error("starts at " + BootException.hex(address) + ", allowed: below 0x100000000");
    }
  }
}

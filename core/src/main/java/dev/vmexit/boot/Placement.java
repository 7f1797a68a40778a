package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;

/** Finds room for images in guest memory, and puts them there. */
final class Placement {
  private static final long PAGE = 4096;

  private Placement() {}

  /** Writes part of an image; the caller has checked both ranges. */
  static void copy(
      final GuestMemory memory,
      final ImageFile image,
      final long offset,
      final long length,
      final long gpa) {
    memory.write(gpa, image.bytes(), (int) offset, (int) length);
  }

  /** Checks that a range of a kernel lies in RAM at or above the loaders' own tables. */
  static void checkRange(
      final GuestMemory memory, final ImageFile kernel, final long start, final long size) {
    if (start < 0 || size < 0 || start + size < 0 || !memory.isRam(start, size)) {
      throw kernel.error(
          "needs memory at "
              + BootException.hex(start)
              + ", length "
              + BootException.hex(size)
              + ", the guest has "
              + BootException.size(memory.ramBytes())
              + " (RAM ends at "
              + BootException.hex(E820.of(memory).lowRamEnd())
              + "); give more by --memory");
    }
    LowMemory.checkFree(kernel, start, start + size);
  }

  /**
   * Puts an initrd as high as it may be, page-aligned, so that the kernel can grow above its own
   * end.
   *
   * @param end first address that it must not reach
   * @param kernelStart first byte of the kernel
   * @param kernelEnd first byte that the kernel does not need
   * @return where it went
   */
  static long placeInitrd(
      final GuestMemory memory,
      final ImageFile initrd,
      final long end,
      final long kernelStart,
      final long kernelEnd) {
    final long top = Math.min(end, E820.of(memory).lowRamEnd());
    final long gpa = (top - initrd.length()) & -PAGE;
    final boolean above = gpa >= kernelEnd;
    final boolean below = gpa >= LowMemory.HIGH && gpa + initrd.length() <= kernelStart;
    if (!above && !below) {
      throw initrd.error(
          BootException.size(initrd.length())
              + " do not fit: a memory of "
              + BootException.size(memory.ramBytes())
              + " has "
              + BootException.size(Math.max(0, top - kernelEnd))
              + " free above the kernel; give more by --memory");
    }
    copy(memory, initrd, 0, initrd.length(), gpa);
    return gpa;
  }
}

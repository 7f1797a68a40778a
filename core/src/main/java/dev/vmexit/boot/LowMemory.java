package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Pte;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * The first MiB of guest memory: what the loaders leave there, and where. A kernel reclaims it once
 * it has its own tables.
 *
 * <pre>
 *   0x00400   BIOS data area: COM1's port, EBDA segment, KiB of base memory
 *   0x01000   GDT
 *   0x02000   start information (PVH, multiboot)
 *   0x03000   memory map of the start information
 *   0x04000   stack, growing down from 0x7000
 *   0x07000   boot_params (Linux)
 *   0x09000   page tables: one PML4, one PDPT, four page directories
 *   0x10000   command line, up to 64 KiB
 *   0x20000   end of what the loaders use
 *   0x9FC00   EBDA
 *   0xE0000   ACPI tables
 * </pre>
 */
final class LowMemory {
  static final long BIOS_DATA = 0x400;
  static final long GDT = 0x1000;
  static final int GDT_LIMIT = 4 * 8 - 1;
  static final long START_INFO = 0x2000;
  static final long MEMORY_MAP = 0x3000;
  static final long STACK_TOP = 0x7000;
  static final long BOOT_PARAMS = 0x7000;
  static final long PAGE_TABLES = 0x9000;
  static final long COMMAND_LINE = 0x1_0000;
  static final int COMMAND_LINE_SIZE = 0x1_0000;

  /** First address that the loaders leave alone. */
  static final long END = 0x2_0000;

  static final long EBDA = 0x9_FC00;
  static final long HIGH = 0x10_0000;

  private static final int LARGE_PAGES_PER_DIRECTORY = 512;
  private static final int DIRECTORIES = 4;

  private LowMemory() {}

  /** Checks that the first 640 KiB are there, and writes the BIOS data area. */
  static void prepare(final GuestMemory memory) {
    if (!isBaseMemory(memory)) {
      throw new BootException(
          "memory of "
              + BootException.size(memory.ramBytes())
              + ": too small to load anything, give at least --memory 2M");
    }
    memory.write16(BIOS_DATA, 0x3F8);
    memory.write16(BIOS_DATA + 0x0E, (int) (EBDA >> 4));
    memory.write16(BIOS_DATA + 0x13, (int) (EBDA >> 10));
    memory.write8(EBDA, 1); // its own size in KiB
  }

  /** Whether the first 640 KiB are RAM. */
  static boolean isBaseMemory(final GuestMemory memory) {
    return memory.isRam(0, EBDA + 0x400);
  }

  /** Writes the descriptors of {@link BootEntry}'s selectors. */
  static void writeGdt(final GuestMemory memory, final BootEntry.Segment code) {
    memory.write64(GDT + BootEntry.CODE_SELECTOR, descriptor(code));
    memory.write64(GDT + BootEntry.DATA_SELECTOR, descriptor(BootEntry.DATA_FLAT));
  }

  /** A segment as its descriptor (SDM Vol. 3A, 3.4.5), for limits in pages. */
  private static long descriptor(final BootEntry.Segment segment) {
    final long limit = segment.limit() >>> 12;
    return (limit & 0xFFFF)
        | (segment.base() & 0xFF_FFFF) << 16
        | (segment.rights() & 0xF0FFL) << 40
        | (limit >>> 16 & 0xF) << 48
        | (segment.base() >>> 24 & 0xFF) << 56;
  }

  /** Maps the first 4 GiB to themselves by 2 MiB pages (SDM Vol. 3A, 4.5). */
  static void writePageTables(final GuestMemory memory) {
    final long table = Pte.PRESENT | Pte.WRITABLE;
    final long pdpt = PAGE_TABLES + 0x1000;
    memory.write64(PAGE_TABLES, pdpt | table);
    for (int i = 0; i < DIRECTORIES; i++) {
      final long directory = pdpt + 0x1000L * (i + 1);
      memory.write64(pdpt + 8L * i, directory | table);
      for (int j = 0; j < LARGE_PAGES_PER_DIRECTORY; j++) {
        final long page = (long) i << 30 | (long) j << 21;
        memory.write64(directory + 8L * j, page | table | Pte.PAGE_SIZE);
      }
    }
  }

  /**
   * Writes the command line with its closing NUL.
   *
   * @param allowed bytes that the kernel takes, the NUL not counted
   */
  static void writeCommandLine(
      final GuestMemory memory, final String commandLine, final long allowed) {
    final byte[] bytes = commandLine.getBytes(StandardCharsets.UTF_8);
    final long most = Math.min(allowed, COMMAND_LINE_SIZE - 1);
    if (bytes.length > most) {
      throw new BootException(
          "command line of "
              + bytes.length
              + " bytes: the kernel takes at most "
              + most
              + ", give a shorter --append");
    }
    if (commandLine.indexOf(0) >= 0) {
      throw new BootException("command line with a NUL character: give --append without it");
    }
    memory.write(COMMAND_LINE, bytes, 0, bytes.length);
    memory.write8(COMMAND_LINE + bytes.length, 0);
  }

  /** Refuses to load an image over what the loaders themselves write. */
  static void checkFree(final ImageFile image, final long start, final long end) {
    final List<long[]> taken = List.of(new long[] {0, END}, new long[] {EBDA, HIGH});
    for (final long[] range : taken) {
      if (start < range[1] && range[0] < end) {
        throw image.error(
            "wants "
                + BootException.hex(start)
                + "-"
                + BootException.hex(end - 1)
                + ", where the loader and the firmware tables live ("
                + BootException.hex(range[0])
                + "-"
                + BootException.hex(range[1] - 1)
                + "); link it at 0x100000 or above");
      }
    }
  }
}

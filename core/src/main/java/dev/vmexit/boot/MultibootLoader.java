package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Gpr;
import java.nio.charset.StandardCharsets;

/**
 * Loads a kernel by the Multiboot Specification, version 0.6.96: an ELF file, or any file whose
 * multiboot header gives the addresses itself (the "a.out kludge").
 *
 * <pre>
 *   header, in the first 8 KiB, 4-byte aligned      information handed over in EBX
 *   00 magic 0x1BADB002   0C header_addr            00 flags       1C-2B symbols (none)
 *   04 flags              10 load_addr              04 mem_lower   2C mmap_length
 *   08 checksum           14 load_end_addr          08 mem_upper   30 mmap_addr
 *                         18 bss_end_addr           10 cmdline     40 boot_loader_name
 *                         1C entry_addr             14 mods_count  18 mods_addr
 * </pre>
 */
public final class MultibootLoader {
  private static final int HEADER_MAGIC = 0x1BAD_B002;
  private static final int LOADED_MAGIC = 0x2BAD_B002;
  private static final int HEADER_SEARCH = 8192;

  private static final int WANTS_UNKNOWN = 0xFFF8;
  private static final int HAS_ADDRESSES = 1 << 16;

  private static final int INFO_MEMORY = 1;
  private static final int INFO_COMMAND_LINE = 1 << 2;
  private static final int INFO_MODULES = 1 << 3;
  private static final int INFO_MAP = 1 << 6;
  private static final int INFO_LOADER_NAME = 1 << 9;

  private static final long MODULE = LowMemory.START_INFO + 0x80;
  private static final long LOADER_NAME = LowMemory.START_INFO + 0xA0;
  private static final int MAP_ENTRY = 24;
  private static final long MODULE_END = 1L << 32;

  private MultibootLoader() {}

  /** Offset of the multiboot header, or -1 where there is none. */
  static int findHeader(final ImageFile image) {
    final int end = Math.min(image.length(), HEADER_SEARCH) - 12;
    for (int at = 0; at <= end; at += 4) {
      if (image.u32(at, "header") == HEADER_MAGIC) {
        final long sum =
            image.u32(at, "header") + image.u32(at + 4L, "header") + image.u32(at + 8L, "header");
        if ((int) sum == 0) {
          return at;
        }
      }
    }
    return -1;
  }

  /**
   * Places the kernel, its command line, its initrd as the only module, and the multiboot
   * information.
   *
   * @param memory zeroed
   * @throws BootException where the image is none, is damaged, or does not fit
   */
  public static BootEntry load(
      final GuestMemory memory, final ImageFile kernel, final BootOptions options) {
    LowMemory.prepare(memory);
    final int header = findHeader(kernel);
    if (header < 0) {
      throw kernel.error("has no multiboot header; give another by --kernel");
    }
    final long flags = kernel.u32(header + 4L, "multiboot header");
    if ((flags & WANTS_UNKNOWN) != 0) {
      throw kernel.error(
          "asks for multiboot features "
              + BootException.hex(flags & WANTS_UNKNOWN)
              + ", known: 0x7; give another by --kernel");
    }
    final ElfFile.Range range;
    final long entry;
    if ((flags & HAS_ADDRESSES) != 0) {
      range = loadByAddresses(memory, kernel, header);
      entry = kernel.u32(header + 0x1CL, "multiboot header");
    } else {
      final ElfFile elf = ElfFile.parse(kernel);
      range = elf.load(memory);
      entry = physical(elf);
    }
    if (!range.contains(entry)) {
      throw kernel.error(
          "has its entry point "
              + BootException.hex(entry)
              + " outside of what it loads; fetch it again");
    }
    LowMemory.writeCommandLine(memory, options.commandLine(), StartInfo.COMMAND_LINE_MOST);
    writeInfo(memory, options, range);
    LowMemory.writeGdt(memory, BootEntry.CODE_32);
    return BootEntry.protected32(entry)
        .with(Gpr.RAX, LOADED_MAGIC)
        .with(Gpr.RBX, LowMemory.START_INFO)
        .with(Gpr.RSP, LowMemory.STACK_TOP);
  }

  /**
   * Higher-half kernels give a virtual entry point: paging is off, so its segment's place counts.
   */
  private static long physical(final ElfFile elf) {
    for (final ElfFile.Segment segment : elf.segments()) {
      if (Long.compareUnsigned(elf.entry() - segment.vaddr(), segment.memorySize()) < 0) {
        return elf.entry() - segment.vaddr() + segment.paddr();
      }
    }
    return elf.entry();
  }

  private static ElfFile.Range loadByAddresses(
      final GuestMemory memory, final ImageFile kernel, final int header) {
    final long headerAddress = kernel.u32(header + 0x0CL, "multiboot header");
    final long loadAddress = kernel.u32(header + 0x10L, "multiboot header");
    final long loadEnd = kernel.u32(header + 0x14L, "multiboot header");
    final long bssEnd = kernel.u32(header + 0x18L, "multiboot header");
    final long offset = header - (headerAddress - loadAddress);
    if (loadAddress > headerAddress || offset < 0) {
      throw kernel.error(
          "has its multiboot header at "
              + BootException.hex(headerAddress)
              + ", load address "
              + BootException.hex(loadAddress)
              + ": these do not agree with its place in the file; fetch it again");
    }
    final long size = loadEnd == 0 ? kernel.length() - offset : loadEnd - loadAddress;
    kernel.require(offset, size, "text and data");
    final long end = Math.max(loadAddress + size, bssEnd);
    Placement.checkRange(memory, kernel, loadAddress, end - loadAddress);
    Placement.copy(memory, kernel, offset, size, loadAddress);
    return new ElfFile.Range(loadAddress, end);
  }

  private static void writeInfo(
      final GuestMemory memory, final BootOptions options, final ElfFile.Range range) {
    final long info = LowMemory.START_INFO;
    int flags = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MAP | INFO_LOADER_NAME;
    memory.write32(info + 0x04, (int) (LowMemory.EBDA >> 10));
    memory.write32(info + 0x08, (int) ((E820.of(memory).lowRamEnd() - LowMemory.HIGH) >> 10));
    memory.write32(info + 0x10, (int) LowMemory.COMMAND_LINE);
    if (options.initrd().isPresent()) {
      final ImageFile module = options.initrd().get();
      final long gpa =
          Placement.placeInitrd(memory, module, MODULE_END, range.start(), range.end());
      flags |= INFO_MODULES;
      memory.write32(info + 0x14, 1);
      memory.write32(info + 0x18, (int) MODULE);
      memory.write32(MODULE, (int) gpa);
      memory.write32(MODULE + 4, (int) (gpa + module.length()));
    }
    int length = 0;
    for (final E820.Entry entry : StartInfo.mapEntries(memory, MAP_ENTRY)) {
      final long at = LowMemory.MEMORY_MAP + length;
      memory.write32(at, MAP_ENTRY - 4); // the size field does not count itself
      memory.write64(at + 4, entry.base());
      memory.write64(at + 12, entry.length());
      memory.write32(at + 20, entry.type());
      length += MAP_ENTRY;
    }
    memory.write32(info + 0x2C, length);
    memory.write32(info + 0x30, (int) LowMemory.MEMORY_MAP);
    final byte[] name = "vmexit\0".getBytes(StandardCharsets.US_ASCII);
    memory.write(LOADER_NAME, name, 0, name.length);
    memory.write32(info + 0x40, (int) LOADER_NAME);
    memory.write32(info, flags);
  }
}

package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Gpr;
import java.util.List;

/**
 * Loads a Linux bzImage by the x86 boot protocol, 2.06 or newer (kernel documentation, "The
 * Linux/x86 Boot Protocol"). The real-mode part of the image is not run: its header goes into
 * {@code boot_params}, and the kernel is entered at its 64-bit entry point where it has one, at its
 * 32-bit entry point else.
 *
 * <p>Header fields used, at offsets into the file and into {@code boot_params} alike:
 *
 * <pre>
 *   1F1 setup_sects 1   1F4 syssize 4      1FE boot_flag 2       201 header end 1
 *   202 "HdrS" 4        206 version 2      210 type_of_loader 1  211 loadflags 1
 *   218 ramdisk_image 4 21C ramdisk_size 4 228 cmd_line_ptr 4    22C initrd_addr_max 4
 *   230 kernel_alignment 4                 234 relocatable 1     236 xloadflags 2
 *   238 cmdline_size 4  258 pref_address 8 260 init_size 4
 * </pre>
 */
public final class BzImageLoader {
  static final int MAGIC_OFFSET = 0x202;
  static final int MAGIC = 0x5372_6448; // "HdrS"

  private static final int SETUP_SECTS = 0x1F1;
  private static final int SYSSIZE = 0x1F4;
  private static final int BOOT_FLAG = 0x1FE;
  private static final int HEADER_END = 0x201;
  private static final int VERSION = 0x206;
  private static final int TYPE_OF_LOADER = 0x210;
  private static final int LOADFLAGS = 0x211;
  private static final int RAMDISK_IMAGE = 0x218;
  private static final int RAMDISK_SIZE = 0x21C;
  private static final int CMD_LINE_PTR = 0x228;
  private static final int INITRD_ADDR_MAX = 0x22C;
  private static final int KERNEL_ALIGNMENT = 0x230;
  private static final int RELOCATABLE_KERNEL = 0x234;
  private static final int XLOADFLAGS = 0x236;
  private static final int CMDLINE_SIZE = 0x238;
  private static final int PREF_ADDRESS = 0x258;
  private static final int INIT_SIZE = 0x260;

  private static final int PARAMS_RSDP = 0x070;
  private static final int PARAMS_ALT_MEM_K = 0x1E0;
  private static final int PARAMS_E820_ENTRIES = 0x1E8;
  private static final int PARAMS_E820_TABLE = 0x2D0;
  private static final int E820_MOST = 128;

  private static final int LOADED_HIGH = 1;
  private static final int XLF_KERNEL_64 = 1;
  private static final int ENTRY_64 = 0x200;
  private static final int LOADER_UNDEFINED = 0xFF;
  private static final int OLDEST_VERSION = 0x206;
  private static final int SECTOR = 512;
  private static final int PARAGRAPH = 16;

  private BzImageLoader() {}

  /**
   * Places the kernel, its command line, its initrd and {@code boot_params}.
   *
   * @param memory zeroed
   * @throws BootException where the image is none, is damaged, or does not fit
   */
  public static BootEntry load(
      final GuestMemory memory, final ImageFile kernel, final BootOptions options) {
    LowMemory.prepare(memory);
    final int version = checkHeader(kernel);
    final long body = setupBytes(kernel);
    final long paragraphs = kernel.u32(SYSSIZE, "header") * PARAGRAPH;
    if (paragraphs == 0) {
      throw kernel.error("has no protected-mode part; give another by --kernel");
    }
    // The size is rounded up, which not every image is filled to (memtest86+).
    final long missing = body + paragraphs - kernel.length();
    final long bodySize = missing > 0 && missing < PARAGRAPH ? paragraphs - missing : paragraphs;
    kernel.require(body, bodySize, "protected-mode part");

    final long start = loadAddress(kernel, version);
    final long initSize = version >= 0x20A ? kernel.u32(INIT_SIZE, "header") : 0;
    final long size = Math.max(bodySize, initSize);
    Placement.checkRange(memory, kernel, start, size);
    Placement.copy(memory, kernel, body, bodySize, start);

    writeBootParams(memory, kernel, options);
    if (options.initrd().isPresent()) {
      final ImageFile initrd = options.initrd().get();
      final long end = kernel.u32(INITRD_ADDR_MAX, "header") + 1;
      final long gpa = Placement.placeInitrd(memory, initrd, end, start, start + size);
      memory.write32(LowMemory.BOOT_PARAMS + RAMDISK_IMAGE, (int) gpa);
      memory.write32(LowMemory.BOOT_PARAMS + RAMDISK_SIZE, initrd.length());
    }

    final boolean is64 =
        version >= 0x20C && (kernel.u16(XLOADFLAGS, "header") & XLF_KERNEL_64) != 0;
    final BootEntry entry;
    if (is64) {
      if (bodySize <= ENTRY_64) {
        throw kernel.error("has no code at its 64-bit entry point; fetch it again");
      }
      LowMemory.writeGdt(memory, BootEntry.CODE_64);
      LowMemory.writePageTables(memory);
      entry = BootEntry.long64(start + ENTRY_64);
    } else {
      LowMemory.writeGdt(memory, BootEntry.CODE_32);
      entry = BootEntry.protected32(start);
    }
    return entry.with(Gpr.RSI, LowMemory.BOOT_PARAMS).with(Gpr.RSP, LowMemory.STACK_TOP);
  }

  private static int checkHeader(final ImageFile kernel) {
    if (kernel.u16(BOOT_FLAG, "header") != 0xAA55 || kernel.u32(MAGIC_OFFSET, "header") != MAGIC) {
      throw kernel.error("is not a bzImage; give another by --kernel");
    }
    final int version = kernel.u16(VERSION, "header");
    if (version < OLDEST_VERSION) {
      throw kernel.error(
          "speaks boot protocol "
              + (version >> 8)
              + "."
              + (version & 0xFF)
              + ", wanted: 2.6 or newer (Linux 2.6.22); give a newer one by --kernel");
    }
    if ((kernel.u8(LOADFLAGS, "header") & LOADED_HIGH) == 0) {
      throw kernel.error("is a zImage, which loads low; give a bzImage by --kernel");
    }
    kernel.require(0, headerEnd(kernel), "header");
    return version;
  }

  private static int headerEnd(final ImageFile kernel) {
    // The jump at 0x200 leads over the header: its operand says where the header ends.
    final int end = MAGIC_OFFSET + kernel.u8(HEADER_END, "header");
    return Math.min(end, PARAMS_E820_TABLE);
  }

  private static long setupBytes(final ImageFile kernel) {
    final int sectors = kernel.u8(SETUP_SECTS, "header");
    return (sectors == 0 ? 4 + 1 : sectors + 1) * (long) SECTOR;
  }

  private static long loadAddress(final ImageFile kernel, final int version) {
    if (version < 0x20A) {
      return LowMemory.HIGH;
    }
    final long address = kernel.u64(PREF_ADDRESS, "header");
    final long alignment = kernel.u32(KERNEL_ALIGNMENT, "header");
    final boolean relocatable = kernel.u8(RELOCATABLE_KERNEL, "header") != 0;
    if (relocatable && (alignment == 0 || Long.bitCount(alignment) != 1)) {
      throw kernel.error(
          "wants an alignment of "
              + BootException.hex(alignment)
              + ", which is no power of two; fetch it again");
    }
    if (address < LowMemory.HIGH || address >= 1L << 32) {
      throw kernel.error(
          "wants to be loaded at "
              + BootException.hex(address)
              + ", allowed: 0x100000 to 0xffffffff; fetch it again");
    }
    return address;
  }

  private static void writeBootParams(
      final GuestMemory memory, final ImageFile kernel, final BootOptions options) {
    final long params = LowMemory.BOOT_PARAMS;
    memory.fill(params, 4096, 0);
    Placement.copy(
        memory, kernel, SETUP_SECTS, headerEnd(kernel) - SETUP_SECTS, params + SETUP_SECTS);
    memory.write8(params + TYPE_OF_LOADER, LOADER_UNDEFINED);
    LowMemory.writeCommandLine(memory, options.commandLine(), kernel.u32(CMDLINE_SIZE, "header"));
    memory.write32(params + CMD_LINE_PTR, (int) LowMemory.COMMAND_LINE);
    // Whatever the file held here is not an initrd that is in memory.
    memory.write32(params + RAMDISK_IMAGE, 0);
    memory.write32(params + RAMDISK_SIZE, 0);
    memory.write64(params + PARAMS_RSDP, options.rsdp());

    final E820 map = E820.of(memory);
    final List<E820.Entry> entries = map.entries();
    if (entries.size() > E820_MOST) {
      throw new BootException(
          "memory map of " + entries.size() + " ranges: a kernel takes at most " + E820_MOST);
    }
    memory.write8(params + PARAMS_E820_ENTRIES, entries.size());
    memory.write32(params + PARAMS_ALT_MEM_K, (int) ((map.lowRamEnd() - LowMemory.HIGH) >> 10));
    long at = params + PARAMS_E820_TABLE;
    for (final E820.Entry entry : entries) {
      memory.write64(at, entry.base());
      memory.write64(at + 8, entry.length());
      memory.write32(at + 16, entry.type());
      at += 20;
    }
  }
}

package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.Gpr;
import java.util.OptionalLong;

/**
 * Loads an ELF kernel by PVH, the direct boot of Xen's x86/HVM ABI: the kernel names its 32-bit
 * entry point in a note, and gets {@code hvm_start_info} in EBX.
 *
 * <pre>
 *   hvm_start_info, version 1                   hvm_modlist_entry       hvm_memmap_table_entry
 *   00 magic 0x336EC578 4   18 cmdline 8        00 address 8            00 address 8
 *   04 version 4            20 rsdp 8           08 size 8               08 size 8
 *   08 flags 4              28 memmap 8         10 cmdline 8            10 type 4 (as E820)
 *   0C modules 4            30 memmap count 4   18 reserved 8           14 reserved 4
 *   10 modlist 8            34 reserved 4
 * </pre>
 */
public final class ElfLoader {
  private static final int XEN_ELFNOTE_PHYS32_ENTRY = 18;
  private static final int START_MAGIC = 0x336E_C578;
  private static final long MODULE_LIST = LowMemory.START_INFO + 0x40;
  private static final int MAP_ENTRY = 24;
  private static final long INITRD_END = 0x8000_0000L;

  private ElfLoader() {}

  /** Whether an ELF file says how it wants to be entered. */
  static boolean hasEntryNote(final ElfFile elf) {
    return elf.findNote("Xen", XEN_ELFNOTE_PHYS32_ENTRY, 4).isPresent();
  }

  /**
   * Places the kernel's segments, its command line, its initrd as the only module, and the start
   * information.
   *
   * @param memory zeroed
   * @throws BootException where the image is none, is damaged, or does not fit
   */
  public static BootEntry load(
      final GuestMemory memory, final ImageFile kernel, final BootOptions options) {
    LowMemory.prepare(memory);
    final ElfFile elf = ElfFile.parse(kernel);
    final OptionalLong note = elf.findNote("Xen", XEN_ELFNOTE_PHYS32_ENTRY, 4);
    if (note.isEmpty()) {
      throw kernel.error(
          "is an ELF file without the PVH entry note (CONFIG_PVH); give its bzImage by --kernel");
    }
    final long entry = kernel.u32(note.getAsLong(), "PVH note");
    final ElfFile.Range range = elf.load(memory);
    if (!range.contains(entry)) {
      throw kernel.error(
          "has its entry point "
              + BootException.hex(entry)
              + " outside of what it loads; fetch it again");
    }
    LowMemory.writeCommandLine(memory, options.commandLine(), StartInfo.COMMAND_LINE_MOST);
    writeStartInfo(memory, options, range);
    LowMemory.writeGdt(memory, BootEntry.CODE_32);
    return BootEntry.protected32(entry)
        .with(Gpr.RBX, LowMemory.START_INFO)
        .with(Gpr.RSP, LowMemory.STACK_TOP);
  }

  private static void writeStartInfo(
      final GuestMemory memory, final BootOptions options, final ElfFile.Range range) {
    final long info = LowMemory.START_INFO;
    memory.write32(info, START_MAGIC);
    memory.write32(info + 4, 1);
    memory.write64(info + 0x18, LowMemory.COMMAND_LINE);
    memory.write64(info + 0x20, options.rsdp());
    if (options.initrd().isPresent()) {
      final ImageFile initrd = options.initrd().get();
      final long gpa =
          Placement.placeInitrd(memory, initrd, INITRD_END, range.start(), range.end());
      memory.write32(info + 0x0C, 1);
      memory.write64(info + 0x10, MODULE_LIST);
      memory.write64(MODULE_LIST, gpa);
      memory.write64(MODULE_LIST + 8, initrd.length());
    }
    int count = 0;
    for (final E820.Entry entry : StartInfo.mapEntries(memory, MAP_ENTRY)) {
      final long at = LowMemory.MEMORY_MAP + (long) MAP_ENTRY * count++;
      memory.write64(at, entry.base());
      memory.write64(at + 8, entry.length());
      memory.write32(at + 16, entry.type());
    }
    memory.write64(info + 0x28, LowMemory.MEMORY_MAP);
    memory.write32(info + 0x30, count);
  }
}

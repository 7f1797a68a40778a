package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/**
 * The part of an ELF executable, 32- or 64-bit, that loading takes: program headers and notes
 * (System V ABI, "Object Files"). All ranges are checked against the file when it is parsed.
 *
 * @param entry virtual address of the first instruction
 * @param segments what is to be loaded, in the file's order
 */
record ElfFile(
    ImageFile image, boolean is64, long entry, List<Segment> segments, List<Segment> notes) {
  static final int MAGIC = 0x464C_457F;

  private static final int PT_LOAD = 1;
  private static final int PT_NOTE = 4;
  private static final int EM_386 = 3;
  private static final int EM_X86_64 = 62;
  private static final int ET_EXEC = 2;
  private static final int ET_DYN = 3;

  /** A program header. */
  record Segment(long offset, long vaddr, long paddr, long fileSize, long memorySize, long align) {}

  ElfFile {
    segments = List.copyOf(segments);
    notes = List.copyOf(notes);
  }

  /** Parses the headers. */
  static ElfFile parse(final ImageFile image) {
    if (image.u32(0, "ELF header") != MAGIC) {
      throw image.error("is not an ELF file; give another by --kernel");
    }
    final int elfClass = image.u8(4, "ELF header");
    final int byteOrder = image.u8(5, "ELF header");
    final int type = image.u16(16, "ELF header");
    final int machine = image.u16(18, "ELF header");
    if ((elfClass != 1 && elfClass != 2) || byteOrder != 1) {
      throw image.error(
          "is an ELF file of no class or byte order of x86; give another by --kernel");
    }
    if (machine != EM_386 && machine != EM_X86_64) {
      throw image.error(
          "is an ELF file for machine " + machine + ", wanted: 3 (i386) or 62 (x86-64)");
    }
    if (type != ET_EXEC && type != ET_DYN) {
      throw image.error("is an ELF file of type " + type + ", wanted: 2 (executable)");
    }
    final boolean is64 = elfClass == 2;
    image.require(0, is64 ? 64 : 52, "ELF header");
    final long entry = is64 ? image.u64(24, "ELF header") : image.u32(24, "ELF header");
    final long table = is64 ? image.u64(32, "ELF header") : image.u32(28, "ELF header");
    final int entrySize = image.u16(is64 ? 54 : 42, "ELF header");
    final int count = image.u16(is64 ? 56 : 44, "ELF header");
    if (entrySize < (is64 ? 56 : 32)) {
      throw image.error("has program headers of " + entrySize + " bytes; fetch it again");
    }
    image.require(table, (long) entrySize * count, "program header table");
    checkSectionTable(image, is64);

    final List<Segment> segments = new ArrayList<>();
    final List<Segment> notes = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      final long at = table + (long) i * entrySize;
      final long kind = image.u32(at, "program header");
      if (kind != PT_LOAD && kind != PT_NOTE) {
        continue;
      }
      final Segment segment = is64 ? segment64(image, at) : segment32(image, at);
      image.require(segment.offset, segment.fileSize, "segment " + i);
      (kind == PT_LOAD ? segments : notes).add(segment);
    }
    return new ElfFile(image, is64, entry, segments, notes);
  }

  /** The section table, which loading does not need, is the file's end: a cut file lacks it. */
  private static void checkSectionTable(final ImageFile image, final boolean is64) {
    final long table = is64 ? image.u64(40, "ELF header") : image.u32(32, "ELF header");
    final int entrySize = image.u16(is64 ? 58 : 46, "ELF header");
    final int count = image.u16(is64 ? 60 : 48, "ELF header");
    if (table != 0) {
      image.require(table, (long) entrySize * count, "section header table");
    }
  }

  private static Segment segment64(final ImageFile image, final long at) {
    return new Segment(
        image.u64(at + 8, "program header"),
        image.u64(at + 16, "program header"),
        image.u64(at + 24, "program header"),
        image.u64(at + 32, "program header"),
        image.u64(at + 40, "program header"),
        image.u64(at + 48, "program header"));
  }

  private static Segment segment32(final ImageFile image, final long at) {
    return new Segment(
        image.u32(at + 4, "program header"),
        image.u32(at + 8, "program header"),
        image.u32(at + 12, "program header"),
        image.u32(at + 16, "program header"),
        image.u32(at + 20, "program header"),
        image.u32(at + 28, "program header"));
  }

  /** Offset in the file of the descriptor of a note of at least {@code size} bytes, if there. */
  OptionalLong findNote(final String owner, final long type, final int size) {
    for (final Segment segment : notes) {
      // Notes are padded to 4 bytes, except in segments that say 8.
      final long align = segment.align == 8 ? 8 : 4;
      final long end = segment.offset + segment.fileSize;
      long at = segment.offset;
      while (end - at >= 12) {
        final long nameSize = image.u32(at, "note");
        final long descriptorSize = image.u32(at + 4, "note");
        final long descriptor = at + 12 + (nameSize + align - 1) / align * align;
        if (descriptor + descriptorSize > end) {
          break;
        }
        if (image.u32(at + 8, "note") == type
            && descriptorSize >= size
            && isName(at + 12, nameSize, owner)) {
          return OptionalLong.of(descriptor);
        }
        at = descriptor + (descriptorSize + align - 1) / align * align;
      }
    }
    return OptionalLong.empty();
  }

  private boolean isName(final long at, final long size, final String name) {
    if (size != name.length() + 1L) {
      return false;
    }
    for (int i = 0; i < name.length(); i++) {
      if (image.u8(at + i, "note") != name.charAt(i)) {
        return false;
      }
    }
    return true;
  }

  /** Copies the segments to their physical addresses, and says from where to where they reach. */
  Range load(final GuestMemory memory) {
    long start = Long.MAX_VALUE;
    long end = 0;
    for (final Segment segment : segments) {
      if (segment.memorySize == 0) {
        continue;
      }
      if (Long.compareUnsigned(segment.fileSize, segment.memorySize) > 0) {
        throw image.error(
            "has a segment of "
                + BootException.hex(segment.fileSize)
                + " bytes for "
                + BootException.hex(segment.memorySize)
                + " bytes of memory; fetch it again");
      }
      Placement.checkRange(memory, image, segment.paddr, segment.memorySize);
      Placement.copy(memory, image, segment.offset, segment.fileSize, segment.paddr);
      start = Math.min(start, segment.paddr);
      end = Math.max(end, segment.paddr + segment.memorySize);
    }
    if (end == 0) {
      throw image.error("has nothing to load; give another by --kernel");
    }
    return new Range(start, end);
  }

  /** From the first byte of a kernel to the byte after its last. */
  record Range(long start, long end) {
    /** Whether an address is inside. */
    boolean contains(final long address) {
      return address >= start && address < end;
    }
  }
}

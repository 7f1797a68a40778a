package dev.vmexit.boot;

import dev.vmexit.memory.GuestMemory;
import java.nio.file.Path;
import java.util.Locale;

/**
 * A kernel whose format has been found out from its content.
 *
 * @param file its bytes
 * @param format what they are
 */
public record KernelImage(ImageFile file, Format format) {
  /** Formats that can be told by content, in the order in which they are tried. */
  public enum Format {
    /** Linux, by its boot protocol. */
    BZ_IMAGE,
    /** An ELF file with the PVH note. */
    PVH,
    /** Any file with a multiboot header. */
    MULTIBOOT,
    /** Sectors that end their first with 55 AA: started in real mode at 0x7C00. */
    BOOT_SECTOR
  }

  private static final int SECTOR = 512;
  private static final int DOS_MAGIC = 0x5A4D;
  private static final long ANY_SIZE = Long.MAX_VALUE;

  /**
   * Reads a kernel and finds out what it is.
   *
   * @throws BootException where the file cannot be read or is no kernel
   */
  public static KernelImage detect(final Path path) {
    return detect(ImageFile.read("kernel", path, ANY_SIZE));
  }

  /**
   * Finds out what an image is.
   *
   * @throws BootException where it is no kernel
   */
  public static KernelImage detect(final ImageFile file) {
    return new KernelImage(file, formatOf(file));
  }

  private static Format formatOf(final ImageFile file) {
    if (file.contains(BzImageLoader.MAGIC_OFFSET, 4)
        && file.u32(BzImageLoader.MAGIC_OFFSET, "header") == BzImageLoader.MAGIC) {
      return Format.BZ_IMAGE;
    }
    final boolean elf = file.contains(0, 4) && file.u32(0, "header") == ElfFile.MAGIC;
    if (elf && ElfLoader.hasEntryNote(ElfFile.parse(file))) {
      return Format.PVH;
    }
    if (MultibootLoader.findHeader(file) >= 0) {
      return Format.MULTIBOOT;
    }
    if (elf) {
      throw file.error(
          "is an ELF file with neither a PVH note nor a multiboot header; give a kernel by"
              + " --kernel");
    }
    // Linux images start as DOS programs do (their EFI stub): one that was cut is no boot sector.
    if (file.length() % SECTOR == 0
        && file.length() >= SECTOR
        && file.u16(SECTOR - 2, "header") == 0xAA55
        && file.u16(0, "header") != DOS_MAGIC) {
      return Format.BOOT_SECTOR;
    }
    throw file.error("is not a kernel (" + looksLike(file) + "); wanted: bzImage, ELF, multiboot");
  }

  private static String looksLike(final ImageFile file) {
    final int first = file.contains(0, 2) ? file.u16(0, "header") : 0;
    return switch (first) {
      case 0x8B1F -> "it is gzip-compressed, unpack it first";
      case 0x37FD -> "it is xz-compressed, unpack it first";
      case 0xB528 -> "it is zstd-compressed, unpack it first";
      case DOS_MAGIC -> "it starts as a program for DOS or EFI, or is a bzImage cut short";
      default -> {
        final StringBuilder bytes = new StringBuilder("it starts with");
        for (int i = 0; i < Math.min(4, file.length()); i++) {
          bytes.append(String.format(Locale.ROOT, " %02x", file.u8(i, "header")));
        }
        yield bytes.toString();
      }
    };
  }

  /**
   * Places the kernel into memory by its format's loader.
   *
   * @param memory zeroed
   * @throws BootException where the image is damaged or does not fit
   */
  public BootEntry load(final GuestMemory memory, final BootOptions options) {
    return switch (format) {
      case BZ_IMAGE -> BzImageLoader.load(memory, file, options);
      case PVH -> ElfLoader.load(memory, file, options);
      case MULTIBOOT -> MultibootLoader.load(memory, file, options);
      case BOOT_SECTOR ->
          FlatLoader.load(memory, file, FlatLoader.BOOT_SECTOR, BootEntry.Mode.REAL16);
    };
  }
}

package dev.vmexit.cli;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.zip.GZIPOutputStream;

/**
 * The modules of a Debian kernel by which it uses the machine's disks: drivers of the IDE
 * controller, disks and CDs, and the file systems of the images made here. They go into an archive
 * of their own, which follows the initramfs's where there are disks; each file's name begins with
 * its place in the order of loading.
 *
 * <p>Which of them a kernel has as modules, and what each needs loaded before it, differs by
 * flavour: a driver that is no file is part of the kernel, and a module names what it needs in its
 * {@code .modinfo} section, as {@code depends=} and {@code softdep=pre:}.
 */
final class GuestModules {
  /** Where they are in the guest. */
  static final String DIRECTORY = "lib/vmexit";

  /** What {@code /init} loads, in this order; what these need is found out. */
  private static final List<String> WANTED =
      List.of("ata_piix", "sd_mod", "sr_mod", "ext4", "isofs");

  private static final String SUFFIX = ".ko";

  /** Files of the package that may be needed: of each kind of thing, those of a few folders. */
  private static final List<String> FOLDERS =
      List.of(
          "/kernel/drivers/ata/lib",
          "/kernel/drivers/ata/ata_piix",
          "/kernel/drivers/scsi/s",
          "/kernel/drivers/cdrom/",
          "/kernel/block/t10",
          "/kernel/fs/ext4/",
          "/kernel/fs/jbd2/",
          "/kernel/fs/mbcache",
          "/kernel/fs/isofs/",
          "/kernel/crypto/c",
          "/kernel/lib/c");

  private GuestModules() {}

  /** Which files of a kernel package {@link #write} chooses from. */
  static Predicate<String> candidates() {
    return path ->
        path.contains("lib/modules/")
            && path.endsWith(SUFFIX)
            && FOLDERS.stream().anyMatch(path::contains);
  }

  /**
   * Writes the gzip-compressed archive; one without files where the package had none of them.
   *
   * @param files of {@link #candidates}
   */
  static void write(final OutputStream out, final List<GuestTar.Entry> files) throws IOException {
    final Map<String, GuestTar.Entry> byName = new TreeMap<>();
    for (final GuestTar.Entry file : files) {
      byName.put(name(file.name()), file);
    }
    final Map<String, GuestTar.Entry> chosen = new LinkedHashMap<>();
    for (final String wanted : WANTED) {
      choose(wanted, byName, chosen);
    }
    try (CpioWriter cpio = new CpioWriter(new GZIPOutputStream(out, 1 << 16))) {
      cpio.directory("lib", 0755);
      cpio.directory(DIRECTORY, 0755);
      int place = 0;
      for (final Map.Entry<String, GuestTar.Entry> module : chosen.entrySet()) {
        final String file =
            String.format(Locale.ROOT, "%s/%02d-%s.ko", DIRECTORY, place++, module.getKey());
        cpio.file(file, 0644, module.getValue().content());
      }
    }
  }

  private static void choose(
      final String name,
      final Map<String, GuestTar.Entry> files,
      final Map<String, GuestTar.Entry> chosen) {
    // Taken out, so that names that lead back here end.
    final GuestTar.Entry file = files.remove(name);
    if (file == null) {
      return; // loaded before, part of the kernel, or not of this flavour
    }
    for (final String needed : needs(file.content())) {
      choose(needed, files, chosen);
      // An algorithm, whose plain implementation works on every processor.
      choose(needed.replace("crypto_", "") + "_generic", files, chosen);
    }
    chosen.put(name, file);
  }

  /** A module's own name: dashes in a file's are underscores there. */
  private static String name(final String path) {
    final String file = path.substring(path.lastIndexOf('/') + 1);
    final int end = file.endsWith(SUFFIX) ? file.length() - SUFFIX.length() : file.length();
    return file.substring(0, end).replace('-', '_');
  }

  /** What a module says must be loaded before it. */
  private static List<String> needs(final byte[] module) {
    final String text = new String(module, StandardCharsets.ISO_8859_1);
    final StringBuilder found = new StringBuilder();
    for (final String key : List.of("\0depends=", "\0softdep=pre:")) {
      int at = text.indexOf(key);
      while (at >= 0) {
        final int from = at + key.length();
        final int end = text.indexOf('\0', from);
        found.append(text, from, end < 0 ? text.length() : end).append(' ');
        at = text.indexOf(key, from);
      }
    }
    return List.of(found.toString().replace('-', '_').strip().split("[, ]+"));
  }
}

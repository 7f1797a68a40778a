package dev.vmexit.cli;

import java.util.List;
import java.util.stream.Collectors;

/** The guests that are known by name. */
final class GuestCatalog {
  /**
   * How a guest is made.
   *
   * @param name what the user types
   * @param summary one line for the list
   * @param architecture Debian's name of the packages' architecture
   * @param kernelPackage Debian package of the kernel, or one that depends on it
   * @param kernelPrefix how the concrete kernel package's name starts, or nothing where {@code
   *     kernelPackage} is it
   * @param kernelFile how the kernel's path in the package starts
   * @param userspace whether it gets an initrd with a busybox
   * @param commandLine kernel command line for a machine with a serial console and no PCI
   * @param memoryBytes default size of its memory
   */
  record Definition(
      String name,
      String summary,
      String architecture,
      String kernelPackage,
      String kernelPrefix,
      String kernelFile,
      boolean userspace,
      String commandLine,
      long memoryBytes) {}

  private static final String LINUX =
      "console=ttyS0 earlyprintk=serial,ttyS0,115200 tsc=reliable panic=-1";

  private static final List<Definition> ALL =
      List.of(
          debian("debian-12-cloud", "cloud kernel", "amd64", "cloud-amd64"),
          debian("debian-12-amd64", "generic 64-bit kernel", "amd64", "amd64"),
          debian("debian-12-686-pae", "32-bit kernel with PAE paging", "i386", "686-pae"),
          debian("debian-12-686", "32-bit kernel with two-level paging", "i386", "686"),
          memtest("memtest86", "64-bit", "boot/memtest86+x64.bin"),
          memtest("memtest86-ia32", "32-bit", "boot/memtest86+ia32.bin"),
          new Definition(
              "seabios",
              "SeaBIOS, for run --bios",
              "amd64",
              "seabios",
              "",
              "usr/share/seabios/bios-256k.bin",
              false,
              "",
              16L << 20));

  private static Definition debian(
      final String name, final String kernel, final String architecture, final String flavour) {
    return new Definition(
        name,
        "Debian 12 " + kernel + ", busybox shell",
        architecture,
        "linux-image-" + flavour,
        "linux-image-6.1.",
        "boot/vmlinuz-",
        true,
        LINUX,
        512L << 20);
  }

  /** A pass takes minutes even over the little memory that these get. */
  private static Definition memtest(final String name, final String width, final String file) {
    return new Definition(
        name,
        "memtest86+, " + width + ", on the serial console",
        "amd64",
        "memtest86+",
        "",
        file,
        false,
        "console=ttyS0,115200",
        16L << 20);
  }

  /** Firmware, in the list as it is fetched as guests are. */
  static final String SEABIOS = "seabios";

  /** The second file of {@link #SEABIOS}: the display's BIOS. */
  static final String SEABIOS_VGA = "vgabios.bin";

  private GuestCatalog() {}

  /** All guests, in the order of the list. */
  static List<Definition> all() {
    return ALL;
  }

  /**
   * The guest of a name.
   *
   * @throws GuestException where there is none, with the names that there are
   */
  static Definition find(final String name) {
    for (final Definition definition : ALL) {
      if (definition.name.equals(name)) {
        return definition;
      }
    }
    throw new GuestException(
        "unknown guest "
            + name
            + ", known: "
            + ALL.stream().map(Definition::name).collect(Collectors.joining(", "))
            + "; or give --kernel FILE");
  }
}

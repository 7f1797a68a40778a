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
   * @param kernelPackage Debian package that depends on the concrete kernel package
   * @param kernelPrefix how the concrete kernel package's name starts
   * @param commandLine kernel command line for a machine with a serial console and no PCI
   * @param memoryBytes default size of its memory
   */
  record Definition(
      String name,
      String summary,
      String architecture,
      String kernelPackage,
      String kernelPrefix,
      String commandLine,
      long memoryBytes) {}

  private static final String COMMAND_LINE =
      "console=ttyS0 earlyprintk=serial,ttyS0,115200 tsc=reliable panic=-1";

  private static final List<Definition> ALL =
      List.of(
          new Definition(
              "debian-12-cloud",
              "Debian 12 cloud kernel, busybox shell",
              "amd64",
              "linux-image-cloud-amd64",
              "linux-image-6.1.",
              COMMAND_LINE,
              512L << 20),
          new Definition(
              "debian-12-amd64",
              "Debian 12 generic 64-bit kernel, busybox shell",
              "amd64",
              "linux-image-amd64",
              "linux-image-6.1.",
              COMMAND_LINE,
              512L << 20),
          new Definition(
              "debian-12-686-pae",
              "Debian 12 32-bit kernel with PAE paging, busybox shell",
              "i386",
              "linux-image-686-pae",
              "linux-image-6.1.",
              COMMAND_LINE,
              512L << 20),
          new Definition(
              "debian-12-686",
              "Debian 12 32-bit kernel with two-level paging, busybox shell",
              "i386",
              "linux-image-686",
              "linux-image-6.1.",
              COMMAND_LINE,
              512L << 20));

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

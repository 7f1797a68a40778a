package dev.vmexit.cli;

import java.nio.file.Files;
import java.nio.file.Path;

/** Where SeaBIOS is: in the host's package of that name, or in the cache, fetched as guests are. */
final class SeaBios {
  private static final Path INSTALLED = Path.of("/usr/share/seabios");
  private static final String BIOS = "bios-256k.bin";
  private static final String VGA_BIOS = "vgabios-isavga.bin";

  private SeaBios() {}

  /**
   * The BIOS.
   *
   * @throws GuestException where it is neither here nor to be fetched
   */
  static Path bios() {
    final Path installed = INSTALLED.resolve(BIOS);
    return Files.isReadable(installed)
        ? installed
        : GuestStore.ofProcess().require(GuestCatalog.SEABIOS).kernel();
  }

  /** The BIOS of a VGA without a PCI function. */
  static Path vgaBios() {
    final Path installed = INSTALLED.resolve(VGA_BIOS);
    return Files.isReadable(installed)
        ? installed
        : GuestStore.ofProcess()
            .require(GuestCatalog.SEABIOS)
            .kernel()
            .resolveSibling(GuestCatalog.SEABIOS_VGA);
  }
}

package dev.vmexit.cli;

import dev.vmexit.boot.BiosLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.device.BlockStore;
import dev.vmexit.device.ByteSink;
import dev.vmexit.device.ScreenSink;
import dev.vmexit.vm.DiskImage;
import dev.vmexit.vm.Peripherals;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options of {@code run} that say what the machine has beside processor and memory. */
final class MachineOptions implements AutoCloseable {
  private static final int SECTOR = 512;
  private static final int CD_BLOCK = 2048;
  private static final String SNAPSHOT = ",snapshot";
  private static final String READ_ONLY = ",readonly";

  @Option(
      names = "--bios",
      arity = "0..1",
      fallbackValue = "",
      paramLabel = "FILE",
      description = {
        "Start a BIOS instead of a kernel. Without FILE:",
        "SeaBIOS of Debian's package seabios."
      })
  private String bios;

  @Option(
      names = "--vga-bios",
      paramLabel = "FILE",
      description = "BIOS of the display. Default: SeaBIOS's, with --bios and --display text.")
  private Path vgaBios;

  @Option(
      names = "--bios-log",
      paramLabel = "FILE",
      description = "Where the BIOS's own log (port 0x402) goes; - is standard error.")
  private String biosLog;

  @Option(
      names = "--disk",
      paramLabel = "FILE",
      description = {
        "Disk image, twice at most; FILE,snapshot leaves the file as it",
        "is, FILE,readonly refuses writes. debian-12-disk: one with GRUB",
        "and two kernels, made of Debian's packages."
      })
  private List<String> disks = new ArrayList<>();

  @Option(
      names = "--cdrom",
      paramLabel = "FILE",
      description = "CD image; debian-12-cd: GRUB and two kernels.")
  private Path cdrom;

  @Option(
      names = "--display",
      paramLabel = "KIND",
      defaultValue = "none",
      description = {
        "text: a VGA in text mode on this terminal, whose keys are the",
        "guest's keyboard; none. Default: ${DEFAULT-VALUE}."
      })
  private String display;

  @Option(
      names = "--on-reset",
      paramLabel = "WHAT",
      defaultValue = "end",
      description = {
        "end: a reset ends the run with status 5; restart: the BIOS",
        "starts again, devices anew, memory as it is. restart goes with",
        "--bios. Default: ${DEFAULT-VALUE}."
      })
  private String onReset;

  /** Files that stay open for as long as the machine runs. */
  private final List<AutoCloseable> open = new ArrayList<>();

  private PrintWriter err;

  /** Whether a BIOS starts the machine. */
  boolean hasBios() {
    return bios != null;
  }

  boolean hasDisplay() {
    return "text".equals(display);
  }

  /** Whether a reset starts the machine again. */
  boolean restartsOnReset() {
    return "restart".equals(onReset);
  }

  /** Checks what picocli cannot. */
  void check() {
    if (!"end".equals(onReset) && !restartsOnReset()) {
      throw new UserException("--on-reset " + onReset + " is not known; give end or restart");
    }
    if (restartsOnReset() && !hasBios()) {
      throw new UserException(
          "--on-reset restart goes with --bios: after a reset there is no loader for a kernel");
    }
    if (!"text".equals(display) && !"none".equals(display)) {
      throw new UserException("--display " + display + " is not known; give text or none");
    }
    if (disks.size() > Peripherals.MAX_DISKS) {
      throw new UserException(
          "--disk was given " + disks.size() + " times, allowed: " + Peripherals.MAX_DISKS);
    }
    if (!hasBios() && (biosLog != null || vgaBios != null)) {
      throw new UserException("--bios-log and --vga-bios go with --bios");
    }
  }

  /** The BIOS. */
  ImageFile biosImage() {
    return BiosLoader.read(bios.isEmpty() ? SeaBios.bios() : Path.of(bios));
  }

  /**
   * Opens what the options name.
   *
   * @param exitOn text to look for on the display, or null
   * @param onText called when it was seen, on a thread of the display's
   * @param messages takes what happens to files, a line each
   */
  Peripherals open(final String exitOn, final Runnable onText, final PrintWriter messages) {
    err = messages;
    final List<BlockStore> stores = new ArrayList<>();
    for (final String disk : disks) {
      stores.add(disk(disk));
    }
    final Optional<BlockStore> cd =
        Optional.ofNullable(cdrom)
            .map(MachineOptions::cdImage)
            .map(path -> image("cdrom", path, DiskImage.Mode.READ_ONLY, CD_BLOCK));
    return new Peripherals(
        hasBios() ? Optional.of(firmware()) : Optional.empty(),
        stores,
        cd,
        hasDisplay() ? Optional.of(display(exitOn, onText)) : Optional.empty());
  }

  private ScreenSink display(final String exitOn, final Runnable onText) {
    final TextDisplay terminal = new TextDisplay(System.out, exitOn, onText);
    open.add(terminal);
    return terminal;
  }

  private static Path cdImage(final Path path) {
    return GuestDisk.CD.equals(path.toString())
        ? GuestDisk.ofProcess().require(GuestDisk.CD)
        : path;
  }

  private BlockStore disk(final String text) {
    if (GuestDisk.DISK.equals(text)) {
      // Shared by all runs: none changes it.
      return image("disk", GuestDisk.ofProcess().require(text), DiskImage.Mode.SNAPSHOT, SECTOR);
    }
    if (text.endsWith(SNAPSHOT)) {
      return image("disk", cut(text, SNAPSHOT), DiskImage.Mode.SNAPSHOT, SECTOR);
    }
    if (text.endsWith(READ_ONLY)) {
      return image("disk", cut(text, READ_ONLY), DiskImage.Mode.READ_ONLY, SECTOR);
    }
    return image("disk", Path.of(text), DiskImage.Mode.WRITE, SECTOR);
  }

  private static Path cut(final String text, final String end) {
    return Path.of(text.substring(0, text.length() - end.length()));
  }

  private BlockStore image(
      final String role, final Path path, final DiskImage.Mode mode, final int block) {
    try {
      final DiskImage image = DiskImage.open(path, mode, block, this::tell);
      open.add(image);
      return image;
    } catch (final IOException e) {
      throw new UserException("--" + role + " " + e.getMessage(), e);
    }
  }

  private Peripherals.Firmware firmware() {
    final Map<String, byte[]> files = new HashMap<>();
    if (hasDisplay() || vgaBios != null) {
      final Path file = vgaBios == null ? SeaBios.vgaBios() : vgaBios;
      try {
        files.put("vgaroms/vgabios.bin", Files.readAllBytes(file));
      } catch (final IOException e) {
        throw new UserException("--vga-bios " + file + ": cannot be read: " + e.getMessage(), e);
      }
    }
    return new Peripherals.Firmware(files, log());
  }

  private ByteSink log() {
    if (biosLog == null) {
      return value -> {};
    }
    if ("-".equals(biosLog)) {
      final PrintWriter to = err;
      return value -> {
        to.write(value);
        if (value == '\n') {
          to.flush();
        }
      };
    }
    try {
      final OutputStream out = new BufferedOutputStream(Files.newOutputStream(Path.of(biosLog)));
      open.add(out);
      return value -> write(out, value);
    } catch (final IOException e) {
      throw new UserException("--bios-log " + biosLog + ": cannot be written: " + e, e);
    }
  }

  private static void write(final OutputStream out, final int value) {
    try {
      out.write(value);
      if (value == '\n') {
        out.flush();
      }
    } catch (final IOException e) {
      // A log that cannot be written does not stop the machine.
      return;
    }
  }

  /** Says that the machine starts again. */
  void tellRestart(final String source) {
    tell("the guest reset the machine by its " + source + "; it starts again");
  }

  private void tell(final String line) {
    err.println("vmexit: " + line);
    err.flush();
  }

  /** Gives terminal and files back; does nothing when called again. */
  @Override
  public void close() {
    for (final AutoCloseable file : open) {
      try {
        file.close();
      } catch (final Exception e) {
        tell(e.getMessage());
      }
    }
    open.clear();
  }
}

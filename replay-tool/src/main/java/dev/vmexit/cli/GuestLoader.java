package dev.vmexit.cli;

import dev.vmexit.boot.AcpiTables;
import dev.vmexit.boot.BiosLoader;
import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.BootOptions;
import dev.vmexit.boot.BuiltInGuest;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.boot.KernelImage;
import dev.vmexit.memory.ErrnoException;
import dev.vmexit.memory.GuestMemory;
import java.nio.file.Path;
import java.util.Optional;
import java.util.function.UnaryOperator;

/** Makes a guest's memory and puts into it what the user named. */
final class GuestLoader {
  private static final long DEFAULT_MEMORY = 512L << 20;

  private final Optional<Long> bytes;
  private final boolean hugePages;
  private final boolean secondView;
  private final String append;
  private final int vcpus;

  /**
   * A guest ready to run.
   *
   * @param name for the trace
   * @param memory closed with this
   */
  record Loaded(String name, GuestMemory memory, BootEntry entry) implements AutoCloseable {
    @Override
    public void close() {
      memory.close();
    }
  }

  /** Puts a guest into memory that exists. */
  @FunctionalInterface
  private interface Filler {
    BootEntry fill(GuestMemory memory);
  }

  /**
   * @param bytes of memory, or empty for what the guest asks for
   * @param secondView whether KVM gets a mapping of the memory of its own, to be watched
   * @param append added to the kernel's command line
   * @param vcpus that the ACPI tables name
   */
  GuestLoader(
      final Optional<Long> bytes,
      final boolean hugePages,
      final boolean secondView,
      final String append,
      final int vcpus) {
    this.secondView = secondView;
    this.bytes = bytes;
    this.hugePages = hugePages;
    this.append = append;
    this.vcpus = vcpus;
  }

  Loaded builtIn() {
    if (bytes.isPresent() && bytes.get() < BuiltInGuest.MEMORY_SIZE) {
      throw new UserException(
          "--memory "
              + MemorySize.format(bytes.get())
              + " is not enough for the built-in guest; give at least "
              + MemorySize.format(BuiltInGuest.MEMORY_SIZE));
    }
    return load(
        "built-in",
        BuiltInGuest.MEMORY_SIZE,
        memory ->
            FlatLoader.load(
                memory,
                ImageFile.of("guest", "built-in", BuiltInGuest.image()),
                BuiltInGuest.LOAD_ADDRESS,
                BootEntry.Mode.REAL16));
  }

  Loaded named(final String name) {
    final GuestStore.Guest guest = GuestStore.ofProcess().require(name);
    return load(
        name,
        guest.memoryBytes(),
        memory -> boot(memory, guest.kernel(), guest.initrd(), guest.commandLine()));
  }

  Loaded kernel(final Path kernel, final Optional<Path> initrd) {
    return load(fileName(kernel), DEFAULT_MEMORY, memory -> boot(memory, kernel, initrd, ""));
  }

  Loaded flat(final Path file, final long address, final BootEntry.Mode mode) {
    return load(
        fileName(file),
        DEFAULT_MEMORY,
        memory ->
            FlatLoader.load(
                memory, ImageFile.read("kernel", file, memory.ramBytes()), address, mode));
  }

  Loaded bios(final ImageFile image) {
    return load(
        "bios", DEFAULT_MEMORY, memory -> BiosLoader.addRom(memory, image), BiosLoader::start);
  }

  private static String fileName(final Path file) {
    final Path name = file.getFileName();
    return name == null ? "guest" : name.toString();
  }

  private BootEntry boot(
      final GuestMemory memory,
      final Path kernel,
      final Optional<Path> initrd,
      final String commandLine) {
    final KernelImage image = KernelImage.detect(kernel);
    final long rsdp = AcpiTables.build(vcpus).writeTo(memory);
    return image.load(
        memory,
        new BootOptions(
            initrd.map(file -> ImageFile.read("initrd", file, memory.ramBytes())),
            (commandLine + " " + append).trim(),
            rsdp));
  }

  private Loaded load(final String name, final long defaultBytes, final Filler filler) {
    return load(name, defaultBytes, builder -> builder, filler);
  }

  private Loaded load(
      final String name,
      final long defaultBytes,
      final UnaryOperator<GuestMemory.Builder> roms,
      final Filler filler) {
    final long size = bytes.orElse(defaultBytes);
    final GuestMemory memory;
    try {
      final GuestMemory.Builder builder =
          GuestMemory.builder().ramWithHole(size).hugePages(hugePages).secondView(secondView);
      memory = roms.apply(builder).build();
    } catch (final ErrnoException | IllegalArgumentException e) {
      throw new UserException(
          "--memory " + MemorySize.format(size) + " cannot be had: " + e.getMessage(), e);
    }
    try {
      return new Loaded(name, memory, filler.fill(memory));
    } catch (final RuntimeException e) {
      memory.close();
      throw e;
    }
  }
}

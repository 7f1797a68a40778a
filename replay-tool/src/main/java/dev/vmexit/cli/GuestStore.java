package dev.vmexit.cli;

import java.io.Console;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.function.LongConsumer;
import java.util.stream.Stream;

/**
 * The user's cache of guests, and what fills it.
 *
 * <pre>
 *   ${VMEXIT_CACHE:-${XDG_CACHE_HOME:-~/.cache}/vmexit}/guests/
 *     NAME/vmlinuz  NAME/initrd.gz  NAME/busybox  NAME/modules.gz  NAME/guest.properties
 *     NAME.lock                     held while NAME is being made
 *     .NAME-*                        a guest being made, or left over by a kill
 * </pre>
 *
 * <p>A guest is made in a scratch directory and renamed into its place, so that a NAME that exists
 * is whole. A cached guest is used again as long as its files have their recorded sizes; an initrd
 * by another version of the scripts is made anew from the cached busybox, without the network.
 */
final class GuestStore {
  /**
   * What a machine needs of a guest.
   *
   * @param initrd empty where the guest has no userspace
   * @param modules drivers of disks, an archive that may follow the initrd's; empty likewise
   * @param version of the kernel package
   */
  record Guest(
      String name,
      Path kernel,
      Optional<Path> initrd,
      Optional<Path> modules,
      String commandLine,
      long memoryBytes,
      String version) {}

  private static final String KERNEL = "vmlinuz";
  private static final String INITRD = "initrd.gz";
  private static final String MODULES = "modules.gz";
  private static final String BUSYBOX = "busybox";
  private static final String PROPERTIES = "guest.properties";

  private final Path directory;
  private final Map<String, String> environment;
  private final GuestProgress progress;
  private final LongConsumer pause;

  /**
   * @param environment of this process: where the cache is, where programs are
   * @param pause waits for so many milliseconds
   */
  GuestStore(
      final Map<String, String> environment,
      final GuestProgress progress,
      final LongConsumer pause) {
    this.directory = cache(environment).resolve("guests");
    this.environment = Map.copyOf(environment);
    this.progress = progress;
    this.pause = pause;
  }

  /** A store for this process, which reports to standard error. */
  @SuppressWarnings("SystemConsoleNull") // JDK 25 does return null off a terminal
  static GuestStore ofProcess() {
    final Console console = System.console();
    final boolean terminal = console != null && console.isTerminal();
    return new GuestStore(
        System.getenv(), new GuestProgress(System.err, terminal), GuestStore::sleep);
  }

  private static Path cache(final Map<String, String> environment) {
    final String own = environment.getOrDefault("VMEXIT_CACHE", "");
    if (!own.isEmpty()) {
      return Path.of(own);
    }
    final String caches = environment.getOrDefault("XDG_CACHE_HOME", "");
    if (!caches.isEmpty()) {
      return Path.of(caches, "vmexit");
    }
    final String home = environment.getOrDefault("HOME", System.getProperty("user.home"));
    return Path.of(home, ".cache", "vmexit");
  }

  private static void sleep(final long millis) {
    try {
      Thread.sleep(millis);
    } catch (final InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new GuestException("interrupted", e);
    }
  }

  /** Directory that holds a folder for each guest. */
  Path directory() {
    return directory;
  }

  /** The guest if it is in the cache and whole. */
  Optional<Guest> cached(final GuestCatalog.Definition definition) {
    final Path home = directory.resolve(definition.name());
    final Properties properties = new Properties();
    try (InputStream in = Files.newInputStream(home.resolve(PROPERTIES))) {
      properties.load(in);
      for (final String file : files(definition)) {
        final long size = Files.size(home.resolve(file));
        if (!Long.toString(size).equals(properties.getProperty(file + ".bytes"))) {
          return Optional.empty();
        }
      }
    } catch (final IOException | IllegalArgumentException e) {
      return Optional.empty(); // absent or damaged: to be fetched again in either case
    }
    return Optional.of(
        new Guest(
            definition.name(),
            home.resolve(KERNEL),
            definition.userspace() ? Optional.of(home.resolve(INITRD)) : Optional.empty(),
            definition.userspace() ? Optional.of(home.resolve(MODULES)) : Optional.empty(),
            definition.commandLine(),
            definition.memoryBytes(),
            properties.getProperty("kernel.version", "unknown")));
  }

  /**
   * The guest of a name, fetched first where it is not in the cache.
   *
   * @throws GuestException where there is no such guest, or it cannot be fetched
   */
  Guest require(final String name) {
    return make(GuestCatalog.find(name), false);
  }

  /**
   * Fetches a guest whether it is in the cache or not.
   *
   * @throws GuestException where there is no such guest, or it cannot be fetched
   */
  Guest fetch(final String name) {
    return make(GuestCatalog.find(name), true);
  }

  private Guest make(final GuestCatalog.Definition definition, final boolean anew) {
    if (!anew && isCurrent(definition)) {
      return cached(definition).orElseThrow();
    }
    final Path lockFile = directory.resolve(definition.name() + ".lock");
    try {
      Files.createDirectories(directory);
    } catch (final IOException e) {
      throw new GuestException(
          "cannot make " + directory + " (" + e + "); give another place by VMEXIT_CACHE", e);
    }
    try (FileChannel channel =
            FileChannel.open(lockFile, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
        FileLock lock = channel.lock()) {
      // Another process may have made it while this one waited for the lock.
      if (lock.isValid() && (anew || !isCurrent(definition))) {
        removeLeftovers(definition);
        final Path scratch = Files.createTempDirectory(directory, "." + definition.name() + "-");
        try {
          fill(definition, scratch, anew);
        } finally {
          deleteTree(scratch);
        }
      }
    } catch (final IOException e) {
      throw new GuestException("cannot write to " + directory + " (" + e + ")", e);
    }
    return cached(definition)
        .orElseThrow(
            () ->
                new GuestException(
                    "guest " + definition.name() + " vanished from " + directory + "; try again"));
  }

  /** Whether the guest is in the cache, and its initrd is the one that this version makes. */
  private boolean isCurrent(final GuestCatalog.Definition definition) {
    final Optional<Guest> guest = cached(definition);
    return guest.isPresent() && (!definition.userspace() || hasCurrentScripts(definition));
  }

  private boolean hasCurrentScripts(final GuestCatalog.Definition definition) {
    return property(definition, "initrd.scripts").equals(GuestInitramfs.fingerprint());
  }

  private static boolean isFirmware(final GuestCatalog.Definition definition) {
    return definition.name().equals(GuestCatalog.SEABIOS);
  }

  private static List<String> files(final GuestCatalog.Definition definition) {
    if (isFirmware(definition)) {
      return List.of(KERNEL, GuestCatalog.SEABIOS_VGA);
    }
    return definition.userspace() ? List.of(KERNEL, INITRD, BUSYBOX, MODULES) : List.of(KERNEL);
  }

  private String property(final GuestCatalog.Definition definition, final String key) {
    final Properties properties = new Properties();
    try (InputStream in =
        Files.newInputStream(directory.resolve(definition.name()).resolve(PROPERTIES))) {
      properties.load(in);
    } catch (final IOException | IllegalArgumentException e) {
      return "";
    }
    return properties.getProperty(key, "");
  }

  /** Makes the guest in a scratch directory, and puts it in its place. */
  private void fill(
      final GuestCatalog.Definition definition, final Path scratch, final boolean anew)
      throws IOException {
    final Path guest = Files.createDirectory(scratch.resolve("guest"));
    final Path home = directory.resolve(definition.name());
    final Properties properties = new Properties();
    if (!anew && cached(definition).isPresent()) {
      try (InputStream in = Files.newInputStream(home.resolve(PROPERTIES))) {
        properties.load(in);
      }
      Files.copy(home.resolve(KERNEL), guest.resolve(KERNEL));
      if (definition.userspace()) {
        Files.copy(home.resolve(BUSYBOX), guest.resolve(BUSYBOX));
        Files.copy(home.resolve(MODULES), guest.resolve(MODULES));
      }
      progress.line("making " + definition.name() + "'s initrd anew");
    } else {
      download(definition, scratch, guest, properties);
    }
    if (definition.userspace()) {
      try (OutputStream out = Files.newOutputStream(guest.resolve(INITRD))) {
        GuestInitramfs.write(out, Files.readAllBytes(guest.resolve(BUSYBOX)));
      }
    }
    properties.setProperty("name", definition.name());
    properties.setProperty("cmdline", definition.commandLine());
    properties.setProperty("memory", Long.toString(definition.memoryBytes()));
    properties.setProperty("initrd.scripts", GuestInitramfs.fingerprint());
    for (final String file : files(definition)) {
      final byte[] bytes = Files.readAllBytes(guest.resolve(file));
      properties.setProperty(file + ".bytes", Integer.toString(bytes.length));
      properties.setProperty(file + ".sha256", sha256(bytes));
    }
    write(properties, guest.resolve(PROPERTIES));
    if (Files.exists(home)) {
      Files.move(home, scratch.resolve("old"));
    }
    Files.move(guest, home, StandardCopyOption.ATOMIC_MOVE);
  }

  private void download(
      final GuestCatalog.Definition definition,
      final Path scratch,
      final Path guest,
      final Properties properties)
      throws IOException {
    final GuestApt apt =
        new GuestApt(environment, scratch, definition.architecture(), progress, pause);
    final String name =
        definition.kernelPrefix().isEmpty()
            ? definition.kernelPackage()
            : apt.resolve(definition.kernelPackage(), definition.kernelPrefix());
    final GuestApt.Deb kernel = apt.describe(name);
    final String file = definition.kernelFile();
    final Path deb = apt.download(kernel);
    final GuestTar.Entry image = apt.extract(deb, file + "*", path -> path.startsWith(file));
    Files.write(guest.resolve(KERNEL), image.content());
    if (isFirmware(definition)) {
      final String vga = "vgabios-isavga.bin";
      final GuestTar.Entry second = apt.extract(deb, vga, path -> path.endsWith("/" + vga));
      Files.write(guest.resolve(GuestCatalog.SEABIOS_VGA), second.content());
    }
    properties.setProperty("kernel.package", kernel.name());
    properties.setProperty("kernel.version", kernel.version());
    if (!definition.userspace()) {
      return;
    }
    try (OutputStream out = Files.newOutputStream(guest.resolve(MODULES))) {
      GuestModules.write(out, apt.extractAll(deb, GuestModules.candidates()));
    }
    final GuestApt.Deb busybox = apt.describe("busybox-static");
    final GuestTar.Entry program =
        apt.extract(apt.download(busybox), "bin/busybox", path -> path.endsWith("bin/busybox"));
    Files.write(guest.resolve(BUSYBOX), program.content());
    properties.setProperty("busybox.version", busybox.version());
  }

  /** Writes them sorted and without the date that {@link Properties#store} puts in. */
  private static void write(final Properties properties, final Path file) throws IOException {
    final StringBuilder text = new StringBuilder();
    properties.stringPropertyNames().stream()
        .sorted()
        .forEach(
            key -> text.append(key).append('=').append(properties.getProperty(key)).append('\n'));
    Files.writeString(file, text, StandardCharsets.ISO_8859_1);
  }

  private static String sha256(final byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (final NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java runtime has SHA-256", e);
    }
  }

  private void removeLeftovers(final GuestCatalog.Definition definition) throws IOException {
    try (DirectoryStream<Path> left =
        Files.newDirectoryStream(directory, "." + definition.name() + "-*")) {
      for (final Path path : left) {
        deleteTree(path);
      }
    }
  }

  private static void deleteTree(final Path root) throws IOException {
    try (Stream<Path> paths = Files.walk(root)) {
      for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(path);
      }
    }
  }
}

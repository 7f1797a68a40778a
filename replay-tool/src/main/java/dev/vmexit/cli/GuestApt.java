package dev.vmexit.cli;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.LongConsumer;
import java.util.function.Predicate;

/**
 * Gets packages through the host's apt without installing them: nothing but the scratch directory
 * is written, and no rights beyond the user's are needed.
 */
final class GuestApt {
  /**
   * A concrete package.
   *
   * @param bytes size of its .deb
   */
  record Deb(String name, String version, long bytes) {}

  private static final String INSTEAD = "boot a kernel of yours by --kernel FILE --initrd FILE";
  private static final int ATTEMPTS = 3;
  private static final long FIRST_BACKOFF_MILLIS = 2_000;

  /** Architecture whose package lists the host's apt is taken to have. */
  private static final String HOST_ARCHITECTURE = "amd64";

  private final GuestTools tools;

  /** Options for every call of apt: empty where the host's own package lists serve. */
  private final List<String> options;

  private final Path directory;
  private final GuestProgress progress;
  private final LongConsumer pause;

  /**
   * @param directory scratch directory, which the packages are put into
   * @param architecture Debian's name of the packages' architecture; for another than the host's,
   *     package lists are fetched into the scratch directory, and the host's stay as they are
   * @param pause waits for so many milliseconds
   * @throws GuestException where the host has no apt
   */
  GuestApt(
      final Map<String, String> environment,
      final Path directory,
      final String architecture,
      final GuestProgress progress,
      final LongConsumer pause) {
    for (final String program : List.of("apt-cache", "apt-get", "dpkg-deb")) {
      if (!GuestTools.isThere(environment, program)) {
        throw new GuestException("no " + program + " on this host to fetch from; " + INSTEAD);
      }
    }
    this.tools = new GuestTools(environment, directory);
    this.directory = directory;
    this.progress = progress;
    this.pause = pause;
    if (architecture.equals(HOST_ARCHITECTURE)) {
      options = List.of();
    } else {
      options = privateLists(architecture);
      updateLists(architecture);
    }
  }

  /** Options that let apt see one foreign architecture alone, with all state in the scratch. */
  private List<String> privateLists(final String architecture) {
    final Path lists = directory.resolve("lists");
    final Path cache = directory.resolve("cache");
    try {
      Files.createDirectories(lists.resolve("partial"));
      Files.createDirectories(cache.resolve("archives").resolve("partial"));
    } catch (final IOException e) {
      throw new GuestException("cannot write to " + directory + " (" + e.getMessage() + ")", e);
    }
    final List<String> result = new ArrayList<>();
    for (final String option :
        List.of(
            "APT::Architecture=" + architecture,
            "APT::Architectures=" + architecture,
            "APT::Sandbox::User=root", // the scratch directory is closed to others
            "Dir::State::lists=" + lists,
            "Dir::State::status=/dev/null", // what is installed is of the host's architecture
            "Dir::Cache=" + cache,
            "Acquire::Languages=none",
            "Acquire::Retries=3",
            "Acquire::http::Timeout=30")) {
      result.add("-o");
      result.add(option);
    }
    return List.copyOf(result);
  }

  private void updateLists(final String architecture) {
    progress.line("fetching the package lists of " + architecture);
    final GuestTools.Result result = run(() -> {}, "apt-get", "-q", "update");
    if (result.status() != 0) {
      // One source of several may have failed; whether the packages are known, the next call says.
      progress.line("apt-get update: " + result.complaint());
    }
  }

  private GuestTools.Result run(final GuestTools.Watcher watcher, final String... command) {
    final List<String> words = new ArrayList<>(List.of(command));
    words.addAll(options);
    return tools.run(watcher, words.toArray(String[]::new));
  }

  /** The package that a meta-package stands for: the one of its dependencies with this prefix. */
  String resolve(final String metaPackage, final String prefix) {
    final GuestTools.Result result = run(() -> {}, "apt-cache", "depends", metaPackage);
    if (result.status() != 0) {
      throw unknown(metaPackage, result);
    }
    final List<String> dependencies =
        result
            .output()
            .lines()
            .map(String::strip)
            .filter(line -> line.startsWith("Depends:"))
            .map(line -> line.substring("Depends:".length()).strip())
            .toList();
    for (final String dependency : dependencies) {
      if (dependency.startsWith(prefix)) {
        return dependency;
      }
    }
    throw new GuestException(
        "apt's "
            + metaPackage
            + " stands for "
            + (dependencies.isEmpty() ? "nothing" : String.join(", ", dependencies))
            + ", wanted: "
            + prefix
            + "*; "
            + INSTEAD);
  }

  /** Version and size of a package, as apt would get it. */
  Deb describe(final String name) {
    final GuestTools.Result result = run(() -> {}, "apt-cache", "show", "--no-all-versions", name);
    if (result.status() != 0) {
      throw unknown(name, result);
    }
    final String size = field(result.output(), "Size");
    try {
      return new Deb(name, field(result.output(), "Version"), Long.parseLong(size));
    } catch (final NumberFormatException e) {
      throw new GuestException("apt-cache says Size: \"" + size + "\" of " + name, e);
    }
  }

  private static String field(final String stanza, final String name) {
    return stanza
        .lines()
        .filter(line -> line.startsWith(name + ":"))
        .map(line -> line.substring(name.length() + 1).strip())
        .findFirst()
        .orElse("");
  }

  private static GuestException unknown(final String name, final GuestTools.Result result) {
    return new GuestException(
        "apt does not know "
            + name
            + " ("
            + result.complaint()
            + "); run apt-get update as root, or "
            + INSTEAD);
  }

  /**
   * Downloads a package; a failure is tried again twice, after 2 and 4 seconds.
   *
   * @return its .deb in the scratch directory
   */
  Path download(final Deb wanted) {
    progress.line(
        String.format(
            Locale.ROOT,
            "fetching %s %s (%.1f MB)",
            wanted.name(),
            wanted.version(),
            wanted.bytes() / 1e6));
    for (int attempt = 1; ; attempt++) {
      final GuestTools.Result result =
          run(
              () -> progress.bar(wanted.name(), bytesOf(wanted), wanted.bytes()),
              "apt-get",
              "-q",
              "-o",
              "APT::Sandbox::User=root", // the scratch directory is closed to others
              "-o",
              "Acquire::http::Timeout=30",
              "download",
              wanted.name() + "=" + wanted.version());
      progress.clear();
      final Path file = fileOf(wanted);
      if (result.status() == 0 && file != null) {
        return file;
      }
      if (attempt == ATTEMPTS) {
        throw new GuestException(
            "apt-get download "
                + wanted.name()
                + " failed "
                + ATTEMPTS
                + " times ("
                + result.complaint()
                + "); see to the network and try again, or "
                + INSTEAD);
      }
      final long wait = FIRST_BACKOFF_MILLIS << (attempt - 1);
      progress.line(
          String.format(
              Locale.ROOT,
              "apt-get download failed (%s), attempt %d of %d in %d s",
              result.complaint(),
              attempt + 1,
              ATTEMPTS,
              wait / 1000));
      pause.accept(wait);
    }
  }

  /** The first regular file of a package whose path is wanted. */
  GuestTar.Entry extract(final Path deb, final String what, final Predicate<String> wanted) {
    final GuestTar.Entry entry =
        tools.pipe(tar -> GuestTar.find(tar, wanted), "dpkg-deb", "--fsys-tarfile", deb.toString());
    if (entry == null) {
      throw new GuestException("package " + deb.getFileName() + " has no " + what);
    }
    return entry;
  }

  /** All regular files of a package whose paths are wanted; none where there are none. */
  List<GuestTar.Entry> extractAll(final Path deb, final Predicate<String> wanted) {
    return tools.pipe(
        tar -> GuestTar.find(tar, wanted, Integer.MAX_VALUE),
        "dpkg-deb",
        "--fsys-tarfile",
        deb.toString());
  }

  private long bytesOf(final Deb wanted) {
    final Path file = fileOf(wanted);
    try {
      return file == null ? 0 : Files.size(file);
    } catch (final IOException e) {
      return 0; // apt has just renamed it
    }
  }

  /** apt names a file NAME_VERSION_ARCH.deb, some characters of the version escaped. */
  private Path fileOf(final Deb wanted) {
    try (DirectoryStream<Path> files =
        Files.newDirectoryStream(directory, wanted.name() + "_*.deb")) {
      for (final Path file : files) {
        return file;
      }
      return null;
    } catch (final IOException e) {
      throw new GuestException("cannot read " + directory + " (" + e.getMessage() + ")", e);
    }
  }
}

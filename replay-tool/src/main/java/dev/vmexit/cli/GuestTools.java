package dev.vmexit.cli;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Runs the host's programs that guests are made with, in a scratch directory, in the C locale.
 * Programs are looked up in the PATH of the given environment.
 */
final class GuestTools {
  /** Exit status and output of a finished program. */
  record Result(int status, String output, String errors) {
    /** The last line that the program complained with, for a message of ours. */
    String complaint() {
      final List<String> lines = errors.lines().filter(line -> !line.isBlank()).toList();
      return lines.isEmpty() ? "exit status " + status : lines.getLast().strip();
    }
  }

  /** Told now and then while a program runs. */
  interface Watcher {
    void running();
  }

  /** Reads what a program writes to its standard output. */
  interface Reader<T> {
    T read(InputStream output) throws IOException;
  }

  private static final long WATCH_MILLIS = 100;

  private final Map<String, String> environment;
  private final Path directory;

  /**
   * @param environment of this process
   * @param directory where the programs run, and where their output is kept meanwhile
   */
  GuestTools(final Map<String, String> environment, final Path directory) {
    this.environment = environment;
    this.directory = directory;
  }

  /** Where the program is, as a shell would find it. */
  static boolean isThere(final Map<String, String> environment, final String program) {
    return find(environment, program) != null;
  }

  private static Path find(final Map<String, String> environment, final String program) {
    for (final String entry : environment.getOrDefault("PATH", "/usr/bin:/bin").split(":", -1)) {
      final Path path = Path.of(entry.isEmpty() ? "." : entry, program);
      if (Files.isExecutable(path) && !Files.isDirectory(path)) {
        return path.toAbsolutePath();
      }
    }
    return null;
  }

  /** Runs a program to its end. */
  Result run(final Watcher watcher, final String... command) {
    try {
      final Path output = Files.createTempFile(directory, "out", ".log");
      final Path errors = Files.createTempFile(directory, "err", ".log");
      try {
        final Process process = builder(command, errors).redirectOutput(output.toFile()).start();
        while (!waitFor(process)) {
          watcher.running();
        }
        return new Result(process.exitValue(), text(output), text(errors));
      } finally {
        Files.delete(output);
        Files.delete(errors);
      }
    } catch (final IOException e) {
      throw new GuestException(command[0] + " does not run (" + e.getMessage() + ")", e);
    }
  }

  /** Runs a program and hands its output to a reader, which may stop before the end. */
  <T> T pipe(final Reader<T> reader, final String... command) {
    try {
      final Path errors = Files.createTempFile(directory, "err", ".log");
      try {
        final Process process = builder(command, errors).start();
        try (InputStream output = process.getInputStream()) {
          return reader.read(output);
        } finally {
          process.destroy();
          while (!waitFor(process)) {
            // it dies of the signal or of its closed output
          }
        }
      } finally {
        Files.delete(errors);
      }
    } catch (final IOException e) {
      throw new GuestException(command[0] + " gives no result (" + e.getMessage() + ")", e);
    }
  }

  private ProcessBuilder builder(final String[] command, final Path errors) {
    final Path program = find(environment, command[0]);
    if (program == null) {
      throw new GuestException(
          command[0]
              + " is not on this host; boot a kernel of yours by --kernel FILE --initrd FILE");
    }
    final List<String> words = new ArrayList<>(List.of(command));
    words.set(0, program.toString());
    final ProcessBuilder builder = new ProcessBuilder(words).directory(directory.toFile());
    builder.environment().clear();
    builder.environment().putAll(environment);
    builder.environment().put("LC_ALL", "C");
    return builder.redirectError(errors.toFile()).redirectInput(Path.of("/dev/null").toFile());
  }

  private static boolean waitFor(final Process process) {
    try {
      return process.waitFor(WATCH_MILLIS, TimeUnit.MILLISECONDS);
    } catch (final InterruptedException e) {
      process.destroy();
      Thread.currentThread().interrupt();
      throw new GuestException("interrupted", e);
    }
  }

  private static String text(final Path path) throws IOException {
    return new String(Files.readAllBytes(path), StandardCharsets.UTF_8);
  }
}

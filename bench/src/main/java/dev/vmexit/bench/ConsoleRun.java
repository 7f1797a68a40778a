package dev.vmexit.bench;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * A machine as a process: started, watched until its console shows a text, ended. Times are of the
 * host's monotonic clock and start with the process, whose own start-up counts.
 */
final class ConsoleRun implements AutoCloseable {
  private static final long PATIENCE_SECONDS = 300;
  private static final int TAIL = 2000;

  private final List<String> command;
  private final Process process;
  private final Path errors;
  private final long started;
  private final StringBuilder seen = new StringBuilder();

  private ConsoleRun(
      final List<String> command, final Process process, final Path errors, final long started) {
    this.command = command;
    this.process = process;
    this.errors = errors;
    this.started = started;
  }

  /** Starts a command whose console is its standard output; its input stays open and silent. */
  static ConsoleRun start(final List<String> command) throws IOException {
    final Path errors = Files.createTempFile("vmexit-bench", ".err");
    final ProcessBuilder builder = new ProcessBuilder(command).redirectError(errors.toFile());
    final long started = System.nanoTime();
    return new ConsoleRun(command, builder.start(), errors, started);
  }

  /**
   * Reads the console until it shows a text.
   *
   * @return seconds since the start
   * @throws IOException where the process ends, or is silent for too long, before that
   */
  double secondsUntil(final String text) throws IOException {
    final Process watched = process;
    final Thread watchdog = Thread.ofPlatform().daemon().start(() -> endLate(watched));
    try {
      final InputStream console = process.getInputStream();
      final byte[] chunk = new byte[1 << 14];
      int from = 0;
      while (true) {
        final int at = seen.indexOf(text, from);
        if (at >= 0) {
          final double seconds = (System.nanoTime() - started) / 1e9;
          seen.delete(0, at + text.length());
          return seconds;
        }
        from = Math.max(0, seen.length() - text.length());
        final int n = console.read(chunk);
        if (n < 0) {
          throw new IOException(
              "'" + text + "' was never seen; " + command + " ended after:\n" + tail());
        }
        seen.append(new String(chunk, 0, n, StandardCharsets.ISO_8859_1));
      }
    } finally {
      watchdog.interrupt();
    }
  }

  private static void endLate(final Process process) {
    try {
      if (!process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (final InterruptedException e) {
      // Seen in time.
      Thread.currentThread().interrupt();
    }
  }

  private String tail() throws IOException {
    return seen.substring(Math.max(0, seen.length() - TAIL)) + Files.readString(errors);
  }

  /** Processor time of all its threads so far, seconds; 0 where the host does not tell. */
  double processorSeconds() {
    return process.info().totalCpuDuration().orElse(Duration.ZERO).toMillis() / 1e3;
  }

  long pid() {
    return process.pid();
  }

  /** Ends the process in order (SIGTERM), and waits for it. */
  @Override
  public void close() throws IOException {
    try {
      process.destroy();
      if (!process.waitFor(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
        process.destroyForcibly();
        throw new IOException(command + " did not end when told to");
      }
    } catch (final InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    } finally {
      Files.deleteIfExists(errors);
    }
  }
}

package dev.vmexit.bench;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;

/** The C program of the same loop: compiled here, run as a process that waits for its turns. */
final class KvmPeer implements AutoCloseable {
  private final Process process;
  private final OutputStream turns;
  private final BufferedReader times;

  /** Compiles the program; its file. */
  static Path compile(final Path source, final Path folder) throws IOException {
    final Path program = folder.resolve("kvm_loop");
    final Process compiler =
        new ProcessBuilder(
                List.of(
                    "cc", "-O2", "-Wall", "-Wextra", "-o", program.toString(), source.toString()))
            .inheritIO()
            .start();
    try {
      if (compiler.waitFor() != 0) {
        throw new IOException("cc cannot compile " + source);
      }
    } catch (final InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted", e);
    }
    return program;
  }

  /** Starts it with a guest. */
  KvmPeer(final Path program, final Path image) throws IOException {
    process =
        new ProcessBuilder(
                List.of(
                    program.toString(),
                    image.toString(),
                    Integer.toString(KvmRoundTrip.MARK_PORT),
                    // Registers with each exit, as ours must have them for the record.
                    "1"))
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    turns = process.getOutputStream();
    times =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.US_ASCII));
  }

  /** Lets it run one batch; nanoseconds that it took. */
  long batch() {
    try {
      turns.write('\n');
      turns.flush();
      final String line = times.readLine();
      if (line == null) {
        throw new IllegalStateException("the C program has ended");
      }
      return Long.parseLong(line);
    } catch (final IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    try {
      // The end of its input is its end.
      turns.close();
      process.waitFor();
    } catch (final IOException e) {
      process.destroy();
    } catch (final InterruptedException e) {
      process.destroy();
      Thread.currentThread().interrupt();
    }
  }
}

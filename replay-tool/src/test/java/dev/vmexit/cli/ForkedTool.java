package dev.vmexit.cli;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Runs the tool as a process of its own, with the JVM's flags of the launcher, and talks to it as
 * an expect script does. What is waited for is text or the process's end, never time: each run
 * brings its own {@code --timeout}.
 */
final class ForkedTool implements AutoCloseable {
  private final Process process;
  private final Collector out;
  private final Collector err;

  /** Standard output up to where the last {@link #await} found its text. */
  private int seen;

  /** The same of standard error. */
  private int seenError;

  private ForkedTool(final Process process) {
    this.process = process;
    out = new Collector(process.getInputStream());
    err = new Collector(process.getErrorStream());
  }

  /** The command that runs the tool with these arguments. */
  static List<String> command(final String... args) {
    final List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("@" + root().resolve(".mvn").resolve("jvm.flags"));
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    command.add(Main.class.getName());
    command.addAll(Tool.onSoft(args));
    return command;
  }

  /** The project's folder. */
  static Path root() {
    final String given = System.getProperty("vmexit.root");
    Path folder = Path.of(given == null ? "" : given).toAbsolutePath();
    while (folder != null && !Files.exists(folder.resolve(".mvn").resolve("jvm.flags"))) {
      folder = folder.getParent();
    }
    if (folder == null) {
      throw new IllegalStateException(".mvn/jvm.flags is in no folder above; give -Dvmexit.root");
    }
    return folder;
  }

  /** Starts the tool in a folder. */
  static ForkedTool start(final Path folder, final String... args) throws IOException {
    return start(folder, command(args));
  }

  /** Starts any program in a folder. */
  static ForkedTool start(final Path folder, final List<String> command) throws IOException {
    return new ForkedTool(new ProcessBuilder(command).directory(folder.toFile()).start());
  }

  Process process() {
    return process;
  }

  /** Types at the console. */
  void type(final String text) throws IOException {
    final OutputStream to = process.getOutputStream();
    to.write(text.getBytes(StandardCharsets.ISO_8859_1));
    to.flush();
  }

  /**
   * Waits until standard output shows a text behind the one that was waited for last.
   *
   * @return what came before it
   * @throws AssertionError where the process ended without it
   */
  String await(final String text) throws InterruptedException {
    final int at = out.await(text, seen);
    if (at < 0) {
      throw new AssertionError(
          "'" + text + "' never came; standard output:\n" + out.text() + "\nerror:\n" + err.text());
    }
    final String before = out.text().substring(seen, at);
    seen = at + text.length();
    return before;
  }

  /**
   * Waits until a terminal would show a text.
   *
   * @throws AssertionError where the process ended without it
   */
  void awaitScreen(final String text) throws InterruptedException {
    if (!out.awaitScreen(text)) {
      throw new AssertionError(
          "'" + text + "' never was on the screen:\n" + TerminalScreen.of(out.text()) + err.text());
    }
  }

  /** Waits in the same way for a text on standard error. */
  void awaitError(final String text) throws InterruptedException {
    final int at = err.await(text, seenError);
    if (at < 0) {
      throw new AssertionError("'" + text + "' never came; standard error:\n" + err.text());
    }
    seenError = at + text.length();
  }

  /** Waits for the end. */
  Tool.Outcome end() throws InterruptedException {
    final int status = process.waitFor();
    return new Tool.Outcome(status, out.whole(), err.whole());
  }

  @Override
  public void close() {
    process.destroyForcibly();
  }

  /** Reads a stream to its end on a thread of its own. */
  private static final class Collector {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final Thread thread;
    private boolean ended;

    Collector(final InputStream from) {
      thread = new Thread(() -> read(from), "collector");
      thread.setDaemon(true);
      thread.start();
    }

    private void read(final InputStream from) {
      final byte[] chunk = new byte[4096];
      try {
        for (int count = from.read(chunk); count >= 0; count = from.read(chunk)) {
          synchronized (this) {
            bytes.write(chunk, 0, count);
            notifyAll();
          }
        }
      } catch (final IOException e) {
        // A process that was killed takes its pipe with it: the stream's end, too.
        end();
        return;
      }
      end();
    }

    private synchronized void end() {
      ended = true;
      notifyAll();
    }

    synchronized String text() {
      return bytes.toString(StandardCharsets.ISO_8859_1);
    }

    String whole() throws InterruptedException {
      thread.join();
      return text();
    }

    synchronized boolean awaitScreen(final String text) throws InterruptedException {
      while (true) {
        if (TerminalScreen.of(text()).contains(text)) {
          return true;
        }
        if (ended) {
          return false;
        }
        wait();
      }
    }

    synchronized int await(final String text, final int from) throws InterruptedException {
      while (true) {
        final int at = text().indexOf(text, from);
        if (at >= 0 || ended) {
          return at;
        }
        wait();
      }
    }
  }
}

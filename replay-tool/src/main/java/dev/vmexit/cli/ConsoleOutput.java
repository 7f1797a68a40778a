package dev.vmexit.cli;

import dev.vmexit.device.ByteSink;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/**
 * Carries the guest's console from the vCPU's thread to the user's terminal: the vCPU puts a byte
 * into a ring and goes on; a thread of its own writes, and looks for texts. A terminal that is too
 * slow holds the guest up, as a serial line does.
 */
final class ConsoleOutput implements ByteSink, AutoCloseable {
  private static final int CAPACITY = 1 << 20;
  private static final int LONGEST_LINE = 512;

  /** What a Linux kernel says before it gives up. */
  static final String PANIC = "Kernel panic - not syncing";

  private final byte[] ring = new byte[CAPACITY];

  /** Written by the vCPU's thread (release), read by the writer's (acquire). */
  private final AtomicLong tail = new AtomicLong();

  /** Written by the writer's thread (release), read by the vCPU's (acquire). */
  private final AtomicLong head = new AtomicLong();

  private final OutputStream out;
  private final String trouble;
  private final String exitOn;
  private final Runnable onText;
  private final Thread thread;
  private final StringBuilder line = new StringBuilder();
  private volatile boolean closing;
  private volatile String troubleLine;
  private volatile boolean textSeen;
  private boolean atLineStart = true;

  /**
   * Starts the writer's thread.
   *
   * @param out null to swallow the output
   * @param trouble text by which the guest says that something is wrong
   * @param exitOn text to look for, or null
   * @param onText called on the writer's thread when it was seen, once
   */
  ConsoleOutput(
      final PrintStream out, final String trouble, final String exitOn, final Runnable onText) {
    this.out = out;
    this.trouble = trouble;
    this.exitOn = exitOn;
    this.onText = onText;
    thread = new Thread(this::write, "console-out");
    thread.setDaemon(true);
    thread.start();
  }

  @Override
  public void accept(final int value) {
    final long at = tail.getPlain();
    while (at - head.getAcquire() >= CAPACITY) {
      Thread.onSpinWait();
    }
    ring[(int) at & CAPACITY - 1] = (byte) value;
    tail.setRelease(at + 1);
  }

  /** The first line with the text of trouble, from there on; or null. */
  String trouble() {
    return troubleLine;
  }

  boolean textSeen() {
    return textSeen;
  }

  /** Whether the cursor is at the start of a line; after {@link #close}. */
  boolean atLineStart() {
    return atLineStart;
  }

  private void write() {
    final byte[] chunk = new byte[8192];
    try {
      while (true) {
        final boolean last = closing;
        final long from = head.getPlain();
        final int count = (int) Math.min(chunk.length, tail.getAcquire() - from);
        if (count == 0) {
          if (last) {
            return;
          }
          LockSupport.parkNanos(1_000_000);
          continue;
        }
        for (int i = 0; i < count; i++) {
          chunk[i] = ring[(int) (from + i) & CAPACITY - 1];
        }
        head.setRelease(from + count);
        if (out != null) {
          out.write(chunk, 0, count);
          out.flush();
        }
        for (int i = 0; i < count; i++) {
          look(chunk[i]);
        }
      }
    } catch (final java.io.IOException e) {
      // The terminal is gone; the guest goes on, and its output is dropped.
      head.setRelease(Long.MAX_VALUE / 2);
    }
  }

  private void look(final byte value) {
    atLineStart = value == '\n';
    if (value == '\n' || line.length() >= LONGEST_LINE) {
      final int at = troubleLine == null ? line.indexOf(trouble) : -1;
      if (at >= 0) {
        troubleLine = line.substring(at);
      }
      line.setLength(0);
      return;
    }
    if (value == '\r') {
      return;
    }
    line.append((char) (value & 0xFF));
    if (exitOn != null && !textSeen && ends(exitOn)) {
      textSeen = true;
      onText.run();
    }
  }

  /** The text as bytes seen so far on this line. */
  private boolean ends(final String text) {
    final String bytes =
        new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1);
    return line.length() >= bytes.length()
        && line.lastIndexOf(bytes) == line.length() - bytes.length();
  }

  /** Writes what is left. */
  @Override
  public void close() {
    closing = true;
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (final InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}

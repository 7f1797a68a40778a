package dev.vmexit.cli;

import dev.vmexit.vm.CommandRing;
import dev.vmexit.vm.RunEnd;
import java.io.IOException;
import java.io.InputStream;
import java.util.concurrent.locks.LockSupport;
import org.jline.terminal.Attributes;
import org.jline.terminal.Terminal;
import org.jline.terminal.TerminalBuilder;

/**
 * Carries the user's keys to the guest. A terminal is put into raw mode, so that the guest sees
 * each key, Ctrl-C included, and is put back by {@link #close} and, should the process end another
 * way, by a shutdown hook. Ctrl-A x leaves, Ctrl-A Ctrl-A sends a Ctrl-A.
 */
final class ConsoleInput implements AutoCloseable {
  private static final int ESCAPE = 1;
  private static final int BATCH = 512;

  /** Takes what was typed. */
  @FunctionalInterface
  private interface Taker {
    /** False where there is no room: to be tried again. */
    boolean take(byte[] typed, int length);
  }

  private final CommandRing commands;
  private final Taker taker;
  private final Terminal terminal;
  private final InputStream in;
  private final Attributes saved;
  private final Thread hook;
  private boolean escaped;

  private ConsoleInput(final CommandRing commands, final Taker taker, final Terminal terminal) {
    this.commands = commands;
    this.taker = taker;
    this.terminal = terminal;
    // Not the terminal's own stream: a read that waits there holds a lock that its end needs.
    in = System.in;
    if (terminal == null) {
      saved = null;
      hook = null;
    } else {
      saved = terminal.getAttributes();
      hook = new Thread(this::restore, "terminal-restore");
      if (register(hook)) {
        terminal.enterRawMode();
        final Attributes current = terminal.getAttributes();
        current.setLocalFlag(Attributes.LocalFlag.ISIG, false);
        terminal.setAttributes(current);
      }
    }
    final Thread reader = new Thread(this::read, "console-in");
    reader.setDaemon(true);
    reader.start();
  }

  /** False where the process ends already: then the terminal stays as it is. */
  private static boolean register(final Thread hook) {
    try {
      Runtime.getRuntime().addShutdownHook(hook);
      return true;
    } catch (final IllegalStateException e) {
      return false;
    }
  }

  /** Starts reading the terminal, or standard input where there is none, for the serial line. */
  static ConsoleInput open(final CommandRing commands) {
    return open(commands, commands::consoleInput);
  }

  /** As {@link #open}, for the keyboard. */
  static ConsoleInput openKeyboard(final CommandRing commands) {
    final TerminalKeys keys = new TerminalKeys();
    final byte[] codes = new byte[BATCH * TerminalKeys.LONGEST];
    return open(
        commands, (typed, length) -> commands.keys(codes, keys.translate(typed, length, codes)));
  }

  private static ConsoleInput open(final CommandRing commands, final Taker taker) {
    Terminal terminal = null;
    if (Terminals.interactive() && !SignalStop.stopping()) {
      try {
        terminal =
            TerminalBuilder.builder()
                .system(true)
                .dumb(false)
                .nativeSignals(false)
                .graphemeCluster(false)
                .build();
      } catch (final IOException | IllegalStateException e) {
        throw new UserException(
            "the terminal cannot be put into raw mode (" + e.getMessage() + "); try --console none",
            e);
      }
    }
    return new ConsoleInput(commands, taker, terminal);
  }

  private void read() {
    final byte[] batch = new byte[BATCH];
    try {
      while (true) {
        final int first = in.read();
        if (first < 0) {
          return;
        }
        int count = accept(first, batch, 0);
        while (in.available() > 0 && count < BATCH - 1) {
          final int next = in.read();
          if (next < 0) {
            break;
          }
          count = accept(next, batch, count);
        }
        while (!taker.take(batch, count)) {
          LockSupport.parkNanos(1_000_000);
        }
      }
    } catch (final IOException e) {
      // The terminal is gone; the guest goes on without keys.
      return;
    }
  }

  private int accept(final int key, final byte[] batch, final int count) {
    if (terminal == null) {
      batch[count] = (byte) key;
      return count + 1;
    }
    if (escaped) {
      escaped = false;
      if (key == 'x' || key == 'X') {
        commands.stop(RunEnd.STOPPED);
        return count;
      }
      if (key != ESCAPE) {
        return count;
      }
    } else if (key == ESCAPE) {
      escaped = true;
      return count;
    }
    batch[count] = (byte) key;
    return count + 1;
  }

  private void restore() {
    try {
      terminal.setAttributes(saved);
    } catch (final IllegalStateException e) {
      // Closed, in a shutdown: the terminal has put itself back.
      return;
    }
  }

  /** Puts the terminal back. */
  @Override
  public void close() {
    if (terminal != null) {
      restore();
      try {
        Runtime.getRuntime().removeShutdownHook(hook);
      } catch (final IllegalStateException e) {
        // Shutting down already: the hook does it once more, which is harmless.
        return;
      }
    }
  }
}

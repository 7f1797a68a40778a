package dev.vmexit.irq;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.device.ManualTime;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * The PIC pair side by side with that of an emulator (Debian's {@code qemu-system-x86}), driven
 * through its qtest protocol: the same random programming and lines, the same answers.
 *
 * <p>No processor acknowledges there, so polls do. Left out is where the two differ on purpose:
 * lines are at rest when the way they are sensed changes, all is masked when the special mask is
 * switched, and under it no non-specific EOI is sent (it passes by masked levels here, as the
 * datasheet has it).
 */
final class Pic8259AgainstQemuTest {
  private static final String QEMU = "/usr/bin/qemu-system-x86_64";
  private static final int STEPS = 20_000;

  /** Masks are thinned out, so that there is something to see. */
  private static final int[] MOSTLY_OPEN = {0x11, 0x42, 0xA4, 0xFF};

  /** Operations shown when the two differ. */
  private static final int HISTORY = 40;

  private final ManualTime time = new ManualTime();
  private final Pic8259Pair ours = new Pic8259Pair(time, level -> {});
  private final Deque<String> history = new ArrayDeque<>();

  /** The other side. */
  private static final class Peer implements AutoCloseable {
    private final Process process;
    private final Writer commands;
    private final BufferedReader answers;

    Peer() throws IOException {
      process =
          new ProcessBuilder(
                  QEMU,
                  "-machine",
                  "pc",
                  "-S",
                  "-display",
                  "none",
                  "-nodefaults",
                  "-qtest",
                  "stdio",
                  "-qtest-log",
                  "none")
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      commands = process.outputWriter(StandardCharsets.US_ASCII);
      answers =
          new BufferedReader(
              new InputStreamReader(process.getInputStream(), StandardCharsets.US_ASCII));
    }

    String ask(final String command) throws IOException {
      commands.write(command + "\n");
      commands.flush();
      final String answer = answers.readLine();
      if (answer == null || !answer.startsWith("OK")) {
        throw new IOException(command + ": " + answer);
      }
      return answer;
    }

    @Override
    public void close() {
      process.destroy();
    }
  }

  @Test
  @Timeout(60)
  void shouldAnswerAsAnotherEmulatorDoes() throws IOException {
    assumeTrue(
        Files.isExecutable(Path.of(QEMU)),
        "SKIPPED: " + QEMU + " is absent; install Debian's qemu-system-x86 to compare the PIC");
    final Random random = new Random(8259);
    try (Peer peer = new Peer()) {
      initialize(peer, 0x01);
      boolean specialMask = false;
      for (int step = 0; step < STEPS; step++) {
        final int chip = random.nextBoolean() ? 0x20 : 0xA0;
        switch (random.nextInt(12)) {
          case 0, 1, 2, 3 -> line(peer, random.nextInt(16), random.nextBoolean());
          case 4 -> out(peer, chip + 1, random.nextInt(256) & MOSTLY_OPEN[random.nextInt(4)]);
          case 5 -> {
            final int command = random.nextInt(8);
            if (!specialMask || (command != 1 && command != 5)) {
              out(peer, chip, command << 5 | random.nextInt(8));
            }
          }
          case 6 -> {
            // A poll of each chip, as its INT would have made.
            out(peer, chip, 0x0C);
            in(peer, chip);
          }
          case 7 -> {
            out(peer, chip, 0x0A | random.nextInt(2));
            in(peer, chip);
          }
          case 8 -> in(peer, chip + 1);
          case 9 -> {
            if (random.nextInt(4) == 0) {
              specialMask = !specialMask;
              // The peer looks at the special mask at the next change alone: let none matter.
              out(peer, 0x21, 0xFF);
              out(peer, 0xA1, 0xFF);
              out(peer, 0x20, specialMask ? 0x68 : 0x48);
              out(peer, 0xA0, specialMask ? 0x68 : 0x48);
              out(peer, 0x21, random.nextInt(256));
              out(peer, 0xA1, random.nextInt(256));
            }
          }
          case 10 -> {
            if (random.nextInt(8) == 0) {
              specialMask = false;
              initialize(peer, 0x01);
              out(peer, 0x4D0, random.nextInt(256) & 0xF8);
              out(peer, 0x4D1, random.nextInt(256) & 0xDE);
            }
          }
          default -> {
            if (random.nextInt(40) == 0) {
              specialMask = false;
              initialize(peer, random.nextBoolean() ? 0x01 : random.nextBoolean() ? 0x03 : 0x11);
            }
          }
        }
      }
    }
  }

  private void initialize(final Peer peer, final int icw4) throws IOException {
    rest(peer);
    out(peer, 0x20, 0x11);
    out(peer, 0x21, 0x20);
    out(peer, 0x21, 0x04);
    out(peer, 0x21, icw4);
    out(peer, 0xA0, 0x11);
    out(peer, 0xA1, 0x28);
    out(peer, 0xA1, 0x02);
    out(peer, 0xA1, icw4);
  }

  /** Lines that are high while the way they are sensed changes are where chips differ. */
  private void rest(final Peer peer) throws IOException {
    for (int irq = 0; irq < 16; irq++) {
      line(peer, irq, false);
    }
  }

  private void line(final Peer peer, final int irq, final boolean level) throws IOException {
    if (irq == 2) {
      return;
    }
    note("line " + irq + " " + level);
    ours.setIrq(irq, level);
    final int chip = irq < 8 ? 6 : 7;
    peer.ask(
        "set_irq_in /machine/unattached/device[%d] unnamed-gpio-in %d %d"
            .formatted(chip, irq & 7, level ? 1 : 0));
  }

  private void out(final Peer peer, final int port, final int value) throws IOException {
    note("out %x %x".formatted(port, value));
    ours.writePort(port, 1, value);
    peer.ask("outb 0x%x 0x%x".formatted(port, value));
  }

  private void in(final Peer peer, final int port) throws IOException {
    note("in %x".formatted(port));
    final int mine = ours.readPort(port, 1);
    final int theirs = Integer.decode(peer.ask("inb 0x%x".formatted(port)).substring(3).trim());
    assertEquals(
        theirs, mine, () -> "after\n" + String.join("\n", history) + "\nthe answers differ");
  }

  private void note(final String operation) {
    history.add(operation);
    if (history.size() > HISTORY) {
      history.remove();
    }
  }
}

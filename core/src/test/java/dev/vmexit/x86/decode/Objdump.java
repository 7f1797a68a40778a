package dev.vmexit.x86.decode;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/** GNU objdump as a second opinion: slow to start, so it is asked about many sequences at once. */
final class Objdump {
  /** Address distance of the sequences: NOPs between them bring the disassembly back in step. */
  static final int STRIDE = 32;

  private Objdump() {}

  /** One answer: what stands at the sequence's first byte. */
  record Answer(int length, String text) {
    boolean bad() {
      return text.isEmpty() || text.contains("(bad)");
    }
  }

  /** Whether the program runs here. */
  static boolean available() {
    try {
      final Process process =
          new ProcessBuilder("objdump", "--version")
              .redirectErrorStream(true)
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .start();
      return process.waitFor() == 0;
    } catch (final IOException e) {
      return false;
    } catch (final InterruptedException e) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /**
   * Disassembles sequences of at most 15 bytes; sequence i stands at address {@code i * STRIDE}.
   */
  static Answer[] disassemble(final List<byte[]> sequences, final int codeSize, final Path folder)
      throws IOException, InterruptedException {
    final byte[] image = new byte[sequences.size() * STRIDE];
    Arrays.fill(image, (byte) 0x90);
    for (int i = 0; i < sequences.size(); i++) {
      System.arraycopy(sequences.get(i), 0, image, i * STRIDE, sequences.get(i).length);
    }
    final Path file = Files.write(folder.resolve("code" + codeSize), image);
    final Process process =
        new ProcessBuilder(
                "objdump",
                "-D",
                "-b",
                "binary",
                "-m",
                codeSize == 8 ? "i386:x86-64" : "i386",
                "-M",
                (codeSize == 8 ? "x86-64" : codeSize == 4 ? "i386" : "i8086") + ",intel",
                "--insn-width=16",
                file.toString())
            .redirectErrorStream(true)
            .start();
    final Answer[] answers = new Answer[sequences.size()];
    Arrays.fill(answers, new Answer(0, ""));
    try (BufferedReader reader = process.inputReader()) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        // "  12345:	0f ae e8             	lfence"
        final int colon = line.indexOf(":\t");
        if (colon < 0) {
          continue;
        }
        final int address = Integer.parseInt(line.substring(0, colon).trim(), 16);
        if (address % STRIDE == 0) {
          final String[] columns = line.split("\t", -1);
          final int length = columns[1].trim().split(" +", -1).length;
          final String text = columns.length > 2 ? columns[2].trim() : "";
          answers[address / STRIDE] = new Answer(length, text);
        }
      }
    }
    if (process.waitFor() != 0) {
      throw new IOException("objdump failed, exit status=" + process.exitValue());
    }
    return answers;
  }

  /** Text without the prefixes that objdump writes before a mnemonic. */
  static String stripPrefixes(final String text) {
    String rest = text.replaceAll(" +", " ");
    while (rest.matches(
        "(lock|rep|repz|repnz|data16|data32|addr16|addr32|[cdefgs]s|notrack|bnd|xacquire|xrelease"
            + "|rex[.WRXB]*) .*")) {
      rest = rest.substring(rest.indexOf(' ') + 1);
    }
    return rest;
  }

  /** Mnemonic alone, branch hints and the names of comparison predicates left off. */
  static String mnemonic(final String text) {
    final String stripped = stripPrefixes(text);
    final int space = stripped.indexOf(' ');
    final String name = space < 0 ? stripped : stripped.substring(0, space);
    return CapstoneNames.plainComparison(name.replaceAll(",p[nt]$", "").replaceAll("\\(.*", ""));
  }
}

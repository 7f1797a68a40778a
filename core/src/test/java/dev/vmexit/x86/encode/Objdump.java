package dev.vmexit.x86.encode;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The independent disassembler of binutils, Intel syntax. */
final class Objdump {
  private static final Pattern LINE = Pattern.compile("^\\s*([0-9a-f]+):\\s+(.*)$");

  /** One line of a disassembly. */
  record Line(int offset, String text) {}

  private Objdump() {}

  /** Whether the tool can be run here. */
  static boolean isPresent() {
    try {
      final Process process =
          new ProcessBuilder("objdump", "--version")
              .redirectOutput(ProcessBuilder.Redirect.DISCARD)
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      return process.waitFor() == 0;
    } catch (final IOException absent) {
      return false;
    } catch (final InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      return false;
    }
  }

  /** Disassembles code of 2, 4 or 8 bytes, white space squeezed. */
  static List<Line> disassemble(final byte[] code, final int codeSize) {
    final String machine =
        switch (codeSize) {
          case 2 -> "i8086";
          case 4 -> "i386";
          default -> "i386:x86-64";
        };
    try {
      final Path file = Files.createTempFile("vmexit-objdump", ".bin");
      try {
        Files.write(file, code);
        final Process process =
            new ProcessBuilder(
                    "objdump",
                    "-D",
                    "-z",
                    "-b",
                    "binary",
                    "-m",
                    machine,
                    "-M",
                    "intel",
                    "--no-show-raw-insn",
                    file.toString())
                .redirectErrorStream(true)
                .start();
        final String output =
            new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
          throw new IllegalStateException("objdump failed: " + output);
        }
        return parse(output);
      } finally {
        Files.delete(file);
      }
    } catch (final IOException e) {
      throw new UncheckedIOException(e);
    } catch (final InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while objdump ran", e);
    }
  }

  private static List<Line> parse(final String output) {
    final List<Line> lines = new ArrayList<>();
    for (final String line : output.split("\n", -1)) {
      final Matcher matcher = LINE.matcher(line);
      if (matcher.matches()) {
        final String text = matcher.group(2).replaceAll("\\s+", " ").strip();
        lines.add(new Line(Integer.parseInt(matcher.group(1), 16), text));
      }
    }
    return lines;
  }
}

package dev.vmexit.cli;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** Runs the tool in this process as {@code main} does, with nothing to read at standard input. */
final class Tool {
  /**
   * What a user sees of a run.
   *
   * @param status of the process
   * @param out standard output, the guest's console included
   * @param err standard error
   */
  record Outcome(int status, String out, String err) {
    /**
     * Checks that there is one line on standard error, for people, and that it says all of this.
     */
    void assertOneLine(final String... words) {
      final List<String> lines = err.lines().toList();
      assertTrue(lines.size() == 1, () -> "one line expected, not: " + err);
      assertTrue(err.startsWith("vmexit: "), err);
      assertSays(words);
    }

    /** Checks that standard error says all of this, in words for people. */
    void assertSays(final String... words) {
      for (final String word : words) {
        assertTrue(err.contains(word), () -> "'" + word + "' expected in: " + err);
      }
      assertFalse(err.contains("Exception") || err.contains("\tat "), err);
      assertFalse(err.contains("internal error"), err);
    }
  }

  private Tool() {}

  /**
   * Names the software vCPU where a run names none: what it does is the same on every host, and the
   * tests are about that.
   */
  static List<String> onSoft(final String... args) {
    final List<String> words = new ArrayList<>(List.of(args));
    if (!words.isEmpty() && words.getFirst().equals("run") && !words.contains("--backend")) {
      words.addAll(1, List.of("--backend", "soft"));
    }
    return words;
  }

  static synchronized Outcome run(final String... args) {
    final InputStream in = System.in;
    final PrintStream out = System.out;
    final PrintStream err = System.err;
    final ByteArrayOutputStream outBytes = new ByteArrayOutputStream();
    final ByteArrayOutputStream errBytes = new ByteArrayOutputStream();
    final int status;
    System.setIn(new ByteArrayInputStream(new byte[0]));
    System.setOut(new PrintStream(outBytes, true, StandardCharsets.UTF_8));
    System.setErr(new PrintStream(errBytes, true, StandardCharsets.UTF_8));
    try {
      status = Main.execute(onSoft(args).toArray(new String[0]));
    } finally {
      System.setIn(in);
      System.setOut(out);
      System.setErr(err);
    }
    return new Outcome(
        status,
        outBytes.toString(StandardCharsets.UTF_8),
        errBytes.toString(StandardCharsets.UTF_8));
  }
}

package dev.vmexit.cli;

import dev.vmexit.exit.ExitKind;
import dev.vmexit.replay.Difference;
import dev.vmexit.replay.ReplayEngine;
import dev.vmexit.replay.ReplayResult;
import dev.vmexit.trace.TraceReader;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code vmexit replay TRACE}: feeds a trace back and says whether all agrees. */
@Command(
    name = "replay",
    description = "Feeds every exit of a trace into decoder and shadow MMU again.",
    mixinStandardHelpOptions = true,
    exitCodeListHeading = "%nExit status:%n",
    exitCodeList = {"0:all agrees", "1:no such trace, or a damaged one", "3:a difference"})
final class ReplayCommand implements Callable<Integer> {
  private static final double NANOS_PER_SECOND = 1e9;

  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "TRACE", description = "A folder that run has recorded.")
  private Path folder;

  @Override
  public Integer call() {
    final PrintWriter out = spec.commandLine().getOut();
    final ReplayResult result;
    final int status;
    try (TraceReader reader = TraceReader.open(folder)) {
      final long start = System.nanoTime();
      result = ReplayEngine.replay(reader);
      final double seconds = (System.nanoTime() - start) / NANOS_PER_SECOND;
      summary(result, seconds, out);
      TraceNotes.print(reader, out);
      out.flush();
      status = TraceNotes.damages(folder, reader, spec.commandLine().getErr());
    }
    if (result.difference() != null) {
      difference(result.difference(), result.records(), out);
    }
    out.flush();
    return result.agrees() ? status : ExitStatus.REPLAY_DIFFERENCE;
  }

  private static void summary(
      final ReplayResult result, final double seconds, final PrintWriter out) {
    out.printf("%-12s %12s%n", "KIND", "VERIFIED");
    for (final ExitKind kind : ExitKind.values()) {
      final Long count = result.verified().get(kind);
      if (count != null) {
        out.printf(Locale.ROOT, "%-12s %12d%n", kind, count);
      }
    }
    for (final String skipped : result.skipped()) {
      out.println("Not checked: " + skipped + ".");
    }
    if (result.agrees() && result.gaps() > 0) {
      out.printf(
          Locale.ROOT,
          "No difference in %d records; %d are missing, and what needs them was not checked.%n",
          result.records(),
          result.gaps());
    } else if (result.agrees()) {
      out.printf(
          Locale.ROOT,
          "All %d records agree (%.2f s, %.1f million a second).%n",
          result.records(),
          seconds,
          result.records() / Math.max(seconds, 1e-9) / 1e6);
    }
  }

  private static void difference(
      final Difference difference, final long agreed, final PrintWriter out) {
    out.printf(
        "Record %d (%s) differs after %d that agree: %s%n",
        difference.sequence(), difference.kind(), agreed, difference.field());
    out.println("  recorded  " + difference.recorded());
    out.println("  replayed  " + difference.replayed());
    if (!difference.disassembly().isEmpty()) {
      out.println("  at        " + difference.disassembly());
    }
    out.println("Last exits:");
    difference.lastExits().forEach(out::println);
  }
}

package dev.vmexit.cli;

import dev.vmexit.analysis.Dimension;
import dev.vmexit.analysis.ExitStatistics;
import dev.vmexit.analysis.StatisticsJson;
import dev.vmexit.analysis.StatisticsTable;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.trace.TraceReader;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code vmexit stat TRACE}: counts and times of exits. */
@Command(
    name = "stat",
    description = "Counts the exits of a trace and their times.",
    mixinStandardHelpOptions = true)
final class StatCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "TRACE", description = "A folder that run has recorded.")
  private Path folder;

  @Option(
      names = "--by",
      defaultValue = "kind",
      paramLabel = "WHAT",
      description = "One of ${COMPLETION-CANDIDATES}; default: ${DEFAULT-VALUE}.")
  private Dimension dimension;

  @Option(
      names = "--sort",
      defaultValue = "count",
      paramLabel = "ORDER",
      description =
          "count, or total time in the handler: ${COMPLETION-CANDIDATES}; default:"
              + " ${DEFAULT-VALUE}.")
  private ExitStatistics.Order order;

  @Option(
      names = "--top",
      defaultValue = "25",
      paramLabel = "N",
      description = "Rows to print at most; default: ${DEFAULT-VALUE}. JSON has all.")
  private int top;

  @Option(names = "--json", description = "Print one JSON object; times in nanoseconds.")
  private boolean json;

  @Override
  public Integer call() {
    if (top < 1) {
      throw new UserException("--top=" + top + ", allowed: 1 and above");
    }
    final PrintWriter out = spec.commandLine().getOut();
    try (TraceReader reader = TraceReader.open(folder)) {
      final ExitStatistics statistics = new ExitStatistics(dimension);
      final ExitEvent event = new ExitEvent();
      while (reader.next(event)) {
        statistics.add(event);
      }
      if (json) {
        out.println(
            StatisticsJson.format(statistics, order, reader.manifest().guest(), reader.gaps()));
      } else {
        out.print(StatisticsTable.format(statistics, order, top));
        TraceNotes.print(reader, out);
      }
      out.flush();
      return TraceNotes.damages(folder, reader, spec.commandLine().getErr());
    }
  }
}

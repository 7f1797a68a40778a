package dev.vmexit.cli;

import dev.vmexit.analysis.Dimension;
import dev.vmexit.analysis.ExitStatistics;
import dev.vmexit.analysis.StatisticsJson;
import dev.vmexit.analysis.StatisticsTable;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.trace.TraceFollower;
import dev.vmexit.trace.TraceReader;
import dev.vmexit.trace.TraceView;
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
  private static final long SECOND = 1_000_000_000L;

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

  @Option(
      names = "--follow",
      description = "Print anew each second while the trace is recorded, to the recording's end.")
  private boolean follow;

  private long shown = -1;
  private long shownAt;

  @Override
  public Integer call() {
    if (top < 1) {
      throw new UserException("--top=" + top + ", allowed: 1 and above");
    }
    final PrintWriter out = spec.commandLine().getOut();
    final ExitStatistics statistics = new ExitStatistics(dimension);
    final ExitEvent event = new ExitEvent();
    if (follow) {
      try (TraceFollower follower = TraceFollower.open(folder)) {
        shownAt = System.nanoTime();
        while (FollowPause.next(follower, event, () -> showNow(statistics, follower, out))) {
          statistics.add(event);
        }
        return end(statistics, follower, out);
      }
    }
    try (TraceReader reader = TraceReader.open(folder)) {
      while (reader.next(event)) {
        statistics.add(event);
      }
      return end(statistics, reader, out);
    }
  }

  /** At a moment at which nothing new is there; at most once a second. */
  private void showNow(
      final ExitStatistics statistics, final TraceView view, final PrintWriter out) {
    final long now = System.nanoTime();
    if (view.records() == shown || now - shownAt < SECOND) {
      return;
    }
    shown = view.records();
    shownAt = now;
    show(statistics, view, out);
    if (!json) {
      out.println();
    }
    out.flush();
  }

  private void show(final ExitStatistics statistics, final TraceView view, final PrintWriter out) {
    if (json) {
      out.println(
          StatisticsJson.format(
              statistics,
              order,
              view.manifest().guest(),
              view.manifest().clockSource(),
              view.gaps()));
    } else {
      out.print(StatisticsTable.format(statistics, order, top));
    }
  }

  private int end(final ExitStatistics statistics, final TraceView view, final PrintWriter out) {
    show(statistics, view, out);
    if (!json) {
      TraceNotes.print(view, out);
      if (statistics.lostEvents() > 0) {
        out.println(
            "Missing of KVM's tracepoints: "
                + statistics.lostEvents()
                + " events; dump says where.");
      }
      TraceNotes.snapshot(folder, out);
    }
    out.flush();
    return TraceNotes.damages(folder, view, spec.commandLine().getErr());
  }
}

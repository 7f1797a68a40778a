package dev.vmexit.cli;

import dev.vmexit.analysis.ExitJson;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.ExitFormatter;
import dev.vmexit.trace.TimeOrderedReader;
import dev.vmexit.trace.TraceFollower;
import dev.vmexit.trace.TracePoint;
import dev.vmexit.trace.TraceReader;
import dev.vmexit.trace.TraceView;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code vmexit dump TRACE}: the records, one a line. */
@Command(
    name = "dump",
    description = "Prints the exits of a trace, one a line.",
    mixinStandardHelpOptions = true)
final class DumpCommand implements Callable<Integer> {
  /** Characters to print at a time: a flush for each line would cost more than the line. */
  private static final int CHUNK = 1 << 16;

  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "TRACE", description = "A folder that run has recorded.")
  private Path folder;

  @Option(
      names = "--from",
      defaultValue = "0",
      paramLabel = "PLACE",
      converter = TracePointConverter.class,
      description = {
        "First record to print: a number, such as 1000; or",
        "5Minsn, after so many instructions (also kinsn, Ginsn);",
        "or 12.5s after the start (also ms, us, ns)."
      })
  private TracePoint from;

  @Option(
      names = "--to",
      paramLabel = "PLACE",
      converter = TracePointConverter.class,
      description = "Last record to print, in the same way.")
  private TracePoint to;

  @Option(
      names = "--kind",
      split = ",",
      paramLabel = "KIND",
      description = "Kinds to print, with commas between: ${COMPLETION-CANDIDATES}.")
  private List<ExitKind> kinds;

  @Option(names = "--json", description = "Print a JSON object a line, with all registers.")
  private boolean json;

  @Option(
      names = "--follow",
      description = "Go on printing while the trace is recorded, to the recording's end.")
  private boolean follow;

  private final ExitFormatter formatter = new ExitFormatter();
  private final ExitJson jsonFormatter = new ExitJson();
  private final StringBuilder text = new StringBuilder();
  private boolean heard = true;

  /** Whether a line must say whose exit it is. */
  private boolean several;

  @Override
  public Integer call() {
    final TracePoint last = to == null ? TracePoint.END : to;
    if (from.unit() == last.unit() && last.value() < from.value()) {
      throw new UserException("--from=" + from + " --to=" + last + ", allowed: from <= to");
    }
    final Set<ExitKind> wanted =
        kinds == null ? EnumSet.allOf(ExitKind.class) : EnumSet.copyOf(kinds);
    final PrintWriter out = spec.commandLine().getOut();
    final ExitEvent event = new ExitEvent();
    if (follow) {
      final BitSet passed = new BitSet();
      try (TraceFollower follower = TraceFollower.open(folder)) {
        while (heard && FollowPause.next(follower, event, () -> flush(out))) {
          if (last.isPassed(event)) {
            // Each vCPU counts its own records: the last one's end is the end.
            passed.set(event.vcpu);
            if (passed.cardinality() == follower.manifest().vcpus()) {
              break;
            }
          } else if (from.isReached(event)) {
            show(event, wanted, out);
          }
        }
        return end(follower, out);
      }
    }
    try (TraceReader reader = TraceReader.open(folder)) {
      if (reader.manifest().vcpus() > 1) {
        return inOrderOfTime(event, last, wanted, out);
      }
      reader.seek(from);
      while (heard && reader.next(event) && !last.isPassed(event)) {
        show(event, wanted, out);
      }
      return end(reader, out);
    }
  }

  /** Several vCPUs: each counts its own records, so both ends are looked for in each. */
  private Integer inOrderOfTime(
      final ExitEvent event,
      final TracePoint last,
      final Set<ExitKind> wanted,
      final PrintWriter out) {
    several = true;
    try (TimeOrderedReader reader = TimeOrderedReader.open(folder)) {
      while (heard && reader.next(event)) {
        if (from.isReached(event) && !last.isPassed(event)) {
          show(event, wanted, out);
        }
      }
      return end(reader, out);
    }
  }

  private void show(final ExitEvent event, final Set<ExitKind> wanted, final PrintWriter out) {
    // A gap is shown whatever was asked for: it may hide some of that.
    if (!wanted.contains(event.kind) && event.kind != ExitKind.GAP) {
      return;
    }
    if (json) {
      jsonFormatter.append(event, text);
    } else {
      if (several) {
        text.append("vcpu").append(event.vcpu).append(' ');
      }
      formatter.line(event, text);
    }
    text.append('\n');
    if (text.length() >= CHUNK) {
      flush(out);
    }
  }

  private void flush(final PrintWriter out) {
    out.append(text);
    text.setLength(0);
    // `dump | head` must not read a long trace to its end.
    heard = !out.checkError();
  }

  private int end(final TraceView view, final PrintWriter out) {
    flush(out);
    final PrintWriter err = spec.commandLine().getErr();
    if (view.damages().isEmpty()) {
      TraceNotes.missing(view, err);
    }
    if (!follow || ((TraceFollower) view).ended()) {
      TraceNotes.closing(view, err);
    }
    err.flush();
    return TraceNotes.damages(folder, view, err);
  }
}

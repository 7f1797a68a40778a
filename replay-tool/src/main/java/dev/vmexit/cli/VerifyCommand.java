package dev.vmexit.cli;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.TraceCheck;
import dev.vmexit.trace.TraceDamage;
import dev.vmexit.trace.TraceReader;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code vmexit verify TRACE}: reads every byte and names what is damaged. */
@Command(
    name = "verify",
    description = "Reads all of a trace and names what is damaged or missing.",
    mixinStandardHelpOptions = true,
    exitCodeListHeading = "%nExit status:%n",
    exitCodeList = {"0:nothing is damaged", "1:something is, or there is no such trace"})
final class VerifyCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "TRACE", description = "A trace that run has recorded.")
  private Path folder;

  @Override
  public Integer call() {
    final PrintWriter out = spec.commandLine().getOut();
    final int status;
    try (TraceReader reader = TraceReader.open(folder)) {
      if (reader.recording()) {
        throw new UserException(folder + ": is being recorded: verify it when its run has ended");
      }
      final ExitEvent event = new ExitEvent();
      long dropped = 0;
      while (reader.next(event)) {
        if (event.kind == ExitKind.GAP && event.detail == ExitEvent.GAP_DROPPED) {
          dropped += event.value;
          out.println(
              "dropped as the ring was full: records "
                  + event.address
                  + " to "
                  + (event.address + event.value - 1));
        }
      }
      for (final TraceDamage damage : reader.damages()) {
        out.println(damage);
      }
      final String start = TraceCheck.start(folder, reader.manifest());
      if (start != null) {
        out.println(start);
      }
      TraceNotes.missing(reader, out);
      TraceNotes.closing(reader, out);
      final boolean whole = reader.damages().isEmpty() && start == null;
      out.println(
          (whole ? "Whole: " : "Damaged: ")
              + reader.records()
              + " records can be read, "
              + (reader.gaps() - dropped)
              + " are lost, "
              + dropped
              + " were dropped"
              + (reader.notKept() > 0 ? ", " + reader.notKept() + " were not kept." : "."));
      status = whole ? ExitStatus.OK : ExitStatus.ERROR;
    }
    out.flush();
    return status;
  }
}

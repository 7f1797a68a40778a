package dev.vmexit.cli;

import dev.vmexit.exit.ExitCondition;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitSink;
import dev.vmexit.exit.TriggerSink;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vm.RunEnd;
import dev.vmexit.vm.VirtualMachine;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.function.Supplier;
import picocli.CommandLine.Option;

/** What is done at an exit that is waited for: {@code run --stop-when, --snapshot-when}. */
final class TriggerOptions {
  /** The folder of a snapshot in that of its trace. */
  static final String SNAPSHOT = "snapshot";

  /** The file in it that says of which exit it is. */
  static final String PLACE = "exit.txt";

  @Option(
      names = "--stop-when",
      paramLabel = "EXPR",
      description = {
        "End the run at the first exit like this. Terms, with 'and'",
        "between them: kind=pio,mmio port=0x3f8-0x3ff gpa= gva=",
        "msr= vector= rip= handler>100us count=1000."
      })
  private String stopWhen;

  @Option(
      names = "--snapshot-when",
      paramLabel = "EXPR",
      description = {
        "Save guest memory and registers at the first exit like this,",
        "into the trace's folder."
      })
  private String snapshotWhen;

  // One for all vCPUs, so that the exits of all count: one vCPU at a time is at its sink.
  private ExitCondition stop;
  private ExitCondition snapshot;
  private int vcpus;

  /** Says what is wrong before anything is begun. */
  void check(final boolean recorded, final int ofVcpus) {
    vcpus = ofVcpus;
    stop = condition("--stop-when", stopWhen);
    snapshot = condition("--snapshot-when", snapshotWhen);
    if (snapshotWhen != null && !recorded) {
      throw new UserException("--snapshot-when goes with a recording, not with --no-record");
    }
  }

  private static ExitCondition condition(final String option, final String text) {
    try {
      return text == null ? null : ExitCondition.parse(text);
    } catch (final IllegalArgumentException e) {
      throw new UserException(option + ": " + e.getMessage(), e);
    }
  }

  /** Puts in front of a vCPU's sink what was asked for; the sink itself where nothing was. */
  ExitSink sink(
      final ExitSink sink,
      final Path folder,
      final GuestMemory memory,
      final Supplier<VirtualMachine> machine,
      final PrintWriter err) {
    ExitSink outer = sink;
    if (snapshot != null) {
      outer =
          new TriggerSink(
              outer,
              snapshot,
              event -> save(event, folder.resolve(SNAPSHOT), memory, machine.get(), err));
    }
    if (stop != null) {
      outer =
          new TriggerSink(outer, stop, event -> machine.get().commands().stop(RunEnd.TRIGGERED));
    }
    return outer;
  }

  private void save(
      final ExitEvent event,
      final Path folder,
      final GuestMemory memory,
      final VirtualMachine vm,
      final PrintWriter err) {
    try {
      Files.createDirectory(folder);
      vm.whileStopped(event.vcpu, () -> TraceStart.save(folder, memory, vm, vcpus));
      Files.writeString(
          folder.resolve(PLACE),
          String.format(
              Locale.ROOT,
              "record %d (%s)%s, after %d instructions%n",
              event.sequence,
              event.kind,
              vcpus > 1 ? " of vCPU " + event.vcpu : "",
              event.retired));
    } catch (final IOException | UserException e) {
      err.println("vmexit: --snapshot-when: " + folder + " cannot be saved: " + e.getMessage());
      err.flush();
    }
  }
}

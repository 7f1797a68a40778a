package dev.vmexit.cli;

import dev.vmexit.analysis.TraceComparison;
import dev.vmexit.exit.ExitEvent;
import dev.vmexit.exit.ExitKind;
import dev.vmexit.trace.ExitFormatter;
import dev.vmexit.trace.TraceReader;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code vmexit diff A B}: where two traces part, and how much of each kind is the same. */
@Command(
    name = "diff",
    description = "Compares the exits of two traces, record by record of each vCPU.",
    mixinStandardHelpOptions = true,
    exitCodeListHeading = "%nExit status:%n",
    exitCodeList = {"0:the same exits in the same order", "1:no such trace", "3:they differ"})
final class DiffCommand implements Callable<Integer> {
  /** What KVM sees as a software vCPU does; the rest is the processor's own affair there. */
  private static final Set<ExitKind> SEEN_BY_ALL =
      EnumSet.of(ExitKind.PIO, ExitKind.MMIO, ExitKind.HLT, ExitKind.INJECT, ExitKind.SHUTDOWN);

  /** By their encoding numbers. */
  private static final String[] REGISTERS = {
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15"
  };

  @Spec private CommandSpec spec;

  @Parameters(index = "0", paramLabel = "A", description = "A trace that run has recorded.")
  private Path first;

  @Parameters(index = "1", paramLabel = "B", description = "Another one.")
  private Path second;

  @Option(
      names = "--kind",
      split = ",",
      paramLabel = "KIND",
      description = {
        "Kinds to compare, with commas between:",
        "${COMPLETION-CANDIDATES}.",
        "Default: those that both recorded and both processors see."
      })
  private List<ExitKind> kinds;

  @Override
  public Integer call() {
    final PrintWriter out = spec.commandLine().getOut();
    final Set<ExitKind> wanted;
    final TraceComparison comparison;
    try (TraceReader a = TraceReader.open(first);
        TraceReader b = TraceReader.open(second)) {
      wanted = wanted(a, b);
      comparison = new TraceComparison(wanted);
      final ExitEvent event = new ExitEvent();
      boolean more = true;
      while (more) {
        more = false;
        if (a.next(event)) {
          more = true;
          if (isCompared(event, wanted)) {
            comparison.first(event);
          }
        }
        if (b.next(event)) {
          more = true;
          if (isCompared(event, wanted)) {
            comparison.second(event);
          }
        }
      }
    }
    if (comparison.differingVcpu() >= 0) {
      firstDifference(comparison, wanted, out);
      out.println();
    }
    summary(comparison, wanted, out);
    out.flush();
    return comparison.isSame() ? ExitStatus.OK : ExitStatus.REPLAY_DIFFERENCE;
  }

  /** An exception is injected where page faults are seen to be reflected, and only there. */
  private static boolean isCompared(final ExitEvent event, final Set<ExitKind> wanted) {
    return wanted.contains(event.kind)
        && (event.kind != ExitKind.INJECT
            || event.detail != ExitEvent.INJECT_EXCEPTION
            || wanted.contains(ExitKind.PAGE_FAULT));
  }

  private Set<ExitKind> wanted(final TraceReader a, final TraceReader b) {
    final Set<ExitKind> both = EnumSet.allOf(ExitKind.class);
    both.retainAll(a.manifest().kinds());
    both.retainAll(b.manifest().kinds());
    both.remove(ExitKind.GAP);
    both.remove(ExitKind.KICK);
    if (kinds != null) {
      final Set<ExitKind> given = EnumSet.copyOf(kinds);
      given.retainAll(both);
      if (given.isEmpty()) {
        throw new UserException("--kind: not one of " + kinds + " is recorded in both traces");
      }
      return given;
    }
    // What KVM does itself depends on what it did before, and on the host.
    both.remove(ExitKind.KERNEL);
    if (!a.manifest().backend().equals(b.manifest().backend())) {
      both.retainAll(SEEN_BY_ALL);
    }
    if (!a.manifest().mmu().equals(b.manifest().mmu())) {
      both.remove(ExitKind.PAGE_FAULT);
    }
    return both;
  }

  private void firstDifference(
      final TraceComparison comparison, final Set<ExitKind> wanted, final PrintWriter out) {
    final ExitEvent a = find(first, comparison, wanted);
    final ExitEvent b = find(second, comparison, wanted);
    out.printf(
        Locale.ROOT,
        "vCPU %d: %,d exits are the same, the next differs in its %s:%n",
        comparison.differingVcpu(),
        comparison.differingOrdinal(),
        TraceComparison.difference(a, b));
    final ExitFormatter formatter = new ExitFormatter();
    final StringBuilder line = new StringBuilder();
    formatter.line(a, line.append("A "));
    line.append('\n');
    formatter.line(b, line.append("B "));
    out.println(line);
    registers(a, b, out);
  }

  /** The registers that differ too: often the reason. Not compared, as vCPUs may leave them be. */
  private static void registers(final ExitEvent a, final ExitEvent b, final PrintWriter out) {
    for (int i = 0; i < a.registers.length; i++) {
      register(REGISTERS[i], a.registers[i], b.registers[i], out);
    }
    register("rflags", a.rflags, b.rflags, out);
    register("cr0", a.cr0, b.cr0, out);
    register("cr3", a.cr3, b.cr3, out);
    register("cr4", a.cr4, b.cr4, out);
    register("efer", a.efer, b.efer, out);
  }

  private static void register(
      final String name, final long a, final long b, final PrintWriter out) {
    if (a != b) {
      out.printf(Locale.ROOT, "%-8s%016x  %016x%n", name, a, b);
    }
  }

  /** Reads a trace again up to the record that differs. */
  private static ExitEvent find(
      final Path folder, final TraceComparison comparison, final Set<ExitKind> wanted) {
    final ExitEvent event = new ExitEvent();
    try (TraceReader reader = TraceReader.open(folder)) {
      long left = comparison.differingOrdinal();
      while (reader.next(event)) {
        if (isCompared(event, wanted) && event.vcpu == comparison.differingVcpu()) {
          left -= TraceComparison.exits(event);
          if (left < 0) {
            return event;
          }
        }
      }
    }
    throw new UserException(folder + ": changed while it was read");
  }

  private static void summary(
      final TraceComparison comparison, final Set<ExitKind> wanted, final PrintWriter out) {
    out.printf(Locale.ROOT, "%-12s%12s%12s%12s%n", "KIND", "A", "B", "SAME");
    for (final ExitKind kind : wanted) {
      final long a = comparison.firstCount(kind);
      final long b = comparison.secondCount(kind);
      if (a + b > 0) {
        out.printf(Locale.ROOT, "%-12s%12d%12d%12d%n", kind, a, b, comparison.same(kind));
      }
    }
    if (comparison.isSame()) {
      out.printf(Locale.ROOT, "The same %,d exits in the same order.%n", comparison.inStep());
    } else if (comparison.differingVcpu() < 0) {
      out.println("One trace goes on where the other one ends; before that they are the same.");
    }
  }
}

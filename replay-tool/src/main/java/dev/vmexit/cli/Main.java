package dev.vmexit.cli;

import dev.vmexit.boot.BootException;
import dev.vmexit.trace.TraceException;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;
import picocli.CommandLine.UnmatchedArgumentException;

/** {@code vmexit}: picks the subcommand, and turns what went wrong into one line and a status. */
@Command(
    name = "vmexit",
    description = "A virtual machine monitor with a flight recorder.",
    mixinStandardHelpOptions = true,
    versionProvider = Main.Version.class,
    usageHelpWidth = 80,
    subcommands = {
      RunCommand.class,
      ReplayCommand.class,
      StatCommand.class,
      DumpCommand.class,
      DiffCommand.class,
      VerifyCommand.class,
      PackCommand.class,
      GuestCommand.class,
      DoctorCommand.class,
      CommandLine.HelpCommand.class
    },
    exitCodeListHeading = "%nExit status:%n",
    exitCodeList = {
      "0:done; run: the guest powered off, or was stopped by the user",
      "1:something given was wrong: one line says what",
      "2:an unknown option or command",
      "3:replay: the trace does not agree with itself; diff: the traces differ",
      "4:run: the guest died of a triple fault",
      "5:run: the guest reset the machine",
      "6:run: the guest's kernel panicked",
      "7:run: the guest halted with interrupts disabled",
      "8:run: --timeout is over",
      "9:run: the recording could not go on",
      "10:run: the vCPU could not go on"
    })
public final class Main implements Runnable {
  @Spec private CommandSpec spec;

  @Option(
      names = "--debug",
      scope = ScopeType.INHERIT,
      description = "Show stack traces of errors.")
  private boolean debug;

  private Main() {}

  /** Runs the tool and ends the process with its status. */
  public static void main(final String[] args) {
    System.exit(execute(args));
  }

  /** Runs the tool in this process; the exit status. */
  static int execute(final String... args) {
    final Main main = new Main();
    try {
      return commandLine(main).execute(args);
    } catch (final LinkageError e) {
      if (!SignalStop.stopping()) {
        throw e;
      }
      // A library could not be set up, as it may not register for the end that is under way.
      return ExitStatus.ERROR;
    } finally {
      SignalStop.finished();
    }
  }

  private static CommandLine commandLine(final Main main) {
    final CommandLine line = new CommandLine(main);
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setExecutionExceptionHandler((e, command, parsed) -> main.report(e, command.getErr()));
    line.setParameterExceptionHandler((e, parsed) -> badUsage(e));
    return line;
  }

  private static int badUsage(final ParameterException e) {
    final CommandLine line = e.getCommandLine();
    final StringBuilder text = new StringBuilder("vmexit: ");
    if (e instanceof UnmatchedArgumentException unmatched
        && !unmatched.isUnknownOption()
        && !line.getSubcommands().isEmpty()) {
      text.append("unknown command: '").append(unmatched.getUnmatched().getFirst()).append('\'');
    } else {
      text.append(Character.toLowerCase(e.getMessage().charAt(0)))
          .append(e.getMessage().substring(1));
    }
    if (e instanceof UnmatchedArgumentException unmatched
        && !unmatched.getSuggestions().isEmpty()) {
      text.append("; did you mean ")
          .append(String.join(", ", unmatched.getSuggestions()))
          .append('?');
    }
    text.append("; see '").append(line.getCommandSpec().qualifiedName()).append(" --help'");
    line.getErr().println(text);
    line.getErr().flush();
    return ExitStatus.USAGE;
  }

  /** One line for what the user can mend; a bug keeps its class name. */
  private int report(final Exception e, final PrintWriter err) {
    if (debug) {
      e.printStackTrace(err);
    } else if (SignalStop.stopping()) {
      // What fails while the process ends fails because it ends.
      err.println("vmexit: stopped (" + e.getMessage() + ")");
    } else if (e instanceof TraceException
        || e instanceof BootException
        || e instanceof GuestException
        || e instanceof KvmUnavailableException
        || e instanceof UserException) {
      err.println("vmexit: " + e.getMessage());
    } else {
      err.println("vmexit: internal error: " + e + " (--debug shows where)");
    }
    err.flush();
    return ExitStatus.ERROR;
  }

  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }

  /** The version that the build wrote into the jar. */
  static final class Version implements IVersionProvider {
    static String text() {
      final String version = Main.class.getPackage().getImplementationVersion();
      return version == null ? "development build" : version;
    }

    @Override
    public String[] getVersion() {
      return new String[] {"vmexit " + text(), "JDK " + Runtime.version()};
    }
  }
}

package dev.vmexit.cli;

import dev.vmexit.trace.TracePacker;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code vmexit pack TRACE}: one compact file of a trace. */
@Command(
    name = "pack",
    description = {
      "Packs a trace into one compact file, which every command reads as it is.",
      "The folder stays."
    },
    mixinStandardHelpOptions = true,
    exitCodeListHeading = "%nExit status:%n",
    exitCodeList = {"0:packed", "1:not packed, or packed what a damaged trace has left"})
final class PackCommand implements Callable<Integer> {
  private static final double MIB = 1 << 20;

  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "TRACE", description = "A folder that run has recorded.")
  private Path folder;

  @Option(
      names = {"-o", "--output"},
      paramLabel = "FILE",
      description = "Default: TRACE.vmtrace beside the folder.")
  private Path output;

  @Override
  public Integer call() throws IOException {
    final Path target =
        output == null ? folder.resolveSibling(folder.getFileName() + ".vmtrace") : output;
    final TracePacker.Result result = TracePacker.pack(folder, target);
    final PrintWriter out = spec.commandLine().getOut();
    out.printf(
        Locale.ROOT,
        "%s: %d records, %.1f MiB of %.1f%n",
        target,
        result.records(),
        result.bytes() / MIB,
        size(folder) / MIB);
    out.flush();
    if (result.gaps() > 0) {
      final PrintWriter err = spec.commandLine().getErr();
      err.println(
          "vmexit: "
              + folder
              + ": "
              + result.gaps()
              + " records are missing"
              + (result.damages().isEmpty() ? "" : "; see vmexit verify " + folder));
      err.flush();
    }
    return result.damages().isEmpty() ? ExitStatus.OK : ExitStatus.ERROR;
  }

  private static long size(final Path folder) throws IOException {
    try (Stream<Path> all = Files.walk(folder)) {
      long bytes = 0;
      for (final Path path : (Iterable<Path>) all.filter(Files::isRegularFile)::iterator) {
        bytes += Files.size(path);
      }
      return bytes;
    }
  }
}

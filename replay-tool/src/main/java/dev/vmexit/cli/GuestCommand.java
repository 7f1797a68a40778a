package dev.vmexit.cli;

import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code vmexit guest}: the guests that are known by name, and their files in the cache. */
@Command(
    name = "guest",
    description = "Lists and fetches the guests that run knows by name.",
    mixinStandardHelpOptions = true,
    subcommands = {GuestCommand.ListCommand.class, GuestCommand.FetchCommand.class})
final class GuestCommand implements Runnable {
  @Spec private CommandSpec spec;

  /** Without a subcommand there is nothing to do but to say which there are. */
  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }

  /** {@code vmexit guest list}. */
  @Command(
      name = "list",
      description = "Prints name, state, memory and description of every known guest.",
      mixinStandardHelpOptions = true)
  static final class ListCommand implements Callable<Integer> {
    @Spec private CommandSpec spec;

    @Override
    public Integer call() {
      final GuestStore store = GuestStore.ofProcess();
      for (final GuestCatalog.Definition guest : GuestCatalog.all()) {
        final Optional<GuestStore.Guest> cached = store.cached(guest);
        spec.commandLine()
            .getOut()
            .printf(
                "%-18s %-12s %4d MiB  %s%n",
                guest.name(),
                cached.map(GuestStore.Guest::version).orElse("not fetched"),
                guest.memoryBytes() >> 20,
                guest.summary());
      }
      spec.commandLine().getOut().flush();
      return 0;
    }
  }

  /** {@code vmexit guest fetch NAME}. */
  @Command(
      name = "fetch",
      description = "Makes a guest from its distribution's packages and puts it into the cache.",
      mixinStandardHelpOptions = true)
  static final class FetchCommand implements Callable<Integer> {
    @Spec private CommandSpec spec;

    @Parameters(paramLabel = "NAME", description = "A name that guest list prints.")
    private String name;

    @Option(names = "--force", description = "Fetch it again where it is in the cache already.")
    private boolean force;

    @Override
    public Integer call() {
      try {
        if (GuestDisk.knows(name)) {
          spec.commandLine().getOut().println(name + ": " + GuestDisk.ofProcess().require(name));
          spec.commandLine().getOut().flush();
          return 0;
        }
        final GuestStore store = GuestStore.ofProcess();
        final GuestStore.Guest guest = force ? store.fetch(name) : store.require(name);
        spec.commandLine()
            .getOut()
            .printf("%s %s: %s%n", guest.name(), guest.version(), guest.kernel().getParent());
        spec.commandLine().getOut().flush();
        return 0;
      } catch (final GuestException e) {
        spec.commandLine().getErr().println("vmexit: " + e.getMessage());
        spec.commandLine().getErr().flush();
        return 1;
      }
    }
  }
}

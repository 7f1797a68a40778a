package dev.vmexit.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * Whole boots of a guest, measured from outside: {@code SideBySide boot|record|memory ROOT GUEST
 * [RUNS]}, ROOT being the project's folder and GUEST one of the cache. {@code bench/run.sh} calls
 * it. Runs of the two sides alternate, so that a busy host hurts both; medians are compared. Exit
 * status 1 where a limit is missed.
 */
public final class SideBySide {
  /** What the initramfs of a catalogue guest prints first, and its shell's prompt. */
  private static final String USERSPACE = "vmexit: userspace";

  private static final String PROMPT = "vmexit:/root# ";

  private static final double BOOT_LIMIT = 8;
  private static final double RECORD_LIMIT = 1.05;
  private static final long MEMORY_LIMIT_KB = 350 << 10;
  private static final int DEFAULT_RUNS = 3;

  /** A boot differs from the next by more than the limit allows: it takes some pairs. */
  private static final int DEFAULT_RECORD_RUNS = 15;

  private final Path root;
  private final Path guest;
  private final int runs;
  private final PrintStream out;

  /** Seconds of one boot; of all threads' processor time at the prompt. */
  private record Boot(double userspace, double prompt, double processor) {}

  private SideBySide(final Path root, final Path guest, final int runs, final PrintStream out) {
    this.root = root;
    this.guest = guest;
    this.runs = runs;
    this.out = out;
  }

  /** Measures what the first argument names. */
  public static void main(final String[] args) throws IOException {
    if (args.length < 3 || args.length > 4) {
      System.err.println("usage: SideBySide boot|record|memory ROOT GUEST [RUNS]");
      System.exit(2);
    }
    final int some = args[0].equals("record") ? DEFAULT_RECORD_RUNS : DEFAULT_RUNS;
    final int runs = args.length == 4 ? Integer.parseInt(args[3]) : some;
    final SideBySide bench = new SideBySide(Path.of(args[1]), Path.of(args[2]), runs, System.out);
    final boolean held =
        switch (args[0]) {
          case "boot" -> bench.boot();
          case "record" -> bench.record();
          case "memory" -> bench.memory();
          default -> throw new IllegalArgumentException("no measurement is named " + args[0]);
        };
    System.exit(held ? 0 : 1);
  }

  /** Against QEMU's TCG: the same kernel, initrd, command line and memory, recording on. */
  private boolean boot() throws IOException {
    final List<Boot> peer = new ArrayList<>();
    final List<Boot> own = new ArrayList<>();
    final List<String> qemu = qemu();
    out.println("peer: " + String.join(" ", qemu));
    for (int i = 0; i < runs; i++) {
      peer.add(report("qemu tcg", boot(qemu)));
      own.add(report("vmexit", recordedBoot()));
    }
    final double ratio =
        median(own.stream().map(Boot::prompt).toList())
            / median(peer.stream().map(Boot::prompt).toList());
    medians("qemu tcg", peer);
    medians("vmexit", own);
    return verdict("time to the prompt, vmexit / qemu tcg", ratio, BOOT_LIMIT);
  }

  /** Recording against none. */
  private boolean record() throws IOException {
    final List<Boot> off = new ArrayList<>();
    final List<Boot> on = new ArrayList<>();
    for (int i = 0; i < runs; i++) {
      // Each goes first as often as the other: a host that becomes slower hurts both.
      if (i % 2 == 1) {
        on.add(report("--record", recordedBoot()));
      }
      off.add(report("--no-record", boot(vmexit("--no-record"))));
      if (i % 2 == 0) {
        on.add(report("--record", recordedBoot()));
      }
    }
    final double ratio =
        median(on.stream().map(Boot::prompt).toList())
            / median(off.stream().map(Boot::prompt).toList());
    medians("--no-record", off);
    medians("--record", on);
    // Beside the time: tells work that recording adds from waiting for a core.
    out.printf(
        Locale.ROOT,
        "processor time to the prompt, recording on / off: %.3f%n",
        median(on.stream().map(Boot::processor).toList())
            / median(off.stream().map(Boot::processor).toList()));
    // The two of a pair stood beside each other in time.
    out.printf(
        Locale.ROOT,
        "time to the prompt, recording on / off, median of %d pairs' ratios: %.3f%n",
        runs,
        median(
            IntStream.range(0, runs)
                .mapToObj(i -> on.get(i).prompt() / off.get(i).prompt())
                .toList()));
    return verdict("time to the prompt, recording on / off", ratio, RECORD_LIMIT);
  }

  /** Resident size at the prompt, recording on, less the guest's own memory. */
  private boolean memory() throws IOException {
    final List<Double> over = new ArrayList<>();
    for (int i = 0; i < runs; i++) {
      final Path trace = Files.createTempDirectory("vmexit-bench");
      try (ConsoleRun run =
          ConsoleRun.start(vmexit("--record", trace.resolve("trace").toString()))) {
        run.secondsUntil(PROMPT);
        final ResidentMemory memory = ResidentMemory.of(run.pid());
        out.printf(
            Locale.ROOT,
            "resident %d MB, guest memory %d MB, the rest %d MB%n",
            memory.total() >> 10,
            memory.guest() >> 10,
            memory.total() - memory.guest() >> 10);
        over.add((double) (memory.total() - memory.guest()));
      } finally {
        delete(trace);
      }
    }
    return verdict("kB resident over guest memory", median(over), MEMORY_LIMIT_KB);
  }

  private Boot recordedBoot() throws IOException {
    final Path trace = Files.createTempDirectory("vmexit-bench");
    try {
      return boot(vmexit("--record", trace.resolve("trace").toString()));
    } finally {
      delete(trace);
    }
  }

  private static Boot boot(final List<String> command) throws IOException {
    try (ConsoleRun run = ConsoleRun.start(command)) {
      final double userspace = run.secondsUntil(USERSPACE);
      return new Boot(userspace, run.secondsUntil(PROMPT), run.processorSeconds());
    }
  }

  private List<String> vmexit(final String... options) {
    final List<String> command = new ArrayList<>();
    command.add(root.resolve("vmexit").toString());
    command.add("run");
    // The figures are those of the software vCPU, on every host.
    command.addAll(List.of("--backend", "soft"));
    command.add(guest.getFileName().toString());
    command.addAll(Arrays.asList(options));
    return command;
  }

  /** No display and no network card: the guest finds as little as it finds in vmexit. */
  private List<String> qemu() throws IOException {
    final Properties properties = new Properties();
    try (InputStream in = Files.newInputStream(guest.resolve("guest.properties"))) {
      properties.load(in);
    }
    return List.of(
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-machine",
        "pc",
        "-m",
        (Long.parseLong(properties.getProperty("memory")) >> 20) + "M",
        "-nographic",
        "-vga",
        "none",
        "-nic",
        "none",
        "-no-reboot",
        "-kernel",
        guest.resolve("vmlinuz").toString(),
        "-initrd",
        guest.resolve("initrd.gz").toString(),
        "-append",
        properties.getProperty("cmdline"));
  }

  // ---- words ----

  private Boot report(final String side, final Boot boot) {
    out.printf(
        Locale.ROOT,
        "%-12s userspace %6.2f s, prompt %6.2f s, processor %6.2f s%n",
        side,
        boot.userspace,
        boot.prompt,
        boot.processor);
    return boot;
  }

  private void medians(final String side, final List<Boot> boots) {
    out.printf(
        Locale.ROOT,
        "median of %d: %-12s userspace %6.2f s, prompt %6.2f s, processor %6.2f s%n",
        boots.size(),
        side,
        median(boots.stream().map(Boot::userspace).toList()),
        median(boots.stream().map(Boot::prompt).toList()),
        median(boots.stream().map(Boot::processor).toList()));
  }

  private boolean verdict(final String what, final double value, final double limit) {
    final boolean held = value <= limit;
    out.printf(
        Locale.ROOT, "%s: %.3f, limit %.3f: %s%n", what, value, limit, held ? "held" : "MISSED");
    return held;
  }

  private static double median(final List<Double> values) {
    final double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    final int middle = sorted.length / 2;
    return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  }

  static void delete(final Path folder) throws IOException {
    try (Stream<Path> paths = Files.walk(folder)) {
      for (final Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(path);
      }
    }
  }
}

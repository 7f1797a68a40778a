package dev.vmexit.cli;

import dev.vmexit.vcpu.kvm.KernelTracepoints;
import dev.vmexit.vcpu.kvm.KvmCapability;
import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import dev.vmexit.vcpu.kvm.PageFaultWatch;
import java.io.IOException;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code vmexit doctor}: what this host offers, what is missing, what that costs. */
@Command(
    name = "doctor",
    description = "Says what this host offers, what is missing, what it costs, how to get it.",
    mixinStandardHelpOptions = true)
final class DoctorCommand implements Callable<Integer> {
  private static final int WIDTH = 80;
  private static final String INDENT = "          ";
  private static final long GIB = 1L << 30;
  private static final long ROOM_WANTED = 2 * GIB;

  @Spec private CommandSpec spec;

  private PrintWriter out;
  private int missing;

  @Override
  public Integer call() {
    out = spec.commandLine().getOut();
    jdk();
    processor();
    kvm();
    cores();
    memory();
    tracing();
    disk();
    out.println();
    wrap(
        "",
        missing == 0
            ? "Nothing is missing."
            : missing + (missing == 1 ? " thing is" : " things are") + " missing.");
    wrap(
        "",
        "By default run takes "
            + BackendChoice.of(BackendChoice.Wish.AUTO, Optional.empty()).line()
            + ".");
    out.flush();
    return ExitStatus.OK;
  }

  // ---- what is looked at ----

  private void jdk() {
    ok("JDK " + Runtime.version() + ", " + System.getProperty("java.vm.name"));
    final List<String> flags = ManagementFactory.getRuntimeMXBean().getInputArguments();
    final List<String> absent = new ArrayList<>();
    for (final String wanted :
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
            "-Dagrona.disable.bounds.checks=true")) {
      if (!flags.contains(wanted)) {
        absent.add(wanted);
      }
    }
    if (absent.isEmpty()) {
      ok("JVM flags as the launcher gives them");
    } else {
      missing(
          "JVM flags: " + String.join(" ", absent),
          "warnings, and a slower exit path",
          "start by the launcher ./vmexit");
    }
  }

  private void processor() {
    final HostCpu cpu = HostCpu.read();
    final Optional<String> extension = cpu.virtualization();
    if (extension.isPresent()) {
      ok("processor: " + cpu.model() + ", with " + extension.get());
    } else {
      missing(
          "VMX or SVM, on " + cpu.model(),
          "guests run on the software vCPU, at a fraction of the speed",
          "turn virtualization on in the firmware, or nested virtualization in the hypervisor");
    }
  }

  private void kvm() {
    try (KvmSystem system = KvmSystem.open()) {
      ok(KvmSystem.DEVICE + ": KVM API 12, " + system.msrIndices().length + " MSRs");
      final List<String> offered = new ArrayList<>();
      for (final KvmCapability capability : KvmCapability.values()) {
        if (capability.isOffered(system)) {
          offered.add(capability.name());
        } else {
          missing("KVM_CAP_" + capability, capability.cost(), "a newer Linux kernel");
        }
      }
      ok(
          offered.size()
              + " of "
              + KvmCapability.values().length
              + " capabilities of KVM in use: "
              + String.join(" ", offered));
    } catch (final KvmUnavailableException e) {
      missing(KvmSystem.DEVICE, "no guest runs on KVM", e.getMessage());
    }
  }

  private void cores() {
    final int cores = Runtime.getRuntime().availableProcessors();
    if (cores >= 2) {
      ok("cores: " + cores + ", one for a vCPU and one for the recorder");
    } else {
      missing(
          "a second core",
          "vCPU and recorder take turns, exits take longer",
          "more cores, or taskset with more of them");
    }
  }

  private void memory() {
    final String pages = text("/sys/kernel/mm/transparent_hugepage/enabled").orElse("");
    if (pages.contains("[madvise]") || pages.contains("[always]")) {
      ok("huge pages: transparent ones, by --huge-pages");
    } else {
      missing(
          "transparent huge pages",
          "guest memory is slower to touch and to translate",
          "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    }
    final Optional<String> available =
        text("/proc/meminfo")
            .flatMap(
                all -> all.lines().filter(line -> line.startsWith("MemAvailable:")).findFirst());
    available.ifPresent(
        line ->
            ok("memory available:" + line.substring(line.indexOf(':') + 1).replaceAll(" +", " ")));
  }

  private void tracing() {
    try {
      final int count = KernelTracepoints.read().count();
      ok("tracefs: " + count + " of KVM's own tracepoints, for run --kernel-trace");
    } catch (final KvmUnavailableException e) {
      missing("KVM's own tracepoints", "run --kernel-trace is refused", e.getMessage());
    }
    final Optional<String> faults = PageFaultWatch.missing();
    if (faults.isEmpty()) {
      ok("userfaultfd, for run --page-faults uffd");
    } else {
      missing("userfaultfd", "run --page-faults uffd is refused", faults.get());
    }
  }

  private void disk() {
    final Path here = Path.of("").toAbsolutePath();
    try {
      final long room = Files.getFileStore(here).getUsableSpace();
      final String words = MemorySize.format(room >> 20 << 20) + " of disk for traces in " + here;
      if (room >= ROOM_WANTED) {
        ok(words);
      } else {
        missing(
            "disk for traces: " + words,
            "a recording of a long run ends early",
            "free some, or --record on another disk");
      }
    } catch (final IOException e) {
      missing("disk for traces: " + e.getMessage(), "recordings fail", "another folder");
    }
  }

  private static Optional<String> text(final String file) {
    try {
      return Optional.of(Files.readString(Path.of(file), StandardCharsets.UTF_8));
    } catch (final IOException e) {
      return Optional.empty();
    }
  }

  // ---- how it is said ----

  private void ok(final String what) {
    wrap("ok        ", what);
  }

  private void missing(final String what, final String cost, final String remedy) {
    missing++;
    wrap("missing   ", what);
    wrap(INDENT + "costs:   ", cost);
    wrap(INDENT + "get it:  ", remedy);
  }

  /** Prints words after a head; what does not fit goes on below them. */
  private void wrap(final String head, final String words) {
    final StringBuilder line = new StringBuilder(head);
    boolean first = true;
    for (final String word : words.split(" ", -1)) {
      if (!first && line.length() + 1 + word.length() > WIDTH) {
        out.println(line);
        line.setLength(0);
        line.append(" ".repeat(head.length()));
        first = true;
      }
      line.append(first ? "" : " ").append(word);
      first = false;
    }
    out.println(line);
  }
}

package dev.vmexit.cli;

import dev.vmexit.vcpu.KernelEvents;
import dev.vmexit.vcpu.kvm.KernelTracepoints;
import dev.vmexit.vm.KvmOptions;
import dev.vmexit.vm.VirtualMachine;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Option;

/** The options of {@code run} that a machine on KVM alone has. */
final class KvmRunOptions {
  /** Whose interrupt controllers the guest has. */
  enum Irqchip {
    USER,
    KERNEL
  }

  @Option(
      names = "--irqchip",
      paramLabel = "WHERE",
      defaultValue = "user",
      description = {
        "Interrupt controllers and PIT, with KVM: user (ours; each",
        "injection is recorded) or kernel (faster, nothing of it seen).",
        "Default: ${DEFAULT-VALUE}."
      })
  private Irqchip irqchip;

  /** How the host's page faults on guest memory are seen. */
  enum PageFaults {
    NONE,
    UFFD
  }

  @Option(
      names = "--page-faults",
      paramLabel = "HOW",
      defaultValue = "none",
      description = {
        "With KVM: uffd records each page of guest memory that is",
        "touched or written to for the first time; costs some",
        "microseconds a page. Default: ${DEFAULT-VALUE}."
      })
  private PageFaults pageFaults;

  @Option(
      names = "--kernel-trace",
      description = {
        "With KVM: records of kind KERNEL tell what KVM's own tracepoints",
        "say of the vCPUs' threads: page-table walks, emulated",
        "instructions, injections. Needs tracefs, so most often root."
      })
  private boolean kernelTrace;

  /** Whether there are to be records of kind KERNEL. */
  boolean tracesKernel() {
    return kernelTrace;
  }

  /** Checks what picocli cannot. */
  void check(final boolean hugePages) {
    if (hugePages && watchesMemory()) {
      throw new UserException("--page-faults uffd does not go with --huge-pages; give one of them");
    }
  }

  /** Whether guest memory must be mapped a second time. */
  boolean watchesMemory() {
    return pageFaults == PageFaults.UFFD;
  }

  /**
   * What the machine is built with.
   *
   * @throws UserException an option was given that does not go with the backend
   */
  KvmOptions options(final BackendChoice choice) {
    final boolean kernel = irqchip == Irqchip.KERNEL;
    if (choice.backend() == VirtualMachine.Backend.SOFT
        && (kernel || watchesMemory() || kernelTrace)) {
      throw new UserException(
          (kernel ? "--irqchip kernel" : watchesMemory() ? "--page-faults uffd" : "--kernel-trace")
              + " goes with KVM, and this run has the software vCPU; give --backend kvm");
    }
    if (kernelTrace) {
      KernelTracepoints.missing()
          .ifPresent(
              why -> {
                throw new UserException("--kernel-trace: " + why);
              });
    }
    return new KvmOptions(kernel, watchesMemory(), kernelTrace);
  }

  /** Says after a run what was lost of the kernel's events, if anything was. */
  static void report(final VirtualMachine vm, final int vcpus, final PrintWriter err) {
    long lost = 0;
    for (int i = 0; i < vcpus; i++) {
      final KernelEvents events = vm.vcpu(i).kernelEvents();
      lost += events == null ? 0 : events.lost();
    }
    if (lost > 0) {
      err.println(
          "vmexit: "
              + lost
              + " events of KVM's tracepoints were lost, as they came faster than they were taken;"
              + " KERNEL records say where");
    }
  }

  /** The run's line on its backend, with what these options change about it; may be empty. */
  String line(final BackendChoice choice) {
    final List<String> parts = new ArrayList<>();
    if (!choice.line().isEmpty()) {
      parts.add(choice.line());
    }
    if (irqchip == Irqchip.KERNEL) {
      parts.add(
          "irqchip kernel: injections, HLT and accesses to PIC, APICs and PIT are not recorded");
    }
    return String.join("; ", parts);
  }
}

package dev.vmexit.cli;

import dev.vmexit.vm.KvmOptions;
import dev.vmexit.vm.VirtualMachine;
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

  /**
   * What the machine is built with.
   *
   * @throws UserException an option was given that does not go with the backend
   */
  KvmOptions options(final BackendChoice choice) {
    final boolean kernel = irqchip == Irqchip.KERNEL;
    if (choice.backend() == VirtualMachine.Backend.SOFT && kernel) {
      throw new UserException(
          "--irqchip kernel goes with KVM, and this run has the software vCPU; give --backend kvm");
    }
    return new KvmOptions(kernel);
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

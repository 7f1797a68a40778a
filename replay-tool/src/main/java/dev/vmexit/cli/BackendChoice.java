package dev.vmexit.cli;

import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmUnavailableException;
import dev.vmexit.vm.VirtualMachine;
import java.util.Locale;
import java.util.Optional;

/**
 * Which processor runs a guest, and why.
 *
 * @param backend the choice
 * @param line one line for the user, empty where the user chose
 */
record BackendChoice(VirtualMachine.Backend backend, String line) {
  /** What {@code --backend} takes. */
  enum Wish {
    AUTO,
    KVM,
    SOFT
  }

  /**
   * Chooses.
   *
   * @param reasonForSoft an option given that only the software vCPU can follow
   * @throws UserException where KVM was asked for and cannot be had
   */
  static BackendChoice of(final Wish wish, final Optional<String> reasonForSoft) {
    return switch (wish) {
      case SOFT -> new BackendChoice(VirtualMachine.Backend.SOFT, "");
      case KVM -> {
        if (reasonForSoft.isPresent()) {
          throw new UserException(
              "--backend kvm does not go with " + reasonForSoft.get() + "; give --backend soft");
        }
        final Optional<String> trouble = trouble();
        if (trouble.isPresent()) {
          throw new UserException("--backend kvm: " + trouble.get());
        }
        yield new BackendChoice(VirtualMachine.Backend.KVM, "");
      }
      case AUTO -> automatic(reasonForSoft);
    };
  }

  private static BackendChoice automatic(final Optional<String> reasonForSoft) {
    final Optional<String> extension = HostCpu.read().virtualization();
    String why = reasonForSoft.map(option -> option + " asks for it").orElse("");
    if (why.isEmpty() && extension.isEmpty()) {
      why = "the processor shows neither VMX nor SVM";
    }
    if (why.isEmpty()) {
      why = trouble().orElse("");
    }
    return why.isEmpty()
        ? new BackendChoice(
            VirtualMachine.Backend.KVM,
            String.format(Locale.ROOT, "backend kvm: %s and %s", extension.get(), KvmSystem.DEVICE))
        : new BackendChoice(VirtualMachine.Backend.SOFT, "backend soft: " + why);
  }

  /** Why KVM cannot be used; empty where it can. */
  private static Optional<String> trouble() {
    try {
      KvmSystem.open().close();
      return Optional.empty();
    } catch (final KvmUnavailableException e) {
      return Optional.of(e.getMessage());
    }
  }
}

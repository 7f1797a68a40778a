package dev.vmexit.vcpu.kvm;

import org.junit.jupiter.api.Assumptions;

/** Whether the tests can have a real /dev/kvm. */
public final class Kvm {
  private Kvm() {}

  /** Skips the test, saying why, where this host has no usable KVM. */
  public static void assume() {
    try {
      KvmSystem.open().close();
    } catch (final KvmUnavailableException e) {
      Assumptions.abort("SKIPPED, not tested on this host: " + e.getMessage());
    }
  }
}

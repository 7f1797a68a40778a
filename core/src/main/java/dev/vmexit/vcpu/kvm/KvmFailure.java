package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import java.util.Locale;

/** Words for exits after which a vCPU cannot go on (KVM API, 5). */
final class KvmFailure {
  private static final int SUBERROR_SIMULTANEOUS = 2;
  private static final int SUBERROR_DELIVERY = 3;
  private static final int SUBERROR_UNEXPECTED_EXIT = 4;

  private KvmFailure() {}

  /** KVM_RUN itself failed. */
  static String run(final int errno) {
    final String meaning =
        switch (errno) {
          case Libc.EFAULT, Libc.EHWPOISON ->
              ": guest memory is not to be had any more, the host took it away or it is broken";
          case Libc.ENOMEM -> ": the host has no memory left for the guest";
          default -> "";
        };
    return "KVM_RUN: " + Libc.text(errno) + " (errno " + errno + ")" + meaning;
  }

  /** The exit in a shared page, for which there is no handler. */
  static String exit(final long run) {
    final int reason = HostMemory.getInt(run + KvmRun.EXIT_REASON);
    final long hardware = HostMemory.getLong(run + KvmRun.HARDWARE_REASON);
    return reason == KvmApi.EXIT_FAIL_ENTRY
        ? String.format(
            Locale.ROOT,
            "KVM cannot enter the guest: hardware reason 0x%x; dmesg may say more",
            hardware)
        : String.format(
            Locale.ROOT,
            "KVM left the guest for a reason that is not handled: %d, hardware reason 0x%x",
            reason,
            hardware);
  }

  /** An internal error that is not of its emulator. */
  static String internal(final long run) {
    final int suberror = HostMemory.getInt(run + KvmRun.INTERNAL_SUBERROR);
    final String meaning =
        switch (suberror) {
          case SUBERROR_SIMULTANEOUS -> "an exception during an exception that it cannot join";
          case SUBERROR_DELIVERY -> "an exit while it delivered an event";
          case SUBERROR_UNEXPECTED_EXIT -> "an exit of the processor that it does not know";
          default -> "not a documented one";
        };
    return String.format(
        Locale.ROOT,
        "KVM met an error of its own: suberror %d, %s, data 0x%x",
        suberror,
        meaning,
        HostMemory.getLong(run + KvmRun.INTERNAL_DATA));
  }
}

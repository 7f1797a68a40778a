package dev.vmexit.cli;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.Slot;
import java.util.BitSet;
import java.util.List;
import picocli.CommandLine.Option;

/** Options of run that say where its threads and its memory are on the host. */
final class PlacementOptions {
  private static final String RECORDER = "recorder";

  @Option(
      names = "--pin",
      split = ",",
      paramLabel = "CPU",
      description = {
        "CPUs to pin threads to, with commas between: one for each",
        "vCPU and, behind them, one for the recorder if wanted."
      })
  private List<String> pin;

  @Option(
      names = "--mlock",
      description = "Keep guest memory from being swapped out, once it is touched.")
  private boolean mlock;

  /** Checks what was given, before anything is made. */
  void check(final int vcpus) {
    if (pin == null) {
      return;
    }
    if (pin.size() < vcpus || pin.size() > vcpus + 1) {
      throw new UserException(
          "--pin "
              + String.join(",", pin)
              + ": give "
              + vcpus
              + (vcpus == 1 ? " CPU for the vCPU" : " CPUs for the vCPUs")
              + ", and one more for the recorder if wanted");
    }
    final BitSet allowed = HostThreads.cpus(0);
    for (int i = 0; i < pin.size(); i++) {
      final int cpu = cpu(i);
      if (cpu < 0 || !allowed.get(cpu)) {
        throw new UserException(
            "--pin " + pin.get(i) + ": this process may use the CPUs " + allowed);
      }
    }
  }

  private int cpu(final int index) {
    try {
      return Integer.parseInt(pin.get(index).trim());
    } catch (final NumberFormatException e) {
      throw new UserException("--pin " + pin.get(index) + " is not the number of a CPU", e);
    }
  }

  /** Pins the calling thread, which is to run a vCPU. */
  void pinVcpu(final int number) {
    if (pin != null) {
      done(HostThreads.pin(0, cpu(number)), "vcpu" + number, cpu(number));
    }
  }

  /** Pins the recorder's thread, where a CPU was given to it. */
  void pinRecorder(final int vcpus) {
    if (pin != null && pin.size() > vcpus) {
      final int thread =
          HostThreads.named(RECORDER)
              .orElseThrow(() -> new IllegalStateException("there is no thread " + RECORDER));
      done(HostThreads.pin(thread, cpu(vcpus)), RECORDER, cpu(vcpus));
    }
  }

  private static void done(final int errno, final String thread, final int cpu) {
    if (errno != 0) {
      throw new UserException("--pin " + cpu + ": refused for " + thread + ", errno " + errno);
    }
  }

  /** Locks guest memory, where that is wanted. */
  void lock(final GuestMemory memory) {
    if (!mlock) {
      return;
    }
    for (final Slot slot : memory.slots()) {
      final int errno = HostThreads.lock(slot);
      if (errno != 0) {
        throw new UserException(
            "--mlock: "
                + MemorySize.format(slot.bytes())
                + " of guest memory cannot be locked, errno "
                + errno
                + "; raise the limit with 'ulimit -l unlimited', as root");
      }
    }
  }
}

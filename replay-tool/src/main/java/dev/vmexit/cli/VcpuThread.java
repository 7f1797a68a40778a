package dev.vmexit.cli;

import dev.vmexit.vm.RunEnd;
import dev.vmexit.vm.RunResult;
import dev.vmexit.vm.VirtualMachine;

/** The thread that a machine runs on, which {@code top -H} shows as vcpu0. */
final class VcpuThread {
  private VcpuThread() {}

  /** Runs a machine to its end. */
  static RunResult run(final VirtualMachine vm) {
    final Late<RunResult> result = new Late<>();
    final Late<Throwable> failure = new Late<>();
    final Thread thread =
        new Thread(
            () -> {
              try {
                result.set(vm.run());
              } catch (final Throwable e) {
                failure.set(e);
              }
            },
            "vcpu0");
    thread.start();
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (final InterruptedException e) {
        interrupted = true;
        vm.commands().stop(RunEnd.STOPPED);
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    if (failure.get() != null) {
      throw new IllegalStateException("vcpu0 died: " + failure.get(), failure.get());
    }
    return result.get();
  }
}

package dev.vmexit.cli;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.trace.InitialMemory;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vm.VirtualMachine;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/**
 * What a guest can be executed again from: its memory and its vCPUs before the first entry. The
 * memory is saved by a thread named {@code start-saver}, while the machine is built around it.
 */
final class TraceStart implements AutoCloseable {
  private final Path folder;
  private final CompletableFuture<Void> saved;

  private TraceStart(final Path folder, final GuestMemory memory) {
    this.folder = folder;
    saved =
        CompletableFuture.runAsync(
            () -> {
              try {
                InitialMemory.save(TraceFolder.memory(folder), memory, InitialMemory.Aim.FAST);
              } catch (final IOException e) {
                throw new UncheckedIOException(e);
              }
            },
            task -> Thread.ofPlatform().daemon().name("start-saver").start(task));
  }

  /**
   * Begins to save the memory of a guest that is loaded. It must stand still, and may not be
   * closed, until {@link #finish} or {@link #close} returns.
   */
  static TraceStart begin(final Path folder, final GuestMemory memory) {
    return new TraceStart(folder, memory);
  }

  /** Waits for the memory, and saves the vCPUs. */
  void finish(final VirtualMachine vm, final int vcpus) {
    try {
      saved.join();
      saveVcpus(folder, vm, vcpus);
    } catch (final CompletionException e) {
      if (e.getCause() instanceof final UncheckedIOException failed) {
        throw cannotStart(folder, failed.getCause());
      }
      throw e;
    } catch (final IOException e) {
      throw cannotStart(folder, e);
    }
  }

  /** Waits for the memory, whatever came of it. */
  @Override
  public void close() {
    saved.exceptionally(e -> null).join();
  }

  /** Saves the memory and the vCPUs of a machine that stands still as it is. */
  static void save(
      final Path folder, final GuestMemory memory, final VirtualMachine vm, final int vcpus) {
    try {
      InitialMemory.save(TraceFolder.memory(folder), memory, InitialMemory.Aim.SMALL);
      saveVcpus(folder, vm, vcpus);
    } catch (final IOException e) {
      throw cannotStart(folder, e);
    }
  }

  private static void saveVcpus(final Path folder, final VirtualMachine vm, final int vcpus)
      throws IOException {
    final byte[] state = new byte[StateLayout.TLB];
    for (int i = 0; i < vcpus; i++) {
      // Safe: the state block is longer, and lives as long as the vCPU.
      HostMemory.copyOut(vm.vcpu(i).state(), state, 0, state.length);
      Files.write(TraceFolder.state(folder, i), state);
    }
  }

  private static UserException cannotStart(final Path folder, final IOException e) {
    return new UserException(
        folder + ": recording cannot start: the guest's memory cannot be saved: " + e.getMessage(),
        e);
  }
}

package dev.vmexit.cli;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.trace.InitialMemory;
import dev.vmexit.trace.TraceFolder;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vm.VirtualMachine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What a guest can be executed again from: its memory and its vCPUs before the first entry. */
final class TraceStart {
  private TraceStart() {}

  static void save(
      final Path folder,
      final GuestMemory memory,
      final VirtualMachine vm,
      final int vcpus,
      final InitialMemory.Aim aim) {
    final byte[] state = new byte[StateLayout.TLB];
    try {
      InitialMemory.save(TraceFolder.memory(folder), memory, aim);
      for (int i = 0; i < vcpus; i++) {
        // Safe: the state block is longer, and lives as long as the vCPU.
        HostMemory.copyOut(vm.vcpu(i).state(), state, 0, state.length);
        Files.write(TraceFolder.state(folder, i), state);
      }
    } catch (final IOException e) {
      throw new UserException(
          folder
              + ": recording cannot start: the guest's memory cannot be saved: "
              + e.getMessage(),
          e);
    }
  }
}

package dev.vmexit.vm;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.Vcpu;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * A reset that starts the machine again in place: devices as at power-on, the processor at its
 * reset vector, memory as it was left. The disks, the terminal and the clock's battery stay.
 */
final class MachineReset {
  private final Vcpu vcpu;
  private final Runnable processor;
  private final Mmu mmu;
  private final BootEntry entry;
  private final MemoryControl memory;
  private final Supplier<PcPlatform> platforms;
  private final Consumer<String> told;
  private boolean wanted;

  /** The reset that is wanted has no record of its own. */
  private boolean unrecorded;

  /**
   * Makes the reset of one machine.
   *
   * @param processor puts the vCPU into its reset state
   * @param entry how the processor starts
   * @param platforms makes the machine's devices anew, and makes them the machine's
   * @param told hears by which device the guest reset the machine, in words
   */
  MachineReset(
      final Vcpu vcpu,
      final Runnable processor,
      final Mmu mmu,
      final BootEntry entry,
      final MemoryControl memory,
      final Supplier<PcPlatform> platforms,
      final Consumer<String> told) {
    this.vcpu = vcpu;
    this.processor = processor;
    this.mmu = mmu;
    this.entry = entry;
    this.memory = memory;
    this.platforms = platforms;
    this.told = told;
  }

  /** A device resets the machine, once the access that had it do so is complete. */
  void want(final String source) {
    if (!wanted) {
      told.accept(source);
      wanted = true;
      unrecorded = true;
    }
  }

  /** The chipset takes a processor that has shut down for a reason to reset it. */
  void wantAfterShutdown() {
    told.accept("processor's shutdown after a triple fault");
    wanted = true;
  }

  boolean isWanted() {
    return wanted;
  }

  /**
   * Resets.
   *
   * @param now of the machine's clock, ns: the time-stamp counter begins at 0 again
   * @param beside takes a record of the reset, unless one tells of it already
   * @return the devices
   */
  PcPlatform restart(final long now, final SideRecords beside) {
    if (unrecorded) {
      beside.reset();
    }
    wanted = false;
    unrecorded = false;
    final PcPlatform platform = platforms.get();
    processor.run();
    VirtualMachine.apply(entry, vcpu.state());
    HostMemory.putLong(vcpu.state() + StateLayout.TSC_OFFSET, -now);
    memory.map(platform.memoryState());
    vcpu.stateChanged();
    mmu.setContext(entry.cr0(), entry.cr3(), entry.cr4(), entry.efer());
    return platform;
  }
}

package dev.vmexit.vm;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.vcpu.Vcpu;

/**
 * Brings a change of what memory there is to all that keep host addresses: KVM's slots, shadow
 * tables, TLBs. Rare, and costs what a machine's start costs; nothing is looked at in between.
 */
final class MemoryControl {
  private final GuestMemory memory;
  private final Vcpu[] vcpus;

  /** Null with KVM, and where the vCPU walks the guest's tables itself. */
  private final ShadowMmu shadow;

  /** Null where the vCPU is software. */
  private final KvmProcessors kvm;

  MemoryControl(
      final GuestMemory memory,
      final Vcpu[] vcpus,
      final ShadowMmu shadow,
      final KvmProcessors kvm) {
    this.memory = memory;
    this.vcpus = vcpus;
    this.shadow = shadow;
    this.kvm = kvm;
  }

  /** The state that memory is in. */
  long state() {
    return memory.mapState();
  }

  /** Puts memory into a state of {@link dev.vmexit.memory.MemoryMap}. */
  void map(final long state) {
    memory.map(state);
    if (kvm != null) {
      kvm.remap(memory);
    }
    if (shadow != null) {
      shadow.flushAll();
    }
    for (final Vcpu vcpu : vcpus) {
      vcpu.memoryChanged();
    }
  }
}

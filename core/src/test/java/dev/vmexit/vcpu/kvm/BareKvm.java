package dev.vmexit.vcpu.kvm;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.boot.FlatLoader;
import dev.vmexit.boot.ImageFile;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.NestedMmu;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.CpuModel;
import dev.vmexit.vcpu.soft.SoftVcpu;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.encode.Assembler;
import java.util.function.BiConsumer;
import java.util.function.Consumer;

/** One vCPU of KVM with a flat guest and nothing around it. */
final class BareKvm implements AutoCloseable {
  static final long ADDRESS = 0x10_0000;
  static final long MEMORY = 0x100_0000;

  final GuestMemory memory = GuestMemory.builder().ramWithHole(MEMORY).build();
  final KvmVm vm;
  final KvmVcpu vcpu;

  BareKvm(final BootEntry.Mode mode, final Consumer<Assembler> code) {
    this(mode, code, BareKvm::onlyMemory);
  }

  /** Its interrupt controllers are the kernel's. */
  static BareKvm withKernelIrqchip(final BootEntry.Mode mode, final Consumer<Assembler> code) {
    return new BareKvm(mode, code, KvmVm::prepareKernelIrqchip, BareKvm::onlyMemory);
  }

  private static void onlyMemory(final KvmVm vm, final GuestMemory memory) {
    vm.setMemory(memory, false);
  }

  /**
   * Makes one.
   *
   * @param prepare gives the memory to the VM
   */
  BareKvm(
      final BootEntry.Mode mode,
      final Consumer<Assembler> code,
      final BiConsumer<KvmVm, GuestMemory> prepare) {
    this(mode, code, KvmVm::prepareUserIrqchip, prepare);
  }

  private BareKvm(
      final BootEntry.Mode mode,
      final Consumer<Assembler> code,
      final Consumer<KvmVm> irqchip,
      final BiConsumer<KvmVm, GuestMemory> prepare) {
    final long address = mode == BootEntry.Mode.REAL16 ? 0x1000 : ADDRESS;
    final int size =
        switch (mode) {
          case REAL16 -> 2;
          case PROTECTED32 -> 4;
          case LONG64 -> 8;
        };
    final Assembler assembler = new Assembler(size, address);
    code.accept(assembler);
    final BootEntry entry =
        FlatLoader.load(
            memory, ImageFile.of("kernel", "test", assembler.assemble()), address, mode);
    final NestedMmu mmu = new NestedMmu(memory);
    try (KvmSystem system = KvmSystem.open()) {
      vm = system.createVm();
      irqchip.accept(vm);
      prepare.accept(vm, memory);
      vcpu = vm.createVcpu(0, memory, new SoftVcpu(memory, mmu, CpuModel.max()), mmu);
    }
    apply(entry, vcpu.state());
    vcpu.stateChanged();
  }

  private static void apply(final BootEntry entry, final long s) {
    final long[] registers = entry.gprs();
    for (int i = 0; i < registers.length; i++) {
      HostMemory.putLong(s + StateLayout.GPR + i * 8L, registers[i]);
    }
    HostMemory.putLong(s + StateLayout.RIP, entry.rip());
    HostMemory.putLong(s + StateLayout.RFLAGS, entry.rflags());
    HostMemory.putLong(s + StateLayout.CR0, entry.cr0());
    HostMemory.putLong(s + StateLayout.CR3, entry.cr3());
    HostMemory.putLong(s + StateLayout.CR4, entry.cr4());
    HostMemory.putLong(s + StateLayout.EFER, entry.efer());
    HostMemory.putLong(s + StateLayout.GDTR_BASE, entry.gdtBase());
    HostMemory.putLong(s + StateLayout.GDTR_LIMIT, entry.gdtLimit());
    HostMemory.putLong(s + StateLayout.IDTR_BASE, entry.idtBase());
    HostMemory.putLong(s + StateLayout.IDTR_LIMIT, entry.idtLimit());
    for (int i = 0; i < Seg.COUNT; i++) {
      final BootEntry.Segment segment = entry.segment(i);
      final long at = s + StateLayout.segment(i);
      HostMemory.putLong(at + StateLayout.SEG_BASE, segment.base());
      HostMemory.putLong(at + StateLayout.SEG_LIMIT, segment.limit());
      HostMemory.putInt(at + StateLayout.SEG_RIGHTS, segment.rights());
      HostMemory.putInt(at + StateLayout.SEG_SELECTOR, segment.selector());
    }
  }

  /** A general register by its encoding number, as of the last exit. */
  long register(final int number) {
    return HostMemory.getLong(vcpu.state() + StateLayout.gpr(number));
  }

  @Override
  public void close() {
    vcpu.close();
    vm.close();
    memory.close();
  }
}

package dev.vmexit.vm;

import dev.vmexit.device.InterruptLine;
import dev.vmexit.memory.GuestMemory;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.mmu.NestedMmu;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.kvm.KernelTracepoints;
import dev.vmexit.vcpu.kvm.KvmIrqchip;
import dev.vmexit.vcpu.kvm.KvmSystem;
import dev.vmexit.vcpu.kvm.KvmVcpu;
import dev.vmexit.vcpu.kvm.KvmVm;
import dev.vmexit.vcpu.kvm.PageFaultWatch;
import java.util.function.Function;
import java.util.function.IntFunction;

/** The VM of a machine on KVM: its memory slots, its vCPUs, and by option its irqchip. */
final class KvmProcessors implements AutoCloseable {
  private final KvmVm vm;

  /** The kernel's interrupt controllers; null where they are the machine's own. */
  private final KvmIrqchip irqchip;

  /** Null where nobody asked for the host's page faults. */
  private PageFaultWatch faults;

  private Thread faultThread;

  private KvmProcessors(final KvmVm vm, final KvmIrqchip irqchip) {
    this.vm = vm;
    this.irqchip = irqchip;
  }

  private void watch(final PageFaultWatch watch, final Vcpu[] vcpus) {
    faults = watch;
    for (int i = 0; i < vcpus.length; i++) {
      ((KvmVcpu) vcpus[i]).watchFaults(i, watch);
    }
    faultThread = new Thread(watch, "faults");
    faultThread.setDaemon(true);
    faultThread.start();
  }

  /**
   * Makes a VM with its vCPUs, each with the MMU of the interpreter that finishes for it.
   *
   * @param interpreters make the vCPU that finishes, by its MMU
   * @param vcpus filled in; closed by the caller, before this
   * @param mmus filled in
   */
  static KvmProcessors create(
      final GuestMemory memory,
      final KvmOptions options,
      final Function<Mmu, Vcpu> interpreters,
      final Vcpu[] vcpus,
      final Mmu[] mmus) {
    try (KvmSystem system = KvmSystem.open()) {
      final KvmVm vm = system.createVm();
      Vcpu interpreter = null;
      int made = 0;
      try {
        KvmIrqchip irqchip = null;
        if (options.kernelIrqchip()) {
          irqchip = vm.prepareKernelIrqchip();
        } else {
          vm.prepareUserIrqchip();
        }
        vm.setMemory(memory, false);
        while (made < vcpus.length) {
          mmus[made] = new NestedMmu(memory);
          interpreter = interpreters.apply(mmus[made]);
          vcpus[made] = vm.createVcpu(made, memory, interpreter, mmus[made]);
          interpreter = null;
          made++;
        }
        if (options.kernelTrace()) {
          final KernelTracepoints tracepoints = KernelTracepoints.read();
          for (final Vcpu vcpu : vcpus) {
            ((KvmVcpu) vcpu).traceKernel(tracepoints);
          }
        }
        final KvmProcessors processors = new KvmProcessors(vm, irqchip);
        if (options.pageFaults()) {
          processors.watch(PageFaultWatch.create(memory, vcpus.length), vcpus);
        }
        return processors;
      } catch (final RuntimeException e) {
        if (interpreter != null) {
          interpreter.close();
        }
        for (int i = 0; i < made; i++) {
          vcpus[i].close();
        }
        vm.close();
        throw e;
      }
    }
  }

  /** Takes over the slots that a memory has now. */
  void remap(final GuestMemory memory) {
    vm.remap(memory);
  }

  /** The wires of the kernel's interrupt controllers; null where those are the machine's own. */
  IntFunction<InterruptLine> lines() {
    return irqchip == null ? null : irqchip::line;
  }

  @Override
  public void close() {
    vm.close();
    if (faults != null) {
      faults.stop();
      boolean interrupted = false;
      while (faultThread.isAlive()) {
        try {
          faultThread.join();
        } catch (final InterruptedException e) {
          interrupted = true;
        }
      }
      faults.close();
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
  }
}

/**
 * A virtual processor by Linux's {@code /dev/kvm}, through the FFM API: one class per file
 * descriptor ({@link dev.vmexit.vcpu.kvm.KvmSystem}, {@link dev.vmexit.vcpu.kvm.KvmVm}, {@link
 * dev.vmexit.vcpu.kvm.KvmVcpu}), each struct of the kernel's interface in one place, each failed
 * call with its errno. The interrupt controllers may be the kernel's ({@link
 * dev.vmexit.vcpu.kvm.KvmIrqchip}); no device is served by another thread, so nothing is made an
 * ioeventfd, which would only take exits from the record. What KVM does without an exit its
 * tracepoints tell ({@link dev.vmexit.vcpu.kvm.KernelTracepoints}). Knows the vCPU's interface,
 * memory, mmu and decode; only the assembly of a machine, and what tells a user about a host, know
 * it.
 */
package dev.vmexit.vcpu.kvm;

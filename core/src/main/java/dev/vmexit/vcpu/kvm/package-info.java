/**
 * A virtual processor by Linux's {@code /dev/kvm}, through the FFM API: one class per file
 * descriptor ({@link dev.vmexit.vcpu.kvm.KvmSystem}, {@link dev.vmexit.vcpu.kvm.KvmVm}, {@link
 * dev.vmexit.vcpu.kvm.KvmVcpu}), each struct of the kernel's interface in one place, each failed
 * call with its errno. Knows the vCPU's interface, memory, mmu and decode; only the assembly of a
 * machine, and what tells a user about a host, know it.
 */
package dev.vmexit.vcpu.kvm;

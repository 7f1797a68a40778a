/**
 * A virtual processor as the run loop sees it: state at fixed offsets, enter, exit, inject. Behind
 * the interface stand {@link dev.vmexit.vcpu.soft} and {@link dev.vmexit.vcpu.kvm}; nobody but the
 * assembly of a machine knows which. Knows memory, x86, decode, mmu and exit.
 */
package dev.vmexit.vcpu;

/**
 * A whole machine: {@link dev.vmexit.vm.VirtualMachine}, which is also the API to embed one, the
 * run loop with its exit handlers, the platform's devices put together, and the clocks. The run
 * loop is the only place where the outside world touches the guest. Knows all of core; replay and
 * the command line know it.
 */
package dev.vmexit.vm;

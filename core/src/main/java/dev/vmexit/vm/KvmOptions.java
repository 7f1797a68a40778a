package dev.vmexit.vm;

/**
 * What a machine on KVM has by option.
 *
 * @param kernelIrqchip interrupt controllers and PIT are the kernel's: faster, but injections, HLT
 *     and all accesses to them are not seen, and a guest that halts for good is not noticed
 * @param pageFaults records of kind PAGE_FAULT tell of each page that KVM touches for the first
 *     time, or writes to after it had only read it; guest memory must have a second view
 * @param kernelTrace records of kind KERNEL tell of the events of KVM's own tracepoints in the
 *     vCPUs' threads
 */
public record KvmOptions(boolean kernelIrqchip, boolean pageFaults, boolean kernelTrace) {
  /** Everything is seen that KVM lets see. */
  public static final KvmOptions NONE = new KvmOptions(false, false, false);
}

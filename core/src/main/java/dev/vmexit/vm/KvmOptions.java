package dev.vmexit.vm;

/**
 * What a machine on KVM has by option.
 *
 * @param kernelIrqchip interrupt controllers and PIT are the kernel's: faster, but injections, HLT
 *     and all accesses to them are not seen, and a guest that halts for good is not noticed
 */
public record KvmOptions(boolean kernelIrqchip) {
  /** Everything is seen that KVM lets see. */
  public static final KvmOptions NONE = new KvmOptions(false);
}

package dev.vmexit.vcpu.kvm;

/** What vmexit uses of KVM beyond its first version, and what a host that lacks it goes without. */
public enum KvmCapability {
  SYNC_REGS(KvmApi.CAP_SYNC_REGS, "each exit costs three more system calls"),
  IMMEDIATE_EXIT(KvmApi.CAP_IMMEDIATE_EXIT, "KVM is not used, as a pause could be lost"),
  EXIT_ON_EMULATION_FAILURE(
      KvmApi.CAP_EXIT_ON_EMULATION_FAILURE, "what KVM cannot emulate is #UD to the guest"),
  X86_USER_SPACE_MSR(KvmApi.CAP_X86_USER_SPACE_MSR, "accesses to MSRs make no record"),
  X86_MSR_FILTER(KvmApi.CAP_X86_MSR_FILTER, "the TSC deadline timer does not work"),
  READONLY_MEM(KvmApi.CAP_READONLY_MEM, "guests with a ROM cannot run"),
  VCPU_EVENTS(KvmApi.CAP_VCPU_EVENTS, "records do not tell interrupt shadow and NMI blocking"),
  USER_NMI(KvmApi.CAP_USER_NMI, "NMIs cannot be injected"),
  XSAVE(KvmApi.CAP_XSAVE, "instructions that KVM cannot emulate cannot be finished"),
  DEBUGREGS(KvmApi.CAP_DEBUGREGS, "debug registers are not carried over"),
  IRQCHIP(KvmApi.CAP_IRQCHIP, "run --irqchip kernel is refused"),
  IRQ_ROUTING(KvmApi.CAP_IRQ_ROUTING, "run --irqchip kernel is refused"),
  PIT2(KvmApi.CAP_PIT2, "run --irqchip kernel is refused"),
  IRQFD(KvmApi.CAP_IRQFD, "run --irqchip kernel is refused"),
  GET_TSC_KHZ(KvmApi.CAP_GET_TSC_KHZ, "the guest must measure its TSC by itself"),
  SET_GUEST_DEBUG(KvmApi.CAP_SET_GUEST_DEBUG, "no breakpoints and single steps");

  private final int number;
  private final String cost;

  KvmCapability(final int number, final String cost) {
    this.number = number;
    this.cost = cost;
  }

  /** Its number in the KVM API. */
  int number() {
    return number;
  }

  /** What goes wrong or is lost where it lacks; a few words. */
  public String cost() {
    return cost;
  }

  /** Whether a host has it. */
  public boolean isOffered(final KvmSystem system) {
    return system.checkExtension(number) != 0;
  }
}

package dev.vmexit.exit;

import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * The tracepoints of Linux's KVM whose events are records of kind KERNEL, and which field of an
 * event goes where in the record. A record's detail is the number here, so the order is that of the
 * trace format. A field that a kernel's tracepoint does not have leaves its place 0.
 */
public enum KernelEvent {
  /** No event: the value says how many were lost here, 0 that nobody knows; or were held back. */
  LOST("", ""),
  /** KVM walks the guest's page tables for an address; so do the two behind. */
  PAGETABLE_WALK("kvmmmu/kvm_mmu_pagetable_walk", "address=addr error=pferr"),
  PAGING_ELEMENT("kvmmmu/kvm_mmu_paging_element", "value=pte size=level"),
  WALKER_ERROR("kvmmmu/kvm_mmu_walker_error", "error=pferr"),
  /** KVM's emulator executes an instruction, or fails to. */
  EMULATE_INSN(
      "kvm/kvm_emulate_insn",
      "rip=rip cs_base=csbase length=len bytes=insn mode=flags write=failed"),
  PIO("kvm/kvm_pio", "address=port value=val size=size write=rw"),
  /** A memory-mapped access, as KVM sees it: type 0 is a read that userspace has yet to answer. */
  MMIO("kvm/kvm_mmio", "address=gpa value=val size=len error=type"),
  MATCH_MMIO("kvm/vcpu_match_mmio", "address=gva value=gpa write=write"),
  MSR("kvm/kvm_msr", "address=ecx value=data write=write error=exception"),
  CR("kvm/kvm_cr", "address=cr value=val write=rw"),
  CPUID("kvm/kvm_cpuid", "address=function value=index"),
  INJ_EXCEPTION("kvm/kvm_inj_exception", "address=exception write=has_error error=error_code"),
  INJ_VIRQ("kvm/kvm_inj_virq", "address=vector write=soft"),
  ACK_IRQ("kvm/kvm_ack_irq", "address=pin value=irqchip"),
  SET_IRQ("kvm/kvm_set_irq", "address=gsi value=level"),
  APIC("kvm/kvm_apic", "address=reg value=val write=rw"),
  APIC_ACCEPT_IRQ("kvm/kvm_apic_accept_irq", "address=vec value=apicid"),
  EOI("kvm/kvm_eoi", "address=vector value=apicid"),
  HYPERCALL("kvm/kvm_hypercall", "address=nr value=a0"),
  /** Exit and entry of VMX and SVM. */
  EXIT("kvm/kvm_exit", "address=exit_reason value=info1 rip=guest_rip error=error_code"),
  ENTRY("kvm/kvm_entry", "value=intr_info rip=rip error=error_code"),
  PAGE_FAULT("kvm/kvm_page_fault", "address=fault_address rip=guest_rip error=error_code");

  private static final KernelEvent[] VALUES = values();

  /** Places of a record that a field can go to. */
  public enum Place {
    ADDRESS,
    VALUE,
    SIZE,
    WRITE,
    ERROR,
    /** rip of the instruction; where an event has none, that of the exit behind it stays. */
    RIP,
    CS_BASE,
    /** Bits: 0 protected mode, 1 VM86, 2 32-bit code, 3 64-bit code. */
    MODE,
    /** Bytes of the instruction, as many as LENGTH says. */
    BYTES,
    LENGTH
  }

  private final String tracepoint;
  private final Map<Place, String> fields = new EnumMap<>(Place.class);

  KernelEvent(final String tracepoint, final String fields) {
    this.tracepoint = tracepoint;
    if (!fields.isEmpty()) {
      for (final String field : fields.split(" ", -1)) {
        final int sign = field.indexOf('=');
        this.fields.put(
            Place.valueOf(field.substring(0, sign).toUpperCase(Locale.ROOT)),
            field.substring(sign + 1));
      }
    }
  }

  /** The event by its number in a record; empty where a later version has written it. */
  public static Optional<KernelEvent> of(final int number) {
    return number >= 0 && number < VALUES.length ? Optional.of(VALUES[number]) : Optional.empty();
  }

  /** Folder of the tracepoint below tracefs' {@code events}; empty for {@link #LOST}. */
  public String tracepoint() {
    return tracepoint;
  }

  /** The tracepoint's field that goes to a place of the record. */
  public Optional<String> field(final Place place) {
    return Optional.ofNullable(fields.get(place));
  }

  /** The tracepoint's name, of at most 16 characters: without what all of them begin with. */
  public String shortName() {
    if (this == LOST) {
      return "lost";
    }
    return tracepoint
        .substring(tracepoint.indexOf('/') + 1)
        .replace("kvm_mmu_", "")
        .replace("kvm_", "");
  }
}

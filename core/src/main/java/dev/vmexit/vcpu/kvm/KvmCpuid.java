package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * CPUID leaves as {@code struct kvm_cpuid2} has them: what a host offers, made into what the guest
 * is told (SDM Vol. 2A, CPUID).
 */
final class KvmCpuid {
  // struct kvm_cpuid_entry2: function, index, flags, eax, ebx, ecx, edx, 3 x padding; 4 each.
  private static final int HEADER = 8;
  private static final int ENTRY = 40;
  private static final int REGISTERS = 12;

  private static final int ECX_MONITOR = 1 << 3;
  static final int ECX_X2APIC = 1 << 21;
  static final int ECX_TSC_DEADLINE = 1 << 24;
  private static final int ECX_HYPERVISOR = 1 << 31;
  private static final int ECX_PROTECTION_KEYS = 1 << 3 | 1 << 4;
  private static final int COMPONENT_PKRU = 9;
  private static final int EDX_HTT = 1 << 28;
  private static final int EDX_APIC = 1 << 9;
  private static final int HYPERVISOR_FIRST = 0x4000_0000;
  private static final int HYPERVISOR_END = 0x4001_0000;
  private static final int APIC_TIMER_HZ = 1_000_000_000;

  private final List<Entry> entries;

  private record Entry(int leaf, int index, int flags, int eax, int ebx, int ecx, int edx) {}

  private KvmCpuid(final List<Entry> entries) {
    this.entries = entries;
  }

  /** Bytes of a struct with room for some entries. */
  static long bytes(final int entries) {
    return HEADER + (long) ENTRY * entries;
  }

  static KvmCpuid read(final long struct) {
    final List<Entry> entries = new ArrayList<>();
    for (int i = 0; i < HostMemory.getInt(struct); i++) {
      final long at = struct + HEADER + (long) ENTRY * i;
      entries.add(
          new Entry(
              HostMemory.getInt(at),
              HostMemory.getInt(at + 4),
              HostMemory.getInt(at + 8),
              HostMemory.getInt(at + REGISTERS),
              HostMemory.getInt(at + REGISTERS + 4),
              HostMemory.getInt(at + REGISTERS + 8),
              HostMemory.getInt(at + REGISTERS + 12)));
    }
    return new KvmCpuid(entries);
  }

  /** Gives these leaves to a vCPU. */
  void install(final MemorySegment errno, final int vcpu) {
    final long struct = HostMemory.allocate(bytes(entries.size()));
    try {
      write(struct);
      // Safe: the struct has as many entries as it says, and outlives the call.
      final int result = Libc.ioctl(errno, vcpu, KvmApi.SET_CPUID2, struct);
      if (result < 0) {
        throw Libc.failure("KVM_SET_CPUID2", -result);
      }
    } finally {
      HostMemory.free(struct);
    }
  }

  private void write(final long struct) {
    HostMemory.putInt(struct, entries.size());
    for (int i = 0; i < entries.size(); i++) {
      final Entry entry = entries.get(i);
      final long at = struct + HEADER + (long) ENTRY * i;
      HostMemory.putInt(at, entry.leaf);
      HostMemory.putInt(at + 4, entry.index);
      HostMemory.putInt(at + 8, entry.flags);
      HostMemory.putInt(at + REGISTERS, entry.eax);
      HostMemory.putInt(at + REGISTERS + 4, entry.ebx);
      HostMemory.putInt(at + REGISTERS + 8, entry.ecx);
      HostMemory.putInt(at + REGISTERS + 12, entry.edx);
    }
  }

  /**
   * The leaves for one vCPU: no paravirtual clock of KVM's (its pages would be written by no exit
   * of ours), no protection keys, one core, and the frequencies of TSC and APIC timer in leaf 15H.
   *
   * @param localApic bits of leaf 1's ECX that the local APIC has: none where it is in user space
   */
  KvmCpuid forVcpu(final int apicId, final int tscKilohertz, final int localApic) {
    final List<Entry> told = new ArrayList<>();
    for (final Entry e : entries) {
      switch (e.leaf) {
        case 0 -> told.add(new Entry(0, 0, 0, Math.max(e.eax, 0x15), e.ebx, e.ecx, e.edx));
        case 1 ->
            told.add(
                new Entry(
                    1,
                    0,
                    0,
                    e.eax,
                    e.ebx & 0xFF00 | 1 << 16 | apicId << 24,
                    e.ecx & ~(ECX_MONITOR | ECX_X2APIC | ECX_TSC_DEADLINE)
                        | ECX_HYPERVISOR
                        | localApic,
                    e.edx & ~EDX_HTT | EDX_APIC));
        // Cores and threads of the host's package, its performance counters, its frequencies.
        case 4 -> told.add(new Entry(4, e.index, e.flags, e.eax & 0x3FFF, e.ebx, e.ecx, e.edx));
        // PKRU is not among what the interpreter takes over when it finishes an instruction.
        case 7 ->
            told.add(
                new Entry(
                    7,
                    e.index,
                    e.flags,
                    e.eax,
                    e.ebx,
                    e.index == 0 ? e.ecx & ~ECX_PROTECTION_KEYS : e.ecx,
                    e.edx));
        case 0xD -> {
          if (e.index != COMPONENT_PKRU) {
            final int eax = e.index == 0 ? e.eax & ~(1 << COMPONENT_PKRU) : e.eax;
            told.add(new Entry(0xD, e.index, e.flags, eax, e.ebx, e.ecx, e.edx));
          }
        }
        case 0xA, 0xB, 0x15, 0x16, 0x1F, 0x8000_001E -> {}
        default -> {
          if (e.leaf < HYPERVISOR_FIRST || e.leaf >= HYPERVISOR_END || e.leaf < 0) {
            told.add(e);
          }
        }
      }
    }
    if (tscKilohertz > 0) {
      told.add(new Entry(0x15, 0, 0, 1_000_000, tscKilohertz, APIC_TIMER_HZ, 0));
    }
    final byte[] name = "vmexitvmexit".getBytes(StandardCharsets.US_ASCII);
    told.add(
        new Entry(
            HYPERVISOR_FIRST, 0, 0, HYPERVISOR_FIRST, word(name, 0), word(name, 4), word(name, 8)));
    return new KvmCpuid(told);
  }

  private static int word(final byte[] bytes, final int at) {
    return bytes[at] & 0xFF
        | (bytes[at + 1] & 0xFF) << 8
        | (bytes[at + 2] & 0xFF) << 16
        | (bytes[at + 3] & 0xFF) << 24;
  }

  /** Answers a leaf: eax, ebx, ecx, edx, all 0 where it is not there. */
  void query(final int leaf, final int subleaf, final int[] out) {
    for (int i = 0; i < entries.size(); i++) {
      final Entry e = entries.get(i);
      if (e.leaf == leaf
          && ((e.flags & KvmApi.CPUID_FLAG_SIGNIFCANT_INDEX) == 0 || e.index == subleaf)) {
        out[0] = e.eax;
        out[1] = e.ebx;
        out[2] = e.ecx;
        out[3] = e.edx;
        return;
      }
    }
    out[0] = 0;
    out[1] = 0;
    out[2] = 0;
    out[3] = 0;
  }
}

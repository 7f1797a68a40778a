package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.memory.Slot;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.x86.Msr;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * The descriptor of one VM: its memory slots and its vCPUs. The interrupt controllers are the
 * machine's own, in user space, unless {@link #prepareKernelIrqchip} was called.
 *
 * <p>The guest memory given to {@link #setMemory} must stay mapped until the VM is closed.
 */
public final class KvmVm implements AutoCloseable {
  // struct kvm_userspace_memory_region: slot 4, flags 4, gpa 8, bytes 8, host address 8.
  private static final int REGION_FLAGS = 4;
  private static final int REGION_GPA = 8;
  private static final int REGION_BYTES = 16;
  private static final int REGION_HOST = 24;
  private static final int REGION_SIZE = 32;

  // struct kvm_enable_cap: cap 4, flags 4, args 4 x 8.
  private static final int CAP_ARGUMENT = 8;
  private static final int CAP_SIZE = 104;

  // struct kvm_msr_filter: flags 4, then 16 ranges: flags 4, count 4, base 4, bitmap 8.
  private static final int FILTER_RANGES = 8;
  private static final int RANGE_SIZE = 24;
  private static final int RANGE_COUNT = 4;
  private static final int RANGE_BASE = 8;
  private static final int RANGE_BITMAP = 16;
  private static final int FILTER_SIZE = 392;

  /** Three pages below the BIOS that KVM keeps for itself on older Intel processors. */
  private static final long TSS_ADDRESS = 0xFFFB_D000L;

  private static final long IDENTITY_MAP_ADDRESS = 0xFFFB_C000L;

  /** MSRs whose owner is the local APIC of ours. */
  private static final int[] FILTERED = {Msr.APIC_BASE, Msr.TSC_DEADLINE};

  private final MemorySegment errno = Libc.errnoState();
  private final int fd;
  private final int runSize;
  private final KvmCpuid supportedCpuid;
  private KvmIrqchip irqchip;

  /** Bytes of each vCPU's dirty ring; 0 where there is none. */
  private int dirtyRing;

  private boolean closed;

  /** The slots that KVM has, by their numbers there; null where a number is free. */
  private List<Slot> given = List.of();

  KvmVm(final int fd, final int runSize, final KvmCpuid supportedCpuid) {
    this.fd = fd;
    this.runSize = runSize;
    this.supportedCpuid = supportedCpuid;
  }

  /**
   * Gives each vCPU a ring of the pages that it writes, instead of the dirty log; before the first
   * one. The memory must be set with {@code logDirtyPages} and have its own dirty log started,
   * which {@link KvmVcpu#harvestDirtyRing} marks.
   *
   * @param entries a power of two, 1,024 or more
   * @throws KvmUnavailableException where this KVM has no such rings, or none so long
   */
  public void useDirtyRings(final int entries) {
    final int most = checkExtension(KvmApi.CAP_DIRTY_LOG_RING) / KvmDirtyRing.ENTRY;
    if (entries > most) {
      throw new KvmUnavailableException(
          "dirty rings of "
              + entries
              + " entries: "
              + (most == 0
                  ? "this KVM lacks KVM_CAP_DIRTY_LOG_RING"
                  : "this KVM allows at most " + most));
    }
    enable(
        "KVM_CAP_DIRTY_LOG_RING", KvmApi.CAP_DIRTY_LOG_RING, (long) entries * KvmDirtyRing.ENTRY);
    dirtyRing = entries * KvmDirtyRing.ENTRY;
  }

  /** The ring of a vCPU; null where there is none. */
  KvmDirtyRing dirtyRing(final int vcpu, final GuestMemory memory) {
    return dirtyRing == 0 ? null : KvmDirtyRing.map(fd, vcpu, dirtyRing, memory);
  }

  /** What KVM says of a capability of this VM: 0 where it lacks. */
  int checkExtension(final int capability) {
    // Safe: the argument is a number.
    return Math.max(0, Libc.ioctl(errno, fd, KvmApi.CHECK_EXTENSION, capability));
  }

  /** The CPUID leaves of the host. */
  KvmCpuid supportedCpuid() {
    return supportedCpuid;
  }

  private void call(
      final String name, final long request, final long argument, final Object detail) {
    final int result = Libc.ioctl(errno, fd, request, argument);
    if (result < 0) {
      throw Libc.failure(name + "(" + detail + ")", -result);
    }
  }

  /** Gives all slots of a guest memory to the VM; read-only ones as such. */
  public void setMemory(final GuestMemory memory, final boolean logDirtyPages) {
    final int allowed = checkExtension(KvmApi.CAP_NR_MEMSLOTS);
    given = memory.mapped();
    if (given.size() > allowed) {
      throw new KvmUnavailableException(
          "guest memory has " + given.size() + " slots, KVM allows " + allowed);
    }
    final boolean readOnlyOffered = checkExtension(KvmApi.CAP_READONLY_MEM) != 0;
    for (int number = 0; number < given.size(); number++) {
      final Slot slot = given.get(number);
      if (slot.readOnly() && !readOnlyOffered) {
        throw new KvmUnavailableException(
            "the guest has ROM (" + slot + "), but this KVM lacks KVM_CAP_READONLY_MEM");
      }
      int flags = slot.readOnly() ? KvmApi.MEM_READONLY : 0;
      if (logDirtyPages && !slot.readOnly()) {
        flags |= KvmApi.MEM_LOG_DIRTY_PAGES;
      }
      setSlot(number, slot, memory.hypervisorAddress(slot.host()), flags);
    }
  }

  /**
   * Takes over the slots that a memory has now. KVM changes a slot by taking it away and giving it
   * again, in between another vCPU would see nothing there: all but the caller's must stand still,
   * or not look. Slots that stay are not touched.
   */
  public void remap(final GuestMemory memory) {
    final List<Slot> wanted = memory.mapped();
    final Slot[] numbered = given.toArray(new Slot[Math.max(given.size(), wanted.size())]);
    for (int i = 0; i < numbered.length; i++) {
      if (numbered[i] != null && !wanted.contains(numbered[i])) {
        final Slot old = numbered[i];
        setSlot(i, new Slot(old.gpa(), 0, old.host(), false), old.host(), 0);
        numbered[i] = null;
      }
    }
    final List<Slot> kept = Arrays.asList(numbered.clone());
    int free = 0;
    for (final Slot slot : wanted) {
      if (!kept.contains(slot)) {
        while (numbered[free] != null) {
          free++;
        }
        setSlot(
            free,
            slot,
            memory.hypervisorAddress(slot.host()),
            slot.readOnly() ? KvmApi.MEM_READONLY : 0);
        numbered[free] = slot;
      }
    }
    given = Arrays.asList(numbered);
  }

  private void setSlot(final int number, final Slot slot, final long host, final int flags) {
    final long struct = HostMemory.allocate(REGION_SIZE);
    try {
      HostMemory.putInt(struct, number);
      HostMemory.putInt(struct + REGION_FLAGS, flags);
      HostMemory.putLong(struct + REGION_GPA, slot.gpa());
      HostMemory.putLong(struct + REGION_BYTES, slot.bytes());
      HostMemory.putLong(struct + REGION_HOST, host);
      // Safe: the struct outlives the call; the slot is mapped for as long as the VM lives.
      call("KVM_SET_USER_MEMORY_REGION", KvmApi.SET_USER_MEMORY_REGION, struct, slot);
    } finally {
      HostMemory.free(struct);
    }
  }

  /**
   * Harvests the dirty log of a slot given with {@code logDirtyPages}.
   *
   * @param slot its index in {@link GuestMemory#slots}
   * @param pages of the slot
   * @return a bit for each page, the first in the lowest bit of the first element
   */
  public long[] dirtyLog(final int slot, final long pages) {
    final int words = Math.toIntExact((pages + 63) / 64);
    final long struct = HostMemory.allocate(16 + 8L * words);
    try {
      HostMemory.putInt(struct, slot);
      HostMemory.putLong(struct + 8, struct + 16);
      // Safe: the bitmap behind the struct has a bit for each page of the slot.
      call("KVM_GET_DIRTY_LOG", KvmApi.GET_DIRTY_LOG, struct, "slot " + slot);
      final long[] bits = new long[words];
      for (int i = 0; i < words; i++) {
        bits[i] = HostMemory.getLong(struct + 16 + 8L * i);
      }
      return bits;
    } finally {
      HostMemory.free(struct);
    }
  }

  /**
   * Prepares a machine with its interrupt controllers in the kernel; before the first vCPU. Closed
   * with the VM.
   *
   * @throws KvmUnavailableException where this KVM has none
   */
  public KvmIrqchip prepareKernelIrqchip() {
    prepare(false);
    irqchip = KvmIrqchip.create(this, fd);
    return irqchip;
  }

  /** Whether the interrupt controllers are in the kernel. */
  boolean hasKernelIrqchip() {
    return irqchip != null;
  }

  /** Prepares a machine with its interrupt controllers in user space. */
  public void prepareUserIrqchip() {
    prepare(true);
  }

  /**
   * Asks for exits for instructions that KVM cannot emulate, and for unknown MSRs.
   *
   * @param userIrqchip for the MSRs of the local APIC, too
   */
  private void prepare(final boolean userIrqchip) {
    if (checkExtension(KvmApi.CAP_SET_TSS_ADDR) != 0) {
      // Safe: a guest-physical address as a number.
      call("KVM_SET_TSS_ADDR", KvmApi.SET_TSS_ADDR, TSS_ADDRESS, "");
    }
    if (checkExtension(KvmApi.CAP_SET_IDENTITY_MAP_ADDR) != 0) {
      final long struct = HostMemory.allocate(8);
      try {
        HostMemory.putLong(struct, IDENTITY_MAP_ADDRESS);
        // Safe: the struct outlives the call.
        call("KVM_SET_IDENTITY_MAP_ADDR", KvmApi.SET_IDENTITY_MAP_ADDR, struct, "");
      } finally {
        HostMemory.free(struct);
      }
    }
    if (checkExtension(KvmApi.CAP_EXIT_ON_EMULATION_FAILURE) != 0) {
      enable("KVM_CAP_EXIT_ON_EMULATION_FAILURE", KvmApi.CAP_EXIT_ON_EMULATION_FAILURE, 1);
    }
    final int reasons = checkExtension(KvmApi.CAP_X86_USER_SPACE_MSR);
    if (reasons != 0 && checkExtension(KvmApi.CAP_X86_MSR_FILTER) != 0) {
      enable(
          "KVM_CAP_X86_USER_SPACE_MSR",
          KvmApi.CAP_X86_USER_SPACE_MSR,
          KvmApi.MSR_EXIT_REASON_FILTER
              | KvmApi.MSR_EXIT_REASON_UNKNOWN
              | KvmApi.MSR_EXIT_REASON_INVAL);
      if (userIrqchip) {
        filterMsrs();
      }
    }
  }

  private void enable(final String name, final int capability, final long argument) {
    final long struct = HostMemory.allocate(CAP_SIZE);
    try {
      HostMemory.putInt(struct, capability);
      HostMemory.putLong(struct + CAP_ARGUMENT, argument);
      // Safe: the struct outlives the call.
      call("KVM_ENABLE_CAP", KvmApi.ENABLE_CAP, struct, name);
    } finally {
      HostMemory.free(struct);
    }
  }

  private void filterMsrs() {
    final long struct = HostMemory.allocate(FILTER_SIZE);
    final long bitmap = HostMemory.allocate(8);
    try {
      for (int i = 0; i < FILTERED.length; i++) {
        final long range = struct + FILTER_RANGES + (long) i * RANGE_SIZE;
        HostMemory.putInt(range, KvmApi.MSR_FILTER_READ | KvmApi.MSR_FILTER_WRITE);
        HostMemory.putInt(range + RANGE_COUNT, 1);
        HostMemory.putInt(range + RANGE_BASE, FILTERED[i]);
        // All bits clear: KVM does not handle these itself.
        HostMemory.putLong(range + RANGE_BITMAP, bitmap);
      }
      // Safe: struct and bitmap outlive the call, KVM copies both.
      call("KVM_X86_SET_MSR_FILTER", KvmApi.X86_SET_MSR_FILTER, struct, "");
    } finally {
      HostMemory.free(bitmap);
      HostMemory.free(struct);
    }
  }

  /** The frequency of a vCPU's TSC; 0 where KVM does not tell it. */
  int tscKilohertz(final int vcpu) {
    // Safe: a request without an argument.
    return checkExtension(KvmApi.CAP_GET_TSC_KHZ) == 0
        ? 0
        : Math.max(0, Libc.ioctl(errno, vcpu, KvmApi.GET_TSC_KHZ, 0));
  }

  /** What the kernel's local APIC can do, as CPUID tells it; 0 where it is not the kernel's. */
  int localApicFeatures() {
    if (!hasKernelIrqchip()) {
      return 0;
    }
    return checkExtension(KvmApi.CAP_TSC_DEADLINE_TIMER) != 0
        ? KvmCpuid.ECX_X2APIC | KvmCpuid.ECX_TSC_DEADLINE
        : KvmCpuid.ECX_X2APIC;
  }

  /**
   * Makes a vCPU.
   *
   * @param id its number and local APIC ID, from 0
   * @param interpreter finishes what KVM cannot; its state block becomes the vCPU's, and it is
   *     closed with the vCPU
   * @param mmu the interpreter's
   * @throws KvmUnavailableException where the number is too high
   */
  public KvmVcpu createVcpu(
      final int id, final GuestMemory memory, final Vcpu interpreter, final Mmu mmu) {
    final int most =
        Math.max(checkExtension(KvmApi.CAP_MAX_VCPUS), checkExtension(KvmApi.CAP_NR_VCPUS));
    if (id >= most) {
      throw new KvmUnavailableException(
          String.format(Locale.ROOT, "vCPU number %d, KVM here allows 0 to %d", id, most - 1));
    }
    if (checkExtension(KvmApi.CAP_IMMEDIATE_EXIT) == 0) {
      throw new KvmUnavailableException(
          "KVM here lacks KVM_CAP_IMMEDIATE_EXIT, without which a pause could be lost: Linux 4.12"
              + " and newer have it");
    }
    // Asked for here, where a failure can still be told in one line.
    WakeSignal.number();
    // Safe: the argument is a number.
    final int vcpu = Libc.ioctl(errno, fd, KvmApi.CREATE_VCPU, id);
    if (vcpu < 0) {
      throw Libc.failure("KVM_CREATE_VCPU(" + id + ")", -vcpu);
    }
    final long run = Libc.map(vcpu, runSize);
    if (run < 0 && run > -4096) {
      Libc.close(vcpu);
      throw Libc.failure("mmap(kvm_run, " + runSize + ")", (int) -run);
    }
    final KvmVcpu made = new KvmVcpu(vcpu, run, runSize, memory, interpreter, mmu);
    try {
      made.setUp(id, this);
    } catch (final RuntimeException e) {
      made.release();
      throw e;
    }
    return made;
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      if (irqchip != null) {
        irqchip.close();
      }
      Libc.close(fd);
    }
  }
}

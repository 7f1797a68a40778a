package dev.vmexit.vcpu.kvm;

/**
 * Numbers of the KVM API on x86-64: requests, capabilities, exit reasons, flags (Linux,
 * Documentation/virt/kvm/api.rst; the values are those of {@code linux/kvm.h}). A test compares
 * each of them with the header where a C compiler is at hand.
 */
final class KvmApi {
  /** The only version of the API that there ever was. */
  static final int VERSION = 12;

  // Requests.
  static final long GET_API_VERSION = 0xAE00L;
  static final long CREATE_VM = 0xAE01L;
  static final long GET_MSR_INDEX_LIST = 0xC004_AE02L;
  static final long CHECK_EXTENSION = 0xAE03L;
  static final long GET_VCPU_MMAP_SIZE = 0xAE04L;
  static final long GET_SUPPORTED_CPUID = 0xC008_AE05L;
  static final long CREATE_VCPU = 0xAE41L;
  static final long GET_DIRTY_LOG = 0x4010_AE42L;
  static final long SET_USER_MEMORY_REGION = 0x4020_AE46L;
  static final long SET_TSS_ADDR = 0xAE47L;
  static final long SET_IDENTITY_MAP_ADDR = 0x4008_AE48L;
  static final long CREATE_IRQCHIP = 0xAE60L;
  static final long IRQ_LINE = 0x4008_AE61L;
  static final long GET_IRQCHIP = 0xC208_AE62L;
  static final long SET_IRQCHIP = 0x8208_AE63L;
  static final long SET_GSI_ROUTING = 0x4008_AE6AL;
  static final long IRQFD = 0x4020_AE76L;
  static final long CREATE_PIT2 = 0x4040_AE77L;
  static final long ENABLE_CAP = 0x4068_AEA3L;
  static final long X86_SET_MSR_FILTER = 0x4188_AEC6L;
  static final long RUN = 0xAE80L;
  static final long RESET_DIRTY_RINGS = 0xAEC7L;
  static final long GET_REGS = 0x8090_AE81L;
  static final long SET_REGS = 0x4090_AE82L;
  static final long GET_SREGS = 0x8138_AE83L;
  static final long SET_SREGS = 0x4138_AE84L;
  static final long INTERRUPT = 0x4004_AE86L;
  static final long GET_MSRS = 0xC008_AE88L;
  static final long SET_MSRS = 0x4008_AE89L;
  static final long SET_CPUID2 = 0x4008_AE90L;
  static final long NMI = 0xAE9AL;
  static final long GET_VCPU_EVENTS = 0x8040_AE9FL;
  static final long SET_VCPU_EVENTS = 0x4040_AEA0L;
  static final long GET_DEBUGREGS = 0x8080_AEA1L;
  static final long SET_DEBUGREGS = 0x4080_AEA2L;
  static final long GET_XSAVE = 0x9000_AEA4L;
  static final long SET_XSAVE = 0x5000_AEA5L;
  static final long GET_XCRS = 0x8188_AEA6L;
  static final long SET_XCRS = 0x4188_AEA7L;
  static final long SET_GUEST_DEBUG = 0x4048_AE9BL;
  static final long GET_TSC_KHZ = 0xAEA3L;

  // Capabilities.
  static final int CAP_USER_MEMORY = 3;
  static final int CAP_SYNC_REGS = 74;
  static final int CAP_READONLY_MEM = 81;
  static final int CAP_IMMEDIATE_EXIT = 136;
  static final int CAP_X86_USER_SPACE_MSR = 188;
  static final int CAP_X86_MSR_FILTER = 189;
  static final int CAP_EXIT_ON_EMULATION_FAILURE = 204;
  static final int CAP_XSAVE = 55;
  static final int CAP_XCRS = 56;
  static final int CAP_NR_VCPUS = 9;
  static final int CAP_MAX_VCPUS = 66;
  static final int CAP_NR_MEMSLOTS = 10;
  static final int CAP_SET_GUEST_DEBUG = 23;
  static final int CAP_VCPU_EVENTS = 41;
  static final int CAP_DEBUGREGS = 50;
  static final int CAP_TSC_CONTROL = 60;
  static final int CAP_GET_TSC_KHZ = 61;
  static final int CAP_IRQCHIP = 0;
  static final int CAP_IRQ_ROUTING = 25;
  static final int CAP_PIT2 = 33;
  static final int CAP_DIRTY_LOG_RING = 192;
  static final int CAP_COALESCED_MMIO = 15;
  static final int CAP_X86_DISABLE_EXITS = 143;
  static final int CAP_EXT_CPUID = 7;
  static final int CAP_SET_TSS_ADDR = 4;
  static final int CAP_SET_IDENTITY_MAP_ADDR = 37;
  static final int CAP_IRQFD = 32;
  static final int CAP_IOEVENTFD = 36;
  static final int CAP_USER_NMI = 22;
  static final int CAP_INTERNAL_ERROR_DATA = 40;
  static final int CAP_SYSTEM_EVENT_DATA = 215;
  static final int CAP_MP_STATE = 14;
  static final int CAP_TSC_DEADLINE_TIMER = 72;
  static final int CAP_DISABLE_QUIRKS2 = 213;
  static final int CAP_MANUAL_DIRTY_LOG_PROTECT2 = 168;

  // Exit reasons.
  static final int EXIT_UNKNOWN = 0;
  static final int EXIT_EXCEPTION = 1;
  static final int EXIT_IO = 2;
  static final int EXIT_DEBUG = 4;
  static final int EXIT_HLT = 5;
  static final int EXIT_MMIO = 6;
  static final int EXIT_IRQ_WINDOW_OPEN = 7;
  static final int EXIT_SHUTDOWN = 8;
  static final int EXIT_FAIL_ENTRY = 9;
  static final int EXIT_INTR = 10;
  static final int EXIT_SET_TPR = 11;
  static final int EXIT_INTERNAL_ERROR = 17;
  static final int EXIT_SYSTEM_EVENT = 24;
  static final int EXIT_X86_RDMSR = 29;
  static final int EXIT_DIRTY_RING_FULL = 31;
  static final int EXIT_X86_WRMSR = 30;

  /** suberror of EXIT_INTERNAL_ERROR: an instruction that KVM cannot emulate. */
  static final int INTERNAL_ERROR_EMULATION = 1;

  // Flags.
  static final int VCPUEVENT_VALID_NMI_PENDING = 1;
  static final int VCPUEVENT_VALID_SHADOW = 4;
  static final int SYNC_X86_REGS = 1;
  static final int SYNC_X86_SREGS = 2;
  static final int SYNC_X86_EVENTS = 4;
  static final int MEM_LOG_DIRTY_PAGES = 1;
  static final int MEM_READONLY = 2;
  static final int MSR_EXIT_REASON_INVAL = 1;
  static final int MSR_EXIT_REASON_UNKNOWN = 2;
  static final int MSR_EXIT_REASON_FILTER = 4;
  static final int MSR_FILTER_READ = 1;
  static final int MSR_FILTER_WRITE = 2;
  static final int GUESTDBG_ENABLE = 1;
  static final int GUESTDBG_SINGLESTEP = 2;
  static final int GUESTDBG_USE_HW_BP = 131072;
  static final int CPUID_FLAG_SIGNIFCANT_INDEX = 1;
  static final int PIT_SPEAKER_DUMMY = 1;
  static final int DIRTY_GFN_F_DIRTY = 1;
  static final int DIRTY_GFN_F_RESET = 2;
  static final int DIRTY_LOG_PAGE_OFFSET = 64;
  static final int IRQ_ROUTING_IRQCHIP = 1;
  static final int IRQCHIP_PIC_MASTER = 0;
  static final int IRQCHIP_PIC_SLAVE = 1;
  static final int IRQCHIP_IOAPIC = 2;

  private KvmApi() {}
}

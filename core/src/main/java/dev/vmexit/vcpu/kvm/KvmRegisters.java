package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Msr;
import java.lang.foreign.MemorySegment;

/**
 * A vCPU's registers between KVM and the state block. What every record needs comes with each exit,
 * by KVM_CAP_SYNC_REGS through the shared page or by ioctls where that lacks; the rest (all
 * segments, x87 and SSE, MSRs) only where an instruction is finished by the interpreter.
 */
final class KvmRegisters {
  /** Pairs of MSR and place in the state. EFER and the bases of FS and GS travel with sregs. */
  private static final int[] MSRS = {
    Msr.STAR, StateLayout.STAR,
    Msr.LSTAR, StateLayout.LSTAR,
    Msr.CSTAR, StateLayout.CSTAR,
    Msr.SFMASK, StateLayout.SFMASK,
    Msr.KERNEL_GS_BASE, StateLayout.KERNEL_GS_BASE,
    Msr.SYSENTER_CS, StateLayout.SYSENTER_CS,
    Msr.SYSENTER_ESP, StateLayout.SYSENTER_ESP,
    Msr.SYSENTER_EIP, StateLayout.SYSENTER_EIP,
    Msr.PAT, StateLayout.PAT
  };

  private static final int MSR_COUNT = MSRS.length / 2;

  // struct kvm_msrs: count 4, pad 4; entries: index 4, reserved 4, data 8.
  private static final int MSRS_HEADER = 8;
  private static final int MSR_ENTRY = 16;
  private static final int MSR_DATA = 8;

  // struct kvm_debugregs: db 4 x 8, dr6 8, dr7 8, flags 8, reserved 9 x 8.
  private static final int DR6 = 32;
  private static final int DR7 = 40;
  private static final int DEBUGREGS_SIZE = 128;

  // struct kvm_xcrs: count 4, flags 4; 16 entries: number 4, reserved 4, value 8; padding.
  private static final int XCR0_VALUE = 16;
  private static final int XCRS_SIZE = 392;

  private static final long ALL =
      KvmApi.SYNC_X86_REGS | KvmApi.SYNC_X86_SREGS | KvmApi.SYNC_X86_EVENTS;

  private final MemorySegment errno;
  private final int fd;
  private final long run;
  private final long state;
  private final boolean sync;
  private final boolean hasXcrs;

  // Ours, outside the heap, until close.
  private final long own = HostMemory.allocate(KvmRun.EVENTS + KvmEvents.SIZE);
  private final long xsave = HostMemory.allocate(KvmXsave.SIZE);
  private final long msrs = HostMemory.allocate(MSRS_HEADER + (long) MSR_ENTRY * MSR_COUNT);
  private final long debug = HostMemory.allocate(DEBUGREGS_SIZE);
  private final long single = HostMemory.allocate(MSRS_HEADER + MSR_ENTRY);
  private final long xcrs = HostMemory.allocate(XCRS_SIZE);

  /** Where regs, sregs and events are, at the offsets of {@link KvmRun}: shared page or own. */
  private final long at;

  private final CodeSegments segments = new CodeSegments();

  private long apicBase;
  private boolean dirty;

  KvmRegisters(
      final MemorySegment errno,
      final int fd,
      final long run,
      final long state,
      final boolean sync,
      final boolean hasXcrs,
      final long apicBase) {
    this.apicBase = apicBase;
    this.hasXcrs = hasXcrs;
    this.errno = errno;
    this.fd = fd;
    this.run = run;
    this.state = state;
    this.sync = sync;
    this.at = sync ? run : own;
    if (sync) {
      HostMemory.putLong(run + KvmRun.VALID_REGISTERS, ALL);
    }
    HostMemory.putInt(msrs, MSR_COUNT);
    for (int i = 0; i < MSR_COUNT; i++) {
      HostMemory.putInt(msrs + MSRS_HEADER + (long) i * MSR_ENTRY, MSRS[2 * i]);
    }
  }

  /** Whether KVM_CAP_SYNC_REGS, as a host answers it, has all that is needed. */
  static boolean isSyncOffered(final int capability) {
    return (capability & ALL) == ALL;
  }

  /** Address of the events struct as of the last exit. */
  long events() {
    return at + KvmRun.EVENTS;
  }

  long sregs() {
    return at + KvmRun.SREGS;
  }

  /** After KVM_RUN: general registers and what every record needs. */
  void afterRun() {
    if (!sync) {
      // Safe, all three: each struct is ours and has the request's size.
      call("KVM_GET_REGS", KvmApi.GET_REGS, at + KvmRun.REGS);
      call("KVM_GET_SREGS", KvmApi.GET_SREGS, at + KvmRun.SREGS);
      call("KVM_GET_VCPU_EVENTS", KvmApi.GET_VCPU_EVENTS, at + KvmRun.EVENTS);
    }
    // The state block begins as kvm_regs does.
    final long from = at + KvmRun.REGS;
    for (int i = 0; i < KvmRun.REGS_SIZE; i += 8) {
      HostMemory.putLong(state + i, HostMemory.getLong(from + i));
    }
    segments.load(at + KvmRun.SREGS, state);
    KvmSregs.loadControl(at + KvmRun.SREGS, state);
    apicBase = HostMemory.getLong(at + KvmRun.SREGS + KvmSregs.APIC_BASE);
  }

  /** Fills in where the data segments begin, which few records ask for. */
  void loadDataSegments() {
    KvmSregs.loadDataSegments(at + KvmRun.SREGS, state);
  }

  /** Fills the whole state block, for a look from outside or for the interpreter. */
  void loadAll() {
    KvmSregs.load(at + KvmRun.SREGS, state);
    // Safe, all four: each struct is ours and has the request's size.
    if (hasXcrs) {
      call("KVM_GET_XCRS", KvmApi.GET_XCRS, xcrs);
      HostMemory.putLong(state + StateLayout.XCR0, HostMemory.getLong(xcrs + XCR0_VALUE));
    }
    call("KVM_GET_XSAVE", KvmApi.GET_XSAVE, xsave);
    KvmXsave.load(xsave, state);
    call("KVM_GET_MSRS", KvmApi.GET_MSRS, msrs);
    for (int i = 0; i < MSR_COUNT; i++) {
      HostMemory.putLong(
          state + MSRS[2 * i + 1],
          HostMemory.getLong(msrs + MSRS_HEADER + (long) i * MSR_ENTRY + MSR_DATA));
    }
    call("KVM_GET_DEBUGREGS", KvmApi.GET_DEBUGREGS, debug);
    for (int i = 0; i < 4; i++) {
      HostMemory.putLong(state + StateLayout.DR0 + i * 8L, HostMemory.getLong(debug + i * 8L));
    }
    HostMemory.putLong(state + StateLayout.DR6, HostMemory.getLong(debug + DR6));
    HostMemory.putLong(state + StateLayout.DR7, HostMemory.getLong(debug + DR7));
  }

  /** The state block is what the vCPU must go on with: all of it is handed over. */
  void storeAll() {
    HostMemory.copy(state, at + KvmRun.REGS, KvmRun.REGS_SIZE);
    KvmSregs.store(state, at + KvmRun.SREGS, apicBase);
    segments.forget();
    dirty = true;
    // Safe, all six: each struct is ours and has the request's size.
    if (hasXcrs) {
      HostMemory.putInt(xcrs, 1);
      HostMemory.putLong(xcrs + XCR0_VALUE, HostMemory.getLong(state + StateLayout.XCR0));
      call("KVM_SET_XCRS", KvmApi.SET_XCRS, xcrs);
    }
    call("KVM_GET_XSAVE", KvmApi.GET_XSAVE, xsave);
    KvmXsave.store(state, xsave);
    call("KVM_SET_XSAVE", KvmApi.SET_XSAVE, xsave);
    for (int i = 0; i < MSR_COUNT; i++) {
      HostMemory.putLong(
          msrs + MSRS_HEADER + (long) i * MSR_ENTRY + MSR_DATA,
          HostMemory.getLong(state + MSRS[2 * i + 1]));
    }
    call("KVM_SET_MSRS", KvmApi.SET_MSRS, msrs);
    for (int i = 0; i < 4; i++) {
      HostMemory.putLong(debug + i * 8L, HostMemory.getLong(state + StateLayout.DR0 + i * 8L));
    }
    HostMemory.putLong(debug + DR6, HostMemory.getLong(state + StateLayout.DR6));
    HostMemory.putLong(debug + DR7, HostMemory.getLong(state + StateLayout.DR7));
    call("KVM_SET_DEBUGREGS", KvmApi.SET_DEBUGREGS, debug);
  }

  /** The events struct was changed: it goes to KVM with the next entry. */
  void eventsChanged() {
    HostMemory.putInt(
        at + KvmRun.EVENTS + KvmEvents.FLAGS,
        HostMemory.getInt(at + KvmRun.EVENTS + KvmEvents.FLAGS)
                & ~KvmApi.VCPUEVENT_VALID_NMI_PENDING
            | KvmApi.VCPUEVENT_VALID_SHADOW);
    dirty = true;
  }

  /** Before KVM_RUN: hands over what was changed. */
  void beforeRun() {
    if (!dirty) {
      return;
    }
    dirty = false;
    if (sync) {
      HostMemory.putLong(run + KvmRun.DIRTY_REGISTERS, ALL);
    } else {
      // Safe, all three: each struct is ours and has the request's size.
      call("KVM_SET_REGS", KvmApi.SET_REGS, at + KvmRun.REGS);
      call("KVM_SET_SREGS", KvmApi.SET_SREGS, at + KvmRun.SREGS);
      call("KVM_SET_VCPU_EVENTS", KvmApi.SET_VCPU_EVENTS, at + KvmRun.EVENTS);
    }
  }

  /** Reads one MSR. */
  long getMsr(final int index) {
    // Safe: the struct has the one entry that it says.
    HostMemory.putInt(single, 1);
    HostMemory.putInt(single + MSRS_HEADER, index);
    call("KVM_GET_MSRS", KvmApi.GET_MSRS, single);
    return HostMemory.getLong(single + MSRS_HEADER + MSR_DATA);
  }

  /** Sets one MSR. */
  void setMsr(final int index, final long value) {
    HostMemory.putInt(single, 1);
    HostMemory.putInt(single + MSRS_HEADER, index);
    HostMemory.putLong(single + MSRS_HEADER + MSR_DATA, value);
    // Safe: the struct has the one entry that it says.
    call("KVM_SET_MSRS", KvmApi.SET_MSRS, single);
  }

  private void call(final String name, final long request, final long struct) {
    final int result = Libc.ioctl(errno, fd, request, struct);
    if (result < 0) {
      throw Libc.failure(name, -result);
    }
  }

  void close() {
    HostMemory.free(own);
    HostMemory.free(xsave);
    HostMemory.free(msrs);
    HostMemory.free(debug);
    HostMemory.free(xcrs);
    HostMemory.free(single);
  }
}

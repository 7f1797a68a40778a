package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.Fault;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.mmu.NestedMmu;
import dev.vmexit.mmu.PagingContext;
import dev.vmexit.mmu.ShadowMmu;
import dev.vmexit.mmu.SlotView;
import dev.vmexit.mmu.TableMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.TableWrites;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Register;
import java.util.ArrayList;
import java.util.List;

/**
 * A software vCPU under either MMU with a run loop of the barest kind: does what an exit asks for,
 * keeps a record of it, and goes on until the guest halts, shuts down, or leaves for the test.
 *
 * <p>RAM lies from 0 to {@link #RAM_BYTES}; above it is a device that answers reads by {@link
 * #answer} and keeps what is written. Ports do the same.
 */
final class BareMachine implements AutoCloseable {
  static final long RAM_BYTES = 0x80_0000;

  /** Where the device begins. */
  static final long MMIO = RAM_BYTES;

  /** What RDRAND and RDSEED get. */
  static final long RANDOM = 0x8123_4567_89AB_CDEFL;

  static final long NO_LIMIT = Long.MAX_VALUE;

  private static final int MOST_EXITS = 100_000;
  private static final int SHADOW_PAGES = 128;

  /** Which of the two MMUs. */
  enum MmuKind {
    SHADOW,
    NESTED
  }

  /**
   * An exit as it was when the guest was left; reads show what they were answered.
   *
   * @param outcome of a page fault; of PIO the number of elements
   */
  record Exit(
      int reason,
      long rip,
      long address,
      long value,
      int size,
      boolean write,
      int errorCode,
      int outcome,
      long retired) {}

  final GuestMemory memory;
  final SoftVcpu vcpu;
  final Mmu mmu;
  final long state;
  final List<Exit> exits = new ArrayList<>();

  private final ShadowMmu shadow;
  private final Fault fault = new Fault();
  private long tsc = 1_000;

  BareMachine(final MmuKind kind) {
    this(kind, GuestMemory.builder().ram(0, RAM_BYTES).build());
  }

  /** A machine with other memory, which it closes. */
  BareMachine(final MmuKind kind, final GuestMemory memory) {
    this.memory = memory;
    if (kind == MmuKind.SHADOW) {
      shadow =
          new ShadowMmu(
              TableMemory.of(memory),
              SlotView.of(memory),
              SHADOW_PAGES,
              ShadowMmu.DEFAULT_FLOOD_THRESHOLD);
      mmu = shadow;
      vcpu = new SoftVcpu(memory, shadow, CpuModel.max());
      shadow.attach(vcpu);
      memory.addWriteListener(shadow);
    } else {
      shadow = null;
      mmu = new NestedMmu(memory);
      vcpu = new SoftVcpu(memory, mmu, CpuModel.max());
    }
    state = vcpu.state();
    // Code and tables lie anywhere; a fresh machine starts at 0 with nothing enabled.
    stateChanged();
  }

  // ---- memory and registers ----

  /** Assembles and loads. */
  void load(final Assembler a, final long gpa) {
    final byte[] code = a.assemble();
    memory.write(gpa, code, 0, code.length);
  }

  long get(final int offset) {
    return HostMemory.getLong(state + offset);
  }

  void set(final int offset, final long value) {
    HostMemory.putLong(state + offset, value);
  }

  /** A general register, all 64 bits of it. */
  long reg(final Register register) {
    return get(StateLayout.gpr(register.number()));
  }

  void reg(final Register register, final long value) {
    set(StateLayout.gpr(register.number()), value);
  }

  long rip() {
    return get(StateLayout.RIP);
  }

  long retired() {
    return get(StateLayout.RETIRED);
  }

  int selector(final int segment) {
    return vcpu.selector(segment);
  }

  /** Fills a segment register as a load of this descriptor would. */
  void segment(final int segment, final int selector, final long raw) {
    vcpu.setSegment(
        segment, selector, Descriptor.base(raw), Descriptor.limit(raw), Descriptor.rights(raw));
    vcpu.modeChanged();
  }

  /** After {@link #set}: RFLAGS in the state are taken whole. */
  void stateChanged() {
    vcpu.stateChanged();
    setContext();
  }

  private boolean setContext() {
    return mmu.setContext(
        get(StateLayout.CR0), get(StateLayout.CR3), get(StateLayout.CR4), get(StateLayout.EFER));
  }

  // ---- the run ----

  /** Runs to the next HLT, shutdown, kick or window; the reason. */
  int run() {
    return run(NO_LIMIT);
  }

  /** As {@link #run()}, leaving with LIMIT too. */
  int run(final long limit) {
    for (int i = 0; i < MOST_EXITS; i++) {
      int reason = vcpu.enter(limit);
      while (reason >= 0) {
        final int next = handle(reason);
        if (next == reason && isFinal(reason)) {
          return reason;
        }
        reason = next;
      }
    }
    throw new IllegalStateException("the guest does not end; last " + exits.getLast());
  }

  /** One entry and its exit, handled; the reason of that exit. */
  int enterOnce(final long limit) {
    final int reason = vcpu.enter(limit);
    int next = reason;
    while (next >= 0) {
      final int after = handle(next);
      next = isFinal(next) ? -1 : after;
    }
    return reason;
  }

  private static boolean isFinal(final int reason) {
    return switch (reason) {
      case VcpuExit.HLT, VcpuExit.SHUTDOWN, VcpuExit.LIMIT, VcpuExit.KICK, VcpuExit.IRQ_WINDOW ->
          true;
      default -> false;
    };
  }

  private void keep(final int reason, final int outcome) {
    final VcpuExit e = vcpu.exit();
    exits.add(
        new Exit(
            reason, e.rip, e.address, e.value, e.size, e.write, e.errorCode, outcome, retired()));
  }

  /** The reason itself where the run ends, that of another exit that it led to, or -1. */
  private int handle(final int reason) {
    final VcpuExit e = vcpu.exit();
    switch (reason) {
      case VcpuExit.EMULATED -> {
        return -1;
      }
      case VcpuExit.PAGE_FAULT -> {
        return pageFault();
      }
      case VcpuExit.CR -> {
        keep(reason, 0);
        if (e.address != 8 && !setContext()) {
          refuseContext();
        }
      }
      case VcpuExit.MSR -> {
        msr();
        keep(reason, e.refused ? 1 : 0);
      }
      case VcpuExit.CPUID -> {
        keep(reason, 0);
        vcpu.cpuid((int) e.address, (int) e.value, e.cpuid);
      }
      case VcpuExit.TSC -> {
        tsc += 1_000;
        e.value = tsc;
        keep(reason, 0);
      }
      case VcpuExit.RANDOM -> {
        e.value = RANDOM;
        keep(reason, 0);
      }
      case VcpuExit.PIO, VcpuExit.MMIO -> {
        if (!e.write) {
          e.value = answer(e.address, e.size);
        }
        if (reason == VcpuExit.PIO && e.count > 1 && !e.write) {
          answerMany(e);
        }
        keep(reason, reason == VcpuExit.PIO ? e.count : 0);
      }
      case VcpuExit.INVLPG -> {
        keep(reason, 0);
        if (shadow != null) {
          shadow.invalidatePage(e.address);
        }
      }
      default -> {
        keep(reason, 0);
        return reason;
      }
    }
    return -1;
  }

  private static void answerMany(final VcpuExit e) {
    for (int i = 0; i < e.count; i++) {
      final long element = answer(e.address + i, e.size);
      for (int b = 0; b < e.size; b++) {
        e.data[i * e.size + b] = (byte) (element >>> 8 * b);
      }
    }
  }

  /** What ports and the device answer; the elements of a string, those of the ports after it. */
  static long answer(final long address, final int size) {
    final long all = (address + 1) * 0x9E37_79B9_7F4A_7C15L;
    return size == 8 ? all : all & (1L << size * 8) - 1;
  }

  private void refuseContext() {
    final PagingContext kept = mmu.context();
    final long flags = vcpu.rflags();
    set(StateLayout.CR0, kept.cr0());
    set(StateLayout.CR3, kept.cr3());
    set(StateLayout.CR4, kept.cr4());
    set(StateLayout.RFLAGS, flags);
    vcpu.stateChanged();
    vcpu.injectException(Vector.GP, true, 0);
  }

  private void msr() {
    final VcpuExit e = vcpu.exit();
    final int index = (int) e.address;
    if (e.write) {
      e.refused = !vcpu.writeMsr(index, e.value) || index == Msr.EFER && !setContext();
    } else {
      e.refused = !vcpu.readMsr(index, e);
    }
  }

  private int pageFault() {
    final VcpuExit e = vcpu.exit();
    final long gva = e.address;
    final int outcome = shadow.handleFault(gva, e.errorCode, fault);
    keep(VcpuExit.PAGE_FAULT, outcome);
    if (outcome == Fault.REFLECTED) {
      set(StateLayout.CR2, gva);
      vcpu.injectException(Vector.PF, true, fault.errorCode);
      return -1;
    }
    if (outcome != Fault.TABLE_WRITE) {
      return -1;
    }
    final int next = vcpu.emulate(gva, fault.gpa);
    final TableWrites writes = vcpu.tableWrites();
    for (int i = 0; i < writes.count(); i++) {
      shadow.tableWritten(writes.gpa(i), writes.size(i), writes.value(i));
    }
    return next;
  }

  /** The exits with a reason. */
  List<Exit> exits(final int reason) {
    return exits.stream().filter(e -> e.reason() == reason).toList();
  }

  @Override
  public void close() {
    vcpu.close();
    memory.close();
  }
}

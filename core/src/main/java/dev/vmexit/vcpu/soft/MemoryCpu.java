package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.TlbControl;
import dev.vmexit.mmu.Translation;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.TableWrites;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Vector;

/** The memory half of the software vCPU: the TLB and what happens where it misses. */
abstract class MemoryCpu extends ExitingCpu implements TlbControl {
  static final int SUPERVISOR_CONTEXT = 0;
  static final int USER_CONTEXT = 1;
  static final int SMAP_CONTEXT = 2;

  final GuestMemory memory;
  final Translation translation;
  final BlockCache code = new BlockCache();
  final TableWrites tableWrites = new TableWrites();
  final Breakpoints breakpoints = new Breakpoints();

  /** Every data access takes the slow path: breakpoints of data, alignment checks. */
  boolean slowMemory;

  /** What {@link #tlb} is meanwhile: a context that stays empty; 0 until it is needed. */
  private long emptyTlb;

  private final Tlb entries;

  private final Translation.Result result = new Translation.Result();

  /** PKRU where protection keys are in force, else 0. */
  private int keys;

  /** Which of the TLB contexts {@link #tlb} is. */
  int context;

  // What the last resolve() found, beside the host address that it returned.
  private long resolvedGpa;
  private boolean resolvedByPermit;

  MemoryCpu(final long state, final GuestMemory memory, final Translation translation) {
    super(state);
    this.memory = memory;
    this.translation = translation;
    entries = new Tlb(state, memory, code);
  }

  // ---- the slow path ----

  /** Whether linear addresses are 64 bits wide and must be canonical. */
  abstract boolean linear64();

  private int accessBits() {
    return switch (context) {
      case USER_CONTEXT -> Translation.USER;
      case SUPERVISOR_CONTEXT -> Translation.SMAP_OVERRIDE;
      default -> 0;
    };
  }

  final void selectContext(final int newContext) {
    context = newContext;
    tlb =
        slowMemory
            ? emptyTlb
            : state + StateLayout.TLB + (long) newContext * StateLayout.TLB_CONTEXT_SIZE;
  }

  /** Sends all data accesses by the slow path, or no longer; a context is to be selected next. */
  final void setSlowMemory(final boolean slow) {
    slowMemory = slow;
    if (slow && emptyTlb == 0) {
      emptyTlb = HostMemory.allocate(StateLayout.TLB_CONTEXT_SIZE);
      HostMemory.fill(emptyTlb, StateLayout.TLB_CONTEXT_SIZE, 0xFF);
    }
  }

  final void freeEmptyTlb() {
    if (emptyTlb != 0) {
      HostMemory.free(emptyTlb);
      emptyTlb = 0;
    }
  }

  private boolean isCanonical(final long linear) {
    return linear == linear << 16 >> 16 || !linear64();
  }

  /** What only the slow path can see: misalignment, and accesses that a breakpoint waits for. */
  private void observe(final long linear, final int size, final boolean write) {
    checkAlignment(linear, size);
    breakpoints.access(linear, size, write);
  }

  private void checkAlignment(final long linear, final int size) {
    if (context == USER_CONTEXT
        && (linear & size - 1) != 0
        && checksAlignment()
        && isCanonical(linear)) {
      throw raise(Vector.AC, 0);
    }
  }

  /** CPL 3 with CR0.AM and RFLAGS.AC (SDM Vol. 3A, 6.15, interrupt 17). */
  final boolean checksAlignment() {
    return (HostMemory.getLong(state + StateLayout.RFLAGS) & Flags.AC) != 0
        && (HostMemory.getLong(state + StateLayout.CR0) & ControlRegisters.CR0_AM) != 0;
  }

  /**
   * Host address of a byte, or 0 where it is MMIO at {@link #resolvedGpa}; fills the TLB.
   *
   * @param kind Translation.READ, WRITE or FETCH
   */
  private long resolve(final long linear, final int kind) {
    resolvedByPermit = false;
    if (!isCanonical(linear)) {
      throw raiseNotCanonical();
    }
    final Translation.Result r = result;
    r.pkru = keys;
    translation.translate(linear, kind | accessBits(), r);
    switch (r.outcome) {
      case Translation.Result.OK -> {}
      case Translation.Result.GUEST_FAULT -> {
        HostMemory.putLong(state + StateLayout.CR2, linear);
        throw raise(Vector.PF, r.errorCode);
      }
      case Translation.Result.MISS -> {
        if (kind == Translation.WRITE) {
          final long page = permittedPage(linear);
          if (page >= 0) {
            resolvedByPermit = true;
            resolvedGpa = page | linear & 0xFFF;
            return memory.hostAddress(resolvedGpa);
          }
        }
        exit.reason = VcpuExit.PAGE_FAULT;
        exit.address = linear;
        exit.errorCode = r.errorCode;
        exit.write = kind == Translation.WRITE;
        exit.size = 0;
        exit.value = 0;
        throw Unwind.EXIT;
      }
      default -> {
        resolvedGpa = r.gpa;
        return 0;
      }
    }
    resolvedGpa = r.gpa;
    final long host = memory.hostAddress(r.gpa);
    if (host == 0 || kind == Translation.WRITE && memory.isReadOnly(r.gpa)) {
      return 0;
    }
    if (!slowMemory) {
      entries.fill(tlb, linear, host, kind, r);
    }
    return host;
  }

  /** The part of an access on its first page, or all of it. */
  private static int firstPart(final long linear, final int size) {
    return (int) Math.min(size, 4096 - (linear & 0xFFF));
  }

  private long secondPage(final long linear) {
    final long next = (linear & PAGE_MASK) + 4096;
    return linear64() ? next : next & 0xFFFF_FFFFL;
  }

  private long readPart(final long host, final long gpa, final int size) {
    // A read-modify-write of read-only memory reads the memory; its store goes to the bus.
    final long from = host != 0 ? host : memory.hostAddress(gpa);
    long value = 0;
    for (int done = 0; done < size; ) {
      final int piece = Integer.highestOneBit(size - done);
      final long part =
          from == 0 ? mmioRead(gpa + done, piece) : HostMemory.get(from + done, piece);
      value |= part << done * 8;
      done += piece;
    }
    return value;
  }

  private void writePart(
      final long host, final long gpa, final boolean permitted, final int size, final long value) {
    for (int done = 0; done < size; ) {
      final int piece = Integer.highestOneBit(size - done);
      final long part = value >>> done * 8 & -1L >>> 64 - piece * 8;
      if (host == 0) {
        mmioWrite(gpa + done, piece, part);
      } else {
        HostMemory.put(host + done, piece, part);
        if (permitted) {
          tableWrites.add(gpa + done, piece, part);
        }
      }
      done += piece;
    }
    if (host != 0) {
      memory.markDirty(gpa);
      code.written(host, size);
    }
  }

  /** What a store of 1, 2, 4 or 8 bytes to a page that is not mapped for writing leads to. */
  private void stored(
      final long host, final long gpa, final boolean permitted, final int size, final long value) {
    if (permitted) {
      tableWrites.add(gpa, size, size == 8 ? value : value & (1L << 8 * size) - 1);
    }
    memory.markDirty(gpa);
    code.written(host, size);
  }

  @Override
  protected final long loadSlow(final long linear, final int size) {
    return loadThrough(linear, size, Translation.READ);
  }

  @Override
  protected final long loadForWriteSlow(final long linear, final int size) {
    return loadThrough(linear, size, Translation.WRITE);
  }

  private long loadThrough(final long linear, final int size, final int kind) {
    if (slowMemory) {
      observe(linear, size, false);
    }
    final int first = firstPart(linear, size);
    final long host = resolve(linear, kind);
    final long gpa = resolvedGpa;
    if (first == size) {
      return readPart(host, gpa, size);
    }
    final long secondHost = resolve(secondPage(linear), kind);
    final long secondGpa = resolvedGpa;
    final long low = readPart(host, gpa, first);
    return low | readPart(secondHost, secondGpa, size - first) << first * 8;
  }

  @Override
  protected final void storeSlow(final long linear, final int size, final long value) {
    if (slowMemory) {
      observe(linear, size, true);
    }
    final int first = firstPart(linear, size);
    final long host = resolve(linear, Translation.WRITE);
    final long gpa = resolvedGpa;
    final boolean permitted = resolvedByPermit;
    if (first == size) {
      writePart(host, gpa, permitted, size, value);
      return;
    }
    final long secondHost = resolve(secondPage(linear), Translation.WRITE);
    final long secondGpa = resolvedGpa;
    final boolean secondPermitted = resolvedByPermit;
    // From the low end; but what exits comes before what is stored here: a read-modify-write is
    // executed again then, and must find memory unchanged.
    final boolean secondFirst = host != 0 && secondHost == 0;
    if (secondFirst) {
      writePart(0, secondGpa, false, size - first, value >>> first * 8);
    }
    writePart(host, gpa, permitted, first, value);
    if (!secondFirst) {
      writePart(secondHost, secondGpa, secondPermitted, size - first, value >>> first * 8);
    }
  }

  @Override
  protected final boolean storeIfSameSlow(
      final long linear, final int size, final long loaded, final long value) {
    final boolean onePage = firstPart(linear, size) == size;
    final long host = onePage ? resolve(linear, Translation.WRITE) : 0;
    if (host == 0) {
      // A device, or two pages: nothing that could be done in one step.
      storeSlow(linear, size, value);
      return true;
    }
    if (slowMemory) {
      observe(linear, size, true);
    }
    if (!HostMemory.compareAndSet(host, size, loaded, value)) {
      return false;
    }
    stored(host, resolvedGpa, resolvedByPermit, size, value);
    return true;
  }

  @Override
  public final void probeWrite(final long linear, final int size) {
    probe(linear, size, Translation.WRITE);
  }

  @Override
  public final void probeRead(final long linear, final int size) {
    probe(linear, size, Translation.READ);
  }

  private void probe(final long linear, final int size, final int kind) {
    if (slowMemory && size <= 8 && (size & size - 1) == 0) {
      checkAlignment(linear, size);
    }
    resolve(linear, kind);
    if ((linear & 0xFFF) + size > 4096) {
      resolve(secondPage(linear), kind);
    }
  }

  /** Host address for fetching at a linear address, or 0 where no slot backs it. */
  final long fetchHost(final long linear) {
    final long entry =
        tlb + (linear >>> 12 & StateLayout.TLB_ENTRIES - 1) * StateLayout.TLB_ENTRY_SIZE;
    if (HostMemory.getLong(entry + StateLayout.TLB_FETCH) == (linear & PAGE_MASK)) {
      return linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND);
    }
    return resolve(linear, Translation.FETCH);
  }

  /** Where a byte lies that may be read; raises the fault that a read of it would. */
  final long physicalAddress(final long linear) {
    resolve(linear, Translation.READ);
    return resolvedGpa;
  }

  @Override
  public final void keysChanged() {
    final boolean inForce =
        (HostMemory.getLong(state + StateLayout.CR4) & ControlRegisters.CR4_PKE) != 0
            && (HostMemory.getLong(state + StateLayout.EFER) & ControlRegisters.EFER_LMA) != 0;
    final int now = inForce ? HostMemory.getInt(state + StateLayout.PKRU) : 0;
    if (now != keys) {
      keys = now;
      flushAll();
    }
  }

  /** Loads as the processor itself does for descriptor tables and the TSS: as supervisor. */
  final long loadSystem(final long linear, final int size) {
    final int saved = context;
    if (saved != USER_CONTEXT) {
      return load(linear, size);
    }
    selectContext(supervisorContext());
    try {
      return load(linear, size);
    } finally {
      selectContext(saved);
    }
  }

  /** As {@link #loadSystem}, for a store. */
  final void storeSystem(final long linear, final int size, final long value) {
    final int saved = context;
    if (saved != USER_CONTEXT) {
      store(linear, size, value);
      return;
    }
    selectContext(supervisorContext());
    try {
      store(linear, size, value);
    } finally {
      selectContext(saved);
    }
  }

  final int supervisorContext() {
    return (HostMemory.getLong(state + StateLayout.CR4) & ControlRegisters.CR4_SMAP) != 0
        ? SMAP_CONTEXT
        : SUPERVISOR_CONTEXT;
  }

  // ---- TLB control, called by the MMU and the run loop on the vCPU's thread ----

  @Override
  public final void flushAll() {
    entries.flushAll();
  }

  @Override
  public final void flushNonGlobal() {
    entries.flushNonGlobal();
  }

  @Override
  public final void flushPage(final long gva) {
    entries.flushPage(gva);
  }

  @Override
  public final void writeProtectFrame(final long gfn) {
    entries.writeProtectFrame(gfn);
  }

  @Override
  public final void flushFrame(final long gfn) {
    entries.flushFrame(gfn);
  }

  /** Takes the write permission of a host page out of the TLB. */
  final void dropWriteMappings(final long hostPage) {
    entries.dropWriteMappings(hostPage);
  }
}

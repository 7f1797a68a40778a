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

/**
 * The memory half of the software vCPU: the TLB and what happens where it misses.
 *
 * <p>An access that no slot backs becomes an MMIO exit. The instruction is then executed again from
 * its start; the answers that it already got ("fragments") are handed out in the same order, so an
 * instruction with several such accesses makes progress by one at each entry, and no operation
 * needs to know.
 */
abstract class MemoryCpu extends SoftCpu implements TlbControl {
  /** XSAVE to MMIO is the longest: 576 bytes by eights, with room. */
  private static final int MAX_FRAGMENTS = 160;

  private static final int MAX_PERMITS = 4;
  private static final long PAGE_MASK = -4096L;
  private static final int SMALL_FLUSH = 1024;

  static final int SUPERVISOR_CONTEXT = 0;
  static final int USER_CONTEXT = 1;
  static final int SMAP_CONTEXT = 2;

  final GuestMemory memory;
  final Translation translation;
  final BlockCache code = new BlockCache();
  final VcpuExit exit = new VcpuExit();
  final TableWrites tableWrites = new TableWrites();
  final Breakpoints breakpoints = new Breakpoints();

  /** Every data access takes the slow path: breakpoints of data, alignment checks. */
  boolean slowMemory;

  /** What {@link #tlb} is meanwhile: a context that stays empty; 0 until it is needed. */
  private long emptyTlb;

  private final Translation.Result result = new Translation.Result();
  private final long[] fragments = new long[MAX_FRAGMENTS];
  private int fragmentCount;
  private int fragmentCursor;
  private boolean awaiting;

  private final long[] permittedGva = new long[MAX_PERMITS];
  private final long[] permittedGpa = new long[MAX_PERMITS];
  private int permits;

  /** Offsets of entries filled since the last flush that a CR3 write must drop. */
  private final int[] localEntries = new int[SMALL_FLUSH];

  private int localCount;

  /** Which parts of a guest's large pages the TLB may hold. */
  private final LargePages largePages = new LargePages();

  int context;
  private int vector = -1;
  private int errorCode;
  private boolean hasErrorCode;

  /** The fault is of a memory operand's address that is not canonical. */
  private boolean notCanonical;

  private final GuestFault fault = new GuestFault();

  // What the last resolve() found, beside the host address that it returned.
  private long resolvedGpa;
  private boolean resolvedByPermit;

  MemoryCpu(final long state, final GuestMemory memory, final Translation translation) {
    super(state);
    this.memory = memory;
    this.translation = translation;
    dropTlb();
  }

  // ---- faults ----

  @Override
  public final GuestFault raise(final int faultVector) {
    vector = faultVector;
    notCanonical = false;
    hasErrorCode = false;
    errorCode = 0;
    throw fault;
  }

  @Override
  public final GuestFault raise(final int faultVector, final int faultErrorCode) {
    vector = faultVector;
    notCanonical = false;
    hasErrorCode = true;
    errorCode = faultErrorCode;
    throw fault;
  }

  final int faultVector() {
    return vector;
  }

  final int faultErrorCode() {
    return errorCode;
  }

  /** #SS for #GP where an address was not canonical: the op that faulted says its segment. */
  final void faultOfSegment(final boolean stack) {
    if (stack && notCanonical) {
      vector = Vector.SS;
    }
  }

  private GuestFault raiseNotCanonical() {
    vector = Vector.GP;
    hasErrorCode = true;
    errorCode = 0;
    notCanonical = true;
    throw fault;
  }

  final boolean faultHasErrorCode() {
    return hasErrorCode;
  }

  // ---- requests to the run loop ----

  /**
   * Yields the answer of an exit that this pass of the instruction already made, or leaves with the
   * exit described by the caller (all but {@link VcpuExit#reason} set).
   */
  final long request(final int reason) {
    if (fragmentCursor < fragmentCount) {
      return fragments[fragmentCursor++];
    }
    exit.reason = reason;
    awaiting = true;
    throw Unwind.EXIT;
  }

  /** Whether the next {@link #request} has its answer. */
  final boolean answered() {
    return fragmentCursor < fragmentCount;
  }

  /** Takes the run loop's answer; true where an instruction waits to be completed. */
  final boolean completeRequest() {
    if (awaiting) {
      awaiting = false;
      if (fragmentCount == MAX_FRAGMENTS) {
        throw new IllegalStateException("one instruction made " + MAX_FRAGMENTS + " exits");
      }
      fragments[fragmentCount++] = exit.value;
    }
    return fragmentCount > 0;
  }

  final void restartInstruction() {
    fragmentCursor = 0;
  }

  /** Forgets the instruction that waits for an answer, and the answers that it had. */
  final void abandonInstruction() {
    awaiting = false;
    instructionDone();
  }

  final void instructionDone() {
    fragmentCount = 0;
    fragmentCursor = 0;
    permits = 0;
  }

  /**
   * Whether an exit of the instruction at rip awaits its answer, or answers or permits are kept.
   */
  final boolean instructionPending() {
    return awaiting || fragmentCount + permits > 0;
  }

  final void permitWrite(final long gva, final long gpa) {
    for (int i = 0; i < permits; i++) {
      if (permittedGva[i] == (gva & PAGE_MASK)) {
        permittedGpa[i] = gpa & PAGE_MASK;
        return;
      }
    }
    if (permits == MAX_PERMITS) {
      permits = 0;
    }
    permittedGva[permits] = gva & PAGE_MASK;
    permittedGpa[permits] = gpa & PAGE_MASK;
    permits++;
  }

  /** Ends {@link #permitWrite}: only an emulated instruction may use it. */
  final void forbidWrites() {
    permits = 0;
  }

  @Override
  public final int portIn(final int port, final int size) {
    if (!answered()) {
      describe(port, size, false, 0);
    }
    return (int) request(VcpuExit.PIO);
  }

  @Override
  public final byte[] portInMany(final int port, final int size, final int count) {
    if (!answered()) {
      describe(port, size, false, 0);
      exit.count = count;
    }
    request(VcpuExit.PIO);
    return exit.data;
  }

  @Override
  public final int portAnswered() {
    return answered() ? exit.count : 0;
  }

  @Override
  public final void portOut(final int port, final int size, final int value) {
    if (!answered()) {
      describe(port, size, true, size == 4 ? value & 0xFFFF_FFFFL : value & (1 << size * 8) - 1);
    }
    request(VcpuExit.PIO);
  }

  @Override
  public final void portOutMany(final int port, final int size, final int count, final long host) {
    if (!answered()) {
      // Safe: the caller found all of the elements inside one page that it may read.
      describe(port, size, true, HostMemory.get(host, size));
      exit.count = count;
      HostMemory.copyOut(host, exit.data, 0, (long) count * size);
    }
    request(VcpuExit.PIO);
  }

  final void describe(final long address, final int size, final boolean write, final long value) {
    exit.address = address;
    exit.size = size;
    exit.write = write;
    exit.value = value;
    exit.count = 1;
    exit.errorCode = 0;
    exit.refused = false;
  }

  private long mmioRead(final long gpa, final int size) {
    if (!answered()) {
      describe(gpa, size, false, 0);
    }
    return request(VcpuExit.MMIO);
  }

  private void mmioWrite(final long gpa, final int size, final long value) {
    if (!answered()) {
      describe(gpa, size, true, value);
    }
    request(VcpuExit.MMIO);
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
    translation.translate(linear, kind | accessBits(), r);
    switch (r.outcome) {
      case Translation.Result.OK -> {}
      case Translation.Result.GUEST_FAULT -> {
        HostMemory.putLong(state + StateLayout.CR2, linear);
        throw raise(Vector.PF, r.errorCode);
      }
      case Translation.Result.MISS -> {
        if (kind == Translation.WRITE) {
          for (int i = 0; i < permits; i++) {
            if (permittedGva[i] == (linear & PAGE_MASK)) {
              resolvedByPermit = true;
              resolvedGpa = permittedGpa[i] | linear & 0xFFF;
              return memory.hostAddress(resolvedGpa);
            }
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
    fill(linear, host, kind);
    return host;
  }

  private void fill(final long linear, final long host, final int kind) {
    if (slowMemory) {
      return;
    }
    final long page = linear & PAGE_MASK;
    final int offset =
        (int) (tlb - state)
            + (int) (linear >>> 12 & StateLayout.TLB_ENTRIES - 1) * StateLayout.TLB_ENTRY_SIZE;
    final long entry = state + offset;
    final long addend = host - linear;
    if (result.pageShift != 12) {
      largePages.add(linear, result.pageShift);
    }
    if (HostMemory.getLong(entry + StateLayout.TLB_ADDEND) != addend || !holdsPage(entry, page)) {
      HostMemory.putLong(entry + StateLayout.TLB_READ, StateLayout.TLB_NO_PAGE);
      HostMemory.putLong(entry + StateLayout.TLB_WRITE, StateLayout.TLB_NO_PAGE);
      HostMemory.putLong(entry + StateLayout.TLB_FETCH, StateLayout.TLB_NO_PAGE);
      HostMemory.putLong(entry + StateLayout.TLB_ADDEND, addend);
    }
    if (!result.global) {
      if (localCount < SMALL_FLUSH) {
        localEntries[localCount] = offset;
      }
      localCount++;
    }
    if (result.readable) {
      HostMemory.putLong(entry + StateLayout.TLB_READ, page);
    }
    if (result.executable) {
      HostMemory.putLong(entry + StateLayout.TLB_FETCH, page);
    }
    if (result.writable && !code.hasCode(host) && !memory.isReadOnly(result.gpa)) {
      if (kind == Translation.WRITE) {
        memory.markDirty(result.gpa);
        HostMemory.putLong(entry + StateLayout.TLB_WRITE, page);
      } else if (!memory.isDirtyLogging() || memory.isDirty(result.gpa >>> 12)) {
        HostMemory.putLong(entry + StateLayout.TLB_WRITE, page);
      }
    }
  }

  private static boolean holdsPage(final long entry, final long page) {
    return HostMemory.getLong(entry + StateLayout.TLB_READ) == page
        || HostMemory.getLong(entry + StateLayout.TLB_WRITE) == page
        || HostMemory.getLong(entry + StateLayout.TLB_FETCH) == page;
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

  private void dropTlb() {
    // All ones is TLB_NO_PAGE in each tag; an addend is read only under a tag that hit.
    HostMemory.fill(
        state + StateLayout.TLB,
        (long) StateLayout.TLB_CONTEXTS * StateLayout.TLB_CONTEXT_SIZE,
        0xFF);
    localCount = 0;
    largePages.clear();
  }

  @Override
  public final void flushAll() {
    dropTlb();
  }

  /** Drops what a CR3 write drops: all entries but global ones. */
  @Override
  public final void flushNonGlobal() {
    if (localCount > SMALL_FLUSH) {
      dropTlb();
      return;
    }
    for (int i = 0; i < localCount; i++) {
      dropEntry(state + localEntries[i]);
    }
    localCount = 0;
  }

  private static void dropEntry(final long entry) {
    HostMemory.putLong(entry + StateLayout.TLB_READ, StateLayout.TLB_NO_PAGE);
    HostMemory.putLong(entry + StateLayout.TLB_WRITE, StateLayout.TLB_NO_PAGE);
    HostMemory.putLong(entry + StateLayout.TLB_FETCH, StateLayout.TLB_NO_PAGE);
  }

  @Override
  public final void flushPage(final long gva) {
    if (largePages.mayHold(gva)) {
      // INVLPG drops the whole of a large page, which is here in pieces of 4 KiB.
      dropTlb();
      return;
    }
    final long first =
        state
            + StateLayout.TLB
            + (gva >>> 12 & StateLayout.TLB_ENTRIES - 1) * StateLayout.TLB_ENTRY_SIZE;
    for (int i = 0; i < StateLayout.TLB_CONTEXTS; i++) {
      dropEntry(first + (long) i * StateLayout.TLB_CONTEXT_SIZE);
    }
  }

  @Override
  public final void writeProtectFrame(final long gfn) {
    final long host = memory.hostAddress(gfn << 12);
    if (host != 0) {
      dropWriteMappings(host);
    }
  }

  @Override
  public final void flushFrame(final long gfn) {
    final long host = memory.hostAddress(gfn << 12);
    if (host == 0) {
      return;
    }
    final long end = state + StateLayout.SIZE;
    for (long entry = state + StateLayout.TLB; entry < end; entry += StateLayout.TLB_ENTRY_SIZE) {
      final long addend = HostMemory.getLong(entry + StateLayout.TLB_ADDEND);
      if (holdsPage(entry, host - addend)) {
        dropEntry(entry);
      }
    }
  }

  /** Takes the write permission of a host page out of the TLB. */
  final void dropWriteMappings(final long hostPage) {
    final long end = state + StateLayout.SIZE;
    for (long entry = state + StateLayout.TLB; entry < end; entry += StateLayout.TLB_ENTRY_SIZE) {
      final long page = HostMemory.getLong(entry + StateLayout.TLB_WRITE);
      if (page != StateLayout.TLB_NO_PAGE
          && page + HostMemory.getLong(entry + StateLayout.TLB_ADDEND) == hostPage) {
        HostMemory.putLong(entry + StateLayout.TLB_WRITE, StateLayout.TLB_NO_PAGE);
      }
    }
  }
}

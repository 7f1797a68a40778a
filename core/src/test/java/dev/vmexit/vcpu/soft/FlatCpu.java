package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;

/**
 * The least vCPU that operations can be tested on: flat segments, one stretch of memory at a linear
 * address, no paging. What it raises, reads from ports and writes to them is in plain sight.
 */
public final class FlatCpu extends SoftCpu implements AutoCloseable {
  private static final long PAGE_MASK = -4096L;
  private static final int RSP = StateLayout.gpr(Gpr.RSP);

  /** Unwinds an instruction that raised a fault; {@link #vector} says which. */
  public static final class Raised extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Raised() {
      super("raised", null, false, false);
    }
  }

  /** Unwinds an instruction that was left to be executed again. */
  public static final class Left extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Left() {
      super("left", null, false, false);
    }
  }

  /** First linear address of the memory. */
  public final long base;

  /** Code size in bytes. */
  public final int codeSize;

  private final long memory;
  private final int size;
  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();

  /** Whether accesses may go through the TLB; else all take the slow path. */
  public boolean mapped = true;

  /** Stores at and above this linear address fault. */
  public long readOnlyFrom = Long.MAX_VALUE;

  /** Loads at and above this linear address fault. */
  public long absentFrom = Long.MAX_VALUE;

  /** Slow stores leave the instruction, as those to a device do at first. */
  public boolean leaveOnStore;

  /** Repeat boundaries to pass before the instruction is left at one. */
  public int boundaries = Integer.MAX_VALUE;

  public int stackSize;
  public int vector = -1;
  public int errorCode = -1;
  public long faultAddress;

  /** What {@link #portIn} answers, counted up. */
  public int portValue;

  /** Ports, sizes and values written, in that order. */
  public final List<Integer> written = new ArrayList<>();

  /** Makes a processor with zeroed memory of whole pages. */
  public FlatCpu(final long base, final int size, final int codeSize) {
    super(HostMemory.allocate(StateLayout.SIZE));
    this.base = base;
    this.size = size;
    this.codeSize = codeSize;
    stackSize = codeSize;
    memory = HostMemory.allocate(size);
    forgetMappings();
    for (int i = 0; i < Seg.COUNT; i++) {
      setSegment(i, 0, 0xFFFF_FFFFL, i == Seg.CS ? 0xC09B : 0xC093);
    }
    HostMemory.putLong(state + StateLayout.RFLAGS, Flags.RESERVED_1);
  }

  /** Sets a segment's cache. */
  public void setSegment(
      final int segment, final long segmentBase, final long limit, final int rights) {
    final long at = state + StateLayout.segment(segment);
    HostMemory.putLong(at + StateLayout.SEG_BASE, segmentBase);
    HostMemory.putLong(at + StateLayout.SEG_LIMIT, limit);
    HostMemory.putInt(at + StateLayout.SEG_RIGHTS, rights);
  }

  /** Empties the TLB. */
  public void forgetMappings() {
    HostMemory.fill(
        state + StateLayout.TLB,
        (long) StateLayout.TLB_CONTEXTS * StateLayout.TLB_CONTEXT_SIZE,
        -1);
  }

  @Override
  public void close() {
    HostMemory.free(memory);
    HostMemory.free(state);
  }

  // ---- what tests look at ----

  /** A general register by its number. */
  public long gpr(final int number) {
    return reg64(StateLayout.gpr(number));
  }

  /** Sets a general register by its number. */
  public void gpr(final int number, final long value) {
    reg64(StateLayout.gpr(number), value);
  }

  public long rip() {
    return HostMemory.getLong(state + StateLayout.RIP);
  }

  public void rip(final long value) {
    HostMemory.putLong(state + StateLayout.RIP, value);
  }

  /** Reads memory past all checks. */
  public long peek(final long linear, final int bytes) {
    return HostMemory.get(host(linear), bytes);
  }

  /** Writes memory past all checks. */
  public void poke(final long linear, final int bytes, final long value) {
    HostMemory.put(host(linear), bytes, value);
  }

  /** Copies memory in. */
  public void fillMemory(final byte[] bytes) {
    HostMemory.copyIn(bytes, 0, memory, Math.min(bytes.length, size));
  }

  /** Copies memory out. */
  public byte[] memory() {
    final byte[] bytes = new byte[size];
    HostMemory.copyOut(memory, bytes, 0, size);
    return bytes;
  }

  private long host(final long linear) {
    return memory + (linear - base);
  }

  // ---- running ----

  /**
   * Decodes, binds and executes the instruction in {@code code} at {@code offset}, rip being its
   * address, and moves rip on.
   *
   * @return bytes of the instruction
   */
  public int step(final byte[] code, final int offset, final Function<Instruction, Op> binder) {
    final int status = decoder.decode(code, offset, code.length - offset, codeSize, insn);
    if (status != Decoder.STATUS_OK) {
      throw new IllegalStateException("status=" + status + " of a decode at " + offset);
    }
    final Op op = binder.apply(insn);
    if (op == null) {
      throw new IllegalStateException("nothing bound to " + insn.mnemonic);
    }
    op.place(0);
    final long rip = rip();
    HostMemory.putLong(state + StateLayout.BLOCK_RIP, rip);
    vector = -1;
    errorCode = -1;
    try {
      if (op.isTerminator()) {
        rip(rip + op.length);
        op.execute(this);
      } else {
        op.execute(this);
        if (rip() != rip) {
          throw new IllegalStateException(insn.mnemonic + " changed rip and is no terminator");
        }
        rip(rip + op.length);
      }
    } catch (final Raised | Left e) {
      rip(rip);
      throw e;
    }
    return op.length;
  }

  // ---- SoftCpu ----

  @Override
  protected void systemFlagsChanged() {}

  private void check(final long linear, final int bytes, final boolean write) {
    for (int i = 0; i < bytes; i++) {
      final long at = linear + i;
      if (at < base || at >= base + size || at >= (write ? readOnlyFrom : absentFrom)) {
        faultAddress = at;
        throw raise(Vector.PF, write ? 2 : 0);
      }
    }
  }

  private void map(final long linear, final int bytes, final int tag) {
    final long page = linear & PAGE_MASK;
    if (mapped && ((linear + bytes - 1) & PAGE_MASK) == page) {
      final long entry =
          tlb + (linear >>> 12 & StateLayout.TLB_ENTRIES - 1) * StateLayout.TLB_ENTRY_SIZE;
      HostMemory.putLong(entry + tag, page);
      HostMemory.putLong(entry + StateLayout.TLB_ADDEND, memory - base);
    }
  }

  @Override
  public void probeWrite(final long linear, final int bytes) {
    check(linear, bytes, true);
  }

  @Override
  public void probeRead(final long linear, final int bytes) {
    check(linear, bytes, false);
  }

  @Override
  protected long loadSlow(final long linear, final int bytes) {
    check(linear, bytes, false);
    map(linear, bytes, StateLayout.TLB_READ);
    return HostMemory.get(host(linear), bytes);
  }

  @Override
  protected void storeSlow(final long linear, final int bytes, final long value) {
    check(linear, bytes, true);
    if (leaveOnStore) {
      throw new Left();
    }
    map(linear, bytes, StateLayout.TLB_WRITE);
    HostMemory.put(host(linear), bytes, value);
  }

  @Override
  protected long loadForWriteSlow(final long linear, final int bytes) {
    check(linear, bytes, true);
    return HostMemory.get(host(linear), bytes);
  }

  @Override
  protected boolean storeIfSameSlow(
      final long linear, final int bytes, final long loaded, final long value) {
    storeSlow(linear, bytes, value);
    return true;
  }

  @Override
  public void keysChanged() {}

  @Override
  public long legacyAddress(
      final int segment, final long offset, final int bytes, final boolean write) {
    final long at = state + StateLayout.segment(segment);
    if (offset + bytes - 1 > HostMemory.getLong(at + StateLayout.SEG_LIMIT)) {
      throw raise(segment == Seg.SS ? Vector.SS : Vector.GP, 0);
    }
    return HostMemory.getLong(at + StateLayout.SEG_BASE) + offset & 0xFFFF_FFFFL;
  }

  @Override
  public long stringAddress(
      final int segment,
      final long offset,
      final int bytes,
      final boolean write,
      final boolean legacy) {
    if (legacy) {
      return legacyAddress(segment, offset, bytes, write);
    }
    return segment == Seg.FS || segment == Seg.GS
        ? offset + HostMemory.getLong(state + StateLayout.segment(segment) + StateLayout.SEG_BASE)
        : offset;
  }

  @Override
  public long stackAddress(final long delta, final int bytes, final boolean write) {
    final long offset = reg64(RSP) + delta;
    if (codeSize == 8) {
      if (offset != offset << 16 >> 16) {
        throw raise(Vector.SS, 0);
      }
      return offset;
    }
    return legacyAddress(Seg.SS, offset & (stackSize == 4 ? 0xFFFF_FFFFL : 0xFFFFL), bytes, write);
  }

  @Override
  public void push(final long value, final int bytes) {
    store(stackAddress(-bytes, bytes, true), bytes, value);
    addStackPointer(-bytes);
  }

  @Override
  public long pop(final int bytes) {
    final long value = load(stackAddress(0, bytes, false), bytes);
    addStackPointer(bytes);
    return value;
  }

  @Override
  public long peekStack(final int bytes) {
    return load(stackAddress(0, bytes, false), bytes);
  }

  @Override
  public void addStackPointer(final long delta) {
    final long value = reg64(RSP) + delta;
    switch (stackSize) {
      case 8 -> reg64(RSP, value);
      case 4 -> reg32(RSP, (int) value);
      default -> reg16(RSP, (int) value);
    }
  }

  @Override
  public int cpl() {
    return 0;
  }

  @Override
  public int stackSize() {
    return stackSize;
  }

  @Override
  public long allowedXcr0() {
    return 7;
  }

  @Override
  public boolean longMode64() {
    return codeSize == 8;
  }

  @Override
  public GuestFault raise(final int raised) {
    vector = raised;
    throw new Raised();
  }

  @Override
  public GuestFault raise(final int raised, final int code) {
    vector = raised;
    errorCode = code;
    throw new Raised();
  }

  @Override
  public byte[] portInMany(final int port, final int size, final int count) {
    final byte[] elements = new byte[size * count];
    for (int i = 0; i < count; i++) {
      final int value = portIn(port, size);
      for (int b = 0; b < size; b++) {
        elements[i * size + b] = (byte) (value >>> 8 * b);
      }
    }
    return elements;
  }

  @Override
  public void portOutMany(final int port, final int size, final int count, final long host) {
    for (int i = 0; i < count; i++) {
      portOut(port, size, (int) HostMemory.get(host + (long) i * size, size));
    }
  }

  @Override
  public int portAnswered() {
    return 0;
  }

  @Override
  public int portIn(final int port, final int bytes) {
    return portValue++;
  }

  @Override
  public void portOut(final int port, final int bytes, final int value) {
    written.add(port);
    written.add(bytes);
    written.add(value);
  }

  @Override
  public void checkPort(final int port, final int bytes) {}

  @Override
  public void repeatBoundary() {
    if (boundaries-- == 0) {
      throw new Left();
    }
  }

  @Override
  public void branch(final long target, final int operandSize) {
    final long rip = target & (codeSize == 8 ? -1L : operandSize == 2 ? 0xFFFFL : 0xFFFF_FFFFL);
    if (codeSize == 8
        ? rip != rip << 16 >> 16
        : rip > HostMemory.getLong(state + StateLayout.segment(Seg.CS) + StateLayout.SEG_LIMIT)) {
      throw raise(Vector.GP, 0);
    }
    rip(rip);
  }
}

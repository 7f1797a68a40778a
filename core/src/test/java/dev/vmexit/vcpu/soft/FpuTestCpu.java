package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.integer.IntegerOps;
import dev.vmexit.vcpu.soft.sse.SseOps;
import dev.vmexit.vcpu.soft.x87.X87Ops;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A vCPU for the x87 and SSE tests: registers, and one flat piece of linear memory, reached by
 * turns through the TLB and through the slow path.
 */
final class FpuTestCpu extends SoftCpu implements AutoCloseable {
  private static final int PAGE = 4096;

  private final long base;
  private final int size;
  private final long buffer;
  private final GuestFault fault = new GuestFault();
  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();

  int vector = -1;
  int errorCode = -1;
  int privilege;

  /** Code size to decode for: 2, 4 or 8. */
  int codeSize = 8;

  FpuTestCpu(final long base, final int size) {
    super(HostMemory.allocate(StateLayout.SIZE));
    this.base = base;
    this.size = size;
    buffer = HostMemory.allocate(size);
    reset();
  }

  /** The state in which a Linux task would run. */
  void reset() {
    HostMemory.fill(state, StateLayout.TLB, 0);
    HostMemory.fill(
        state + StateLayout.TLB,
        (long) StateLayout.TLB_CONTEXTS * StateLayout.TLB_CONTEXT_SIZE,
        -1);
    reg64(
        StateLayout.CR0,
        ControlRegisters.CR0_PE | ControlRegisters.CR0_MP | ControlRegisters.CR0_NE);
    reg64(StateLayout.CR4, ControlRegisters.CR4_OSFXSR | ControlRegisters.CR4_OSXMMEXCPT);
    reg64(StateLayout.FPU_CONTROL, 0x37F);
    reg32(StateLayout.MXCSR, 0x1F80);
    reg64(StateLayout.XCR0, 3);
    vector = -1;
    errorCode = -1;
    privilege = 3;
  }

  /** As a guest does that saves the YMM registers too. */
  void enableAvx() {
    reg64(StateLayout.CR4, reg64(StateLayout.CR4) | ControlRegisters.CR4_OSXSAVE);
    reg64(StateLayout.XCR0, 7);
  }

  /** Lets the TLB hit on all of the memory, or on nothing. */
  void useTlb(final boolean hits) {
    for (long page = base & -PAGE; page < base + size; page += PAGE) {
      final long entry =
          tlb + (page >>> 12 & StateLayout.TLB_ENTRIES - 1) * StateLayout.TLB_ENTRY_SIZE;
      final long tag = hits ? page : StateLayout.TLB_NO_PAGE;
      HostMemory.putLong(entry + StateLayout.TLB_READ, tag);
      HostMemory.putLong(entry + StateLayout.TLB_WRITE, tag);
      HostMemory.putLong(entry + StateLayout.TLB_ADDEND, buffer - base);
    }
  }

  /**
   * Decodes and binds one instruction; null where it is none of x87, MMX, SSE or AVX, nor an
   * integer one with a 0F before its opcode.
   */
  Op bind(final byte[] code) {
    if (decoder.decode(code, 0, code.length, codeSize, insn) != Decoder.STATUS_OK
        || insn.length != code.length) {
      return null;
    }
    return rebind();
  }

  private Op rebind() {
    Op op = X87Ops.bind(insn);
    if (op == null) {
      op = SseOps.bind(insn);
    }
    if (op == null && CpuFeature.of(insn) != null && insn.opcode >> 8 > 1) {
      op = IntegerOps.bind(insn);
    }
    if (op != null) {
      op.place(0);
    }
    return op;
  }

  /** What {@link #bind} decoded last. */
  Instruction decoded() {
    return insn;
  }

  /** Executes instructions one after the other; stops at a fault, see {@link #vector}. */
  void run(final byte[] code) {
    int at = 0;
    while (at < code.length) {
      final int status = decoder.decode(code, at, code.length - at, codeSize, insn);
      final Op op = status == Decoder.STATUS_OK ? rebind() : null;
      if (op == null) {
        throw new IllegalArgumentException("not an instruction of x87 or SSE at " + at);
      }
      execute(op);
      if (vector >= 0) {
        return;
      }
      at += insn.length;
    }
  }

  void execute(final Op op) {
    vector = -1;
    errorCode = -1;
    try {
      op.execute(this);
    } catch (final GuestFault expected) {
      if (expected != fault) {
        throw expected;
      }
    }
  }

  void memory(final byte[] bytes) {
    HostMemory.copyIn(bytes, 0, buffer, bytes.length);
  }

  byte[] memory(final int length) {
    final byte[] bytes = new byte[length];
    HostMemory.copyOut(buffer, bytes, 0, length);
    return bytes;
  }

  void gpr(final int register, final long value) {
    reg64(StateLayout.gpr(register), value);
  }

  long gpr(final int register) {
    return reg64(StateLayout.gpr(register));
  }

  /** Host address of linear memory; faults outside of it. */
  private long host(final long linear, final int bytes) {
    if (linear < base || linear + bytes > base + size) {
      throw raise(14, 0);
    }
    return buffer + (linear - base);
  }

  @Override
  public void close() {
    HostMemory.free(buffer);
    HostMemory.free(state);
  }

  @Override
  protected void systemFlagsChanged() {
    // Nothing follows from them here.
  }

  @Override
  public void probeWrite(final long linear, final int bytes) {
    host(linear, bytes);
  }

  @Override
  public void probeRead(final long linear, final int bytes) {
    host(linear, bytes);
  }

  @Override
  protected long loadSlow(final long linear, final int bytes) {
    return HostMemory.get(host(linear, bytes), bytes);
  }

  @Override
  protected void storeSlow(final long linear, final int bytes, final long value) {
    HostMemory.put(host(linear, bytes), bytes, value);
  }

  @Override
  protected long loadForWriteSlow(final long linear, final int bytes) {
    return loadSlow(linear, bytes);
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
    return offset;
  }

  @Override
  public long stringAddress(
      final int segment,
      final long offset,
      final int bytes,
      final boolean write,
      final boolean legacy) {
    return offset;
  }

  @Override
  public int cpl() {
    return privilege;
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
  public GuestFault raise(final int number) {
    vector = number;
    throw fault;
  }

  @Override
  public GuestFault raise(final int number, final int error) {
    vector = number;
    errorCode = error;
    throw fault;
  }

  private static UnsupportedOperationException notUsed() {
    return new UnsupportedOperationException("no x87 or SSE instruction does this");
  }

  @Override
  public void push(final long value, final int bytes) {
    throw notUsed();
  }

  @Override
  public long pop(final int bytes) {
    throw notUsed();
  }

  @Override
  public long peekStack(final int bytes) {
    throw notUsed();
  }

  @Override
  public void addStackPointer(final long delta) {
    throw notUsed();
  }

  @Override
  public long stackAddress(final long delta, final int bytes, final boolean write) {
    throw notUsed();
  }

  @Override
  public int stackSize() {
    return 8;
  }

  @Override
  public byte[] portInMany(final int port, final int size, final int count) {
    throw notUsed();
  }

  @Override
  public void portOutMany(final int port, final int size, final int count, final long host) {
    throw notUsed();
  }

  @Override
  public int portAnswered() {
    throw notUsed();
  }

  @Override
  public int portIn(final int port, final int bytes) {
    throw notUsed();
  }

  @Override
  public void portOut(final int port, final int bytes, final int value) {
    throw notUsed();
  }

  @Override
  public void checkPort(final int port, final int bytes) {
    throw notUsed();
  }

  @Override
  public void repeatBoundary() {
    throw notUsed();
  }

  @Override
  public void branch(final long target, final int operandSize) {
    throw notUsed();
  }

  /** Puts an FXSAVE image's contents into the state, by the layout alone. */
  void loadImage(final byte[] image) {
    final ByteBuffer fx = ByteBuffer.wrap(image).order(ByteOrder.LITTLE_ENDIAN);
    HostMemory.putInt(state + StateLayout.FPU_CONTROL, fx.getShort(0) & 0xFFFF);
    final int status = fx.getShort(2) & 0xFFFF;
    HostMemory.putInt(state + StateLayout.FPU_STATUS, status);
    HostMemory.putInt(state + StateLayout.FPU_TAGS, fx.get(4) & 0xFF);
    HostMemory.putInt(state + StateLayout.MXCSR, fx.getInt(24));
    for (int i = 0; i < 8; i++) {
      final int at =
          StateLayout.FPU_REGISTERS + ((status >>> 11) + i & 7) * StateLayout.FPU_REGISTER_SIZE;
      HostMemory.putLong(state + at, fx.getLong(32 + 16 * i));
      HostMemory.putLong(state + at + 8, fx.getShort(40 + 16 * i) & 0xFFFF);
    }
    for (int i = 0; i < Gpr.COUNT; i++) {
      final int at = StateLayout.XMM + i * StateLayout.XMM_SIZE;
      HostMemory.putLong(state + at, fx.getLong(160 + 16 * i));
      HostMemory.putLong(state + at + 8, fx.getLong(168 + 16 * i));
    }
  }

  /** The reverse of {@link #loadImage}: what it does not cover is left in the image. */
  void storeImage(final byte[] image) {
    final ByteBuffer fx = ByteBuffer.wrap(image).order(ByteOrder.LITTLE_ENDIAN);
    fx.putShort(0, (short) reg16(StateLayout.FPU_CONTROL));
    final int status = reg16(StateLayout.FPU_STATUS);
    fx.putShort(2, (short) status);
    fx.put(4, (byte) reg8(StateLayout.FPU_TAGS));
    fx.putInt(24, reg32(StateLayout.MXCSR));
    for (int i = 0; i < 8; i++) {
      final int at =
          StateLayout.FPU_REGISTERS + ((status >>> 11) + i & 7) * StateLayout.FPU_REGISTER_SIZE;
      fx.putLong(32 + 16 * i, reg64(at));
      fx.putShort(40 + 16 * i, (short) reg16(at + 8));
    }
    for (int i = 0; i < Gpr.COUNT; i++) {
      final int at = StateLayout.XMM + i * StateLayout.XMM_SIZE;
      fx.putLong(160 + 16 * i, reg64(at));
      fx.putLong(168 + 16 * i, reg64(at + 8));
    }
  }
}

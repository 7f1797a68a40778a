package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.x87.SoftFloat;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;

/**
 * What an instruction sees of its vCPU: registers, lazy flags, linear memory through the TLB, the
 * stack, and the ways to raise a fault or to exit.
 *
 * <p>Only the vCPU's own thread calls it.
 */
public abstract class SoftCpu {
  private static final long PAGE_MASK = -4096L;
  private static final long TLB_INDEX_MASK = StateLayout.TLB_ENTRIES - 1;
  private static final int TLB_ENTRY_SHIFT = 5;

  /** Address of the block that {@link StateLayout} describes; valid while the vCPU is open. */
  public final long state;

  /** Scratch of the x87 and SSE arithmetic; meaningless between two instructions. */
  public final SoftFloat softFloat = new SoftFloat();

  /** Address of the TLB context of the current privilege. */
  protected long tlb;

  protected SoftCpu(final long state) {
    this.state = state;
    this.tlb = state + StateLayout.TLB;
  }

  // ---- registers, by offset in StateLayout (gpr(n), gpr8(n)) ----

  public final long reg64(final int offset) {
    return HostMemory.getLong(state + offset);
  }

  public final int reg32(final int offset) {
    return HostMemory.getInt(state + offset);
  }

  public final int reg16(final int offset) {
    return HostMemory.getShort(state + offset);
  }

  public final int reg8(final int offset) {
    return HostMemory.getByte(state + offset);
  }

  public final void reg64(final int offset, final long value) {
    HostMemory.putLong(state + offset, value);
  }

  /** Writes 32 bits and clears the upper half, as 32-bit operations do. */
  public final void reg32(final int offset, final int value) {
    HostMemory.putLong(state + offset, value & 0xFFFF_FFFFL);
  }

  public final void reg16(final int offset, final int value) {
    HostMemory.putShort(state + offset, value);
  }

  public final void reg8(final int offset, final int value) {
    HostMemory.putByte(state + offset, value);
  }

  // ---- flags ----

  /**
   * Sets all six arithmetic flags lazily.
   *
   * @param result sign-extended from the operand size to 64 bits: gives SF, ZF and (low byte) PF
   * @param carries the vector of carry-outs of each bit position, shifted left so that the
   *     operand's top bit is bit 63: CF is bit 63, OF is bit 63 ^ bit 62
   * @param aux AF in bit 4; bit 2 inverts PF, bit 7 inverts SF; all other bits zero
   */
  public final void setFlags(final long result, final long carries, final long aux) {
    final long s = state;
    HostMemory.putLong(s + StateLayout.FLAG_RESULT, result);
    HostMemory.putLong(s + StateLayout.FLAG_CARRIES, carries);
    HostMemory.putLong(s + StateLayout.FLAG_AUX, aux);
  }

  public final boolean cf() {
    return HostMemory.getLong(state + StateLayout.FLAG_CARRIES) < 0;
  }

  public final boolean zf() {
    return HostMemory.getLong(state + StateLayout.FLAG_RESULT) == 0;
  }

  public final boolean sf() {
    return (HostMemory.getLong(state + StateLayout.FLAG_RESULT)
            ^ (HostMemory.getLong(state + StateLayout.FLAG_AUX) << 56))
        < 0;
  }

  public final boolean of() {
    final long carries = HostMemory.getLong(state + StateLayout.FLAG_CARRIES);
    return (carries ^ (carries << 1)) < 0;
  }

  public final boolean pf() {
    return ((Long.bitCount(HostMemory.getLong(state + StateLayout.FLAG_RESULT) & 0xFF) & 1)
            ^ ((int) (HostMemory.getLong(state + StateLayout.FLAG_AUX) >>> 2) & 1))
        == 0;
  }

  public final boolean af() {
    return (HostMemory.getLong(state + StateLayout.FLAG_AUX) & Flags.AF) != 0;
  }

  /** Evaluates a condition code (SDM Vol. 1, appendix B): 0 O, 1 NO, 2 B, … 15 G. */
  public final boolean condition(final int code) {
    final boolean value =
        switch (code >> 1) {
          case 0 -> of();
          case 1 -> cf();
          case 2 -> zf();
          case 3 -> cf() || zf();
          case 4 -> sf();
          case 5 -> pf();
          case 6 -> sf() != of();
          default -> zf() || sf() != of();
        };
    return value == ((code & 1) == 0);
  }

  /** The six arithmetic flags as RFLAGS bits. */
  public final int arithmeticFlags() {
    return (cf() ? Flags.CF : 0)
        | (pf() ? Flags.PF : 0)
        | (af() ? Flags.AF : 0)
        | (zf() ? Flags.ZF : 0)
        | (sf() ? Flags.SF : 0)
        | (of() ? Flags.OF : 0);
  }

  /** Sets the six arithmetic flags from RFLAGS bits; other bits are ignored. */
  public final void setArithmeticFlags(final int flags) {
    final boolean zero = (flags & Flags.ZF) != 0;
    final boolean carry = (flags & Flags.CF) != 0;
    final boolean overflow = (flags & Flags.OF) != 0;
    final boolean parity = (flags & Flags.PF) != 0;
    setFlags(
        zero ? 0 : 1,
        (carry ? 1L << 63 : 0) | (carry != overflow ? 1L << 62 : 0),
        (flags & Flags.AF) | ((flags & Flags.SF) != 0 ? 0x80 : 0) | (parity != zero ? 4 : 0));
  }

  /** Sets CF alone. */
  public final void setCf(final boolean value) {
    final long carries = HostMemory.getLong(state + StateLayout.FLAG_CARRIES);
    if (carries < 0 != value) {
      // Flipping both top bits changes CF and leaves their XOR, OF, as it is.
      HostMemory.putLong(state + StateLayout.FLAG_CARRIES, carries ^ (3L << 62));
    }
  }

  /** RFLAGS with the arithmetic flags filled in. */
  public final long rflags() {
    return HostMemory.getLong(state + StateLayout.RFLAGS) | arithmeticFlags();
  }

  /** Bits of RFLAGS other than the arithmetic ones, as kept in the state. */
  public final long systemFlags() {
    return HostMemory.getLong(state + StateLayout.RFLAGS);
  }

  /** Replaces RFLAGS whole: the arithmetic flags go to the lazy form, the rest to the state. */
  public final void setRflags(final long value) {
    setArithmeticFlags((int) value);
    HostMemory.putLong(state + StateLayout.RFLAGS, (value & ~Flags.ARITHMETIC) | Flags.RESERVED_1);
    systemFlagsChanged();
  }

  /** Called after IF, TF, VM, AC or another system flag may have changed. */
  protected abstract void systemFlagsChanged();

  /** Whether DF is set: strings run downwards. */
  public final boolean df() {
    return (HostMemory.getLong(state + StateLayout.RFLAGS) & Flags.DF) != 0;
  }

  // ---- memory, by linear address ----

  public final int load8(final long linear) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    if (HostMemory.getLong(entry + StateLayout.TLB_READ) == (linear & PAGE_MASK)) {
      return HostMemory.getByte(linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND));
    }
    return (int) loadSlow(linear, 1);
  }

  public final int load16(final long linear) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    if (HostMemory.getLong(entry + StateLayout.TLB_READ) == (linear + 1 & PAGE_MASK)) {
      return HostMemory.getShort(linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND));
    }
    return (int) loadSlow(linear, 2);
  }

  public final int load32(final long linear) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    if (HostMemory.getLong(entry + StateLayout.TLB_READ) == (linear + 3 & PAGE_MASK)) {
      return HostMemory.getInt(linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND));
    }
    return (int) loadSlow(linear, 4);
  }

  public final long load64(final long linear) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    if (HostMemory.getLong(entry + StateLayout.TLB_READ) == (linear + 7 & PAGE_MASK)) {
      return HostMemory.getLong(linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND));
    }
    return loadSlow(linear, 8);
  }

  /** Loads 1, 2, 4 or 8 bytes, zero-extended. */
  public final long load(final long linear, final int size) {
    return switch (size) {
      case 1 -> load8(linear);
      case 2 -> load16(linear);
      case 4 -> load32(linear) & 0xFFFF_FFFFL;
      default -> load64(linear);
    };
  }

  public final void store8(final long linear, final int value) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    if (HostMemory.getLong(entry + StateLayout.TLB_WRITE) == (linear & PAGE_MASK)) {
      HostMemory.putByte(linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND), value);
    } else {
      storeSlow(linear, 1, value);
    }
  }

  public final void store16(final long linear, final int value) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    if (HostMemory.getLong(entry + StateLayout.TLB_WRITE) == (linear + 1 & PAGE_MASK)) {
      HostMemory.putShort(linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND), value);
    } else {
      storeSlow(linear, 2, value);
    }
  }

  public final void store32(final long linear, final int value) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    if (HostMemory.getLong(entry + StateLayout.TLB_WRITE) == (linear + 3 & PAGE_MASK)) {
      HostMemory.putInt(linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND), value);
    } else {
      storeSlow(linear, 4, value);
    }
  }

  public final void store64(final long linear, final long value) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    if (HostMemory.getLong(entry + StateLayout.TLB_WRITE) == (linear + 7 & PAGE_MASK)) {
      HostMemory.putLong(linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND), value);
    } else {
      storeSlow(linear, 8, value);
    }
  }

  /** Stores the low 1, 2, 4 or 8 bytes of a value. */
  public final void store(final long linear, final int size, final long value) {
    switch (size) {
      case 1 -> store8(linear, (int) value);
      case 2 -> store16(linear, (int) value);
      case 4 -> store32(linear, (int) value);
      default -> store64(linear, value);
    }
  }

  /**
   * Loads for a read-modify-write: faults as a write would, so that a following store of the same
   * bytes cannot fault.
   */
  public final long loadForWrite(final long linear, final int size) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    if (HostMemory.getLong(entry + StateLayout.TLB_WRITE) == (linear + size - 1 & PAGE_MASK)) {
      return HostMemory.get(linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND), size);
    }
    return loadForWriteSlow(linear, size);
  }

  /**
   * Stores after {@link #loadForWrite}, as one step with it: nothing is stored where memory is no
   * longer what was loaded. For LOCK and XCHG; see {@link HostMemory#compareAndSet} for what is one
   * step.
   *
   * @return whether it was stored; else load again
   */
  public final boolean storeIfSame(
      final long linear, final int size, final long loaded, final long value) {
    final long host = hostWrite(linear, size);
    return host != 0
        ? HostMemory.compareAndSet(host, size, loaded, value)
        : storeIfSameSlow(linear, size, loaded, value);
  }

  /** Host address for reading {@code size} bytes, or 0 where the slow path must be taken. */
  public final long hostRead(final long linear, final int size) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    return HostMemory.getLong(entry + StateLayout.TLB_READ) == (linear + size - 1 & PAGE_MASK)
        ? linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND)
        : 0;
  }

  /** Host address for writing {@code size} bytes, or 0 where the slow path must be taken. */
  public final long hostWrite(final long linear, final int size) {
    final long entry = tlb + ((linear >>> 12 & TLB_INDEX_MASK) << TLB_ENTRY_SHIFT);
    return HostMemory.getLong(entry + StateLayout.TLB_WRITE) == (linear + size - 1 & PAGE_MASK)
        ? linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND)
        : 0;
  }

  /** Raises the fault that a write of these bytes would raise, and writes nothing. */
  public abstract void probeWrite(long linear, int size);

  /** As {@link #probeWrite}, for a read. */
  public abstract void probeRead(long linear, int size);

  /** TLB miss, page crossing, MMIO, or a page that is watched: of 1, 2, 4 or 8 bytes. */
  protected abstract long loadSlow(long linear, int size);

  protected abstract void storeSlow(long linear, int size, long value);

  protected abstract long loadForWriteSlow(long linear, int size);

  protected abstract boolean storeIfSameSlow(long linear, int size, long loaded, long value);

  /**
   * Segment checks outside 64-bit mode (SDM Vol. 3A, 5.3): limit, expand-down, null, read-only.
   *
   * @return the linear address, wrapped at 4 GiB; raises #GP(0) or #SS(0)
   */
  public abstract long legacyAddress(int segment, long offset, int size, boolean write);

  /**
   * Linear address of ES:rDI or a source segment's rSI for strings, checks as the mode has them.
   */
  public abstract long stringAddress(
      int segment, long offset, int size, boolean write, boolean legacy);

  // ---- stack, width by the stack segment's B bit or 64-bit mode ----

  /** Pushes 2, 4 or 8 bytes; rSP changes only when the store went through. */
  public abstract void push(long value, int size);

  /** Pops 2, 4 or 8 bytes, zero-extended. */
  public abstract long pop(int size);

  /** Reads what the next {@link #pop} would give, rSP unchanged: for POP to memory. */
  public abstract long peekStack(int size);

  /** Adds to rSP in the stack's width. */
  public abstract void addStackPointer(long delta);

  /** Linear address at rSP + delta in the stack's width, checked for an access of some bytes. */
  public abstract long stackAddress(long delta, int size, boolean write);

  // ---- modes ----

  /** Current privilege level. */
  public abstract int cpl();

  /** Stack pointer width in bytes: 2, 4 or 8. */
  public abstract int stackSize();

  /** Whether EFER.LMA and CS.L say 64-bit mode. */
  public abstract boolean longMode64();

  /** Brings PKRU into effect, and what says whether protection keys are in force. */
  public abstract void keysChanged();

  /** State components that XCR0 may enable. */
  public abstract long allowedXcr0();

  /** Whether VEX prefixes exist: not in real and virtual-8086 mode (SDM Vol. 2A, 2.3.1). */
  public final boolean knowsVex() {
    return (HostMemory.getLong(state + StateLayout.CR0) & ControlRegisters.CR0_PE) != 0
        && (HostMemory.getLong(state + StateLayout.RFLAGS) & Flags.VM) == 0;
  }

  // ---- ways out ----

  /**
   * Raises a fault with no error code; never returns, the type lets callers write {@code throw}.
   */
  public abstract GuestFault raise(int vector);

  /** Raises a fault with an error code. */
  public abstract GuestFault raise(int vector, int errorCode);

  /** #UD. */
  public final GuestFault undefined() {
    return raise(Vector.UD);
  }

  /**
   * Reads a port, checked against IOPL and the I/O bitmap by the caller: exits to the run loop the
   * first time, yields the answer when the instruction is executed again.
   */
  public abstract int portIn(int port, int size);

  /**
   * Reads a port several times.
   *
   * @param count above 1, at most 512 bytes together; the same whenever the instruction is executed
   *     again before it is done
   * @return the elements, one after another: the vCPU's own array, good until the next exit of PIO
   */
  public abstract byte[] portInMany(int port, int size, int count);

  /** Elements of the exit whose answer waits for one of the port accesses here; 0: none. */
  public abstract int portAnswered();

  /** Writes a port: exits the first time, falls through when executed again. */
  public abstract void portOut(int port, int size, int value);

  /**
   * Writes a port several times.
   *
   * @param count above 1, at most 512 bytes together; the same whenever the instruction is executed
   *     again before it is done
   * @param host where the elements are in this process; looked at the first time only
   */
  public abstract void portOutMany(int port, int size, int count, long host);

  /** Raises #GP(0) unless CPL, IOPL and the TSS's I/O bitmap allow the port (SDM Vol. 1, 19.5). */
  public abstract void checkPort(int port, int size);

  /**
   * Tells that a REP iteration has been committed (rCX, rSI, rDI are up to date): what was answered
   * for the iteration is forgotten, and when something waits the instruction is left here to be
   * resumed, uncounted, with rip still on it.
   */
  public abstract void repeatBoundary();

  /** Branches to an offset in CS: truncates to the operand size, checks the limit or canonicity. */
  public abstract void branch(long target, int operandSize);

  /** The 16-bit or wider counter register of REP and LOOP: rCX by address size. */
  public final long counter(final int addressSize) {
    final int rcx = StateLayout.gpr(Gpr.RCX);
    return addressSize == 8
        ? reg64(rcx)
        : addressSize == 4 ? reg32(rcx) & 0xFFFF_FFFFL : reg16(rcx);
  }

  /** Writes rCX by address size: 32 bits clear the upper half, 16 bits keep it. */
  public final void counter(final int addressSize, final long value) {
    final int rcx = StateLayout.gpr(Gpr.RCX);
    if (addressSize == 8) {
      reg64(rcx, value);
    } else if (addressSize == 4) {
      reg32(rcx, (int) value);
    } else {
      reg16(rcx, (int) value);
    }
  }
}

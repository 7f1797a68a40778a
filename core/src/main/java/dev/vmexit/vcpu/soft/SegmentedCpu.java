package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.Translation;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;

/**
 * Segments, modes and the stack of the software vCPU. What the hot path asks of the mode is cached
 * in fields and rebuilt by {@link #modeChanged} after any change of CS, SS, CR0, CR4, EFER or
 * RFLAGS.VM.
 */
abstract class SegmentedCpu extends MemoryCpu {
  private static final int TYPE_CODE = 8;
  private static final int TYPE_EXPAND_DOWN = 4;
  private static final int TYPE_WRITABLE = 2;
  private static final int RIGHTS_LONG = 1 << 13;
  private static final int RIGHTS_BIG = 1 << 14;

  private static final int RSP = StateLayout.gpr(Gpr.RSP);

  /** Code size in bytes: 2, 4, 8. */
  int codeSize;

  /**
   * What rip is truncated to from one instruction to the next: to 32 bits in 16-bit code too, where
   * running beyond FFFFH does not wrap but meets the segment's limit.
   */
  long ripMask;

  /** Added to rip for a linear address; 0 in 64-bit mode. */
  long codeBase;

  long codeLimit;
  private int cpl;
  private int stackSize;
  private boolean protectedMode;
  private boolean longActive;

  SegmentedCpu(final long state, final GuestMemory memory, final Translation translation) {
    super(state, memory, translation);
  }

  // ---- modes ----

  /** Rebuilds what is cached of the mode. */
  final void modeChanged() {
    final long s = state;
    final long cr0 = HostMemory.getLong(s + StateLayout.CR0);
    final long efer = HostMemory.getLong(s + StateLayout.EFER);
    protectedMode = (cr0 & ControlRegisters.CR0_PE) != 0;
    longActive = (efer & ControlRegisters.EFER_LMA) != 0;
    final long cs = s + StateLayout.segment(Seg.CS);
    final long ss = s + StateLayout.segment(Seg.SS);
    final int csRights = HostMemory.getInt(cs + StateLayout.SEG_RIGHTS);
    if (longActive && (csRights & RIGHTS_LONG) != 0) {
      codeSize = 8;
      ripMask = -1L;
      codeBase = 0;
      codeLimit = -1L;
      stackSize = 8;
    } else {
      codeSize = (csRights & RIGHTS_BIG) != 0 ? 4 : 2;
      ripMask = 0xFFFF_FFFFL;
      codeBase = HostMemory.getLong(cs + StateLayout.SEG_BASE);
      codeLimit = HostMemory.getLong(cs + StateLayout.SEG_LIMIT);
      stackSize = (HostMemory.getInt(ss + StateLayout.SEG_RIGHTS) & RIGHTS_BIG) != 0 ? 4 : 2;
    }
    if (!protectedMode) {
      cpl = 0;
    } else if ((HostMemory.getLong(s + StateLayout.RFLAGS) & Flags.VM) != 0) {
      cpl = 3;
    } else {
      // Not CS.RPL: right after PE was set, that is part of a real-mode address.
      cpl = Descriptor.dpl(HostMemory.getInt(ss + StateLayout.SEG_RIGHTS));
    }
    contextChanged();
  }

  /** Picks the TLB context by privilege, SMAP and AC. */
  final void contextChanged() {
    final int wanted;
    if (cpl == 3) {
      wanted = USER_CONTEXT;
    } else if ((HostMemory.getLong(state + StateLayout.CR4) & ControlRegisters.CR4_SMAP) != 0
        && (HostMemory.getLong(state + StateLayout.RFLAGS) & Flags.AC) == 0) {
      wanted = SMAP_CONTEXT;
    } else {
      wanted = SUPERVISOR_CONTEXT;
    }
    final boolean slow = breakpoints.watchData() || cpl == 3 && checksAlignment();
    if (slow != slowMemory) {
      setSlowMemory(slow);
      selectContext(wanted);
    } else if (wanted != context) {
      selectContext(wanted);
    }
  }

  @Override
  public final int cpl() {
    return cpl;
  }

  @Override
  public final int stackSize() {
    return stackSize;
  }

  @Override
  public final boolean longMode64() {
    return codeSize == 8;
  }

  @Override
  final boolean linear64() {
    return longActive;
  }

  final boolean isProtected() {
    return protectedMode;
  }

  /** EFER.LMA: long mode, 64-bit or compatibility. */
  final boolean isLong() {
    return longActive;
  }

  final boolean isVm86() {
    return protectedMode && (HostMemory.getLong(state + StateLayout.RFLAGS) & Flags.VM) != 0;
  }

  final int iopl() {
    return (int) HostMemory.getLong(state + StateLayout.RFLAGS) >>> Flags.IOPL_SHIFT & 3;
  }

  final int rights(final int segment) {
    return HostMemory.getInt(state + StateLayout.segment(segment) + StateLayout.SEG_RIGHTS);
  }

  final int selector(final int segment) {
    return HostMemory.getInt(state + StateLayout.segment(segment) + StateLayout.SEG_SELECTOR);
  }

  final long segmentBase(final int segment) {
    return HostMemory.getLong(state + StateLayout.segment(segment) + StateLayout.SEG_BASE);
  }

  final long segmentLimit(final int segment) {
    return HostMemory.getLong(state + StateLayout.segment(segment) + StateLayout.SEG_LIMIT);
  }

  final void setSegment(
      final int segment, final int selector, final long base, final long limit, final int rights) {
    final long at = state + StateLayout.segment(segment);
    HostMemory.putLong(at + StateLayout.SEG_BASE, base);
    HostMemory.putLong(at + StateLayout.SEG_LIMIT, limit);
    HostMemory.putInt(at + StateLayout.SEG_RIGHTS, rights);
    HostMemory.putInt(at + StateLayout.SEG_SELECTOR, selector);
  }

  // ---- segment checks ----

  @Override
  public final long legacyAddress(
      final int segment, final long offset, final int size, final boolean write) {
    final long at = state + StateLayout.segment(segment);
    final long limit = HostMemory.getLong(at + StateLayout.SEG_LIMIT);
    final int rights = HostMemory.getInt(at + StateLayout.SEG_RIGHTS);
    final long last = offset + size - 1;
    boolean allowed;
    if ((rights & (TYPE_CODE | TYPE_EXPAND_DOWN)) == TYPE_EXPAND_DOWN) {
      final long top = (rights & RIGHTS_BIG) != 0 ? 0xFFFF_FFFFL : 0xFFFFL;
      allowed = offset > limit && last <= top;
    } else {
      allowed = last <= limit;
    }
    if (write) {
      // Code is never writable in protected mode; in real mode CS keeps a data type.
      allowed &= (rights & (TYPE_CODE | TYPE_WRITABLE)) == TYPE_WRITABLE;
    } else {
      allowed &= (rights & (TYPE_CODE | TYPE_WRITABLE)) != TYPE_CODE;
    }
    if (!allowed || (rights & StateLayout.SEG_UNUSABLE) != 0) {
      throw raise(segment == Seg.SS ? Vector.SS : Vector.GP, 0);
    }
    return HostMemory.getLong(at + StateLayout.SEG_BASE) + offset & 0xFFFF_FFFFL;
  }

  @Override
  public final long stringAddress(
      final int segment,
      final long offset,
      final int size,
      final boolean write,
      final boolean legacy) {
    if (legacy) {
      return legacyAddress(segment, offset, size, write);
    }
    return segment == Seg.FS || segment == Seg.GS ? segmentBase(segment) + offset : offset;
  }

  // ---- stack ----

  private long stackMask() {
    return stackSize == 8 ? -1L : stackSize == 4 ? 0xFFFF_FFFFL : 0xFFFFL;
  }

  @Override
  public final long stackAddress(final long delta, final int size, final boolean write) {
    final long offset = HostMemory.getLong(state + RSP) + delta & stackMask();
    if (codeSize == 8) {
      final long last = offset + size - 1;
      if (offset != offset << 16 >> 16 || last != last << 16 >> 16) {
        throw raise(Vector.SS, 0);
      }
      return offset;
    }
    return legacyAddress(Seg.SS, offset, size, write);
  }

  @Override
  public final void push(final long value, final int size) {
    store(stackAddress(-size, size, true), size, value);
    addStackPointer(-size);
  }

  @Override
  public final long pop(final int size) {
    final long value = load(stackAddress(0, size, false), size);
    addStackPointer(size);
    return value;
  }

  @Override
  public final long peekStack(final int size) {
    return load(stackAddress(0, size, false), size);
  }

  @Override
  public final void addStackPointer(final long delta) {
    setStackPointer(HostMemory.getLong(state + RSP) + delta);
  }

  /** Writes rSP in the stack's width. */
  final void setStackPointer(final long value) {
    switch (stackSize) {
      case 8 -> HostMemory.putLong(state + RSP, value);
      case 4 -> HostMemory.putLong(state + RSP, value & 0xFFFF_FFFFL);
      default -> HostMemory.putShort(state + RSP, (int) value);
    }
  }

  // ---- branches ----

  @Override
  public final void branch(final long target, final int operandSize) {
    final long rip;
    if (codeSize == 8) {
      rip = operandSize == 2 ? target & 0xFFFF : target;
      if (rip != rip << 16 >> 16) {
        throw raise(Vector.GP, 0);
      }
    } else {
      rip = target & (operandSize == 2 ? 0xFFFFL : 0xFFFF_FFFFL);
      if (rip > codeLimit) {
        throw raise(Vector.GP, 0);
      }
    }
    HostMemory.putLong(state + StateLayout.RIP, rip);
  }

  /** Offset of the next instruction, as it stands while a terminator runs. */
  final long nextRip() {
    return HostMemory.getLong(state + StateLayout.RIP);
  }

  final void setRip(final long rip) {
    HostMemory.putLong(state + StateLayout.RIP, rip);
  }
}

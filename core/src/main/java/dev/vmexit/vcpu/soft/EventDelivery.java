package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;

/**
 * Takes interrupts and exceptions through the IDT (SDM Vol. 3A, 6.12 to 6.14; real mode: 20.1.4).
 * Either all of a delivery happens or none: registers change after the last store.
 */
final class EventDelivery {
  /** INTR and NMI. */
  static final int EXTERNAL = 0;

  /** A fault: the saved image has RF set. */
  static final int EXCEPTION = 1;

  /** A trap of the processor: #DB after a step. */
  static final int TRAP = 2;

  /** INT n, INT3, INTO: the gate's DPL is checked. */
  static final int SOFTWARE = 3;

  /** INT1. */
  static final int PRIVILEGED_SOFTWARE = 4;

  /** No event of the guest's: the second half of a task switch. */
  static final int TASK_LOAD = 5;

  private static final int GATE_TASK = 5;

  private static final int GATE_INTERRUPT16 = 6;
  private static final int GATE_TRAP16 = 7;
  private static final int GATE_INTERRUPT = 0xE;
  private static final int GATE_TRAP = 0xF;
  private static final int RSP = StateLayout.gpr(Gpr.RSP);
  private static final int CLEARED = Flags.TF | Flags.NT | Flags.RF | Flags.VM;

  private final SoftVcpu cpu;
  private final LegacyStack legacyStack;

  EventDelivery(final SoftVcpu cpu) {
    this.cpu = cpu;
    legacyStack = new LegacyStack(cpu);
  }

  void deliver(final int vector, final int type, final boolean hasErrorCode, final int errorCode) {
    if (type == TASK_LOAD) {
      cpu.tasks().loadSegments();
    } else if (!cpu.isProtected()) {
      deliverReal(vector);
    } else {
      deliverProtected(vector, type, hasErrorCode, errorCode);
    }
  }

  private void deliverReal(final int vector) {
    final long s = cpu.state;
    final long entry = vector * 4L;
    if (entry + 3 > HostMemory.getLong(s + StateLayout.IDTR_LIMIT)) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long target =
        cpu.load32(HostMemory.getLong(s + StateLayout.IDTR_BASE) + entry) & 0xFFFF_FFFFL;
    final long flags = cpu.rflags();
    final long flagsAt = cpu.stackAddress(-2, 2, true);
    final long csAt = cpu.stackAddress(-4, 2, true);
    final long ipAt = cpu.stackAddress(-6, 2, true);
    cpu.store16(flagsAt, (int) flags);
    cpu.store16(csAt, cpu.selector(Seg.CS));
    cpu.store16(ipAt, (int) cpu.nextRip());
    cpu.addStackPointer(-6);
    final int selector = (int) (target >>> 16);
    FarTransfers.setRealCode(cpu, selector);
    cpu.setRip(target & 0xFFFF);
    cpu.setRflags(flags & ~(long) (Flags.IF | Flags.TF | Flags.AC | Flags.RF));
    cpu.modeChanged();
  }

  private void deliverProtected(
      final int vector, final int type, final boolean hasErrorCode, final int errorCode) {
    final long s = cpu.state;
    final boolean software = type == SOFTWARE;
    final int ext = software ? 0 : 1;
    final int idtError = vector * 8 + 2 + ext;
    final boolean wide = cpu.isLong();
    final int size = wide ? 16 : 8;
    final long at = HostMemory.getLong(s + StateLayout.IDTR_BASE) + (long) vector * size;
    if ((long) vector * size + size - 1 > HostMemory.getLong(s + StateLayout.IDTR_LIMIT)) {
      throw cpu.raise(Vector.GP, idtError);
    }
    final long gate = cpu.loadSystem(at, 8);
    final int rights = Descriptor.rights(gate);
    final int gateType = rights & (Descriptor.S | Descriptor.TYPE);
    final boolean gate16 = gateType == GATE_INTERRUPT16 || gateType == GATE_TRAP16;
    if (gateType == GATE_TASK && !wide) {
      if (software && Descriptor.dpl(rights) < cpu.cpl()) {
        throw cpu.raise(Vector.GP, idtError);
      }
      if ((rights & Descriptor.PRESENT) == 0) {
        throw cpu.raise(Vector.NP, idtError);
      }
      final long saved = cpu.rflags() | (type == EXCEPTION ? Flags.RF : 0);
      cpu.tasks().deliver(gate, saved, ext, hasErrorCode, errorCode);
      return;
    }
    if (gateType != GATE_INTERRUPT && gateType != GATE_TRAP && (wide || !gate16)
        || software && Descriptor.dpl(rights) < cpu.cpl()) {
      throw cpu.raise(Vector.GP, idtError);
    }
    if ((rights & Descriptor.PRESENT) == 0) {
      throw cpu.raise(Vector.NP, idtError);
    }
    long target = gate & 0xFFFFL | gate >>> 32 & 0xFFFF_0000L;
    if (gate16) {
      target &= 0xFFFF;
    }
    if (wide) {
      target |= cpu.loadSystem(at + 8, 4) << 32;
    }
    final int selector = (int) (gate >>> 16) & 0xFFFF;
    if ((selector & 0xFFFC) == 0) {
      throw cpu.raise(Vector.GP, ext);
    }
    final int selectorError = selector & 0xFFFC | ext;
    long raw = cpu.loadSystem(descriptorAddress(selector, ext), 8);
    final int codeRights = Descriptor.rights(raw);
    final int dpl = Descriptor.dpl(codeRights);
    if (!Descriptor.isCode(codeRights)
        || dpl > cpu.cpl()
        || wide && (codeRights & (Descriptor.LONG | Descriptor.BIG)) != Descriptor.LONG) {
      throw cpu.raise(Vector.GP, selectorError);
    }
    if ((codeRights & Descriptor.PRESENT) == 0) {
      throw cpu.raise(Vector.NP, selectorError);
    }
    final int newCpl = Descriptor.isConforming(codeRights) ? cpu.cpl() : dpl;
    if (cpu.isVm86() && newCpl != 0) {
      throw cpu.raise(Vector.GP, selectorError);
    }
    if (wide ? target != target << 16 >> 16 : target > Descriptor.limit(raw)) {
      throw cpu.raise(Vector.GP, ext);
    }
    raw = SegmentLoader.markAccessed(cpu, selector, raw);
    long image = cpu.rflags();
    if (type == EXCEPTION) {
      image |= Flags.RF;
    }
    if (wide) {
      enterLong(gate, newCpl, image, hasErrorCode, errorCode, ext);
    } else {
      enterLegacy(gate16 ? 2 : 4, newCpl, image, hasErrorCode, errorCode, ext);
    }
    SegmentLoader.setCode(cpu, selector & 0xFFFC | newCpl, raw);
    cpu.setRip(target);
    final boolean interruptGate = (gateType & 1) == 0;
    cpu.setRflags(cpu.rflags() & ~(long) (CLEARED | (interruptGate ? Flags.IF : 0)));
    cpu.modeChanged();
  }

  private long descriptorAddress(final int selector, final int ext) {
    final boolean local = (selector & 4) != 0;
    final long base =
        local ? cpu.segmentBase(Seg.LDTR) : HostMemory.getLong(cpu.state + StateLayout.GDTR_BASE);
    final long limit =
        local ? cpu.segmentLimit(Seg.LDTR) : HostMemory.getLong(cpu.state + StateLayout.GDTR_LIMIT);
    if ((selector & 0xFFF8) + 7 > limit
        || local && (cpu.rights(Seg.LDTR) & StateLayout.SEG_UNUSABLE) != 0) {
      throw cpu.raise(Vector.GP, selector & 0xFFFC | ext);
    }
    return base + (selector & 0xFFF8);
  }

  private void enterLong(
      final long gate,
      final int newCpl,
      final long image,
      final boolean hasErrorCode,
      final int errorCode,
      final int ext) {
    final int ist = (int) (gate >>> 32) & 7;
    final boolean inner = newCpl < cpu.cpl();
    final long old = cpu.reg64(RSP);
    long rsp;
    if (ist != 0) {
      rsp = taskStack(0x24 + (ist - 1) * 8, ext);
    } else if (inner) {
      rsp = taskStack(4 + newCpl * 8, ext);
    } else {
      rsp = old;
    }
    rsp &= -16L;
    // The first slot lies below it; -1 wraps from 0 to the top, which is canonical.
    if (rsp - 1 != rsp - 1 << 16 >> 16) {
      throw cpu.raise(Vector.SS, ext);
    }
    rsp = pushSystem(rsp, cpu.selector(Seg.SS), newCpl);
    rsp = pushSystem(rsp, old, newCpl);
    rsp = pushSystem(rsp, image, newCpl);
    rsp = pushSystem(rsp, cpu.selector(Seg.CS), newCpl);
    rsp = pushSystem(rsp, cpu.nextRip(), newCpl);
    if (hasErrorCode) {
      rsp = pushSystem(rsp, errorCode & 0xFFFF_FFFFL, newCpl);
    }
    if (inner) {
      cpu.setSegment(Seg.SS, newCpl, 0, 0, StateLayout.SEG_UNUSABLE | newCpl << 5);
    }
    HostMemory.putLong(cpu.state + RSP, rsp);
  }

  private long taskStack(final int offset, final int ext) {
    if (offset + 7 > cpu.segmentLimit(Seg.TR)) {
      throw cpu.raise(Vector.TS, cpu.selector(Seg.TR) & 0xFFFC | ext);
    }
    return cpu.loadSystem(cpu.segmentBase(Seg.TR) + offset, 8);
  }

  private long pushSystem(final long rsp, final long value, final int newCpl) {
    final long at = rsp - 8;
    if (newCpl == 3) {
      cpu.store64(at, value);
    } else {
      cpu.storeSystem(at, 8, value);
    }
    return at;
  }

  /** The frame on a 16- or 32-bit stack, with a switch to the TSS's stack for an inner level. */
  private void enterLegacy(
      final int size,
      final int newCpl,
      final long image,
      final boolean hasErrorCode,
      final int errorCode,
      final int ext) {
    final boolean vm86 = cpu.isVm86();
    final boolean inner = newCpl < cpu.cpl();
    final long oldStack = cpu.reg64(RSP);
    final int oldSelector = cpu.selector(Seg.SS);
    long base = cpu.segmentBase(Seg.SS);
    long limit = cpu.segmentLimit(Seg.SS);
    int rights = cpu.rights(Seg.SS);
    int selector = oldSelector;
    long sp = oldStack;
    if (inner) {
      final boolean tss32 = (cpu.rights(Seg.TR) & 8) != 0;
      final int at = tss32 ? 4 + newCpl * 8 : 2 + newCpl * 4;
      if (at + (tss32 ? 7 : 3) > cpu.segmentLimit(Seg.TR)) {
        throw cpu.raise(Vector.TS, cpu.selector(Seg.TR) & 0xFFFC | ext);
      }
      final long tss = cpu.segmentBase(Seg.TR);
      sp = cpu.loadSystem(tss + at, tss32 ? 4 : 2);
      selector = (int) cpu.loadSystem(tss + at + (tss32 ? 4 : 2), 2);
      if ((selector & 0xFFFC) == 0) {
        throw cpu.raise(Vector.TS, ext);
      }
      final long raw = SegmentLoader.checkedStack(cpu, selector, newCpl, Vector.TS, ext);
      base = Descriptor.base(raw);
      limit = Descriptor.limit(raw);
      rights = Descriptor.rights(raw);
    }
    final long mask = (rights & Descriptor.BIG) != 0 ? 0xFFFF_FFFFL : 0xFFFFL;
    final LegacyStack stack = legacyStack;
    stack.set(base, limit, rights, mask, size, newCpl, sp, inner ? selector & 0xFFFC | ext : ext);
    if (vm86) {
      stack.push(cpu.selector(Seg.GS));
      stack.push(cpu.selector(Seg.FS));
      stack.push(cpu.selector(Seg.DS));
      stack.push(cpu.selector(Seg.ES));
    }
    if (inner) {
      stack.push(oldSelector);
      stack.push(oldStack);
    }
    stack.push(image);
    stack.push(cpu.selector(Seg.CS));
    stack.push(cpu.nextRip());
    if (hasErrorCode) {
      stack.push(errorCode);
    }
    if (vm86) {
      SegmentLoader.loadNull(cpu, Seg.GS, 0);
      SegmentLoader.loadNull(cpu, Seg.FS, 0);
      SegmentLoader.loadNull(cpu, Seg.DS, 0);
      SegmentLoader.loadNull(cpu, Seg.ES, 0);
    }
    if (inner) {
      cpu.setSegment(Seg.SS, selector, base, limit, rights);
    }
    HostMemory.putLong(cpu.state + RSP, sp & ~mask | stack.pointer());
  }

  /** Pushes on a stack that is not yet the current one. Reused: deliveries do not nest. */
  private static final class LegacyStack {
    private final SoftVcpu cpu;
    private long base;
    private long limit;
    private boolean expandDown;
    private long mask;
    private int size;
    private boolean user;
    private long sp;
    private int error;

    LegacyStack(final SoftVcpu cpu) {
      this.cpu = cpu;
    }

    /**
     * Describes the stack.
     *
     * @param newError code of the #SS where there is no room
     */
    void set(
        final long newBase,
        final long newLimit,
        final int rights,
        final long newMask,
        final int newSize,
        final int newCpl,
        final long newSp,
        final int newError) {
      base = newBase;
      limit = newLimit;
      mask = newMask;
      size = newSize;
      user = newCpl == 3;
      expandDown = (rights & (Descriptor.CODE | Descriptor.EXPAND_DOWN)) == Descriptor.EXPAND_DOWN;
      sp = newSp & newMask;
      error = newError;
    }

    void push(final long value) {
      final long at = sp - size & mask;
      final boolean inside =
          expandDown ? at > limit && at + size - 1 <= mask : at + size - 1 <= limit;
      if (!inside) {
        throw cpu.raise(Vector.SS, error);
      }
      final long linear = base + at & 0xFFFF_FFFFL;
      if (user) {
        cpu.store(linear, size, value);
      } else {
        cpu.storeSystem(linear, size, value);
      }
      sp = at;
    }

    long pointer() {
      return sp;
    }
  }

  /** The TSS's I/O permission bitmap (SDM Vol. 1, 19.5.2). */
  void checkIoBitmap(final int port, final int size) {
    final long limit = cpu.segmentLimit(Seg.TR);
    final long tss = cpu.segmentBase(Seg.TR);
    if ((cpu.rights(Seg.TR) & 8) == 0 || limit < 103) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long offset = cpu.loadSystem(tss + 102, 2) + (port >>> 3);
    if (offset + 1 > limit) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long bits = cpu.loadSystem(tss + offset, 2) >>> (port & 7);
    if ((bits & (1 << size) - 1) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
  }
}

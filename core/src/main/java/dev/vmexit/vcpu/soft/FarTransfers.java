package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;

/**
 * Far JMP, CALL and RET, IRET, and the fast system calls (SDM Vol. 2, the instructions' pages).
 * Gates and task switches are {@link CallGates}' and {@link TaskSwitch}'s.
 */
final class FarTransfers {
  private static final int RSP = StateLayout.gpr(Gpr.RSP);
  private static final int RCX = StateLayout.gpr(Gpr.RCX);
  private static final int RDX = StateLayout.gpr(Gpr.RDX);
  private static final int R11 = StateLayout.gpr(Gpr.R11);

  private static final int FLAT_CODE32 = 0xC09B;
  private static final int FLAT_CODE64 = 0xA09B;
  private static final int FLAT_DATA = 0xC093;
  private static final int DPL3 = 3 << 5;

  private FarTransfers() {}

  private static boolean realOrVm86(final SoftVcpu cpu) {
    return !cpu.isProtected() || cpu.isVm86();
  }

  /**
   * Loads CS in real mode or VM86. In real mode what protected mode left of a limit and a size
   * stays, but the segment becomes one that can be written (SDM Vol. 3A, 9.9.2).
   */
  static void setRealCode(final SoftVcpu cpu, final int selector) {
    final int kept = cpu.rights(Seg.CS) & ~0xFF;
    cpu.setSegment(
        Seg.CS,
        selector,
        (long) selector << 4,
        cpu.isVm86() ? 0xFFFF : cpu.segmentLimit(Seg.CS),
        kept | (cpu.isVm86() ? 0xF3 : 0x93));
  }

  private static void checkTarget(final SoftVcpu cpu, final long target, final long raw) {
    if (cpu.isLong() && (Descriptor.rights(raw) & Descriptor.LONG) != 0) {
      if (target != target << 16 >> 16) {
        throw cpu.raise(Vector.GP, 0);
      }
    } else if (target > Descriptor.limit(raw)) {
      throw cpu.raise(Vector.GP, 0);
    }
  }

  static void jump(
      final SoftVcpu cpu, final int selector, final long offset, final int operandSize) {
    final long target = truncate(offset, operandSize);
    if (realOrVm86(cpu)) {
      if (target > cpu.segmentLimit(Seg.CS)) {
        throw cpu.raise(Vector.GP, 0);
      }
      setRealCode(cpu, selector);
      cpu.setRip(target);
      cpu.modeChanged();
      return;
    }
    if (cpu.gates().transfer(selector, false)) {
      return;
    }
    final int cpl = cpu.cpl();
    final long raw = SegmentLoader.checkedCode(cpu, selector);
    checkTarget(cpu, target, raw);
    SegmentLoader.setCode(cpu, selector & 0xFFFC | cpl, raw);
    cpu.setRip(target);
    cpu.modeChanged();
  }

  static void call(
      final SoftVcpu cpu, final int selector, final long offset, final int operandSize) {
    if (!realOrVm86(cpu) && cpu.gates().transfer(selector, true)) {
      return;
    }
    final long target = truncate(offset, operandSize);
    // The segment, room on the stack, the target in the segment: in this order (SDM Vol. 2A, CALL).
    final long raw = realOrVm86(cpu) ? 0 : SegmentLoader.checkedCode(cpu, selector);
    final long csAt = cpu.stackAddress(-operandSize, operandSize, true);
    final long ipAt = cpu.stackAddress(-2L * operandSize, operandSize, true);
    if (!realOrVm86(cpu)) {
      checkTarget(cpu, target, raw);
    } else if (target > cpu.segmentLimit(Seg.CS)) {
      throw cpu.raise(Vector.GP, 0);
    }
    cpu.probeWrite(ipAt, operandSize);
    cpu.store(csAt, operandSize, cpu.selector(Seg.CS));
    cpu.store(ipAt, operandSize, cpu.nextRip());
    cpu.addStackPointer(-2L * operandSize);
    if (realOrVm86(cpu)) {
      setRealCode(cpu, selector);
    } else {
      SegmentLoader.setCode(cpu, selector & 0xFFFC | cpu.cpl(), raw);
    }
    cpu.setRip(target);
    cpu.modeChanged();
  }

  private static long truncate(final long value, final int size) {
    return size == 8 ? value : size == 4 ? value & 0xFFFF_FFFFL : value & 0xFFFF;
  }

  /** RETF, releasing some bytes of parameters on both stacks. */
  static void returnFar(final SoftVcpu cpu, final int operandSize, final int release) {
    final long target = cpu.load(cpu.stackAddress(0, operandSize, false), operandSize);
    final int selector =
        (int) cpu.load(cpu.stackAddress(operandSize, operandSize, false), operandSize) & 0xFFFF;
    if (realOrVm86(cpu)) {
      if (target > cpu.segmentLimit(Seg.CS)) {
        throw cpu.raise(Vector.GP, 0);
      }
      cpu.addStackPointer(2L * operandSize + release);
      setRealCode(cpu, selector);
      cpu.setRip(target);
      cpu.modeChanged();
      return;
    }
    final long raw = checkedReturn(cpu, selector);
    checkTarget(cpu, target, raw);
    if ((selector & 3) == cpu.cpl()) {
      cpu.addStackPointer(2L * operandSize + release);
      SegmentLoader.setCode(cpu, selector, raw);
      cpu.setRip(target);
      cpu.modeChanged();
      return;
    }
    final long stackAt = 2L * operandSize + release;
    final long newStack = cpu.load(cpu.stackAddress(stackAt, operandSize, false), operandSize);
    final int newSelector =
        (int) cpu.load(cpu.stackAddress(stackAt + operandSize, operandSize, false), operandSize)
            & 0xFFFF;
    leaveToOuter(cpu, selector, raw, target, newSelector, newStack);
    cpu.addStackPointer(release);
  }

  private static long checkedReturn(final SoftVcpu cpu, final int selector) {
    final int error = selector & 0xFFFC;
    if (error == 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long raw = SegmentLoader.descriptor(cpu, selector, Vector.GP);
    final int rights = Descriptor.rights(raw);
    final int rpl = selector & 3;
    final int dpl = Descriptor.dpl(rights);
    if (!Descriptor.isCode(rights)
        || rpl < cpu.cpl()
        || (Descriptor.isConforming(rights) ? dpl > rpl : dpl != rpl)) {
      throw cpu.raise(Vector.GP, error);
    }
    SegmentLoader.checkLongBits(cpu, rights, error);
    if ((rights & Descriptor.PRESENT) == 0) {
      throw cpu.raise(Vector.NP, error);
    }
    return SegmentLoader.markAccessed(cpu, selector, raw);
  }

  /** Loads CS:rIP and SS:rSP of a less privileged level; drops segments it may not keep. */
  private static void leaveToOuter(
      final SoftVcpu cpu,
      final int selector,
      final long raw,
      final long target,
      final int newSelector,
      final long newStack) {
    final int newCpl = selector & 3;
    final boolean to64 = cpu.isLong() && (Descriptor.rights(raw) & Descriptor.LONG) != 0;
    if ((newSelector & 0xFFFC) == 0) {
      if (!to64 || newCpl == 3 || (newSelector & 3) != newCpl) {
        throw cpu.raise(Vector.GP, 0);
      }
      cpu.setSegment(Seg.SS, newSelector, 0, 0, StateLayout.SEG_UNUSABLE | newCpl << 5);
    } else {
      final long stack = SegmentLoader.checkedStack(cpu, newSelector, newCpl, Vector.GP, 0);
      cpu.setSegment(
          Seg.SS,
          newSelector,
          Descriptor.base(stack),
          Descriptor.limit(stack),
          Descriptor.rights(stack));
    }
    SegmentLoader.setCode(cpu, selector, raw);
    cpu.setRip(target);
    cpu.modeChanged();
    cpu.setStackPointer(newStack);
    for (int segment = Seg.ES; segment <= Seg.GS; segment++) {
      final int rights = cpu.rights(segment);
      if (segment != Seg.CS
          && segment != Seg.SS
          && (rights & StateLayout.SEG_UNUSABLE) == 0
          && !Descriptor.isConforming(rights)
          && Descriptor.dpl(rights) < newCpl) {
        cpu.setSegment(
            segment, 0, cpu.isLong() ? cpu.segmentBase(segment) : 0, 0, StateLayout.SEG_UNUSABLE);
      }
    }
  }

  static void interruptReturn(final SoftVcpu cpu, final int operandSize) {
    try {
      returnFromInterrupt(cpu, operandSize);
    } catch (final GuestFault fault) {
      // NMIs are unblocked before it faults (SDM Vol. 3C, 28.2.3).
      cpu.unblockNmi();
      throw fault;
    }
    cpu.unblockNmi();
  }

  private static void returnFromInterrupt(final SoftVcpu cpu, final int operandSize) {
    if (!cpu.isProtected()) {
      returnReal(cpu, operandSize);
      return;
    }
    if (cpu.isVm86()) {
      if (cpu.iopl() < 3 && (operandSize != 2 || !Vm86Extensions.inVm86(cpu))) {
        throw cpu.raise(Vector.GP, 0);
      }
      returnReal(cpu, operandSize);
      return;
    }
    if ((cpu.systemFlags() & Flags.NT) != 0) {
      if (cpu.isLong()) {
        throw cpu.raise(Vector.GP, 0);
      }
      cpu.tasks().returnToLink();
      return;
    }
    final long target = cpu.load(cpu.stackAddress(0, operandSize, false), operandSize);
    final int selector =
        (int) cpu.load(cpu.stackAddress(operandSize, operandSize, false), operandSize) & 0xFFFF;
    final long image =
        cpu.load(cpu.stackAddress(2L * operandSize, operandSize, false), operandSize);
    if ((image & Flags.VM) != 0 && cpu.cpl() == 0 && !cpu.isLong() && operandSize == 4) {
      returnToVm86(cpu, target, selector, image);
      cpu.debugTraps().resume(image);
      return;
    }
    final long raw = checkedReturn(cpu, selector);
    checkTarget(cpu, target, raw);
    final int oldCpl = cpu.cpl();
    final int oldIopl = cpu.iopl();
    final long oldFlags = cpu.rflags();
    if ((selector & 3) != oldCpl || cpu.longMode64()) {
      final long newStack =
          cpu.load(cpu.stackAddress(3L * operandSize, operandSize, false), operandSize);
      final int newSelector =
          (int) cpu.load(cpu.stackAddress(4L * operandSize, operandSize, false), operandSize)
              & 0xFFFF;
      if ((selector & 3) != oldCpl) {
        leaveToOuter(cpu, selector, raw, target, newSelector, newStack);
      } else {
        if ((newSelector & 0xFFFC) == 0) {
          SegmentLoader.loadStack(cpu, newSelector, oldCpl, Vector.GP);
        } else {
          final long stack = SegmentLoader.checkedStack(cpu, newSelector, oldCpl, Vector.GP, 0);
          cpu.setSegment(
              Seg.SS,
              newSelector,
              Descriptor.base(stack),
              Descriptor.limit(stack),
              Descriptor.rights(stack));
        }
        SegmentLoader.setCode(cpu, selector, raw);
        cpu.setRip(target);
        cpu.modeChanged();
        cpu.setStackPointer(newStack);
      }
    } else {
      cpu.addStackPointer(3L * operandSize);
      SegmentLoader.setCode(cpu, selector, raw);
      cpu.setRip(target);
      cpu.modeChanged();
    }
    final long virtual = oldCpl == 0 && operandSize != 2 ? Flags.VIF | Flags.VIP : 0;
    cpu.setRflags(
        mergeFlags(oldFlags, image, operandSize, oldCpl, oldIopl) & ~virtual | image & virtual);
    cpu.debugTraps().resume(operandSize == 2 ? 0 : image);
  }

  /** Flags that POPF and IRET may change at a privilege level (SDM Vol. 2B, POPF). */
  static long mergeFlags(
      final long old, final long image, final int size, final int cpl, final int iopl) {
    long mask = Flags.ARITHMETIC | Flags.TF | Flags.DF | Flags.NT;
    if (size != 2) {
      mask |= Flags.AC | Flags.ID;
    }
    if (cpl <= iopl) {
      mask |= Flags.IF;
    }
    if (cpl == 0) {
      mask |= Flags.IOPL;
    }
    return old & ~mask & ~(long) Flags.RF | image & mask;
  }

  private static void returnReal(final SoftVcpu cpu, final int operandSize) {
    final long target = cpu.load(cpu.stackAddress(0, operandSize, false), operandSize);
    final int selector =
        (int) cpu.load(cpu.stackAddress(operandSize, operandSize, false), operandSize) & 0xFFFF;
    final long image =
        cpu.load(cpu.stackAddress(2L * operandSize, operandSize, false), operandSize);
    if (target > cpu.segmentLimit(Seg.CS)) {
      throw cpu.raise(Vector.GP, 0);
    }
    final int cpl = cpu.isVm86() ? 3 : 0;
    final long flags =
        cpl > cpu.iopl()
            ? Vm86Extensions.merge(cpu, image)
            : mergeFlags(cpu.rflags(), image, operandSize, cpl, cpu.iopl());
    cpu.addStackPointer(3L * operandSize);
    setRealCode(cpu, selector);
    cpu.setRip(target);
    cpu.setRflags(flags);
    cpu.modeChanged();
  }

  private static void returnToVm86(
      final SoftVcpu cpu, final long target, final int selector, final long image) {
    final long newStack = cpu.load(cpu.stackAddress(12, 4, false), 4);
    final int newSelector = stackSelector(cpu, 16);
    final int es = stackSelector(cpu, 20);
    final int ds = stackSelector(cpu, 24);
    final int fs = stackSelector(cpu, 28);
    final int gs = stackSelector(cpu, 32);
    cpu.setRflags(
        image
            & (Flags.ARITHMETIC
                | Flags.TF
                | Flags.IF
                | Flags.DF
                | Flags.IOPL
                | Flags.NT
                | Flags.VM
                | Flags.VIF
                | Flags.VIP
                | Flags.AC
                | Flags.ID));
    vm86Segment(cpu, Seg.ES, es);
    vm86Segment(cpu, Seg.DS, ds);
    vm86Segment(cpu, Seg.FS, fs);
    vm86Segment(cpu, Seg.GS, gs);
    vm86Segment(cpu, Seg.SS, newSelector);
    vm86Segment(cpu, Seg.CS, selector);
    cpu.setRip(target & 0xFFFF);
    cpu.modeChanged();
    cpu.reg32(RSP, (int) newStack);
  }

  private static int stackSelector(final SoftVcpu cpu, final int delta) {
    return (int) cpu.load(cpu.stackAddress(delta, 4, false), 4) & 0xFFFF;
  }

  private static void vm86Segment(final SoftVcpu cpu, final int segment, final int selector) {
    cpu.setSegment(segment, selector, (long) selector << 4, 0xFFFF, 0xF3);
  }

  // ---- fast system calls ----

  private static void flat(
      final SoftVcpu cpu, final int segment, final int selector, final int rights) {
    cpu.setSegment(segment, selector & 0xFFFF, 0, 0xFFFF_FFFFL, rights);
  }

  static void syscall(final SoftVcpu cpu) {
    final long s = cpu.state;
    if ((HostMemory.getLong(s + StateLayout.EFER) & ControlRegisters.EFER_SCE) == 0
        || !cpu.longMode64()) {
      // Intel's processors know SYSCALL in 64-bit mode only.
      throw cpu.undefined();
    }
    final long star = HostMemory.getLong(s + StateLayout.STAR);
    final long flags = cpu.rflags();
    cpu.reg64(RCX, cpu.nextRip());
    cpu.reg64(R11, flags & ~(long) Flags.RF);
    final int selector = (int) (star >>> 32) & 0xFFFC;
    flat(cpu, Seg.CS, selector, FLAT_CODE64);
    flat(cpu, Seg.SS, selector + 8, FLAT_DATA);
    cpu.setRip(HostMemory.getLong(s + StateLayout.LSTAR));
    cpu.modeChanged();
    cpu.setRflags(flags & ~HostMemory.getLong(s + StateLayout.SFMASK) & ~(long) Flags.RF);
  }

  static void sysret(final SoftVcpu cpu, final int operandSize) {
    final long s = cpu.state;
    if ((HostMemory.getLong(s + StateLayout.EFER) & ControlRegisters.EFER_SCE) == 0
        || !cpu.longMode64()) {
      throw cpu.undefined();
    }
    final long target = cpu.reg64(RCX);
    if (cpu.cpl() != 0 || operandSize == 8 && target != target << 16 >> 16) {
      throw cpu.raise(Vector.GP, 0);
    }
    final int star = (int) (HostMemory.getLong(s + StateLayout.STAR) >>> 48);
    if (operandSize == 8) {
      flat(cpu, Seg.CS, star + 16 | 3, FLAT_CODE64 | DPL3);
      cpu.setRip(target);
    } else {
      flat(cpu, Seg.CS, star | 3, FLAT_CODE32 | DPL3);
      cpu.setRip(target & 0xFFFF_FFFFL);
    }
    flat(cpu, Seg.SS, star + 8 | 3, FLAT_DATA | DPL3);
    cpu.modeChanged();
    cpu.setRflags(cpu.reg64(R11) & 0x3C7FD7L);
  }

  static void sysenter(final SoftVcpu cpu) {
    final long s = cpu.state;
    final int selector = (int) HostMemory.getLong(s + StateLayout.SYSENTER_CS);
    if (!cpu.isProtected() || (selector & 0xFFFC) == 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final int cs = selector & 0xFFFC;
    flat(cpu, Seg.CS, cs, cpu.isLong() ? FLAT_CODE64 : FLAT_CODE32);
    flat(cpu, Seg.SS, cs + 8, FLAT_DATA);
    final long rsp = HostMemory.getLong(s + StateLayout.SYSENTER_ESP);
    final long rip = HostMemory.getLong(s + StateLayout.SYSENTER_EIP);
    cpu.setRip(cpu.isLong() ? rip : rip & 0xFFFF_FFFFL);
    cpu.reg64(RSP, cpu.isLong() ? rsp : rsp & 0xFFFF_FFFFL);
    cpu.setRflags(cpu.rflags() & ~(long) (Flags.VM | Flags.IF | Flags.RF));
    cpu.modeChanged();
  }

  static void sysexit(final SoftVcpu cpu, final int operandSize) {
    final long s = cpu.state;
    final int selector = (int) HostMemory.getLong(s + StateLayout.SYSENTER_CS);
    if (!cpu.isProtected() || (selector & 0xFFFC) == 0 || cpu.cpl() != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    final int cs = selector & 0xFFFC;
    final long rip = cpu.reg64(RDX);
    final long rsp = cpu.reg64(RCX);
    if (operandSize == 8) {
      if (rip != rip << 16 >> 16 || rsp != rsp << 16 >> 16) {
        throw cpu.raise(Vector.GP, 0);
      }
      flat(cpu, Seg.CS, cs + 32 | 3, FLAT_CODE64 | DPL3);
      flat(cpu, Seg.SS, cs + 40 | 3, FLAT_DATA | DPL3);
      cpu.setRip(rip);
      cpu.reg64(RSP, rsp);
    } else {
      flat(cpu, Seg.CS, cs + 16 | 3, FLAT_CODE32 | DPL3);
      flat(cpu, Seg.SS, cs + 24 | 3, FLAT_DATA | DPL3);
      cpu.setRip(rip & 0xFFFF_FFFFL);
      cpu.reg64(RSP, rsp & 0xFFFF_FFFFL);
    }
    cpu.modeChanged();
  }
}

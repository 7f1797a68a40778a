package dev.vmexit.vcpu.soft;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;

/**
 * Far JMP and CALL whose selector names a call gate, a task gate or a TSS (SDM Vol. 3A, 5.8.3 to
 * 5.8.6 and 8.3; Vol. 2A, CALL and JMP).
 */
final class CallGates {
  private static final int TYPE_CALL16 = 4;
  private static final int TYPE_TASK = 5;
  private static final int TYPE_CALL32 = 0xC;
  private static final int TSS32 = 8;
  private static final int MOST_PARAMETERS = 31;
  private static final int RSP = StateLayout.gpr(Gpr.RSP);

  private final SoftVcpu cpu;
  private final TaskSwitch tasks;
  private final InnerStack stack;
  private final long[] parameters = new long[MOST_PARAMETERS];

  CallGates(final SoftVcpu cpu, final TaskSwitch tasks) {
    this.cpu = cpu;
    this.tasks = tasks;
    stack = new InnerStack(cpu);
  }

  /**
   * Transfers where the selector names a system descriptor.
   *
   * @return false where it does not, and nothing was done: an ordinary far transfer
   */
  boolean transfer(final int selector, final boolean call) {
    if (Selectors.isNull(selector)) {
      return false;
    }
    final long raw = Selectors.read(cpu, selector, Vector.GP, 0);
    final int rights = Descriptor.rights(raw);
    if ((rights & Descriptor.S) != 0) {
      return false;
    }
    final int type = rights & Descriptor.TYPE;
    final boolean wide = cpu.isLong();
    final boolean known =
        type == TYPE_CALL32
            || !wide && (type == TYPE_CALL16 || type == TYPE_TASK || TaskSwitch.isTask(rights));
    if (!known || Descriptor.dpl(rights) < Math.max(cpu.cpl(), selector & 3)) {
      throw cpu.raise(Vector.GP, selector & 0xFFFC);
    }
    final TaskSwitch.Cause cause = call ? TaskSwitch.Cause.CALL : TaskSwitch.Cause.JUMP;
    if (TaskSwitch.isTask(rights)) {
      if ((selector & 4) != 0) {
        throw cpu.raise(Vector.GP, selector & 0xFFFC);
      }
      tasks.transfer(selector, raw, cause);
      return true;
    }
    Selectors.present(cpu, rights, selector, Vector.NP, 0);
    if (type == TYPE_TASK) {
      tasks.transferByGate(raw, cause);
    } else if (wide) {
      throughGate64(selector, raw, call);
    } else {
      throughGate(raw, type == TYPE_CALL16 ? 2 : 4, call);
    }
    return true;
  }

  /** The code segment that a gate names, accessed bit set; checks by JMP's or CALL's rule. */
  private long code(final int selector, final boolean call) {
    if (Selectors.isNull(selector)) {
      throw cpu.raise(Vector.GP, 0);
    }
    final long raw = Selectors.read(cpu, selector, Vector.GP, 0);
    final int rights = Descriptor.rights(raw);
    final int dpl = Descriptor.dpl(rights);
    final boolean same = Descriptor.isConforming(rights) || call;
    final boolean is64 = (rights & (Descriptor.LONG | Descriptor.BIG)) == Descriptor.LONG;
    if (!Descriptor.isCode(rights)
        || (same ? dpl > cpu.cpl() : dpl != cpu.cpl())
        || cpu.isLong() && !is64) {
      throw cpu.raise(Vector.GP, selector & 0xFFFC);
    }
    Selectors.present(cpu, rights, selector, Vector.NP, 0);
    return Selectors.accessed(cpu, selector, raw);
  }

  private void throughGate(final long gate, final int size, final boolean call) {
    final int selector = (int) (gate >>> 16) & 0xFFFF;
    final long raw = code(selector, call);
    final long offset = gate & 0xFFFF | gate >>> 32 & 0xFFFF_0000L;
    final long target = size == 2 ? offset & 0xFFFF : offset;
    if (target > Descriptor.limit(raw)) {
      throw cpu.raise(Vector.GP, 0);
    }
    final int rights = Descriptor.rights(raw);
    final int dpl = Descriptor.dpl(rights);
    if (call && !Descriptor.isConforming(rights) && dpl < cpu.cpl()) {
      callInner(dpl, size, (int) (gate >>> 32) & 31);
      SegmentLoader.setCode(cpu, selector & 0xFFFC | dpl, raw);
    } else {
      if (call) {
        pushReturn(size);
      }
      SegmentLoader.setCode(cpu, selector & 0xFFFC | cpu.cpl(), raw);
    }
    cpu.setRip(target);
    cpu.modeChanged();
  }

  private void pushReturn(final int size) {
    final long csAt = cpu.stackAddress(-size, size, true);
    final long ipAt = cpu.stackAddress(-2L * size, size, true);
    cpu.probeWrite(ipAt, size);
    cpu.store(csAt, size, cpu.selector(Seg.CS));
    cpu.store(ipAt, size, cpu.nextRip());
    cpu.addStackPointer(-2L * size);
  }

  /** Takes the inner level's stack from the TSS and builds the frame with the parameters on it. */
  private void callInner(final int newCpl, final int size, final int count) {
    final boolean tss32 = (cpu.rights(Seg.TR) & TSS32) != 0;
    final int at = tss32 ? 4 + newCpl * 8 : 2 + newCpl * 4;
    if (at + (tss32 ? 5 : 3) > cpu.segmentLimit(Seg.TR)) {
      throw cpu.raise(Vector.TS, cpu.selector(Seg.TR) & 0xFFFC);
    }
    final long tss = cpu.segmentBase(Seg.TR) + at;
    final long sp = cpu.loadSystem(tss, tss32 ? 4 : 2);
    final int selector = (int) cpu.loadSystem(tss + (tss32 ? 4 : 2), 2);
    final long raw = Selectors.stack(cpu, selector, newCpl, 0);
    for (int i = 0; i < count; i++) {
      parameters[i] = cpu.load(cpu.stackAddress((long) i * size, size, false), size);
    }
    stack.set(raw, size, sp, selector & 0xFFFC);
    stack.push(cpu.selector(Seg.SS));
    stack.push(cpu.reg64(RSP));
    for (int i = count - 1; i >= 0; i--) {
      stack.push(parameters[i]);
    }
    stack.push(cpu.selector(Seg.CS));
    stack.push(cpu.nextRip());
    cpu.setSegment(
        Seg.SS, selector, Descriptor.base(raw), Descriptor.limit(raw), Descriptor.rights(raw));
    cpu.reg64(RSP, stack.pointer());
  }

  /** A 64-bit gate: sixteen bytes, no parameters, a null SS on an inner level. */
  private void throughGate64(final int gateSelector, final long gate, final boolean call) {
    final long address = Selectors.address(cpu, gateSelector, 16, Vector.GP, 0);
    final long upper = cpu.loadSystem(address + 8, 8);
    if ((upper >>> 40 & (Descriptor.S | Descriptor.TYPE)) != 0) {
      throw cpu.raise(Vector.GP, gateSelector & 0xFFFC);
    }
    final long target = gate & 0xFFFF | gate >>> 32 & 0xFFFF_0000L | upper << 32;
    final int selector = (int) (gate >>> 16) & 0xFFFF;
    final long raw = code(selector, call);
    if (target != target << 16 >> 16) {
      throw cpu.raise(Vector.GP, 0);
    }
    final int rights = Descriptor.rights(raw);
    final int dpl = Descriptor.dpl(rights);
    final boolean inner = call && !Descriptor.isConforming(rights) && dpl < cpu.cpl();
    final int newCpl = inner ? dpl : cpu.cpl();
    if (inner) {
      final int at = 4 + dpl * 8;
      if (at + 7 > cpu.segmentLimit(Seg.TR)) {
        throw cpu.raise(Vector.TS, cpu.selector(Seg.TR) & 0xFFFC);
      }
      final long rsp = cpu.loadSystem(cpu.segmentBase(Seg.TR) + at, 8);
      if (rsp - 1 != rsp - 1 << 16 >> 16) {
        throw cpu.raise(Vector.SS, 0);
      }
      cpu.storeSystem(rsp - 8, 8, cpu.selector(Seg.SS));
      cpu.storeSystem(rsp - 16, 8, cpu.reg64(RSP));
      cpu.storeSystem(rsp - 24, 8, cpu.selector(Seg.CS));
      cpu.storeSystem(rsp - 32, 8, cpu.nextRip());
      cpu.setSegment(Seg.SS, dpl, 0, 0, StateLayout.SEG_UNUSABLE | dpl << 5);
      cpu.reg64(RSP, rsp - 32);
    } else if (call) {
      pushReturn(8);
    }
    SegmentLoader.setCode(cpu, selector & 0xFFFC | newCpl, raw);
    cpu.setRip(target);
    cpu.modeChanged();
  }
}

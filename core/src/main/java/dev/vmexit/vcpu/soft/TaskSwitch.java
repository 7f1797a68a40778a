package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;

/**
 * Hardware task switches by JMP, CALL, IRET, task gates and events (SDM Vol. 3A, chapter 8).
 *
 * <p>A switch has two halves. {@link #enter} checks all that is checked in the old task, saves it,
 * and takes the registers and selectors of the new one: all or nothing. Its last act may be a new
 * CR3, of which the MMU must hear before the next access; so the descriptors that the new selectors
 * name are loaded as an event of the new task, by {@link #loadSegments}, before its first
 * instruction. That is also how the architecture has it: what fails there, fails in the new task.
 *
 * <pre>
 *   TSS, 32 bits: 0 link, 28 CR3, 32 EIP, 36 EFLAGS, 40 eight registers, 72 six selectors,
 *                 96 LDT, 100 bit 0: trap, 102 I/O map base
 *   TSS, 16 bits: 0 link, 14 IP, 16 FLAGS, 18 eight registers, 34 four selectors, 42 LDT
 * </pre>
 */
final class TaskSwitch {
  /** Why a task is entered: decides on the link, the busy bits and NT. */
  enum Cause {
    JUMP,
    /** CALL, interrupts and exceptions: the new task is nested in the old one. */
    CALL,
    RETURN
  }

  private static final int TYPE_TSS16 = 1;
  private static final int TYPE_TSS32 = 9;
  private static final int TYPE_MASK = Descriptor.S | Descriptor.TYPE;
  private static final int BUSY_BYTE = 5;

  private static final int LIMIT32 = 0x67;
  private static final int LIMIT16 = 0x2B;
  private static final int DR7_LOCAL = 0x55;
  private static final long DR6_TASK = 1 << 15;
  private static final int DPL_SHIFT = 5;

  private static final int FLAGS32 =
      Flags.ARITHMETIC
          | Flags.TF
          | Flags.IF
          | Flags.DF
          | Flags.IOPL
          | Flags.NT
          | Flags.VM
          | Flags.AC
          | Flags.VIF
          | Flags.VIP
          | Flags.ID;

  private final SoftVcpu cpu;
  private final long[] registers = new long[8];
  private final int[] selectors = new int[6];

  private long savedFlags;

  // What the second half needs to know of the first.
  private int ext;
  private boolean pushesErrorCode;
  private int errorCode;
  private int errorCodeSize;
  private boolean trap;

  TaskSwitch(final SoftVcpu cpu) {
    this.cpu = cpu;
  }

  /** JMP or CALL to a TSS, privileges being checked by the caller. */
  void transfer(final int selector, final long raw, final Cause cause) {
    savedFlags = cpu.rflags();
    enter(selector, raw, cause, Vector.GP, 0, false, 0, 0);
  }

  /** JMP or CALL to a task gate. */
  void transferByGate(final long gate, final Cause cause) {
    savedFlags = cpu.rflags();
    final int selector = (int) (gate >>> 16) & 0xFFFF;
    enter(selector, taskDescriptor(selector, Vector.GP, 0), cause, Vector.GP, 0, false, 0, 0);
  }

  /**
   * An event whose IDT entry is a task gate.
   *
   * @param image flags to save in the old task
   * @param externalBit EXT of the error codes
   */
  void deliver(
      final long gate,
      final long image,
      final int externalBit,
      final boolean hasErrorCode,
      final int newErrorCode) {
    savedFlags = image;
    final int selector = (int) (gate >>> 16) & 0xFFFF;
    final long raw = taskDescriptor(selector, Vector.GP, externalBit);
    enter(selector, raw, Cause.CALL, Vector.GP, externalBit, hasErrorCode, newErrorCode, 0);
  }

  /** IRET with NT set: back to the task that the current one's link names. */
  void returnToLink() {
    savedFlags = cpu.rflags() & ~(long) Flags.NT;
    final int selector = (int) cpu.loadSystem(cpu.segmentBase(Seg.TR), 2);
    enter(
        selector,
        taskDescriptor(selector, Vector.TS, 0),
        Cause.RETURN,
        Vector.TS,
        0,
        false,
        0,
        Descriptor.TSS_BUSY);
  }

  private long taskDescriptor(final int selector, final int vector, final int externalBit) {
    if ((selector & 4) != 0) {
      throw cpu.raise(vector, Selectors.error(selector, externalBit));
    }
    return Selectors.read(cpu, selector, vector, externalBit);
  }

  /** Whether this is the descriptor of a TSS, 16 or 32 bits, busy or not. */
  static boolean isTask(final int rights) {
    final int type = rights & TYPE_MASK & ~Descriptor.TSS_BUSY;
    return type == TYPE_TSS16 || type == TYPE_TSS32;
  }

  private void enter(
      final int selector,
      final long raw,
      final Cause cause,
      final int vector,
      final int externalBit,
      final boolean hasErrorCode,
      final int newErrorCode,
      final int wantedBusy) {
    final int rights = Descriptor.rights(raw);
    if (!isTask(rights) || (rights & Descriptor.TSS_BUSY) != wantedBusy) {
      throw cpu.raise(vector, Selectors.error(selector, externalBit));
    }
    Selectors.present(cpu, rights, selector, Vector.NP, externalBit);
    final boolean wide = (rights & TYPE_TSS32) == TYPE_TSS32;
    if (Descriptor.limit(raw) < (wide ? LIMIT32 : LIMIT16)) {
      throw cpu.raise(Vector.TS, Selectors.error(selector, externalBit));
    }
    final boolean oldWide = (cpu.rights(Seg.TR) & TYPE_TSS32) == TYPE_TSS32;
    if (cpu.segmentLimit(Seg.TR) < (oldWide ? LIMIT32 : LIMIT16)) {
      throw cpu.raise(Vector.TS, Selectors.error(cpu.selector(Seg.TR), externalBit));
    }
    final int saved = cpu.context;
    cpu.selectContext(cpu.supervisorContext());
    try {
      exchange(selector, raw, cause, wide, oldWide);
    } finally {
      cpu.selectContext(saved);
      cpu.modeChanged();
    }
    ext = externalBit;
    pushesErrorCode = hasErrorCode;
    errorCode = newErrorCode;
    errorCodeSize = wide ? 4 : 2;
    cpu.pending().loadTask();
  }

  private void exchange(
      final int selector,
      final long raw,
      final Cause cause,
      final boolean wide,
      final boolean oldWide) {
    final long old = cpu.segmentBase(Seg.TR);
    final int oldSelector = cpu.selector(Seg.TR);
    final long base = Descriptor.base(raw);
    final long newDescriptor = Selectors.address(cpu, selector, 8, Vector.TS, 0);
    final long oldDescriptor = Selectors.address(cpu, oldSelector, 8, Vector.TS, 0);

    // Everything that may fault or exit comes before the first store.
    final long cr3 = wide ? cpu.load(base + 28, 4) : 0;
    final long rip = wide ? cpu.load(base + 32, 4) : cpu.load(base + 14, 2);
    final long image = wide ? cpu.load(base + 36, 4) : cpu.load(base + 16, 2);
    final long flags = image & FLAGS32;
    for (int i = 0; i < 8; i++) {
      registers[i] = wide ? cpu.load(base + 40 + i * 4L, 4) : cpu.load(base + 18 + i * 2L, 2);
    }
    for (int i = Seg.ES; i <= Seg.GS; i++) {
      if (wide) {
        selectors[i] = cpu.load16(base + 72 + i * 4L);
      } else {
        selectors[i] = i <= Seg.DS ? cpu.load16(base + 34 + i * 2L) : 0;
      }
    }
    final int ldt = cpu.load16(base + (wide ? 96 : 42));
    trap = wide && (cpu.load16(base + 100) & 1) != 0;
    cpu.probeWrite(old + (oldWide ? 32 : 14), oldWide ? 64 : 28);
    if (cause == Cause.CALL) {
      cpu.probeWrite(base, 2);
    }
    cpu.probeWrite(newDescriptor + BUSY_BYTE, 1);
    cpu.probeWrite(oldDescriptor + BUSY_BYTE, 1);

    save(old, oldWide, savedFlags);
    if (cause != Cause.CALL) {
      busy(oldDescriptor, false);
    }
    if (cause != Cause.RETURN) {
      busy(newDescriptor, true);
    }
    if (cause == Cause.CALL) {
      cpu.store16(base, oldSelector);
    }

    final long oldRip = cpu.nextRip();
    cpu.setSegment(
        Seg.TR,
        selector,
        base,
        Descriptor.limit(raw),
        Descriptor.rights(raw) | Descriptor.TSS_BUSY);
    cpu.reg64(StateLayout.CR0, cpu.reg64(StateLayout.CR0) | ControlRegisters.CR0_TS);
    cpu.reg64(StateLayout.DR7, cpu.reg64(StateLayout.DR7) & ~(long) DR7_LOCAL);
    for (int i = 0; i < 8; i++) {
      cpu.reg32(StateLayout.gpr(i), (int) registers[i]);
    }
    cpu.setRip(rip);
    final boolean vm86 = (flags & Flags.VM) != 0;
    final int cpl = vm86 ? 3 : selectors[Seg.CS] & 3;
    for (int i = Seg.ES; i <= Seg.GS; i++) {
      // Nothing may be reached through them until they are loaded; SS tells the privilege.
      final int dpl = i == Seg.SS || i == Seg.CS ? cpl << DPL_SHIFT : 0;
      cpu.setSegment(i, selectors[i], 0, 0, StateLayout.SEG_UNUSABLE | dpl);
    }
    cpu.setSegment(Seg.LDTR, ldt, 0, 0, StateLayout.SEG_UNUSABLE);
    cpu.setRflags(flags | (cause == Cause.CALL ? Flags.NT : 0));
    cpu.debugTraps().resume(image);
    cpu.debugChanged();
    if (wide && (cpu.reg64(StateLayout.CR0) & ControlRegisters.CR0_PG) != 0) {
      cpu.reg64(StateLayout.CR3, cr3);
      cpu.controlChanged(false);
      cpu.noticeOfTask(oldRip, cr3);
    }
  }

  private void save(final long old, final boolean wide, final long flags) {
    if (wide) {
      cpu.store32(old + 32, (int) cpu.nextRip());
      cpu.store32(old + 36, (int) flags);
    } else {
      cpu.store16(old + 14, (int) cpu.nextRip());
      cpu.store16(old + 16, (int) flags);
    }
    for (int i = 0; i < 8; i++) {
      final int value = cpu.reg32(StateLayout.gpr(i));
      if (wide) {
        cpu.store32(old + 40 + i * 4L, value);
      } else {
        cpu.store16(old + 18 + i * 2L, value);
      }
    }
    for (int i = Seg.ES; i <= (wide ? Seg.GS : Seg.DS); i++) {
      cpu.store16(old + (wide ? 72 + i * 4L : 34 + i * 2L), cpu.selector(i));
    }
  }

  private void busy(final long descriptor, final boolean value) {
    final long at = descriptor + BUSY_BYTE;
    final int old = cpu.load8(at);
    cpu.store8(at, value ? old | Descriptor.TSS_BUSY : old & ~Descriptor.TSS_BUSY);
  }

  // ---- the second half ----

  /**
   * Loads what the new task's selectors name, and pushes an exception's error code. Done again from
   * its start where it exits: the selectors stay as they are.
   */
  void loadSegments() {
    final boolean vm86 = cpu.isVm86();
    final int cpl = vm86 ? 3 : cpu.selector(Seg.CS) & 3;
    cpu.selectContext(cpu.supervisorContext());
    try {
      loadLdt();
      if (vm86) {
        for (int i = Seg.ES; i <= Seg.GS; i++) {
          final int selector = cpu.selector(i);
          cpu.setSegment(i, selector, (long) selector << 4, 0xFFFF, 0xF3);
        }
      } else {
        loadCode(cpl);
        final int stack = cpu.selector(Seg.SS);
        set(Seg.SS, stack, Selectors.stack(cpu, stack, cpl, ext));
        loadData(Seg.DS, cpl);
        loadData(Seg.ES, cpl);
        loadData(Seg.FS, cpl);
        loadData(Seg.GS, cpl);
      }
    } finally {
      cpu.modeChanged();
    }
    if (pushesErrorCode) {
      cpu.push(errorCode, errorCodeSize);
    }
    if (trap) {
      trap = false;
      final long dr6 = cpu.state + StateLayout.DR6;
      HostMemory.putLong(dr6, HostMemory.getLong(dr6) | DR6_TASK);
      cpu.pending().trapTask();
    }
  }

  private void set(final int segment, final int selector, final long raw) {
    cpu.setSegment(
        segment, selector, Descriptor.base(raw), Descriptor.limit(raw), Descriptor.rights(raw));
  }

  private void loadLdt() {
    final int selector = cpu.selector(Seg.LDTR);
    if (Selectors.isNull(selector)) {
      return;
    }
    if ((selector & 4) != 0) {
      throw cpu.raise(Vector.TS, Selectors.error(selector, ext));
    }
    final long raw = Selectors.read(cpu, selector, Vector.TS, ext);
    final int rights = Descriptor.rights(raw);
    if ((rights & TYPE_MASK) != Descriptor.TYPE_LDT) {
      throw cpu.raise(Vector.TS, Selectors.error(selector, ext));
    }
    Selectors.present(cpu, rights, selector, Vector.TS, ext);
    set(Seg.LDTR, selector, raw);
  }

  private void loadCode(final int cpl) {
    final int selector = cpu.selector(Seg.CS);
    if (Selectors.isNull(selector)) {
      throw cpu.raise(Vector.TS, Selectors.error(selector, ext));
    }
    final long raw = Selectors.read(cpu, selector, Vector.TS, ext);
    final int rights = Descriptor.rights(raw);
    final int dpl = Descriptor.dpl(rights);
    if (!Descriptor.isCode(rights) || (Descriptor.isConforming(rights) ? dpl > cpl : dpl != cpl)) {
      throw cpu.raise(Vector.TS, Selectors.error(selector, ext));
    }
    Selectors.present(cpu, rights, selector, Vector.NP, ext);
    set(Seg.CS, selector, Selectors.accessed(cpu, selector, raw));
  }

  private void loadData(final int segment, final int cpl) {
    final int selector = cpu.selector(segment);
    if (Selectors.isNull(selector)) {
      return;
    }
    final long raw = Selectors.read(cpu, selector, Vector.TS, ext);
    final int rights = Descriptor.rights(raw);
    final boolean code = Descriptor.isCode(rights);
    final boolean readable = !code || (rights & Descriptor.READ_WRITE) != 0;
    final boolean reachable =
        Descriptor.isConforming(rights) || Descriptor.dpl(rights) >= Math.max(cpl, selector & 3);
    if ((rights & Descriptor.S) == 0 || !readable || !reachable) {
      throw cpu.raise(Vector.TS, Selectors.error(selector, ext));
    }
    Selectors.present(cpu, rights, selector, Vector.NP, ext);
    set(segment, selector, Selectors.accessed(cpu, selector, raw));
  }
}

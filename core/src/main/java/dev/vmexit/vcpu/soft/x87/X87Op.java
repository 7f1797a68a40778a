package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/**
 * An x87 instruction: the checks before it, the pointers it leaves, and how exceptions end it (SDM
 * Vol. 1, 8.1.8 and 8.4 to 8.7).
 *
 * <p>An unmasked exception is always reported as #MF by the next waiting instruction. With CR0.NE
 * clear a PC would route FERR# through the PIC to IRQ 13; here #MF is raised all the same.
 */
abstract class X87Op extends Op {
  private static final int BEFORE = SoftFloat.INVALID | SoftFloat.DENORMAL | SoftFloat.ZERO_DIVIDE;
  private static final int[] PRECISIONS = {24, 64, 53, 64};

  private final int opcode;
  private final boolean memory;
  private final int dataSegment;

  X87Op(final Instruction insn) {
    super(insn);
    opcode = (insn.opcode & 7) << 8 | (insn.modrm & 0xFF);
    memory = insn.hasMemory;
    dataSegment = insn.segment;
  }

  /** #NM when the x87 is not there or its state belongs to another task. */
  static void checkUsable(final SoftCpu cpu) {
    if ((cpu.reg64(StateLayout.CR0) & (ControlRegisters.CR0_EM | ControlRegisters.CR0_TS)) != 0) {
      throw cpu.raise(Vector.NM);
    }
  }

  /** What a waiting instruction checks. */
  static void check(final SoftCpu cpu) {
    checkUsable(cpu);
    if ((X87State.statusWord(cpu) & X87State.ERROR_SUMMARY) != 0) {
      throw cpu.raise(Vector.MF);
    }
  }

  /** Leaves the last-instruction pointers; after the memory operand was read. */
  final void note(final SoftCpu cpu) {
    X87State.setOpcode(cpu, opcode);
    cpu.reg64(StateLayout.FPU_IP, instructionPointer(cpu));
    final long cs = cpu.reg16(StateLayout.segment(Seg.CS) + StateLayout.SEG_SELECTOR);
    if (memory) {
      cpu.reg64(StateLayout.FPU_DP, effectiveAddress(cpu));
      final long ds = cpu.reg16(StateLayout.segment(dataSegment) + StateLayout.SEG_SELECTOR);
      cpu.reg64(StateLayout.FPU_CS, cs | ds << 32);
    } else {
      cpu.reg64(StateLayout.FPU_CS, cs | (long) cpu.reg32(StateLayout.FPU_DS) << 32);
    }
  }

  /** Starts an operation that rounds to 64 bits. */
  static SoftFloat begin(final SoftCpu cpu) {
    final int control = (int) X87State.control(cpu);
    final SoftFloat f = cpu.softFloat;
    f.begin(control >>> 10 & 3, control & SoftFloat.ALL);
    f.precision = 64;
    return f;
  }

  /** Starts an operation under precision control. */
  static SoftFloat beginControlled(final SoftCpu cpu) {
    final SoftFloat f = begin(cpu);
    f.precision = PRECISIONS[(int) X87State.control(cpu) >>> 8 & 3];
    return f;
  }

  /** Makes the operation a stack underflow: an empty register was read. */
  static void underflow(final SoftFloat f) {
    Float80.invalid(f);
    f.flags = SoftFloat.INVALID | X87State.STACK_FAULT;
    f.roundedUp = false;
  }

  /** Makes the operation a stack overflow: a push onto a register in use. */
  static void overflow(final SoftFloat f) {
    underflow(f);
    f.roundedUp = true;
  }

  /** Whether an unmasked exception forbids the result. */
  static boolean isPrevented(final SoftFloat f) {
    return (f.flags & BEFORE & ~f.masks) != 0;
  }

  /** As {@link #isPrevented}, of a store to memory: overflow and underflow forbid it too. */
  static boolean isStorePrevented(final SoftFloat f) {
    return (f.flags & ~f.masks & (SoftFloat.ALL & ~SoftFloat.PRECISION)) != 0;
  }

  /** Puts the operation's exceptions and C1 into the status word. */
  static void signal(final SoftCpu cpu, final SoftFloat f) {
    int flags = f.flags;
    boolean c1 = f.roundedUp;
    if (isPrevented(f) && (flags & X87State.STACK_FAULT) == 0) {
      flags &= BEFORE;
      c1 = false;
    }
    int status = (X87State.statusWord(cpu) & ~X87State.C1) | flags | (c1 ? X87State.C1 : 0);
    if ((flags & ~f.masks & SoftFloat.ALL) != 0) {
      status |= X87State.ERROR_SUMMARY | X87State.BUSY;
    }
    X87State.setStatus(cpu, status);
  }

  /** As {@link #signal} where C1 tells of a stack fault alone. */
  static void signalKeepingC1(final SoftCpu cpu, final SoftFloat f) {
    final int c1 = X87State.statusWord(cpu) & X87State.C1;
    signal(cpu, f);
    if ((f.flags & X87State.STACK_FAULT) == 0) {
      X87State.setStatus(cpu, X87State.statusWord(cpu) | c1);
    }
  }

  /** Ends an operation whose result goes to ST(i), if none forbids it; then pops. */
  static void finish(final SoftCpu cpu, final SoftFloat f, final int index, final int pops) {
    signal(cpu, f);
    if (!isPrevented(f)) {
      X87State.write(cpu, index, f.packedExponent, f.packedMantissa);
      for (int i = 0; i < pops; i++) {
        X87State.pop(cpu);
      }
    }
  }

  /** Ends a load; only an invalid operation forbids its push, a denormal is loaded anyway. */
  static void finishPush(final SoftCpu cpu, final SoftFloat f) {
    signal(cpu, f);
    if ((f.flags & ~f.masks & SoftFloat.INVALID) == 0) {
      X87State.moveTop(cpu, -1);
      X87State.write(cpu, 0, f.packedExponent, f.packedMantissa);
    }
  }

  /** Ends a comparison: the condition codes whatever the exceptions, then pops. */
  static void finishCompare(
      final SoftCpu cpu, final SoftFloat f, final int condition, final int pops) {
    signal(cpu, f);
    X87State.setStatus(cpu, (X87State.statusWord(cpu) & ~Float80.UNORDERED) | condition);
    if (!isPrevented(f)) {
      for (int i = 0; i < pops; i++) {
        X87State.pop(cpu);
      }
    }
  }
}

package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.decode.Instruction;

/**
 * FUCOM, FUCOMP, FUCOMPP with their result in the status word, and FCOMI, FUCOMI with or without a
 * pop with theirs in EFLAGS (SDM Vol. 1, 8.1.4).
 */
final class X87Compare extends X87Op {
  private final int index;
  private final boolean quiet;
  private final boolean toFlags;
  private final int pops;

  X87Compare(final Instruction insn, final boolean quiet, final boolean toFlags, final int pops) {
    super(insn);
    index = insn.modrm & 7;
    this.quiet = quiet;
    this.toFlags = toFlags;
    this.pops = pops;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    note(cpu);
    final SoftFloat f = begin(cpu);
    int condition = Float80.UNORDERED;
    if (X87State.isEmpty(cpu, 0) || X87State.isEmpty(cpu, index)) {
      underflow(f);
    } else {
      condition =
          Float80.compare(
              f,
              X87State.exponent(cpu, 0),
              X87State.mantissa(cpu, 0),
              X87State.exponent(cpu, index),
              X87State.mantissa(cpu, index),
              quiet);
    }
    if (!toFlags) {
      finishCompare(cpu, f, condition, pops);
      return;
    }
    signalKeepingC1(cpu, f);
    // C0, C2, C3 are where CF, PF, ZF are, eight bits up.
    cpu.setArithmeticFlags(condition >>> 8 & (Flags.CF | Flags.PF | Flags.ZF));
    if (pops != 0 && !isPrevented(f)) {
      X87State.pop(cpu);
    }
  }
}

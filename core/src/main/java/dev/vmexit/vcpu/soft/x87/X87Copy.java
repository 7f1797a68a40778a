package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** Copies between stack registers: FST, FSTP, FXCH and FCMOVcc. */
final class X87Copy extends X87Op {
  private final Mnemonic mnemonic;
  private final int index;

  /** Condition code as of Jcc that FCMOVcc asks for. */
  private final int condition;

  /** D9 D8+i, an alias of FSTP that processors execute without the underflow check. */
  private final boolean unchecked;

  X87Copy(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
    index = insn.modrm & 7;
    unchecked = mnemonic == Mnemonic.FSTP && (insn.opcode & 7) == 1;
    condition =
        switch (mnemonic) {
          case FCMOVB -> 2;
          case FCMOVNB -> 3;
          case FCMOVE -> 4;
          case FCMOVNE -> 5;
          case FCMOVBE -> 6;
          case FCMOVNBE -> 7;
          case FCMOVU -> 10;
          case FCMOVNU -> 11;
          default -> -1;
        };
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    note(cpu);
    final SoftFloat f = begin(cpu);
    switch (mnemonic) {
      case FST, FSTP -> store(cpu, f);
      case FXCH -> exchange(cpu, f);
      default -> move(cpu, f);
    }
  }

  private void store(final SoftCpu cpu, final SoftFloat f) {
    if (!X87State.isEmpty(cpu, 0)) {
      Float80.result(f, X87State.exponent(cpu, 0), X87State.mantissa(cpu, 0));
    } else if (unchecked) {
      signal(cpu, f);
      X87State.pop(cpu);
      return;
    } else {
      underflow(f);
    }
    finish(cpu, f, index, mnemonic == Mnemonic.FSTP ? 1 : 0);
  }

  private void exchange(final SoftCpu cpu, final SoftFloat f) {
    final boolean empty = X87State.isEmpty(cpu, 0);
    final boolean otherEmpty = X87State.isEmpty(cpu, index);
    if (empty || otherEmpty) {
      underflow(f);
    }
    final int exponent = empty ? Float80.INDEFINITE_EXPONENT : X87State.exponent(cpu, 0);
    final long mantissa = empty ? Float80.INDEFINITE_MANTISSA : X87State.mantissa(cpu, 0);
    final int otherExponent =
        otherEmpty ? Float80.INDEFINITE_EXPONENT : X87State.exponent(cpu, index);
    final long otherMantissa =
        otherEmpty ? Float80.INDEFINITE_MANTISSA : X87State.mantissa(cpu, index);
    signal(cpu, f);
    if (!isPrevented(f)) {
      X87State.write(cpu, index, exponent, mantissa);
      X87State.write(cpu, 0, otherExponent, otherMantissa);
    }
  }

  private void move(final SoftCpu cpu, final SoftFloat f) {
    final boolean underflows = X87State.isEmpty(cpu, 0) || X87State.isEmpty(cpu, index);
    if (underflows) {
      underflow(f);
    }
    signalKeepingC1(cpu, f);
    if (underflows) {
      if (!isPrevented(f)) {
        X87State.write(cpu, 0, f.packedExponent, f.packedMantissa);
      }
    } else if (cpu.condition(condition)) {
      X87State.write(cpu, 0, X87State.exponent(cpu, index), X87State.mantissa(cpu, index));
    }
  }
}

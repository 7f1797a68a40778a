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

  X87Copy(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
    index = insn.modrm & 7;
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
    if (X87State.isEmpty(cpu, 0)) {
      underflow(f);
    } else {
      Float80.result(f, X87State.exponent(cpu, 0), X87State.mantissa(cpu, 0));
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
    if (X87State.isEmpty(cpu, 0) || X87State.isEmpty(cpu, index)) {
      underflow(f);
      finish(cpu, f, 0, 0);
    } else if (cpu.condition(condition)) {
      Float80.result(f, X87State.exponent(cpu, index), X87State.mantissa(cpu, index));
      finish(cpu, f, 0, 0);
    } else {
      signal(cpu, f);
    }
  }
}

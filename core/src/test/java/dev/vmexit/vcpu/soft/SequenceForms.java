package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Operand;
import dev.vmexit.x86.encode.Register;
import java.util.List;

/**
 * Runs of integer instructions, for what one leaves to the next: flags above all, which the
 * software vCPU keeps unevaluated. A flag that the manual leaves undefined is made defined before
 * an instruction that reads it.
 */
final class SequenceForms {
  private static final int LENGTH = 24;
  private static final int[] SIZES = {1, 2, 4, 8};
  private static final int RDI_MEMORY = 96;

  private SequenceForms() {}

  static List<OracleForm> all() {
    return List.of(
        new OracleForm("sequence", SequenceForms::sequence),
        new OracleForm("sequence that loops", SequenceForms::loop));
  }

  private static boolean sequence(final OracleCase c) {
    c.reserve(Gpr.RDI);
    c.gprs[Gpr.RDI] = c.memoryAddress + RDI_MEMORY;
    long undefined = 0;
    for (int i = 0; i < LENGTH; i++) {
      undefined = instruction(c, undefined);
    }
    c.undefinedFlags = undefined;
    return true;
  }

  /** The same instructions several times over, from a cached block. */
  private static boolean loop(final OracleCase c) {
    c.reserve(Gpr.RCX);
    c.reserve(Gpr.RDI);
    c.gprs[Gpr.RCX] = 1 + c.below(6);
    c.gprs[Gpr.RDI] = c.memoryAddress + RDI_MEMORY;
    long undefined = Flags.ARITHMETIC;
    final Label top = c.a.here();
    for (int i = 0; i < LENGTH / 3; i++) {
      undefined = instruction(c, undefined);
    }
    c.undefinedFlags = undefined;
    c.a.loop(top);
    return true;
  }

  private static Operand operand(final OracleCase c, final int size) {
    return c.chance(3) ? Memory.at(Register.RDI, c.below(64)).as(size) : register(c, size);
  }

  private static Register register(final OracleCase c, final int size) {
    return Register.gpr(c.number(), size);
  }

  /** Makes undefined flags defined where one of those is read next. */
  private static long define(final OracleCase c, final long undefined, final long read) {
    if ((undefined & read) == 0) {
      return undefined;
    }
    c.a.cmp(register(c, 4), register(c, 4));
    return 0;
  }

  /** Appends one instruction; the flags that are undefined after it. */
  private static long instruction(final OracleCase c, final long undefined) {
    final int size = c.pick(SIZES);
    final Condition condition = Condition.values()[c.below(16)];
    switch (c.below(24)) {
      case 0, 1, 2 -> {
        c.a.add(operand(c, size), register(c, size));
        return 0;
      }
      case 3, 4 -> {
        c.a.sub(register(c, size), operand(c, size));
        return 0;
      }
      case 5 -> {
        define(c, undefined, Flags.CF);
        c.a.adc(operand(c, size), register(c, size));
        return 0;
      }
      case 6 -> {
        define(c, undefined, Flags.CF);
        c.a.sbb(register(c, size), operand(c, size));
        return 0;
      }
      case 7 -> {
        c.a.cmp(operand(c, size), register(c, size));
        return 0;
      }
      case 8 -> {
        c.a.xor(operand(c, size), register(c, size));
        return Flags.AF;
      }
      case 9 -> {
        c.a.and(register(c, size), operand(c, size));
        return Flags.AF;
      }
      case 10 -> {
        c.a.test(operand(c, size), register(c, size));
        return Flags.AF;
      }
      case 11 -> {
        // CF stays as it was, undefined or not.
        c.a.inc(operand(c, size));
        return undefined & Flags.CF;
      }
      case 12 -> {
        c.a.dec(operand(c, size));
        return undefined & Flags.CF;
      }
      case 13 -> {
        c.a.neg(operand(c, size));
        return 0;
      }
      case 14 -> {
        c.a.shl(operand(c, size), 1);
        return Flags.AF;
      }
      case 15 -> {
        c.a.sar(operand(c, size), 1 + c.below(7));
        return Flags.AF | Flags.OF;
      }
      case 16 -> {
        final long left = define(c, undefined, Flags.CF);
        c.a.rcl(operand(c, size), 1);
        return left & ~(Flags.CF | Flags.OF);
      }
      case 17 -> {
        c.a.ror(operand(c, size), 1);
        return undefined & ~(Flags.CF | Flags.OF);
      }
      case 18 -> {
        c.a.bt(register(c, 4), c.below(32));
        // ZF alone is said to stay as it was.
        return undefined & Flags.ZF | Flags.OF | Flags.SF | Flags.AF | Flags.PF;
      }
      case 19 -> {
        final long left = define(c, undefined, Flags.ARITHMETIC & ~Flags.AF);
        c.a.setcc(condition, operand(c, 1));
        return left;
      }
      case 20 -> {
        final long left = define(c, undefined, Flags.ARITHMETIC & ~Flags.AF);
        c.a.cmovcc(condition, register(c, 8), register(c, 8));
        return left;
      }
      case 21 -> {
        final long left = define(c, undefined, Flags.ARITHMETIC & ~Flags.AF);
        final Label over = c.a.label();
        c.a.jcc(condition, over);
        c.a.bswap(register(c, 8));
        c.a.bind(over);
        return left;
      }
      case 22 -> {
        define(c, undefined, Flags.ARITHMETIC);
        final Register flags = register(c, 8);
        c.a.pushf();
        c.a.pop(flags);
        // The system flags differ, the others come back.
        c.a.and(flags, Flags.ARITHMETIC);
        c.a.push(flags);
        c.a.popf();
        return 0;
      }
      default -> {
        if (c.chance(2)) {
          final long left = define(c, undefined, Flags.CF);
          c.a.cmc();
          return left;
        }
        if (c.chance(2)) {
          c.a.stc();
        } else {
          c.a.clc();
        }
        return undefined & ~Flags.CF;
      }
    }
  }
}

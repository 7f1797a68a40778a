package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.encode.Memory;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * x87 instructions. Which condition codes each leaves undefined is said by SDM Vol. 2A and by Vol.
 * 1, table 8-1. Transcendental functions are compared elsewhere: the manual gives a bound on their
 * error, and processors differ in the last place.
 */
final class X87Forms {
  private static final int FX_CONTROL = 0;
  private static final int FX_STATUS = 2;
  private static final int FX_TAGS = 4;
  private static final int FX_MXCSR = 24;
  private static final int FX_ST = 32;

  private static final int C0 = 1 << 8;
  private static final int C1 = 1 << 9;
  private static final int C2 = 1 << 10;
  private static final int C3 = 1 << 14;

  /** Most instructions define C1 alone. */
  private static final int NOT_C1 = C0 | C2 | C3;

  private final List<OracleForm> forms = new ArrayList<>();

  private X87Forms() {}

  static List<OracleForm> all() {
    final X87Forms table = new X87Forms();
    table.arithmetic();
    table.loadsAndStores();
    table.registers();
    table.unary();
    table.compares();
    table.control();
    return List.copyOf(table.forms);
  }

  private void add(
      final String name, final int undefinedStatus, final Consumer<OracleCase> generator) {
    forms.add(
        new OracleForm(
            name,
            c -> {
              state(c);
              c.undefinedStatus = undefinedStatus;
              generator.accept(c);
              return true;
            }));
  }

  /** Mostly a full stack, all precisions and roundings, sticky bits at random. */
  private static void state(final OracleCase c) {
    final byte[] fx = new byte[HostProcessor.FX_SIZE];
    final int precision = c.chance(2) ? 3 : c.pick(0, 2, 3);
    final int rounding = c.chance(2) ? 0 : c.below(4);
    FloatValues.put(fx, FX_CONTROL, 2, 0x7FL | precision << 8 | rounding << 10);
    final int status = c.below(8) << 11 | (c.chance(2) ? 0 : c.below(0x80)) | c.below(8) << 8;
    FloatValues.put(fx, FX_STATUS, 2, status | (c.chance(2) ? C3 : 0));
    fx[FX_TAGS] = (byte) (c.chance(2) ? 0xFF : c.chance(4) ? 0 : c.below(256));
    FloatValues.put(fx, FX_MXCSR, 4, 0x1F80);
    for (int i = 0; i < 8; i++) {
      FloatValues.extended(c.random, fx, FX_ST + 16 * i);
    }
    c.fx = fx;
  }

  private static int top(final OracleCase c) {
    return c.fx[FX_STATUS + 1] >> 3 & 7;
  }

  private static void opcode(final OracleCase c, final int first, final int second) {
    c.a.db(first, second);
  }

  private static Memory memory(final OracleCase c, final int size) {
    final int offset = 64 + c.below(64);
    switch (size) {
      case 4 -> c.putMemory(offset, 4, FloatValues.single(c.random));
      case 8 -> c.putMemory(offset, 8, FloatValues.twice(c.random));
      case 10 -> FloatValues.extended(c.random, c.memory, offset);
      default -> throw new IllegalArgumentException("size=" + size);
    }
    return c.memoryAt(size, offset);
  }

  private static Memory integer(final OracleCase c, final int size) {
    final int offset = 64 + c.below(64);
    c.putMemory(offset, size, c.value());
    return c.memoryAt(size, offset);
  }

  private void arithmetic() {
    final String[] names = {"fadd", "fmul", "fcom", "fcomp", "fsub", "fsubr", "fdiv", "fdivr"};
    for (int i = 0; i < names.length; i++) {
      final int extension = i;
      final boolean compare = i == 2 || i == 3;
      final int undefined = compare ? 0 : NOT_C1;
      add(names[i] + " m32", undefined, c -> c.a.modrmExtended(0, 0xD8, extension, memory(c, 4)));
      add(names[i] + " m64", undefined, c -> c.a.modrmExtended(0, 0xDC, extension, memory(c, 8)));
      add(
          names[i].replace("f", "fi") + " m32",
          undefined,
          c -> c.a.modrmExtended(0, 0xDA, extension, integer(c, 4)));
      add(
          names[i].replace("f", "fi") + " m16",
          undefined,
          c -> c.a.modrmExtended(0, 0xDE, extension, integer(c, 2)));
      add(
          names[i] + " st,sti",
          undefined,
          c -> opcode(c, 0xD8, 0xC0 | extension << 3 | c.below(8)));
      if (!compare) {
        add(
            names[i] + " sti,st",
            undefined,
            c -> opcode(c, 0xDC, 0xC0 | extension << 3 | c.below(8)));
        add(names[i] + "p", undefined, c -> opcode(c, 0xDE, 0xC0 | extension << 3 | c.below(8)));
      }
    }
  }

  private void loadsAndStores() {
    add("fld m32", NOT_C1, c -> c.a.fld(memory(c, 4)));
    add("fld m64", NOT_C1, c -> c.a.fld(memory(c, 8)));
    add("fld m80", NOT_C1, c -> c.a.fld(memory(c, 10)));
    add("fst m32", NOT_C1, c -> c.a.fst(memory(c, 4)));
    add("fst m64", NOT_C1, c -> c.a.fst(memory(c, 8)));
    add("fstp m32", NOT_C1, c -> c.a.fstp(memory(c, 4)));
    add("fstp m64", NOT_C1, c -> c.a.fstp(memory(c, 8)));
    add("fstp m80", NOT_C1, c -> c.a.fstp(memory(c, 10)));
    for (final int size : new int[] {2, 4, 8}) {
      add("fild" + size * 8, NOT_C1, c -> c.a.fild(integer(c, size)));
      add("fistp" + size * 8, NOT_C1, c -> c.a.fistp(integer(c, size)));
    }
    add("fist16", NOT_C1, c -> c.a.modrmExtended(0, 0xDF, 2, integer(c, 2)));
    add("fist32", NOT_C1, c -> c.a.modrmExtended(0, 0xDB, 2, integer(c, 4)));
    add(
        "fbld",
        NOT_C1,
        c -> {
          final int offset = 64 + c.below(64);
          for (int i = 0; i < 9; i++) {
            c.putMemory(offset + i, 1, c.below(10) << 4 | c.below(10));
          }
          c.putMemory(offset + 9, 1, c.pick(0, 0x80));
          c.a.modrmExtended(0, 0xDF, 4, c.memoryAt(10, offset));
        });
    add("fbstp", NOT_C1, c -> c.a.modrmExtended(0, 0xDF, 6, memory(c, 10)));
  }

  private void registers() {
    add(
        "fld sti",
        NOT_C1,
        c -> {
          // With an empty source and no room both faults hold, and C1 tells only one of them.
          c.fx[FX_TAGS] = (byte) (c.chance(2) ? 0xFF : c.fx[FX_TAGS] & ~(1 << (top(c) + 7 & 7)));
          opcode(c, 0xD9, 0xC0 | c.below(8));
        });
    add("fxch", NOT_C1, c -> opcode(c, 0xD9, 0xC8 | c.below(8)));
    add("fst sti", NOT_C1, c -> opcode(c, 0xDD, 0xD0 | c.below(8)));
    add("fstp sti", NOT_C1, c -> opcode(c, 0xDD, 0xD8 | c.below(8)));
    add("ffree", NOT_C1 | C1, c -> opcode(c, 0xDD, 0xC0 | c.below(8)));
    for (int i = 0; i < 4; i++) {
      final int condition = 0xC0 | i << 3;
      // C1 is cleared by some processors, left by others.
      add("fcmov" + i, NOT_C1 | C1, c -> opcode(c, 0xDA, condition | c.below(8)));
      add("fcmovn" + i, NOT_C1 | C1, c -> opcode(c, 0xDB, condition | c.below(8)));
    }
    for (int i = 0; i < 7; i++) {
      final int constant = 0xE8 + i;
      add("constant " + i, NOT_C1, c -> opcode(c, 0xD9, constant));
    }
  }

  private void unary() {
    add("fchs", NOT_C1, c -> opcode(c, 0xD9, 0xE0));
    add("fabs", NOT_C1, c -> opcode(c, 0xD9, 0xE1));
    add("fsqrt", NOT_C1, c -> opcode(c, 0xD9, 0xFA));
    add("frndint", NOT_C1, c -> opcode(c, 0xD9, 0xFC));
    add("fscale", NOT_C1, c -> opcode(c, 0xD9, 0xFD));
    add(
        "fscale, small",
        NOT_C1,
        c -> {
          final int exponent = c.below(20_000) - 10_000;
          c.putMemory(64, 2, exponent);
          c.a.fild(c.memoryAt(2, 64));
          opcode(c, 0xD9, 0xC9);
          opcode(c, 0xD9, 0xFD);
        });
    add("fxtract", NOT_C1, c -> opcode(c, 0xD9, 0xF4));
    for (final int second : new int[] {0xF8, 0xF5}) {
      final String name = second == 0xF8 ? "fprem" : "fprem1";
      // The condition codes tell the quotient only where there is one.
      add(name + ", any", NOT_C1, c -> opcode(c, 0xD9, second));
      add(
          name,
          0,
          c -> {
            c.fx[FX_TAGS] = -1;
            for (int i = 0; i < 2; i++) {
              final long significand = c.random.nextLong() | Long.MIN_VALUE;
              final int exponent = 16_383 + c.below(i == 0 ? 70 : 10) | c.below(2) << 15;
              FloatValues.put(c.fx, FX_ST + 16 * i, 8, significand);
              FloatValues.put(c.fx, FX_ST + 16 * i + 8, 2, exponent);
            }
            opcode(c, 0xD9, second);
          });
    }
    add("fxam", 0, c -> opcode(c, 0xD9, 0xE5));
    add("ftst", 0, c -> opcode(c, 0xD9, 0xE4));
  }

  private void compares() {
    add("fucom", 0, c -> opcode(c, 0xDD, 0xE0 | c.below(8)));
    add("fucomp", 0, c -> opcode(c, 0xDD, 0xE8 | c.below(8)));
    add("fucompp", 0, c -> opcode(c, 0xDA, 0xE9));
    add("fcompp", 0, c -> opcode(c, 0xDE, 0xD9));
    for (final int first : new int[] {0xDB, 0xDF}) {
      final String suffix = first == 0xDB ? "" : "p";
      // OF, SF, AF and C1 are cleared by some processors, left by others.
      final long undefined = Flags.OF | Flags.SF | Flags.AF;
      add(
          "fucomi" + suffix,
          C1,
          c -> {
            c.undefinedFlags = undefined;
            opcode(c, first, 0xE8 | c.below(8));
          });
      add(
          "fcomi" + suffix,
          C1,
          c -> {
            c.undefinedFlags = undefined;
            opcode(c, first, 0xF0 | c.below(8));
          });
    }
  }

  private void control() {
    add("fnop", NOT_C1 | C1, c -> opcode(c, 0xD9, 0xD0));
    add("fdecstp", NOT_C1, c -> opcode(c, 0xD9, 0xF6));
    add("fincstp", NOT_C1, c -> opcode(c, 0xD9, 0xF7));
    add("fninit", 0, c -> c.a.fninit());
    add("fnclex", NOT_C1 | C1, c -> c.a.fnclex());
    add(
        "fldcw",
        NOT_C1 | C1,
        c -> {
          c.putMemory(64, 2, 0x7FL | c.pick(0, 2, 3) << 8 | c.below(4) << 10);
          c.a.fldcw(c.memoryAt(2, 64));
        });
    add("fnstcw", NOT_C1 | C1, c -> c.a.fnstcw(c.memory(2, 1)));
    add("fnstsw m", 0, c -> c.a.fnstsw(c.memory(2, 1)));
    add("fnstsw ax", 0, c -> c.a.fnstswAx());
  }
}

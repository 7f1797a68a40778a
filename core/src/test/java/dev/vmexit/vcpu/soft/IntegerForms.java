package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Operand;
import dev.vmexit.x86.encode.Register;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Predicate;

/**
 * Integer instructions. Which flags each leaves undefined is said by SDM Vol. 2 under "Flags
 * Affected", and summed up in Vol. 1, appendix A.
 */
final class IntegerForms {
  private static final int[] SIZES = {1, 2, 4, 8};
  private static final int[] WIDE = {2, 4, 8};

  private static final long LOGIC_UNDEFINED = Flags.AF;
  private static final long MULTIPLY_UNDEFINED = Flags.SF | Flags.ZF | Flags.AF | Flags.PF;
  private static final long BIT_TEST_UNDEFINED = Flags.OF | Flags.SF | Flags.AF | Flags.PF;
  private static final long BIT_SCAN_UNDEFINED = BIT_TEST_UNDEFINED | Flags.CF;

  private final List<OracleForm> forms = new ArrayList<>();

  private IntegerForms() {}

  static List<OracleForm> all() {
    final IntegerForms table = new IntegerForms();
    table.arithmetic();
    table.unary();
    table.multiplyAndDivide();
    table.shifts();
    table.bits();
    table.moves();
    table.exchanges();
    table.conversions();
    table.flags();
    table.conditions();
    table.stack();
    table.branches();
    table.strings();
    return List.copyOf(table.forms);
  }

  private void add(final String name, final Predicate<OracleCase> generator) {
    forms.add(new OracleForm(name, generator));
  }

  private void always(final String name, final Consumer<OracleCase> generator) {
    add(
        name,
        c -> {
          generator.accept(c);
          return true;
        });
  }

  /** ModRM with a register, the byte form one below. */
  private static void modrm(
      final OracleCase c,
      final int size,
      final int opcode,
      final Register register,
      final Operand rm) {
    c.a.modrm(0, size == 1 ? 0 : size, size == 1 ? opcode : opcode + 1, register, rm);
  }

  private static void extended(
      final OracleCase c, final int size, final int opcode, final int extension, final Operand rm) {
    c.a.modrmExtended(size == 1 ? 0 : size, size == 1 ? opcode : opcode + 1, extension, rm);
  }

  private static void immediate(final OracleCase c, final int size, final long value) {
    switch (size) {
      case 1 -> c.a.db((byte) value);
      case 2 -> c.a.dw((short) value);
      default -> c.a.dd((int) value);
    }
  }

  private void arithmetic() {
    final String[] names = {"add", "or", "adc", "sbb", "and", "sub", "xor", "cmp"};
    for (int i = 0; i < names.length; i++) {
      final int operation = i;
      final long undefined = i == 1 || i == 4 || i == 6 ? LOGIC_UNDEFINED : 0;
      for (final int size : SIZES) {
        final String name = names[i] + size * 8;
        always(
            name + " rm,r",
            c -> {
              c.undefinedFlags = undefined;
              modrm(c, size, operation * 8, c.register(size), c.rm(size));
            });
        always(
            name + " r,rm",
            c -> {
              c.undefinedFlags = undefined;
              modrm(c, size, operation * 8 + 2, c.register(size), c.rm(size));
            });
        always(
            name + " rm,imm",
            c -> {
              c.undefinedFlags = undefined;
              extendedImmediate(c, size, 0x80, operation, c.value());
            });
        always(
            name + " a,imm",
            c -> {
              c.undefinedFlags = undefined;
              accumulatorPrefix(c, size);
              c.a.db(size == 1 ? operation * 8 + 4 : operation * 8 + 5);
              immediate(c, size, c.value());
            });
        if (size > 1) {
          always(
              name + " rm,imm8",
              c -> {
                c.undefinedFlags = undefined;
                // The value must lie behind the displacement: rip-relative forms count it in.
                imm8(c, size, 0x83, operation, c.value());
              });
        }
        if (operation < 7) {
          always(
              "lock " + name,
              c -> {
                c.undefinedFlags = undefined;
                c.a.lock();
                modrm(c, size, operation * 8, c.register(size), c.memory(size, 1));
              });
        }
      }
    }
    for (final int size : SIZES) {
      always(
          "test" + size * 8 + " rm,r",
          c -> {
            c.undefinedFlags = LOGIC_UNDEFINED;
            modrm(c, size, 0x84, c.register(size), c.rm(size));
          });
      always(
          "test" + size * 8 + " rm,imm",
          c -> {
            c.undefinedFlags = LOGIC_UNDEFINED;
            c.a.test(c.rm(size), narrow(size, c.value()));
          });
    }
  }

  private static void accumulatorPrefix(final OracleCase c, final int size) {
    if (size == 2) {
      c.a.db(0x66);
    } else if (size == 8) {
      c.a.db(0x48);
    }
  }

  /** A value that an immediate of the size can hold, sign-extended. */
  private static long narrow(final int size, final long value) {
    return switch (size) {
      case 1 -> (byte) value;
      case 2 -> (short) value;
      default -> (int) value;
    };
  }

  private static Operand notRipRelative(final OracleCase c, final int size) {
    Operand rm;
    do {
      rm = c.rm(size);
    } while (rm instanceof final Memory memory && memory.ripRelative());
    return rm;
  }

  private static void extendedImmediate(
      final OracleCase c, final int size, final int opcode, final int extension, final long value) {
    extended(c, size, opcode, extension, notRipRelative(c, size));
    immediate(c, size, value);
  }

  private static void imm8(
      final OracleCase c, final int size, final int opcode, final int extension, final long value) {
    c.a.modrmExtended(size, opcode, extension, notRipRelative(c, size));
    c.a.db((byte) value);
  }

  private void unary() {
    for (final int size : SIZES) {
      final int bits = size * 8;
      always("inc" + bits, c -> c.a.inc(c.rm(size)));
      always("dec" + bits, c -> c.a.dec(c.rm(size)));
      always("not" + bits, c -> c.a.not(c.rm(size)));
      always("neg" + bits, c -> c.a.neg(c.rm(size)));
      always(
          "lock inc, dec, not, neg" + bits,
          c -> {
            final Memory memory = c.memory(size, 1);
            c.a.lock();
            c.a.inc(memory);
            c.a.lock();
            c.a.neg(memory);
            c.a.lock();
            c.a.not(memory);
            c.a.lock();
            c.a.dec(memory);
          });
    }
  }

  private void multiplyAndDivide() {
    for (final int size : SIZES) {
      final int bits = size * 8;
      always(
          "mul" + bits,
          c -> {
            c.undefinedFlags = MULTIPLY_UNDEFINED;
            c.a.mul(c.rm(size));
          });
      always(
          "imul" + bits,
          c -> {
            c.undefinedFlags = MULTIPLY_UNDEFINED;
            c.a.imul(c.rm(size));
          });
      add("div" + bits, c -> divide(c, size, false));
      add("idiv" + bits, c -> divide(c, size, true));
    }
    for (final int size : WIDE) {
      final int bits = size * 8;
      always(
          "imul" + bits + " r,rm",
          c -> {
            c.undefinedFlags = MULTIPLY_UNDEFINED;
            c.a.imul(c.register(size), c.rm(size));
          });
      always(
          "imul" + bits + " r,rm,imm",
          c -> {
            c.undefinedFlags = MULTIPLY_UNDEFINED;
            c.a.imul(c.register(size), c.rm(size), narrow(c.chance(2) ? 1 : size, c.value()));
          });
    }
  }

  private static boolean divide(final OracleCase c, final int size, final boolean signed) {
    c.undefinedFlags = Flags.ARITHMETIC;
    c.reserve(Gpr.RAX);
    c.reserve(Gpr.RDX);
    final int offset = 128;
    final Operand divisorOperand = c.chance(2) ? c.memoryAt(size, offset) : c.register(size);
    final long divisor = extend(size, signed, divisorOf(c, divisorOperand, size, offset));
    if (divisor == 0) {
      return false;
    }
    if (c.chance(2)) {
      // Most random dividends overflow: half of the cases extend the low half.
      final boolean negative = signed && extend(size, true, c.gprs[Gpr.RAX]) < 0;
      if (size == 1) {
        c.gprs[Gpr.RAX] = (c.gprs[Gpr.RAX] & ~0xFF00L) | (negative ? 0xFF00 : 0);
      } else {
        c.gprs[Gpr.RDX] = negative ? -1 : 0;
      }
    } else if (size > 1) {
      c.gprs[Gpr.RDX] = divisor / 2 == 0 ? 0 : c.gprs[Gpr.RDX] % (divisor / 2);
    }
    final BigInteger low;
    final BigInteger high;
    if (size == 1) {
      low = unsigned(c.gprs[Gpr.RAX] & 0xFF);
      high = big(extend(1, signed, c.gprs[Gpr.RAX] >> 8), signed);
    } else {
      low = unsigned(extend(size, false, c.gprs[Gpr.RAX]));
      high = big(extend(size, signed, c.gprs[Gpr.RDX]), signed);
    }
    final BigInteger quotient = high.shiftLeft(size * 8).add(low).divide(big(divisor, signed));
    if (signed ? quotient.bitLength() >= size * 8 : quotient.bitLength() > size * 8) {
      return false;
    }
    if (signed) {
      c.a.idiv(divisorOperand);
    } else {
      c.a.div(divisorOperand);
    }
    return true;
  }

  private static BigInteger big(final long value, final boolean signed) {
    return signed ? BigInteger.valueOf(value) : unsigned(value);
  }

  private static BigInteger unsigned(final long value) {
    return new BigInteger(Long.toUnsignedString(value));
  }

  private static long extend(final int size, final boolean signed, final long value) {
    final int shift = 64 - size * 8;
    return signed ? value << shift >> shift : value << shift >>> shift;
  }

  private static long divisorOf(
      final OracleCase c, final Operand operand, final int size, final int offset) {
    return switch (operand) {
      case final Register register when register.kind() == Register.Kind.HIGH_BYTE ->
          c.gprs[register.number() & 3] >>> 8;
      case final Register register -> c.gprs[register.number()];
      case final Memory memory -> {
        long value = 0;
        for (int i = 0; i < size; i++) {
          value |= (c.memory[offset + i] & 0xFFL) << (8 * i);
        }
        yield value;
      }
    };
  }

  private void shifts() {
    final String[] names = {"rol", "ror", "rcl", "rcr", "shl", "shr", "sal", "sar"};
    for (int i = 0; i < names.length; i++) {
      final int operation = i;
      for (final int size : SIZES) {
        final String name = names[i] + size * 8;
        always(
            name + " rm,1",
            c -> {
              c.undefinedFlags = shiftUndefined(operation, size, 1);
              extended(c, size, 0xD0, operation, c.rm(size));
            });
        always(
            name + " rm,imm",
            c -> {
              final int count = c.chance(4) ? c.below(256) : c.below(size * 8 + 2);
              c.undefinedFlags = shiftUndefined(operation, size, count);
              extendedCount(c, size, operation, count);
            });
        always(
            name + " rm,cl",
            c -> {
              c.reserve(Gpr.RCX);
              final int count = c.chance(4) ? c.below(256) : c.below(size * 8 + 2);
              c.gprs[Gpr.RCX] = (c.value() & ~0xFFL) | count;
              c.undefinedFlags = shiftUndefined(operation, size, count);
              extended(c, size, 0xD2, operation, c.rm(size));
            });
      }
    }
    for (final int size : WIDE) {
      for (final int opcode : new int[] {0x0FA4, 0x0FAC}) {
        final String name = (opcode == 0x0FA4 ? "shld" : "shrd") + size * 8;
        add(
            name + " imm",
            c -> {
              final int count = c.below(size == 2 ? 17 : 70);
              c.undefinedFlags = doubleUndefined(size, count);
              c.a.modrm(0, size, opcode, c.register(size), c.rm(size), count);
              return true;
            });
        add(
            name + " cl",
            c -> {
              c.reserve(Gpr.RCX);
              final int count = c.below(size == 2 ? 17 : 70);
              c.gprs[Gpr.RCX] = (c.value() & ~0xFFL) | count;
              c.undefinedFlags = doubleUndefined(size, count);
              c.a.modrm(0, size, opcode + 1, c.register(size), c.rm(size));
              return true;
            });
      }
    }
  }

  private static void extendedCount(
      final OracleCase c, final int size, final int operation, final int count) {
    extended(c, size, 0xC0, operation, notRipRelative(c, size));
    c.a.db((byte) count);
  }

  /** SDM Vol. 2B, SAL/SAR/SHL/SHR and RCL/RCR/ROL/ROR: by operation, size and count. */
  private static long shiftUndefined(final int operation, final int size, final int rawCount) {
    final int count = rawCount & (size == 8 ? 63 : 31);
    if (count == 0) {
      return 0;
    }
    final long overflow = count == 1 ? 0 : Flags.OF;
    if (operation < 4) {
      return overflow;
    }
    final long carry = operation != 7 && count >= size * 8 ? Flags.CF : 0;
    return overflow | carry | Flags.AF;
  }

  private static long doubleUndefined(final int size, final int rawCount) {
    final int count = rawCount & (size == 8 ? 63 : 31);
    return count == 0 ? 0 : Flags.AF | (count == 1 ? 0 : Flags.OF);
  }

  private void bits() {
    final String[] names = {"bt", "bts", "btr", "btc"};
    for (int i = 0; i < names.length; i++) {
      final int operation = i;
      for (final int size : WIDE) {
        final String name = names[i] + size * 8;
        always(
            name + " r,r",
            c -> {
              c.undefinedFlags = BIT_TEST_UNDEFINED;
              c.a.modrm(0, size, 0x0FA3 + 8 * operation, c.register(size), c.register(size));
            });
        always(
            name + " m,r",
            c -> {
              c.undefinedFlags = BIT_TEST_UNDEFINED;
              final int bit = c.number();
              // A bit string: the register reaches up to 32 bytes to either side.
              final long high = size == 8 ? 0 : c.random.nextLong() << (size * 8);
              final long mask = size == 8 ? -1L : (1L << (size * 8)) - 1;
              c.gprs[bit] = high | (c.random.nextInt(-256, 256) & mask);
              c.reserve(bit);
              c.a.modrm(
                  0, size, 0x0FA3 + 8 * operation, Register.gpr(bit, size), c.memory(size, 1));
            });
        always(
            name + " rm,imm",
            c -> {
              c.undefinedFlags = BIT_TEST_UNDEFINED;
              c.a.modrmExtended(size, 0x0FBA, 4 + operation, notRipRelative(c, size));
              c.a.db(c.below(128));
            });
      }
    }
    for (final int size : WIDE) {
      add("bsf" + size * 8, c -> bitScan(c, size, 0x0FBC));
      add("bsr" + size * 8, c -> bitScan(c, size, 0x0FBD));
      if (size > 2) {
        always("bswap" + size * 8, c -> c.a.bswap(c.register(size)));
      }
    }
  }

  /** The destination is undefined where the source is zero, so it is made not to be. */
  private static boolean bitScan(final OracleCase c, final int size, final int opcode) {
    c.undefinedFlags = BIT_SCAN_UNDEFINED;
    final int offset = 96;
    final Operand source = c.chance(2) ? c.memoryAt(size, offset) : c.register(size);
    final Register destination = c.register(size);
    if (extend(size, false, divisorOf(c, source, size, offset)) == 0) {
      return false;
    }
    c.a.modrm(0, size, opcode, destination, source);
    return true;
  }

  private void moves() {
    for (final int size : SIZES) {
      final int bits = size * 8;
      always("mov" + bits + " rm,r", c -> modrm(c, size, 0x88, c.register(size), c.rm(size)));
      always("mov" + bits + " r,rm", c -> modrm(c, size, 0x8A, c.register(size), c.rm(size)));
      always("mov" + bits + " rm,imm", c -> extendedImmediate(c, size, 0xC6, 0, c.value()));
      always(
          "mov" + bits + " r,imm",
          c -> c.a.mov(c.register(size), size == 8 ? c.value() : narrow(size, c.value())));
      always(
          "mov" + bits + " moffs",
          c -> {
            accumulatorPrefix(c, size);
            c.a.db((size == 1 ? 0xA0 : 0xA1) + (c.chance(2) ? 2 : 0));
            c.a.dq(c.memoryAddress + 64 + c.below(64));
          });
    }
    for (final int size : WIDE) {
      final int bits = size * 8;
      always("lea" + bits, c -> c.a.lea(c.register(size), c.memory(0, 1)));
      always("nop" + bits + " rm", c -> c.a.modrmExtended(size, 0x0F1F, c.below(8), c.rm(size)));
    }
    always(
        "xlat",
        c -> {
          c.gprs[Gpr.RBX] = c.memoryAddress;
          c.a.xlat();
        });
  }

  private void exchanges() {
    for (final int size : SIZES) {
      final int bits = size * 8;
      always("xchg" + bits, c -> modrm(c, size, 0x86, c.register(size), c.rm(size)));
      always("xadd" + bits, c -> modrm(c, size, 0x0FC0, c.register(size), c.rm(size)));
      always(
          "cmpxchg" + bits,
          c -> {
            final int offset = 80;
            c.reserve(Gpr.RAX);
            final Register register = c.register(size);
            final Operand rm = c.chance(2) ? c.register(size) : c.memoryAt(size, offset);
            if (c.chance(2)) {
              c.gprs[Gpr.RAX] = divisorOf(c, rm, size, offset);
            }
            modrm(c, size, 0x0FB0, register, rm);
          });
      if (size > 1) {
        always(
            "xchg" + bits + " a,r",
            c -> c.a.xchg(Register.gpr(0, size), Register.gpr(c.number(), size)));
      }
    }
    for (final int size : new int[] {8, 16}) {
      always(
          "cmpxchg" + size + "b",
          c -> {
            for (final int register : new int[] {Gpr.RAX, Gpr.RBX, Gpr.RCX, Gpr.RDX}) {
              c.reserve(register);
            }
            final int offset = 80;
            final Memory memory = c.memoryAt(size, offset);
            if (c.chance(2)) {
              c.putMemory(offset, size / 2, c.gprs[Gpr.RAX]);
              c.putMemory(offset + size / 2, size / 2, c.gprs[Gpr.RDX]);
            }
            if (c.chance(2)) {
              c.a.lock();
            }
            c.a.modrmExtended(size == 16 ? 8 : 0, 0x0FC7, 1, memory);
          });
    }
  }

  private void conversions() {
    for (final int size : WIDE) {
      final int bits = size * 8;
      always("movzx" + bits + " rm8", c -> c.a.movzx(c.register(size), c.rm(1)));
      always("movsx" + bits + " rm8", c -> c.a.movsx(c.register(size), c.rm(1)));
      always("movzx" + bits + " rm16", c -> c.a.modrm(0, size, 0x0FB7, c.register(size), c.rm(2)));
      always("movsx" + bits + " rm16", c -> c.a.modrm(0, size, 0x0FBF, c.register(size), c.rm(2)));
      always("movsxd" + bits, c -> c.a.modrm(0, size, 0x63, c.register(size), c.rm(4)));
    }
    always("cbw", c -> c.a.cbw());
    always("cwde", c -> c.a.cwde());
    always("cdqe", c -> c.a.cdqe());
    always("cwd", c -> c.a.cwd());
    always("cdq", c -> c.a.cdq());
    always("cqo", c -> c.a.cqo());
  }

  private void flags() {
    always("clc", c -> c.a.clc());
    always("stc", c -> c.a.stc());
    always("cmc", c -> c.a.cmc());
    always("cld", c -> c.a.cld());
    always("std", c -> c.a.std());
    always("lahf", c -> c.a.lahf());
    always("sahf", c -> c.a.sahf());
    always(
        "pushf",
        c -> {
          c.undefinedFlags = Flags.AF;
          c.a.pushf();
          c.a.pop(Register.RAX);
          c.a.and(Register.EAX, Flags.ARITHMETIC | Flags.DF);
        });
    always(
        "popf",
        c -> {
          c.gprs[Gpr.RAX] = c.random.nextLong() & (Flags.ARITHMETIC | Flags.DF);
          c.a.push(Register.RAX);
          c.a.popf();
        });
  }

  private void conditions() {
    for (final Condition condition : Condition.values()) {
      always("set" + condition, c -> c.a.setcc(condition, c.rm(1)));
      for (final int size : WIDE) {
        always(
            "cmov" + condition + size * 8,
            c -> c.a.cmovcc(condition, c.register(size), c.rm(size)));
      }
      always(
          "j" + condition,
          c -> {
            final Label over = c.a.label();
            if (c.chance(2)) {
              c.a.jccShort(condition, over);
            } else {
              c.a.jccNear(condition, over);
            }
            c.a.not(Register.RAX);
            c.a.bind(over);
            c.a.bswap(Register.RBX);
          });
      always(
          "cmp, j" + condition,
          c -> {
            final Label over = c.a.label();
            final int size = c.pick(SIZES);
            modrm(
                c, size, c.pick(0x38, 0x28, 0x00, 0x84, 0x10, 0x18), c.register(size), c.rm(size));
            c.a.jcc(condition, over);
            c.a.not(Register.R9);
            c.a.bind(over);
            c.undefinedFlags = Flags.AF;
          });
    }
  }

  private void stack() {
    for (final int size : new int[] {2, 8}) {
      always(
          "push, pop" + size * 8,
          c -> {
            c.a.push(c.rm(size));
            c.a.pop(Register.gpr(c.number(), size));
          });
      always(
          "push, pop" + size * 8 + " m",
          c -> {
            c.a.push(Register.gpr(c.number(), size));
            c.a.pop(c.memory(size, 1));
          });
      always("push" + size * 8, c -> c.a.push(c.rm(size)));
    }
    always(
        "push imm",
        c -> {
          c.a.push(narrow(c.pick(1, 4), c.value()));
          c.a.pop(Register.RDX);
        });
    always(
        "enter, leave",
        c -> {
          c.a.enter(c.below(64) * 8, 0);
          c.a.leave();
        });
    always(
        "pop m by rsp",
        c -> {
          // The address is taken after rsp has moved (SDM Vol. 2B, POP).
          c.a.push(Register.RAX);
          c.a.push(Register.RBX);
          c.a.pop(Memory.at(Register.RSP).asQword());
          c.a.pop(Register.RCX);
        });
  }

  private void branches() {
    always(
        "call, ret",
        c -> {
          final Label target = c.a.label();
          final Label end = c.a.label();
          c.a.call(target);
          c.a.not(Register.RAX);
          c.a.jmp(end);
          c.a.bind(target);
          c.a.mov(Register.RBX, Memory.at(Register.RSP));
          c.a.ret();
          c.a.bind(end);
        });
    always(
        "call m, ret imm",
        c -> {
          final Label target = c.a.label();
          final Label end = c.a.label();
          c.a.lea(Register.RAX, Memory.rip(target));
          c.a.mov(Memory.absolute(c.memoryAddress), Register.RAX);
          c.a.push(Register.RCX);
          c.a.call(Memory.absolute(c.memoryAddress).asQword());
          c.a.not(Register.RDX);
          c.a.jmp(end);
          c.a.bind(target);
          c.a.ret(8);
          c.a.bind(end);
        });
    always(
        "jmp r",
        c -> {
          final Label target = c.a.label();
          c.a.lea(Register.RSI, Memory.rip(target));
          c.a.jmp(Register.RSI);
          c.a.not(Register.RDX);
          c.a.bind(target);
        });
    for (int i = 0; i < 3; i++) {
      final int kind = i;
      always(
          "loop" + i,
          c -> {
            c.gprs[Gpr.RCX] = 1 + c.below(20);
            final boolean narrow = c.chance(2);
            if (narrow) {
              c.gprs[Gpr.RCX] |= c.random.nextLong() << 32;
            }
            final Label top = c.a.here();
            c.a.sub(Register.AL, 13);
            if (narrow) {
              c.a.db(0x67);
            }
            switch (kind) {
              case 0 -> c.a.loop(top);
              case 1 -> c.a.loope(top);
              default -> c.a.loopne(top);
            }
          });
    }
    always(
        "jrcxz",
        c -> {
          c.gprs[Gpr.RCX] = c.pick(0, 1, -1) * (c.chance(2) ? 1L : 1L << 32);
          final Label over = c.a.label();
          c.a.jrcxz(c.pick(4, 8), over);
          c.a.not(Register.RAX);
          c.a.bind(over);
        });
  }

  private void strings() {
    final String[] names = {"movs", "cmps", "stos", "lods", "scas"};
    final int[] opcodes = {0xA4, 0xA6, 0xAA, 0xAC, 0xAE};
    for (int i = 0; i < names.length; i++) {
      final int opcode = opcodes[i];
      for (final int size : SIZES) {
        for (final int prefix : new int[] {0, 0xF3, 0xF2}) {
          // REPNE is defined for the comparing ones alone.
          if (prefix == 0xF2 && opcode != 0xA6 && opcode != 0xAE) {
            continue;
          }
          final String repeat = prefix == 0 ? "" : prefix == 0xF3 ? "rep " : "repne ";
          always(repeat + names[i] + size * 8, c -> string(c, opcode, size, prefix));
        }
      }
    }
  }

  private static void string(
      final OracleCase c, final int opcode, final int size, final int prefix) {
    final int count = c.below(10);
    final boolean down = c.chance(3);
    final boolean narrow = c.chance(4);
    c.flags = down ? c.flags | Flags.DF : c.flags;
    c.gprs[Gpr.RCX] = count;
    c.gprs[Gpr.RSI] = c.memoryAddress + 100 + c.below(40);
    c.gprs[Gpr.RDI] = c.memoryAddress + 100 + c.below(40);
    if (narrow) {
      for (final int register : new int[] {Gpr.RCX, Gpr.RSI, Gpr.RDI}) {
        c.gprs[register] |= c.random.nextLong() << 32;
      }
    }
    if (c.chance(2)) {
      // Runs of equal elements, so that comparisons go on for a while.
      final byte same = (byte) c.below(3);
      for (int i = 0; i < OracleCase.MEMORY_BYTES; i++) {
        c.memory[i] = i % 61 == 0 ? (byte) c.below(256) : same;
      }
      c.gprs[Gpr.RAX] = (same & 0xFFL) * 0x0101_0101_0101_0101L;
    }
    if (narrow) {
      c.a.db(0x67);
    }
    if (prefix != 0) {
      c.a.db(prefix);
    }
    accumulatorPrefix(c, size);
    c.a.db(size == 1 ? opcode : opcode + 1);
  }
}

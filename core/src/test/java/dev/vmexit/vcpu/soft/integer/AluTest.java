package dev.vmexit.vcpu.soft.integer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.vcpu.soft.FlatCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import java.math.BigInteger;
import java.util.HexFormat;
import java.util.Locale;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Results and flags against arithmetic done another way: whole numbers with no wrap-around. */
class AluTest {
  private static final String[] NAMES = {"ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP"};

  /** What an operation must give. */
  private record Expected(BigInteger result, int flags) {}

  private static BigInteger unsigned(final long value, final int bits) {
    return BigInteger.valueOf(value).and(mask(bits));
  }

  private static BigInteger mask(final int bits) {
    return BigInteger.ONE.shiftLeft(bits).subtract(BigInteger.ONE);
  }

  private static BigInteger signed(final BigInteger value, final int bits) {
    return value.testBit(bits - 1) ? value.subtract(BigInteger.ONE.shiftLeft(bits)) : value;
  }

  private static int signZeroParity(final BigInteger result, final int bits) {
    return (result.signum() == 0 ? Flags.ZF : 0)
        | (result.testBit(bits - 1) ? Flags.SF : 0)
        | ((result.and(BigInteger.valueOf(0xFF)).bitCount() & 1) == 0 ? Flags.PF : 0);
  }

  private static Expected expected(
      final int operation,
      final long first,
      final long second,
      final boolean carry,
      final int bits) {
    final BigInteger a = unsigned(first, bits);
    final BigInteger b = unsigned(second, bits);
    if (operation == 1 || operation == 4 || operation == 6) {
      final BigInteger r = operation == 1 ? a.or(b) : operation == 4 ? a.and(b) : a.xor(b);
      return new Expected(r, signZeroParity(r, bits));
    }
    final BigInteger in =
        (operation == 2 || operation == 3) && carry ? BigInteger.ONE : BigInteger.ZERO;
    final boolean add = operation == 0 || operation == 2;
    final BigInteger whole = add ? a.add(b).add(in) : a.subtract(b).subtract(in);
    final BigInteger sa = signed(a, bits);
    final BigInteger sb = signed(b, bits);
    final BigInteger wholeSigned = add ? sa.add(sb).add(in) : sa.subtract(sb).subtract(in);
    final int nibble =
        add
            ? (a.intValue() & 15) + (b.intValue() & 15) + in.intValue()
            : (a.intValue() & 15) - (b.intValue() & 15) - in.intValue();
    final BigInteger r = whole.and(mask(bits));
    final boolean carryOut = !whole.equals(r);
    final boolean overflow = !wholeSigned.equals(signed(r, bits));
    return new Expected(
        r,
        signZeroParity(r, bits)
            | (carryOut ? Flags.CF : 0)
            | (overflow ? Flags.OF : 0)
            | (nibble < 0 || nibble > 15 ? Flags.AF : 0));
  }

  private static void check(
      final FlatCpu cpu,
      final byte[] code,
      final int operation,
      final long a,
      final long b,
      final int bits,
      final int flags) {
    cpu.gpr(Gpr.RCX, a);
    cpu.gpr(Gpr.RDX, b);
    cpu.setArithmeticFlags(flags);
    cpu.step(code, 0, IntegerOps::bind);
    final Expected expected = expected(operation, a, b, (flags & Flags.CF) != 0, bits);
    final BigInteger result = operation == 7 ? unsigned(a, bits) : expected.result;
    if (!unsigned(cpu.gpr(Gpr.RCX), bits).equals(result)
        || cpu.arithmeticFlags() != expected.flags) {
      assertEquals(
          String.format(Locale.ROOT, "%x flags %x", result, expected.flags),
          String.format(
              Locale.ROOT, "%x flags %x", unsigned(cpu.gpr(Gpr.RCX), bits), cpu.arithmeticFlags()),
          String.format(
              Locale.ROOT, "%s %x, %x of %d bits, flags %x", NAMES[operation], a, b, bits, flags));
    }
  }

  @Test
  void shouldGiveEveryByteResultAndItsFlags() {
    try (FlatCpu cpu = new FlatCpu(0x10000, 0x1000, 8)) {
      for (int operation = 0; operation < 8; operation++) {
        // op cl, dl
        final byte[] code = {(byte) (operation << 3), (byte) 0xD1};
        for (int a = 0; a < 256; a++) {
          for (int b = 0; b < 256; b += (operation & 5) == 4 ? 7 : 1) {
            check(cpu, code, operation, a, b, 8, (a ^ b) & 1);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {16, 32, 64})
  void shouldGiveWideResultsAndTheirFlags(final int bits) {
    final String prefix = bits == 16 ? "66" : bits == 64 ? "48" : "";
    final long[] edges = {
      0, 1, -1, 0x7FFF, 0x8000, 0x7FFF_FFFF, 0x8000_0000L, Long.MAX_VALUE, Long.MIN_VALUE, 0x0F
    };
    final SplittableRandom random = new SplittableRandom(bits);
    try (FlatCpu cpu = new FlatCpu(0x10000, 0x1000, 8)) {
      for (int operation = 0; operation < 8; operation++) {
        final byte[] code =
            HexFormat.of()
                .parseHex(prefix + String.format(Locale.ROOT, "%02xd1", operation << 3 | 1));
        for (int i = 0; i < 4000; i++) {
          final long a =
              random.nextBoolean() ? random.nextLong() : edges[random.nextInt(edges.length)];
          final long b =
              random.nextBoolean() ? random.nextLong() : edges[random.nextInt(edges.length)];
          check(cpu, code, operation, a, b, bits, random.nextInt() & Flags.ARITHMETIC);
        }
      }
    }
  }

  @Test
  void shouldKeepCarryWhenCountingUpOrDown() {
    try (FlatCpu cpu = new FlatCpu(0x10000, 0x1000, 8)) {
      for (int a = 0; a < 256; a++) {
        for (int carry = 0; carry < 2; carry++) {
          for (int down = 0; down < 2; down++) {
            cpu.gpr(Gpr.RCX, a);
            cpu.setArithmeticFlags(carry);
            cpu.step(new byte[] {(byte) 0xFE, (byte) (0xC1 | down << 3)}, 0, IntegerOps::bind);
            final Expected expected = expected(down == 0 ? 0 : 5, a, 1, false, 8);
            assertEquals(expected.result.intValue(), cpu.gpr(Gpr.RCX));
            assertEquals((expected.flags & ~Flags.CF) | carry, cpu.arithmeticFlags(), "of " + a);
          }
        }
      }
    }
  }

  @Test
  void shouldDivideAsWholeNumbersDoAndRaiseDivideErrorElse() {
    final SplittableRandom random = new SplittableRandom(7);
    int quotients = 0;
    try (FlatCpu cpu = new FlatCpu(0x10000, 0x1000, 8)) {
      for (int i = 0; i < 60_000; i++) {
        final boolean signedDivision = (i & 1) != 0;
        final long divisor = random.nextLong() >> random.nextInt(64);
        final long low = random.nextLong();
        final long high = random.nextLong() >> random.nextInt(64);
        cpu.gpr(Gpr.RCX, divisor);
        cpu.gpr(Gpr.RAX, low);
        cpu.gpr(Gpr.RDX, high);
        final BigInteger whole =
            (signedDivision ? BigInteger.valueOf(high) : unsigned(high, 64))
                .shiftLeft(64)
                .add(unsigned(low, 64));
        final BigInteger by = signedDivision ? BigInteger.valueOf(divisor) : unsigned(divisor, 64);
        BigInteger[] answer = by.signum() == 0 ? null : whole.divideAndRemainder(by);
        if (answer != null
            && (signedDivision ? answer[0].bitLength() > 63 : answer[0].bitLength() > 64)) {
          answer = null;
        }
        final byte[] code = HexFormat.of().parseHex(signedDivision ? "48f7f9" : "48f7f1");
        boolean raised = false;
        try {
          cpu.step(code, 0, IntegerOps::bind);
        } catch (final FlatCpu.Raised e) {
          raised = true;
        }
        final String what = whole + " by " + by;
        assertEquals(answer == null, raised, what);
        if (answer != null) {
          quotients++;
          assertEquals(answer[0].longValue(), cpu.gpr(Gpr.RAX), what);
          assertEquals(answer[1].longValue(), cpu.gpr(Gpr.RDX), what);
        } else {
          assertEquals(low, cpu.gpr(Gpr.RAX), what);
          assertEquals(high, cpu.gpr(Gpr.RDX), what);
        }
      }
    }
    assertEquals(true, quotients > 5000, "only " + quotients + " quotients");
  }
}

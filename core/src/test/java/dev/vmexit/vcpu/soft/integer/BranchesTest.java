package dev.vmexit.vcpu.soft.integer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.vmexit.vcpu.soft.FlatCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class BranchesTest {
  private static final long BASE = 0x10000;
  private static final long TOP = BASE + 0x800;

  private static FlatCpu cpu(final int codeSize) {
    final FlatCpu cpu = new FlatCpu(BASE, 0x1000, codeSize);
    cpu.rip(BASE + 0x100);
    cpu.gpr(Gpr.RSP, TOP);
    return cpu;
  }

  private static void run(final FlatCpu cpu, final String code) {
    cpu.step(HexFormat.of().parseHex(code), 0, IntegerOps::bind);
  }

  /** SDM Vol. 1, table B-1, by its words. */
  private static boolean holds(final int condition, final int flags) {
    final boolean cf = (flags & Flags.CF) != 0;
    final boolean zf = (flags & Flags.ZF) != 0;
    final boolean sf = (flags & Flags.SF) != 0;
    final boolean of = (flags & Flags.OF) != 0;
    final boolean pf = (flags & Flags.PF) != 0;
    return switch (condition) {
      case 0 -> of;
      case 1 -> !of;
      case 2 -> cf;
      case 3 -> !cf;
      case 4 -> zf;
      case 5 -> !zf;
      case 6 -> cf || zf;
      case 7 -> !cf && !zf;
      case 8 -> sf;
      case 9 -> !sf;
      case 10 -> pf;
      case 11 -> !pf;
      case 12 -> sf != of;
      case 13 -> sf == of;
      case 14 -> zf || sf != of;
      default -> !zf && sf == of;
    };
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 4, 8})
  void shouldDecideAllConditionsByAllFlags(final int codeSize) {
    try (FlatCpu cpu = new FlatCpu(0, 0x1000, codeSize)) {
      for (int condition = 0; condition < 16; condition++) {
        final byte[] jump = {(byte) (0x70 | condition), 0x20};
        final byte[] set = {0x0F, (byte) (0x90 | condition), (byte) 0xC1};
        final byte[] move = {0x0F, (byte) (0x40 | condition), (byte) 0xD3};
        for (int bits = 0; bits < 64; bits++) {
          final int flags =
              (bits & 5) | (bits & 2) << 3 | (bits & 8) << 3 | (bits & 16) << 3 | (bits & 32) << 6;
          final boolean expected = holds(condition, flags);
          final String what = "condition " + condition + ", flags " + Integer.toHexString(flags);
          cpu.setArithmeticFlags(flags);
          assertEquals(flags, cpu.arithmeticFlags());
          cpu.rip(0x100);
          cpu.step(jump, 0, IntegerOps::bind);
          assertEquals(expected ? 0x122 : 0x102, cpu.rip(), what);
          cpu.gpr(Gpr.RCX, 0x7777);
          cpu.step(set, 0, IntegerOps::bind);
          assertEquals(expected ? 0x7701 : 0x7700, cpu.gpr(Gpr.RCX), what);
          cpu.gpr(Gpr.RDX, 0x1111);
          cpu.gpr(Gpr.RBX, 0x2222);
          cpu.step(move, 0, IntegerOps::bind);
          assertEquals(expected ? 0x2222 : 0x1111, cpu.gpr(Gpr.RDX), what);
          assertEquals(flags, cpu.arithmeticFlags());
        }
      }
    }
  }

  @Test
  void shouldClearTheUpperHalfWhenAMoveOf32BitsIsNotTaken() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.gpr(Gpr.RDX, 0x1234_5678_9ABC_DEF0L);
      cpu.setArithmeticFlags(0);
      run(cpu, "0f44d3");
      assertEquals(0x9ABC_DEF0L, cpu.gpr(Gpr.RDX));
    }
  }

  @Test
  void shouldReadTheSourceOfAConditionalMoveThatIsNotTaken() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.setArithmeticFlags(0);
      cpu.gpr(Gpr.RBX, 0x5000_0000);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "0f4413"));
      assertEquals(Vector.PF, cpu.vector);
    }
  }

  @ParameterizedTest
  @CsvSource({
    // code size, bytes, rip, target
    "8, eb10, 10100, 10112",
    "8, ebfe, 10100, 10100",
    "8, e900100000, 10100, 11105",
    "8, 66e900100000, 10100, 11106", // 66 changes nothing in 64-bit mode
    "4, ebfe, 10100, 10100",
    "4, e9fbffffff, 100, 100",
    "4, e900000080, 80000100, 00000105",
    "4, 66e90010, 100, 1104",
    "2, e900f0, f00, ff03",
    "2, eb7f, ff80, 1",
  })
  void shouldTakeRelativeJumps(
      final int codeSize, final String code, final String rip, final String target) {
    try (FlatCpu cpu = cpu(codeSize)) {
      cpu.rip(Long.parseLong(rip, 16));
      run(cpu, code);
      assertEquals(Long.parseLong(target, 16), cpu.rip());
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenATargetIsNotCanonical() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.rip(0x7FFF_FFFF_F000L);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "e900200000"));
      assertEquals(Vector.GP, cpu.vector);
      assertEquals(0, cpu.errorCode);
      cpu.gpr(Gpr.RAX, 0x8000_0000_0000L);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "ffe0"));
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "ffd0"));
      cpu.poke(TOP, 8, 0x8000_0000_0000L);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "c3"));
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "e800200000"));
      assertEquals(TOP, cpu.gpr(Gpr.RSP));
      assertEquals(0, cpu.peek(TOP - 8, 8));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenATargetIsBeyondTheCodeSegment() {
    try (FlatCpu cpu = cpu(4)) {
      cpu.setSegment(Seg.CS, 0, 0xFFFF, 0xC09B);
      cpu.rip(0xFF00);
      cpu.gpr(Gpr.RCX, 2);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "e900010000"));
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "e800010000"));
      cpu.rip(0xFFF0);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "e27f"));
      assertEquals(Vector.GP, cpu.vector);
      assertEquals(2, cpu.gpr(Gpr.RCX), "a loop that faults has not counted");
      assertEquals(TOP, cpu.gpr(Gpr.RSP));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "8, e810000000, 8, 10115, 10105",
    "8, ffd0, 8, 10400, 10102",
    "8, ff13, 8, 10500, 10102",
    "4, e810000000, 4, 10115, 10105",
    "4, 66e81000, 2, 114, 104",
    "4, ffd0, 4, 10400, 10102",
  })
  void shouldPushTheNextAddressWhenCalling(
      final int codeSize, final String code, final int size, final String to, final String back) {
    try (FlatCpu cpu = cpu(codeSize)) {
      cpu.gpr(Gpr.RAX, BASE + 0x400);
      cpu.gpr(Gpr.RBX, BASE + 0x300);
      cpu.poke(BASE + 0x300, 8, BASE + 0x500);
      run(cpu, code);
      assertEquals(Long.parseLong(to, 16), cpu.rip());
      assertEquals(TOP - size, cpu.gpr(Gpr.RSP));
      assertEquals(Long.parseLong(back, 16), cpu.peek(TOP - size, size));
    }
  }

  @Test
  void shouldCallTheFormerValueOfTheStackPointerItself() {
    try (FlatCpu cpu = cpu(8)) {
      run(cpu, "ffd4");
      assertEquals(TOP, cpu.rip());
      cpu.rip(BASE);
      cpu.gpr(Gpr.RSP, TOP);
      cpu.poke(TOP, 8, BASE + 0x700);
      run(cpu, "ff1424");
      assertEquals(BASE + 0x700, cpu.rip());
    }
  }

  @Test
  void shouldKeepTheStackPointerWhenACallCannotPush() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.readOnlyFrom = BASE;
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "e810000000"));
      assertEquals(Vector.PF, cpu.vector);
      assertEquals(TOP, cpu.gpr(Gpr.RSP));
      assertEquals(BASE + 0x100, cpu.rip());
      cpu.gpr(Gpr.RSP, 0x9000_0000_0000L);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "e810000000"));
      assertEquals(Vector.SS, cpu.vector);
    }
  }

  @ParameterizedTest
  @CsvSource({"8, c3, 8", "8, c21000, 24", "4, c3, 4", "4, c2feff, 65538", "4, 66c3, 2"})
  void shouldReturnAndReleaseParameters(final int codeSize, final String code, final int released) {
    try (FlatCpu cpu = cpu(codeSize)) {
      cpu.poke(TOP, 8, 0x0001_2345);
      run(cpu, code);
      assertEquals(code.startsWith("66") ? 0x2345 : 0x1_2345, cpu.rip());
      assertEquals(TOP + released, cpu.gpr(Gpr.RSP));
    }
  }

  @ParameterizedTest
  @CsvSource({
    // code size, bytes, rCX, flags, taken, rCX after
    "8, e210, 2, 0, true, 1",
    "8, e210, 1, 0, false, 0",
    "8, e210, 0, 0, true, ffffffffffffffff",
    "8, 67e210, 100000001, 0, false, 0",
    "8, 67e210, 100000000, 0, true, ffffffff",
    "4, 67e210, 50000, 0, true, 5ffff",
    "8, e110, 2, 40, true, 1",
    "8, e110, 2, 0, false, 1",
    "8, e110, 1, 40, false, 0",
    "8, e010, 2, 0, true, 1",
    "8, e010, 2, 40, false, 1",
    "8, e310, 0, 0, true, 0",
    "8, e310, 100000000, 0, false, 100000000",
    "8, 67e310, 100000000, 0, true, 100000000",
    "4, 67e310, 10000, 0, true, 10000",
    "4, e310, 10000, 0, false, 10000",
  })
  void shouldCountByTheAddressSize(
      final int codeSize,
      final String code,
      final String counter,
      final String flags,
      final boolean taken,
      final String after) {
    try (FlatCpu cpu = cpu(codeSize)) {
      cpu.gpr(Gpr.RCX, Long.parseUnsignedLong(counter, 16));
      cpu.setArithmeticFlags(Integer.parseInt(flags, 16));
      run(cpu, code);
      final int length = code.length() / 2;
      assertEquals(BASE + 0x100 + length + (taken ? 0x10 : 0), cpu.rip());
      assertEquals(after, Long.toHexString(cpu.gpr(Gpr.RCX)));
      assertEquals(Integer.parseInt(flags, 16), cpu.arithmeticFlags());
    }
  }
}

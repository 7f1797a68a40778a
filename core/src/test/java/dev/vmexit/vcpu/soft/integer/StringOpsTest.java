package dev.vmexit.vcpu.soft.integer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.vmexit.vcpu.soft.FlatCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import java.util.HexFormat;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class StringOpsTest {
  private static final long BASE = 0x40000;
  private static final int SIZE = 0x4000;

  private static FlatCpu cpu(final int codeSize) {
    final FlatCpu cpu = new FlatCpu(BASE, SIZE, codeSize);
    cpu.rip(BASE);
    return cpu;
  }

  private static void run(final FlatCpu cpu, final String code) {
    cpu.step(HexFormat.of().parseHex(code), 0, IntegerOps::bind);
  }

  /** The definition: one element after the other. */
  private static void moveByElement(
      final byte[] memory,
      final int from,
      final int to,
      final int count,
      final int size,
      final int step) {
    for (int i = 0; i < count; i++) {
      final byte[] element = new byte[size];
      System.arraycopy(memory, from + i * step, element, 0, size);
      System.arraycopy(element, 0, memory, to + i * step, size);
    }
  }

  @ParameterizedTest
  @CsvSource({"1, f3a4", "2, 66f3a5", "4, f3a5", "8, f348a5"})
  void shouldMoveOverlappingStringsByTheElement(final int size, final String code) {
    final SplittableRandom random = new SplittableRandom(size);
    try (FlatCpu cpu = cpu(8)) {
      for (int i = 0; i < 3000; i++) {
        final byte[] memory = new byte[SIZE];
        random.nextBytes(memory);
        cpu.fillMemory(memory);
        cpu.mapped = i % 3 != 0;
        cpu.forgetMappings();
        final boolean down = i % 5 == 0;
        final int count = random.nextInt(700);
        final int from = random.nextInt(0x1600, 0x2000);
        final int to = from + random.nextInt(i % 2 == 0 ? 40 : 900) - (i % 7 == 0 ? 300 : 5);
        cpu.gpr(Gpr.RSI, BASE + from);
        cpu.gpr(Gpr.RDI, BASE + to);
        cpu.gpr(Gpr.RCX, count);
        cpu.setRflags(down ? Flags.DF : 0);
        run(cpu, code);
        final int step = down ? -size : size;
        moveByElement(memory, from, to, count, size, step);
        final String what = count + " of " + size + " from " + from + " to " + to;
        assertArrayEquals(memory, cpu.memory(), what);
        assertEquals(0, cpu.gpr(Gpr.RCX), what);
        assertEquals(BASE + from + (long) count * step, cpu.gpr(Gpr.RSI), what);
        assertEquals(BASE + to + (long) count * step, cpu.gpr(Gpr.RDI), what);
      }
    }
  }

  @Test
  void shouldStandOnTheFaultingIterationWhenADestinationFaults() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.readOnlyFrom = BASE + 0x2000;
      cpu.poke(BASE, 8, 0x4242);
      cpu.gpr(Gpr.RSI, BASE);
      cpu.gpr(Gpr.RDI, BASE + 0x1F00);
      cpu.gpr(Gpr.RCX, 0x200);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "f3a4"));
      assertEquals(Vector.PF, cpu.vector);
      assertEquals(BASE + 0x2000, cpu.faultAddress);
      assertEquals(0x100, cpu.gpr(Gpr.RCX));
      assertEquals(BASE + 0x100, cpu.gpr(Gpr.RSI));
      assertEquals(BASE + 0x2000, cpu.gpr(Gpr.RDI));
      assertEquals(0x42, cpu.peek(BASE + 0x1F00, 1));
      assertEquals(BASE, cpu.rip());
      cpu.readOnlyFrom = Long.MAX_VALUE;
      run(cpu, "f3a4");
      assertEquals(0, cpu.gpr(Gpr.RCX));
      assertEquals(BASE + 2, cpu.rip());
    }
  }

  @Test
  void shouldResumeWhenLeftBetweenIterations() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.gpr(Gpr.RAX, 0x1122_3344_5566_7788L);
      cpu.gpr(Gpr.RDI, BASE + 4);
      cpu.gpr(Gpr.RCX, 0x600);
      cpu.boundaries = 1;
      assertThrows(FlatCpu.Left.class, () -> run(cpu, "f348ab"));
      assertEquals(BASE, cpu.rip());
      assertEquals(BASE + 4, cpu.gpr(Gpr.RDI) - (0x600 - cpu.gpr(Gpr.RCX)) * 8);
      cpu.boundaries = Integer.MAX_VALUE;
      run(cpu, "f348ab");
      assertEquals(0, cpu.gpr(Gpr.RCX));
      assertEquals(BASE + 4 + 0x3000, cpu.gpr(Gpr.RDI));
      for (int i = 0; i < 0x600; i++) {
        assertEquals(0x1122_3344_5566_7788L, cpu.peek(BASE + 4 + 8L * i, 8));
      }
      assertEquals(0, cpu.peek(BASE, 4));
      assertEquals(0, cpu.peek(BASE + 4 + 0x3000, 4));
    }
  }

  @Test
  void shouldDoNothingWhenTheCounterIsZero() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.gpr(Gpr.RSI, 0x123);
      cpu.gpr(Gpr.RDI, 0x456);
      cpu.setArithmeticFlags(Flags.CF | Flags.PF);
      for (final String code : new String[] {"f3a4", "f3a6", "f2ae", "f3ab", "f36c", "f36e"}) {
        run(cpu, code);
        assertEquals(0x123, cpu.gpr(Gpr.RSI), code);
        assertEquals(0x456, cpu.gpr(Gpr.RDI), code);
        assertEquals(Flags.CF | Flags.PF, cpu.arithmeticFlags(), code);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void shouldScanUntilFoundAcrossPages(final boolean mapped) {
    try (FlatCpu cpu = cpu(8)) {
      cpu.mapped = mapped;
      cpu.poke(BASE + 0x2345, 1, 0x5A);
      cpu.gpr(Gpr.RAX, 0x5A);
      cpu.gpr(Gpr.RDI, BASE + 0x10);
      cpu.gpr(Gpr.RCX, -1);
      run(cpu, "f2ae");
      assertEquals(BASE + 0x2346, cpu.gpr(Gpr.RDI));
      assertEquals(-1L - 0x2336, cpu.gpr(Gpr.RCX));
      assertEquals(true, cpu.zf());
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void shouldCompareUntilDifferent(final boolean mapped) {
    try (FlatCpu cpu = cpu(8)) {
      cpu.mapped = mapped;
      cpu.poke(BASE + 0x1000 + 4 * 500, 4, 5);
      cpu.poke(BASE + 0x2800 + 4 * 500, 4, 7);
      cpu.gpr(Gpr.RSI, BASE + 0x1000);
      cpu.gpr(Gpr.RDI, BASE + 0x2800);
      cpu.gpr(Gpr.RCX, 1000);
      run(cpu, "f3a7");
      assertEquals(499, cpu.gpr(Gpr.RCX));
      assertEquals(BASE + 0x1000 + 4 * 501, cpu.gpr(Gpr.RSI));
      assertEquals(true, cpu.cf(), "5 is below 7");
      assertEquals(false, cpu.zf());
    }
  }

  @Test
  void shouldWrapIndexesAndCounterAt16Bits() {
    try (FlatCpu cpu = new FlatCpu(0, 0x20000, 2)) {
      cpu.setSegment(Seg.ES, 0x1000, 0xFFFF, 0x93);
      cpu.gpr(Gpr.RAX, 0xABCD);
      cpu.gpr(Gpr.RDI, 0x5555_FFF0);
      cpu.gpr(Gpr.RCX, 0x7777_0010);
      run(cpu, "f3ab");
      assertEquals(0x5555_0010L, cpu.gpr(Gpr.RDI));
      assertEquals(0x7777_0000L, cpu.gpr(Gpr.RCX));
      assertEquals(0xABCD, cpu.peek(0x1000 + 0xFFFE, 2));
      assertEquals(0xABCD, cpu.peek(0x1000 + 0xE, 2));
      assertEquals(0, cpu.peek(0x1000 + 0x10, 2));
      assertEquals(0, cpu.peek(0x11000, 2));
    }
  }

  @Test
  void shouldFillUpToTheSegmentLimitBeforeItFaults() {
    try (FlatCpu cpu = new FlatCpu(0, 0x20000, 4)) {
      cpu.setSegment(Seg.ES, 0x1000, 0x1FF, 0xC093);
      cpu.gpr(Gpr.RAX, 0x77);
      cpu.gpr(Gpr.RDI, 0x100);
      cpu.gpr(Gpr.RCX, 0x400);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "f3aa"));
      assertEquals(Vector.GP, cpu.vector);
      assertEquals(0x200, cpu.gpr(Gpr.RDI));
      assertEquals(0x300, cpu.gpr(Gpr.RCX));
      assertEquals(0x77, cpu.peek(0x11FF, 1));
      assertEquals(0, cpu.peek(0x1200, 1));
    }
  }

  @Test
  void shouldTakeTheSourceFromAnOverridingSegment() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.setSegment(Seg.GS, BASE, 0, 0xC093);
      cpu.poke(BASE + 0x20, 4, 0x1234_5678);
      cpu.gpr(Gpr.RSI, 0x20);
      run(cpu, "65ad");
      assertEquals(0x1234_5678, cpu.gpr(Gpr.RAX));
      assertEquals(0x24, cpu.gpr(Gpr.RSI));
    }
  }

  @Test
  void shouldMoveBetweenPortAndMemory() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.portValue = 0x41;
      cpu.gpr(Gpr.RDX, 0x1F0);
      cpu.gpr(Gpr.RDI, BASE + 0x10);
      cpu.gpr(Gpr.RCX, 3);
      run(cpu, "f36c");
      assertEquals(0x43_4241, cpu.peek(BASE + 0x10, 4));
      assertEquals(BASE + 0x13, cpu.gpr(Gpr.RDI));
      cpu.gpr(Gpr.RSI, BASE + 0x10);
      cpu.gpr(Gpr.RCX, 2);
      run(cpu, "66f36f");
      assertEquals(List.of(0x1F0, 2, 0x4241, 0x1F0, 2, 0x43), cpu.written);
    }
  }

  @Test
  void shouldNotReadThePortWhenTheDestinationCannotBeWritten() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.portValue = 7;
      cpu.readOnlyFrom = BASE;
      cpu.gpr(Gpr.RDI, BASE);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "6c"));
      assertEquals(7, cpu.portValue);
      assertEquals(BASE, cpu.gpr(Gpr.RDI));
    }
  }
}

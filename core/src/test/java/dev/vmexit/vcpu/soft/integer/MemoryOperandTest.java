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
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Addresses, and what must not be seen of an instruction that faults or is left at its store. */
class MemoryOperandTest {
  private static final long BASE = 0x40000;
  private static final int PAGE = 0x1000;

  private static void run(final FlatCpu cpu, final String code) {
    cpu.step(HexFormat.of().parseHex(code), 0, IntegerOps::bind);
  }

  /** All that write to [rbx], on their own or beside registers and flags. */
  private static final String WRITERS =
      "0003 0103 0803 0903 1003 1103 1803 1903 2003 2103 2803 2903 3003 3103 800301 810311111111"
          + " 83030f 830b0f 83130f 831b0f 83230f 832b0f 83330f fe03 fe0b ff03 ff0b f613 f713 f61b"
          + " f71b c00303 c10305 c12305 c12b05 c13b05 c11305 c11b05 d103 d323 8703 8603 0fc103"
          + " 0fb10b 0fb00b 0fab0b 0fb30b 0fbb0b 0fba2b03 0fa40b05 0fad0b 0fc70b 8803 8903 c60377"
          + " c70377777777 0f9403 660f38f103 0fc303";

  private static String[] writers() {
    return WRITERS.split(" ");
  }

  private static FlatCpu prepared() {
    final FlatCpu cpu = new FlatCpu(BASE, 2 * PAGE, 8);
    for (int i = 0; i < Gpr.COUNT; i++) {
      cpu.gpr(i, 0x0101_0101_0101_0101L * (i + 0x21));
    }
    cpu.gpr(Gpr.RCX, 5);
    final byte[] memory = new byte[2 * PAGE];
    for (int i = 0; i < memory.length; i++) {
      memory[i] = (byte) (i * 37 + 11);
    }
    cpu.fillMemory(memory);
    cpu.setArithmeticFlags(Flags.CF | Flags.AF | Flags.ZF);
    cpu.rip(BASE);
    return cpu;
  }

  private static void assertUnchanged(final FlatCpu cpu, final long rbx, final String code) {
    try (FlatCpu fresh = prepared()) {
      for (int i = 0; i < Gpr.COUNT; i++) {
        assertEquals(i == Gpr.RBX ? rbx : fresh.gpr(i), cpu.gpr(i), code + ", register " + i);
      }
      assertEquals(fresh.arithmeticFlags(), cpu.arithmeticFlags(), code);
      assertArrayEquals(fresh.memory(), cpu.memory(), code);
      assertEquals(BASE, cpu.rip(), code);
    }
  }

  @Test
  void shouldChangeNothingWhenTheMemoryIsReadOnly() {
    for (final String code : writers()) {
      try (FlatCpu cpu = prepared()) {
        cpu.readOnlyFrom = BASE;
        cpu.gpr(Gpr.RBX, BASE + 0x10);
        assertThrows(FlatCpu.Raised.class, () -> run(cpu, code), code);
        assertEquals(Vector.PF, cpu.vector, code);
        assertEquals(2, cpu.errorCode, code);
        assertUnchanged(cpu, BASE + 0x10, code);
      }
    }
  }

  @Test
  void shouldChangeNothingWhenOnlyThePartOnTheNextPageFaults() {
    for (final String code : writers()) {
      final long rbx = BASE + PAGE - 1;
      try (FlatCpu cpu = prepared();
          FlatCpu whole = prepared()) {
        whole.gpr(Gpr.RBX, rbx);
        run(whole, code);
        if (whole.peek(BASE + PAGE, 1) == cpu.peek(BASE + PAGE, 1)) {
          // Of a byte, or a write that changes nothing there.
          continue;
        }
        cpu.readOnlyFrom = BASE + PAGE;
        cpu.gpr(Gpr.RBX, rbx);
        assertThrows(FlatCpu.Raised.class, () -> run(cpu, code), code);
        assertUnchanged(cpu, rbx, code);
      }
    }
  }

  @Test
  void shouldChangeNothingWhenLeftAtTheStoreAndComeToTheSameEnd() {
    for (final String code : writers()) {
      try (FlatCpu cpu = prepared();
          FlatCpu direct = prepared()) {
        cpu.leaveOnStore = true;
        cpu.gpr(Gpr.RBX, BASE + 0x10);
        assertThrows(FlatCpu.Left.class, () -> run(cpu, code), code);
        assertUnchanged(cpu, BASE + 0x10, code);
        cpu.leaveOnStore = false;
        run(cpu, code);
        // The other one has the page mapped for writing already.
        direct.gpr(Gpr.RBX, BASE + 0x10);
        direct.store8(BASE, (int) direct.peek(BASE, 1));
        run(direct, code);
        for (int i = 0; i < Gpr.COUNT; i++) {
          assertEquals(direct.gpr(i), cpu.gpr(i), code + ", register " + i);
        }
        assertEquals(direct.arithmeticFlags(), cpu.arithmeticFlags(), code);
        assertArrayEquals(direct.memory(), cpu.memory(), code);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    // code size, bytes of a LEA into rDX, value
    "8, 488d1433, 1234567800000030",
    "8, 488d5473f0, 1234567800000030",
    "8, 488d14f5f0ffffff, 70",
    "8, 488d1500010000, 40107",
    "8, 67488d1433, 30",
    "8, 678d1500010000, 40107",
    "8, 8d1433, 30",
    "8, 668d1433, 7777777777770030",
    "4, 8d14b3, 60",
    "4, 678d11, 30", // bx + di
    "4, 678d5602, 18", // bp + 2 is 16 bits wide
  })
  void shouldFormEffectiveAddresses(final int codeSize, final String code, final String value) {
    try (FlatCpu cpu = new FlatCpu(BASE, PAGE, codeSize)) {
      cpu.rip(BASE);
      cpu.gpr(Gpr.RBX, codeSize == 8 ? 0x1234_5678_0000_0020L : 0x20);
      cpu.gpr(Gpr.RSI, 0x10);
      cpu.gpr(Gpr.RDI, 0x10);
      cpu.gpr(Gpr.RBP, 0xABCD_0016L);
      cpu.gpr(Gpr.RDX, 0x7777_7777_7777_7777L);
      run(cpu, code);
      assertEquals(value, Long.toHexString(cpu.gpr(Gpr.RDX)));
    }
  }

  @Test
  void shouldAddTheBaseOfAnOverridingSegment() {
    try (FlatCpu cpu = new FlatCpu(BASE, PAGE, 8)) {
      cpu.setSegment(Seg.FS, BASE, 0, 0xC093);
      cpu.setSegment(Seg.DS, 0x7000_0000, 0xFFFF_FFFFL, 0xC093);
      cpu.poke(BASE + 0x30, 8, 0x4242);
      run(cpu, "64488b042530000000");
      assertEquals(0x4242, cpu.gpr(Gpr.RAX));
      cpu.gpr(Gpr.RBX, BASE);
      run(cpu, "488b4b30");
      assertEquals(0x4242, cpu.gpr(Gpr.RCX), "the base of DS is ignored");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"48a1", "48a3"})
  void shouldMoveByAbsoluteOffsets(final String opcode) {
    try (FlatCpu cpu = new FlatCpu(BASE, PAGE, 8)) {
      cpu.poke(BASE + 0x30, 8, 0x1111);
      cpu.gpr(Gpr.RAX, 0x2222);
      run(cpu, opcode + "3000040000000000");
      final boolean load = opcode.endsWith("1");
      assertEquals(load ? 0x1111 : 0x2222, cpu.gpr(Gpr.RAX));
      assertEquals(load ? 0x1111 : 0x2222, cpu.peek(BASE + 0x30, 8));
    }
  }

  @Test
  void shouldReachBitsBeyondTheOperandWhenARegisterSaysSo() {
    try (FlatCpu cpu = new FlatCpu(BASE, PAGE, 8)) {
      cpu.gpr(Gpr.RBX, BASE + 0x100);
      cpu.gpr(Gpr.RAX, -65);
      run(cpu, "480fab03");
      assertEquals(Long.MIN_VALUE, cpu.peek(BASE + 0x100 - 16, 8));
      cpu.gpr(Gpr.RAX, 1000);
      run(cpu, "0fab03");
      assertEquals(1 << 8, cpu.peek(BASE + 0x100 + 124, 4));
      run(cpu, "0fa303");
      assertEquals(true, cpu.cf());
    }
  }

  @Test
  void shouldExchangeSixteenBytesOnlyWhenAlignedAndEqual() {
    try (FlatCpu cpu = new FlatCpu(BASE, PAGE, 8)) {
      cpu.poke(BASE + 0x10, 8, 1);
      cpu.poke(BASE + 0x18, 8, 2);
      cpu.gpr(Gpr.RDI, BASE + 0x10);
      cpu.gpr(Gpr.RBX, 11);
      cpu.gpr(Gpr.RCX, 12);
      cpu.setArithmeticFlags(Flags.CF | Flags.SF);
      run(cpu, "480fc70f");
      assertEquals(1, cpu.gpr(Gpr.RAX));
      assertEquals(2, cpu.gpr(Gpr.RDX));
      assertEquals(Flags.CF | Flags.SF, cpu.arithmeticFlags());
      run(cpu, "f0480fc70f");
      assertEquals(11, cpu.peek(BASE + 0x10, 8));
      assertEquals(12, cpu.peek(BASE + 0x18, 8));
      assertEquals(Flags.CF | Flags.SF | Flags.ZF, cpu.arithmeticFlags());
      cpu.gpr(Gpr.RDI, BASE + 8);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "480fc70f"));
      assertEquals(Vector.GP, cpu.vector);
    }
  }

  @Test
  void shouldTranslateByTheTableAtRbx() {
    try (FlatCpu cpu = new FlatCpu(BASE, PAGE, 8)) {
      cpu.poke(BASE + 0x85, 1, 0x99);
      cpu.gpr(Gpr.RBX, BASE);
      cpu.gpr(Gpr.RAX, 0x1185);
      run(cpu, "d7");
      assertEquals(0x1199, cpu.gpr(Gpr.RAX));
    }
  }

  @ParameterizedTest
  @CsvSource({"5, true", "-5, true", "10, true", "11, false", "-6, false"})
  void shouldRaiseBoundRangeOutsideTheBounds(final int index, final boolean inside) {
    try (FlatCpu cpu = new FlatCpu(BASE, PAGE, 4)) {
      cpu.poke(BASE + 0x10, 4, -5);
      cpu.poke(BASE + 0x14, 4, 10);
      cpu.gpr(Gpr.RBX, BASE + 0x10);
      cpu.gpr(Gpr.RAX, index & 0xFFFF_FFFFL);
      if (inside) {
        run(cpu, "6203");
      } else {
        assertThrows(FlatCpu.Raised.class, () -> run(cpu, "6203"));
        assertEquals(Vector.BR, cpu.vector);
      }
    }
  }

  @Test
  void shouldBindNothingToSegmentAndControlRegisters() {
    try (FlatCpu cpu = new FlatCpu(BASE, PAGE, 8)) {
      for (final String code : new String[] {"8ed8", "8cd8", "0f20c0", "0f22c0", "0fa0", "0fa1"}) {
        assertThrows(IllegalStateException.class, () -> run(cpu, code), code);
      }
    }
  }
}

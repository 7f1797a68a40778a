package dev.vmexit.vcpu.soft.integer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.vmexit.vcpu.soft.FlatCpu;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import java.util.HexFormat;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class StackOpsTest {
  private static final long BASE = 0x10000;
  private static final long TOP = BASE + 0x1004;

  private static FlatCpu cpu(final int codeSize) {
    final FlatCpu cpu = new FlatCpu(BASE, 0x3000, codeSize);
    cpu.rip(BASE);
    cpu.gpr(Gpr.RSP, TOP);
    return cpu;
  }

  private static void run(final FlatCpu cpu, final String code) {
    cpu.step(HexFormat.of().parseHex(code), 0, IntegerOps::bind);
  }

  @ParameterizedTest
  @CsvSource({
    "8, 53, 8, 1122334455667788",
    "8, 6653, 2, 7788",
    "8, 54, 8, 11004",
    "8, 6aff, 8, ffffffffffffffff",
    "8, 6880000080, 8, ffffffff80000080",
    "8, 666800ff, 2, ff00",
    "8, ff30, 8, 8877665544332211",
    "8, 66ff30, 2, 2211",
    "4, 53, 4, 55667788",
    "4, 6653, 2, 7788",
    "4, 6a80, 4, ffffff80",
    "4, ff30, 4, 44332211",
    "4, 54, 4, 11004",
  })
  void shouldPush(final int codeSize, final String code, final int size, final String value) {
    // The top of the stack crosses a page when 8 bytes go there.
    try (FlatCpu cpu = cpu(codeSize)) {
      cpu.gpr(Gpr.RBX, 0x1122_3344_5566_7788L);
      cpu.gpr(Gpr.RAX, BASE + 0x10);
      cpu.poke(BASE + 0x10, 8, 0x8877_6655_4433_2211L);
      run(cpu, code);
      assertEquals(TOP - size, cpu.gpr(Gpr.RSP));
      assertEquals(value, Long.toHexString(cpu.peek(TOP - size, size)));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "8, 5b, 8, 3, 8877665544332211",
    "8, 665b, 2, 3, ffffffffffff2211",
    "4, 5b, 4, 3, 44332211",
    "8, 415b, 8, 11, 8877665544332211",
  })
  void shouldPop(
      final int codeSize,
      final String code,
      final int size,
      final int register,
      final String value) {
    try (FlatCpu cpu = cpu(codeSize)) {
      cpu.gpr(register, -1);
      cpu.poke(TOP, 8, 0x8877_6655_4433_2211L);
      run(cpu, code);
      assertEquals(TOP + size, cpu.gpr(Gpr.RSP));
      assertEquals(value, Long.toHexString(cpu.gpr(register)));
    }
  }

  @Test
  void shouldKeepWhatWasPoppedWhenThatIsTheStackPointer() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.poke(TOP, 8, 0x4242);
      run(cpu, "5c");
      assertEquals(0x4242, cpu.gpr(Gpr.RSP));
    }
  }

  @Test
  void shouldAddressByThePoppedStackPointerWhenPoppingToMemory() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.poke(TOP, 8, 0x4242);
      run(cpu, "8f442410"); // pop [rsp + 0x10]
      assertEquals(0x4242, cpu.peek(TOP + 8 + 0x10, 8));
      assertEquals(TOP + 8, cpu.gpr(Gpr.RSP));
    }
  }

  @Test
  void shouldKeepTheStackPointerWhenPoppingToMemoryFaults() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.gpr(Gpr.RAX, 0x5000_0000);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "8f00"));
      assertEquals(Vector.PF, cpu.vector);
      assertEquals(TOP, cpu.gpr(Gpr.RSP));
    }
  }

  @Test
  void shouldRaiseStackFaultWhenTheStackPointerIsNotCanonical() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.gpr(Gpr.RSP, 0x9000_0000_0000L);
      for (final String code : new String[] {"50", "58", "6a00", "c3"}) {
        assertThrows(FlatCpu.Raised.class, () -> run(cpu, code));
        assertEquals(Vector.SS, cpu.vector, code);
        assertEquals(0x9000_0000_0000L, cpu.gpr(Gpr.RSP), code);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"60", "6660"})
  void shouldPushAllAndPopAllButTheStackPointer(final String code) {
    final int size = code.length() == 2 ? 4 : 2;
    try (FlatCpu cpu = cpu(4)) {
      for (int i = 0; i < 8; i++) {
        if (i != Gpr.RSP) {
          cpu.gpr(i, 0x1111_0000 + i);
        }
      }
      run(cpu, code);
      assertEquals(TOP - 8L * size, cpu.gpr(Gpr.RSP));
      final long mask = size == 4 ? -1 : 0xFFFF;
      for (int i = 0; i < 8; i++) {
        final long expected = i == Gpr.RSP ? TOP : 0x1111_0000 + i;
        assertEquals(expected & mask, cpu.peek(TOP - (i + 1L) * size, size), "slot " + i);
      }
      for (int i = 0; i < 8; i++) {
        if (i != Gpr.RSP) {
          cpu.gpr(i, 0);
        }
      }
      run(cpu, size == 4 ? "61" : "6661");
      assertEquals(TOP, cpu.gpr(Gpr.RSP));
      for (int i = 0; i < 8; i++) {
        if (i != Gpr.RSP) {
          assertEquals(0x1111_0000 + i & mask, cpu.gpr(i) & mask, "register " + i);
        }
      }
    }
  }

  @Test
  void shouldStoreNothingWhenPushAllFaultsInTheMiddle() {
    try (FlatCpu cpu = cpu(4)) {
      cpu.gpr(Gpr.RSP, BASE + 8);
      cpu.gpr(Gpr.RAX, 0x77);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "60"));
      assertEquals(BASE + 8, cpu.gpr(Gpr.RSP));
      assertEquals(0, cpu.peek(BASE + 4, 4));
    }
  }

  @ParameterizedTest
  @CsvSource({"8, 8", "4, 4"})
  void shouldEnterAndLeaveNestedFrames(final int codeSize, final int size) {
    try (FlatCpu cpu = cpu(codeSize)) {
      final long outer = BASE + 0x2800;
      cpu.gpr(Gpr.RBP, outer);
      cpu.poke(outer - size, size, 0x1111);
      cpu.poke(outer - 2L * size, size, 0x2222);
      run(cpu, "c8200003"); // enter 0x20, 3
      final long frame = TOP - size;
      assertEquals(frame, cpu.gpr(Gpr.RBP));
      assertEquals(outer, cpu.peek(frame, size));
      assertEquals(0x1111, cpu.peek(frame - size, size));
      assertEquals(0x2222, cpu.peek(frame - 2L * size, size));
      assertEquals(frame, cpu.peek(frame - 3L * size, size));
      assertEquals(frame - 3L * size - 0x20, cpu.gpr(Gpr.RSP));
      run(cpu, "c9");
      assertEquals(outer, cpu.gpr(Gpr.RBP));
      assertEquals(TOP, cpu.gpr(Gpr.RSP));
    }
  }

  @Test
  void shouldKeepThePointersWhenEnterHasNoRoom() {
    try (FlatCpu cpu = cpu(8)) {
      cpu.gpr(Gpr.RBP, BASE);
      assertThrows(FlatCpu.Raised.class, () -> run(cpu, "c8002000")); // 8 KiB, the memory has 4
      assertEquals(TOP, cpu.gpr(Gpr.RSP));
      assertEquals(BASE, cpu.gpr(Gpr.RBP));
      assertEquals(0, cpu.peek(TOP - 8, 8));
    }
  }

  @Test
  void shouldWrapA16BitStackAndKeepTheUpperHalf() {
    try (FlatCpu cpu = new FlatCpu(0, 0x20000, 2)) {
      cpu.setSegment(Seg.SS, 0x1000, 0xFFFF, 0x93);
      cpu.stackSize = 2;
      cpu.gpr(Gpr.RSP, 0x7777_0000);
      cpu.gpr(Gpr.RAX, 0xABCD);
      run(cpu, "50");
      assertEquals(0x7777_FFFEL, cpu.gpr(Gpr.RSP));
      assertEquals(0xABCD, cpu.peek(0x1000 + 0xFFFE, 2));
      run(cpu, "5b");
      assertEquals(0x7777_0000L, cpu.gpr(Gpr.RSP));
      assertEquals(0xABCD, cpu.gpr(Gpr.RBX));
    }
  }
}

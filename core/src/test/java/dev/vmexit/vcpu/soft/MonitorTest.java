package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** MONITOR and MWAIT (SDM Vol. 2A and 2B): when they wait, and for what. */
class MonitorTest {
  private static final int[] MONITOR = {0x0F, 0x01, 0xC8};
  private static final int[] MWAIT = {0x0F, 0x01, 0xC9};

  private static BareGuest guest(final MmuKind mmu, final Consumer<Assembler> program) {
    final BareGuest g = BareGuest.long64(mmu);
    g.code(program);
    return g;
  }

  /** MONITOR of {@link BareGuest#DATA} + 40, something, MWAIT; RSI counts up behind it. */
  private static void waits(
      final Assembler a, final int extensions, final Consumer<Assembler> between) {
    a.mov(Register.RAX, DATA + 40);
    a.xor(Register.ECX, Register.ECX);
    a.xor(Register.EDX, Register.EDX);
    a.db(MONITOR);
    between.accept(a);
    a.mov(Register.ECX, extensions);
    a.db(MWAIT);
    a.inc(Register.RSI);
    a.ud2();
  }

  private static void arm(final BareGuest g, final boolean enabled) {
    g.machine.reg(Register.RSI, 0);
    g.flags(enabled ? Flags.IF : 0);
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldWaitAsHltUntilTheLineChanges(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, a -> waits(a, 0, b -> {}))) {
      arm(g, true);
      assertEquals(VcpuExit.HLT, g.machine.run());
      assertFalse(g.machine.vcpu.wakesForMasked());
      assertFalse(g.machine.vcpu.wakesForStore());
      g.machine.memory.write32(DATA + 128, 1);
      assertFalse(g.machine.vcpu.wakesForStore(), "another line");
      g.machine.memory.write32(DATA, 1);
      assertTrue(g.machine.vcpu.wakesForStore(), "the same line of 64 bytes");
      assertEquals(0, g.machine.reg(Register.RSI));
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(1, g.machine.reg(Register.RSI), "goes on behind it");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldNotWaitWhereNothingIsToBeWaitedFor(final MmuKind mmu) {
    // The line has changed since; the wait would have no end; nothing is armed.
    try (BareGuest g =
        guest(mmu, a -> waits(a, 0, b -> b.inc(Memory.at(Register.RAX).asDword())))) {
      arm(g, true);
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(1, g.machine.reg(Register.RSI));
    }
    try (BareGuest g = guest(mmu, a -> waits(a, 0, b -> {}))) {
      arm(g, false);
      assertEquals(Vector.UD, g.runToHandler());
    }
    try (BareGuest g =
        guest(
            mmu,
            a -> {
              a.xor(Register.ECX, Register.ECX);
              a.db(MWAIT);
              a.ud2();
            })) {
      arm(g, true);
      assertEquals(Vector.UD, g.runToHandler());
    }
    // One MONITOR is good for one MWAIT.
    try (BareGuest g =
        guest(
            mmu,
            a ->
                waits(
                    a,
                    0,
                    b -> {
                      b.xor(Register.ECX, Register.ECX);
                      b.db(MWAIT);
                    }))) {
      arm(g, true);
      assertEquals(VcpuExit.HLT, g.machine.run());
      assertEquals(Vector.UD, g.runToHandler());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldLetMaskedInterruptsEndTheWaitByItsExtension(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, a -> waits(a, 1, b -> {}))) {
      arm(g, false);
      assertEquals(VcpuExit.HLT, g.machine.run());
      assertTrue(g.machine.vcpu.wakesForMasked());
      assertEquals(Vector.UD, g.runToHandler());
    }
    try (BareGuest g = guest(mmu, a -> waits(a, 2, b -> {}))) {
      arm(g, true);
      assertEquals(Vector.GP, g.runToHandler(), "unknown extension");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldBeOfTheSupervisorAndCheckTheAddress(final MmuKind mmu) {
    for (final int[] code : new int[][] {MONITOR, MWAIT}) {
      try (BareGuest g = guest(mmu, a -> a.db(code))) {
        g.user();
        assertEquals(Vector.UD, g.runToHandler());
      }
    }
    try (BareGuest g = guest(mmu, a -> a.db(MONITOR))) {
      g.machine.reg(Register.RCX, 1);
      assertEquals(Vector.GP, g.runToHandler());
    }
    try (BareGuest g = guest(mmu, a -> a.db(MONITOR))) {
      g.machine.reg(Register.RAX, BareGuest.MAPPED + 0x1000);
      assertEquals(Vector.PF, g.runToHandler());
      assertEquals(0, g.stack(0), "a read");
    }
  }

  @Test
  void shouldTellItByCpuidAndNoPerformanceCounters() {
    final int[] out = new int[4];
    CpuModel.max().query(1, 0, 0, 0, 1, out);
    assertEquals(1 << 3, out[2] & 1 << 3);
    CpuModel.max().query(5, 0, 0, 0, 1, out);
    assertEquals(64, out[0]);
    assertEquals(64, out[1]);
    assertEquals(3, out[2]);
    CpuModel.max().query(0xA, 0, 0, 0, 1, out);
    assertEquals(0, out[0] & 0xFF, "version of performance monitoring");
    CpuModel.of("x86-64-v3").query(5, 0, 0, 0, 1, out);
    assertEquals(0, out[0]);
  }
}

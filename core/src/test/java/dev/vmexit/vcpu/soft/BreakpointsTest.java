package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Register;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Debug registers and alignment checks. */
class BreakpointsTest {
  private static final int EXECUTE = 0;
  private static final int WRITE = 1;
  private static final int PORT = 2;
  private static final int ACCESS = 3;

  /** Enables breakpoint 1, before the run. */
  private static void arm(
      final BareGuest g, final long address, final int kind, final int lengthCode) {
    g.machine.set(StateLayout.DR0 + 8, address);
    g.machine.set(StateLayout.DR7, 0x400 | 2 << 2 | (long) (kind | lengthCode << 2) << 20);
    g.machine.set(StateLayout.DR6, 0xFFFF_0FF0L);
    g.machine.stateChanged();
  }

  private static long met(final BareGuest g) {
    return g.machine.get(StateLayout.DR6) & 0xE00F;
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldFaultBeforeTheInstructionOnceWhenItHasABreakpoint(final MmuKind mmu) {
    for (final boolean wide : new boolean[] {false, true}) {
      try (BareGuest g = wide ? BareGuest.long64(mmu) : BareGuest.protected32(mmu, Paging.BITS32)) {
        arm(g, CODE + 5, EXECUTE, 0);
        g.code(
            a -> {
              a.mov(Register.EAX, 1);
              a.mov(Register.EBX, 2);
              a.hlt();
            });
        assertEquals(Vector.DB, g.runToHandler());
        assertEquals(CODE + 5, g.stack(0));
        assertEquals(0, g.machine.reg(Register.RBX));
        assertEquals(2, met(g));
        assertTrue((g.stack(2) & Flags.RF) != 0);
        g.runToEnd();
        assertEquals(2, g.machine.reg(Register.RBX), "RF let it pass");
        assertEquals(0, g.flags() & Flags.RF);
      }
    }
  }

  @Test
  void shouldFaultAgainWhenTheInstructionIsReachedAgain() {
    try (BareGuest g = BareGuest.protected32(MmuKind.SHADOW, Paging.PAE)) {
      arm(g, CODE, EXECUTE, 0);
      g.code(
          a -> {
            a.inc(Register.EAX);
            a.db(0xEB, 0xFD); // JMP to it
          });
      for (int i = 0; i < 3; i++) {
        assertEquals(Vector.DB, g.runToHandler());
        assertEquals(CODE, g.stack(0));
        assertEquals(i, g.machine.reg(Register.RAX));
      }
    }
  }

  @Test
  void shouldPassTheInstructionOnceThoughItExits() {
    try (BareGuest g = BareGuest.protected32(MmuKind.SHADOW, Paging.NONE)) {
      arm(g, CODE, EXECUTE, 0);
      g.code(
          a -> {
            a.in(Register.AL, 0x60);
            a.hlt();
          });
      assertEquals(Vector.DB, g.runToHandler());
      assertEquals(0, g.machine.exits(VcpuExit.PIO).size());
      g.runToEnd();
      assertEquals(1, g.machine.exits(VcpuExit.PIO).size());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTrapAfterTheStoreWhenDataIsWatched(final MmuKind mmu) {
    // Kind, length code, offset of the store, whether it is met.
    final int[][] cases = {
      {WRITE, 0, 0, 1},
      {WRITE, 0, -4, 0},
      {WRITE, 0, -3, 1},
      {WRITE, 3, 3, 1},
      {WRITE, 3, 4, 0},
      {WRITE, 1, 2, 0},
      {ACCESS, 3, 0, 1}
    };
    for (final int[] c : cases) {
      try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
        arm(g, DATA, c[0], c[1]);
        g.code(
            a -> {
              a.mov(Register.EBX, DATA + c[2]);
              a.mov(Register.EAX, 0x1234_5678);
              a.db(0x89, 0x03); // MOV [EBX], EAX
              a.nop();
              a.hlt();
            });
        if (c[3] != 0) {
          assertEquals(Vector.DB, g.runToHandler());
          assertEquals(CODE + 12, g.stack(0), "a trap: after it");
          assertEquals(2, met(g));
          assertEquals(0, g.stack(2) & Flags.RF);
        }
        g.runToEnd();
        assertEquals(c[3] != 0 ? 2 : 0, met(g));
        assertEquals(0x1234_5678, g.machine.memory.read32(DATA + c[2]));
      }
    }
  }

  @Test
  void shouldSeeReadsOnlyWhenTheyAreWatched() {
    for (final int kind : new int[] {WRITE, ACCESS}) {
      try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
        arm(g, DATA, kind, 2);
        g.code(
            a -> {
              a.mov(Register.EBX, DATA + 7);
              a.db(0x8A, 0x03); // MOV AL, [RBX]
              a.hlt();
            });
        if (kind == ACCESS) {
          assertEquals(Vector.DB, g.runToHandler());
          assertEquals(CODE + 7, g.stack(0));
        }
        g.runToEnd();
      }
    }
  }

  @Test
  void shouldWatchPortsOnlyWhenDebugExtensionsAreOn() {
    for (final boolean extensions : new boolean[] {false, true}) {
      try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
        if (extensions) {
          g.machine.set(StateLayout.CR4, ControlRegisters.CR4_DE);
        }
        arm(g, 0x60, PORT, 0);
        g.code(
            a -> {
              a.out(0x61, Register.AL);
              a.in(Register.AL, 0x60);
              a.hlt();
            });
        if (extensions) {
          assertEquals(Vector.DB, g.runToHandler());
          assertEquals(CODE + 4, g.stack(0));
          assertEquals(1, g.machine.exits(VcpuExit.PIO).stream().filter(e -> !e.write()).count());
        }
        g.runToEnd();
      }
    }
  }

  @Test
  void shouldFaultWhenGeneralDetectGuardsTheRegisters() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.machine.set(StateLayout.DR7, 0x2400);
      g.machine.stateChanged();
      g.code(
          a -> {
            a.db(0x0F, 0x21, 0xC0); // MOV EAX, DR0
            a.hlt();
          });
      assertEquals(Vector.DB, g.runToHandler());
      assertEquals(CODE, g.stack(0));
      assertEquals(1 << 13, met(g));
      assertEquals(0x400, g.machine.get(StateLayout.DR7));
      g.runToEnd();
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldEnableByTheInstructionAndBeFastAgainWhenDisabled(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.PAE)) {
      g.code(
          a -> {
            a.mov(Register.EAX, DATA);
            a.db(0x0F, 0x23, 0xC0); // MOV DR0, EAX
            a.mov(Register.EAX, 0xD_0402);
            a.db(0x0F, 0x23, 0xF8); // MOV DR7, EAX
            a.db(0xC6, 0x05); // MOV byte [DATA], 1
            a.dd(DATA);
            a.db(1);
            a.xor(Register.EAX, Register.EAX);
            a.db(0x0F, 0x23, 0xF8);
            a.db(0xC6, 0x05);
            a.dd(DATA);
            a.db(2);
            a.hlt();
          });
      assertEquals(Vector.DB, g.runToHandler());
      assertEquals(CODE + 16 + 7, g.stack(0));
      assertTrue(g.machine.vcpu.slowMemory);
      g.runToEnd();
      assertEquals(2, g.machine.memory.read8(DATA));
      assertTrue(!g.machine.vcpu.slowMemory);
    }
  }

  // ---- alignment ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseAlignmentCheckOnlyWhenAllThreeAsk(final MmuKind mmu) {
    for (int bits = 0; bits < 8; bits++) {
      final boolean user = (bits & 1) != 0;
      final boolean mask = (bits & 2) != 0;
      final boolean flag = (bits & 4) != 0;
      try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
        if (user) {
          g.user();
        }
        if (mask) {
          g.machine.set(StateLayout.CR0, g.machine.get(StateLayout.CR0) | ControlRegisters.CR0_AM);
        }
        g.flags(flag ? Flags.AC : 0);
        g.code(
            a -> {
              a.mov(Register.EBX, DATA);
              a.db(0x8B, 0x03); // MOV EAX, [EBX]
              a.inc(Register.EBX);
              a.db(0x8B, 0x03);
              a.ud2();
            });
        if (bits == 7) {
          assertEquals(Vector.AC, g.runToHandler());
          assertEquals(0, g.stack(0));
          assertEquals(CODE + 5 + 2 + 1, g.stack(1));
        } else {
          assertEquals(Vector.UD, g.runToHandler());
        }
      }
    }
  }

  @Test
  void shouldNotCheckBytesNorTheProcessorsOwnAccesses() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.user();
      g.machine.set(StateLayout.CR0, g.machine.get(StateLayout.CR0) | ControlRegisters.CR0_AM);
      g.flags(Flags.AC);
      g.machine.set(StateLayout.GDTR_BASE, BareGuest.GDT + 1);
      for (long i = BareGuest.GDT_LIMIT; i >= 0; i--) {
        g.machine.memory.write8(BareGuest.GDT + 1 + i, g.machine.memory.read8(BareGuest.GDT + i));
      }
      g.code(
          a -> {
            a.mov(Register.EBX, DATA + 1);
            a.db(0x8A, 0x03); // MOV AL, [EBX]
            a.mov(Register.AX, BareGuest.DATA3);
            a.db(0x8E, 0xC0); // MOV ES, AX
            a.ud2();
          });
      assertEquals(Vector.UD, g.runToHandler());
    }
  }

  @Test
  void shouldStepAndBreakWithOneTrapWhenBothApply() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      arm(g, DATA, WRITE, 0);
      g.flags(Flags.TF);
      g.code(
          a -> {
            a.db(0xC6, 0x05);
            a.dd(DATA);
            a.db(1);
            a.nop();
          });
      assertEquals(Vector.DB, g.runToHandler());
      assertEquals(2 | 1 << 14, met(g));
      assertEquals(CODE + 7, g.stack(0));
    }
  }
}

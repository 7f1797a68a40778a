package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.CODE0;
import static dev.vmexit.vcpu.soft.BareGuest.CODE3;
import static dev.vmexit.vcpu.soft.BareGuest.DATA0;
import static dev.vmexit.vcpu.soft.BareGuest.DATA3;
import static dev.vmexit.vcpu.soft.BareGuest.FREE;
import static dev.vmexit.vcpu.soft.BareGuest.RING0_STACK;
import static dev.vmexit.vcpu.soft.BareGuest.STACK;
import static dev.vmexit.vcpu.soft.BareGuest.TSS;
import static dev.vmexit.vcpu.soft.BareGuest.descriptor;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Call gates of 16, 32 and 64 bits; conforming code; far returns to an outer level. */
class CallGatesTest {
  private static final long INNER = 0x1_8000;
  private static final int GATE = FREE;
  private static final int CONFORMING = FREE + 0x10;
  private static final int GATE16 = 0x84;
  private static final int GATE32 = 0x8C;
  private static final int DPL3 = 3 << 5;

  private static long gate(
      final int type, final int selector, final long offset, final int parameters) {
    return offset & 0xFFFF
        | (long) selector << 16
        | (long) parameters << 32
        | (long) type << 40
        | (offset >>> 16 & 0xFFFF) << 48;
  }

  private static void inner(final BareGuest g, final Consumer<Assembler> program) {
    final Assembler a = new Assembler(g.size, INNER);
    program.accept(a);
    g.machine.load(a, INNER);
  }

  private static int error(final BareGuest g, final int vector) {
    assertEquals(vector, g.runToHandler());
    return (int) g.stack(0);
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSwitchStacksAndCopyTheParametersWhenAUserCalls(final MmuKind mmu) {
    for (final Paging paging : new Paging[] {Paging.NONE, Paging.BITS32, Paging.PAE}) {
      try (BareGuest g = BareGuest.protected32(mmu, paging)) {
        g.gdt(GATE, gate(GATE32 | DPL3, CODE0, INNER, 3));
        inner(
            g,
            a -> {
              a.hlt();
              a.retf(4, 12);
            });
        g.user();
        g.code(
            a -> {
              a.push(0x11);
              a.push(0x22);
              a.push(0x33);
              a.callFar(GATE | 3, 0xDEAD, 4);
              a.ud2();
            });
        g.machine.run();
        assertEquals(INNER, g.machine.vcpu.exit().rip);
        assertEquals(0, g.machine.vcpu.cpl());
        assertEquals(DATA0, g.machine.selector(Seg.SS));
        assertEquals(RING0_STACK - 7 * 4, g.machine.reg(Register.RSP));
        final long afterCall = CODE + 2 * 3 + 7;
        final long[] frame = {afterCall, CODE3, 0x33, 0x22, 0x11, STACK - 12, DATA3};
        for (int i = 0; i < frame.length; i++) {
          assertEquals(frame[i], g.stack(i), "slot " + i);
        }
        assertEquals(Vector.UD, g.runToHandler());
        assertEquals(afterCall, g.stack(0));
        assertEquals(CODE3, g.stack(1));
        assertEquals(STACK, g.stack(3), "RETF released the parameters on both stacks");
        assertEquals(DATA3, g.stack(4));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldPushWordsWhenTheGateIsOfSixteenBits(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
      final int code16 = FREE + 8;
      g.gdt(code16, descriptor(0x1_0000, 0xFFFF, 0x009B));
      g.gdt(GATE, gate(GATE16 | DPL3, code16, 0xFFFF_8000L, 1));
      final Assembler a16 = new Assembler(2, INNER);
      a16.hlt();
      g.machine.load(a16, INNER);
      g.user();
      g.code(
          a -> {
            a.push(0x7654_3210);
            a.callFar(GATE | 3, 0, 4);
          });
      g.machine.run();
      assertEquals(0x8000, g.machine.vcpu.exit().rip, "the gate's upper word is ignored");
      assertEquals(RING0_STACK - 5 * 2, g.machine.reg(Register.RSP));
      final int[] frame = {5 + 7, CODE3, 0x3210, (int) (STACK - 4) & 0xFFFF, DATA3};
      for (int i = 0; i < frame.length; i++) {
        assertEquals(frame[i], g.machine.memory.read16(RING0_STACK - 10 + i * 2L), "slot " + i);
      }
    }
  }

  @Test
  void shouldStayOnTheStackWhenTheLevelIsTheSame() {
    try (BareGuest g = BareGuest.protected32(MmuKind.SHADOW, Paging.PAE)) {
      g.gdt(GATE, gate(GATE32, CODE0, INNER, 5));
      inner(g, a -> a.retf());
      g.code(
          a -> {
            a.callFar(GATE, 0, 4);
            a.mov(Register.EAX, 1);
            a.jmpFar(GATE, 0, 4);
          });
      g.machine.memory.write64(STACK, (long) CODE0 << 32 | BareGuest.handler(0x21));
      assertEquals(0x21, g.runToHandler(), "JMP pushes nothing: RETF takes what was there");
      assertEquals(1, g.machine.reg(Register.RAX));
      assertEquals(STACK + 8, g.machine.reg(Register.RSP));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldPushFourQuadwordsAndANullStackWhenLong(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.gdt(GATE, gate(GATE32 | DPL3, CODE0, INNER, 3));
      g.gdt(GATE + 8, 0);
      inner(
          g,
          a -> {
            a.hlt();
            a.retf(8);
          });
      g.machine.memory.write64(BareGuest.DATA, 0xDEADL | (long) (GATE | 3) << 32);
      g.user();
      g.code(
          a -> {
            a.mov(Register.EBX, BareGuest.DATA);
            // CALL m16:32 [rbx]
            a.db(0xFF, 0x1B);
            a.ud2();
          });
      g.machine.run();
      assertEquals(INNER, g.machine.vcpu.exit().rip);
      assertEquals(0, g.machine.vcpu.cpl());
      assertEquals(0, g.machine.selector(Seg.SS));
      assertEquals(CODE + 5 + 2, g.stack(0));
      assertEquals(CODE3, g.stack(1));
      assertEquals(STACK, g.stack(2));
      assertEquals(DATA3, g.stack(3));
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(CODE3, g.stack(1));
      assertEquals(STACK, g.stack(3));
    }
  }

  @Test
  void shouldRefuseWhenTheGateMayNotBeUsed() {
    // Gate, vector, error code.
    final long[][] cases = {
      {gate(GATE32, CODE0, INNER, 0), Vector.GP, GATE},
      {gate((GATE32 | DPL3) & ~0x80, CODE0, INNER, 0), Vector.NP, GATE},
      {gate(GATE32 | DPL3, 0, INNER, 0), Vector.GP, 0},
      {gate(GATE32 | DPL3, DATA0, INNER, 0), Vector.GP, DATA0},
      {gate(GATE32 | DPL3, 0x1F8, INNER, 0), Vector.GP, 0x1F8},
      {gate(GATE32 | DPL3, 0x200, INNER, 0), Vector.GP, 0x200},
      {gate(0x80 | DPL3, CODE0, INNER, 0), Vector.GP, GATE}
    };
    for (final long[] c : cases) {
      try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
        g.gdt(GATE, c[0]);
        g.user();
        g.code(a -> a.callFar(GATE | 3, 0, 4));
        assertEquals(c[2], error(g, (int) c[1]), Long.toHexString(c[0]));
        assertEquals(CODE, g.stack(1));
        assertEquals(STACK, g.stack(4), "nothing was pushed");
      }
    }
  }

  @Test
  void shouldRefuseAJumpToAnInnerLevel() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.gdt(GATE, gate(GATE32 | DPL3, CODE0, INNER, 0));
      g.user();
      g.code(a -> a.jmpFar(GATE | 3, 0, 4));
      assertEquals(CODE0, error(g, Vector.GP));
    }
  }

  @Test
  void shouldRaiseInvalidTssWhenTheInnerStackIsBad() {
    for (final int selector : new int[] {0, CODE0, DATA3, 0x1F8}) {
      try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
        // Ring 1 code by the gate; the fault's handler runs in ring 0 with its own stack.
        final int code1 = FREE + 8;
        g.gdt(code1, descriptor(0, 0xFFFF_FFFFL, 0xC0BB));
        g.gdt(GATE, gate(GATE32 | DPL3, code1 | 1, INNER, 0));
        g.machine.memory.write32(TSS + 12, (int) RING0_STACK);
        g.machine.memory.write16(TSS + 16, selector);
        g.user();
        g.code(a -> a.callFar(GATE | 3, 0, 4));
        assertEquals(selector & 0xFFFC, error(g, Vector.TS));
      }
    }
  }

  @Test
  void shouldRaiseStackFaultOnTheInnerStackWhenItIsTooSmall() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      final int code1 = FREE + 8;
      final int data1 = FREE + 0x18;
      g.gdt(code1, descriptor(0, 0xFFFF_FFFFL, 0xC0BB));
      g.gdt(data1, descriptor(0, 0xFFF, 0x40B3));
      g.gdt(GATE, gate(GATE32 | DPL3, code1 | 1, INNER, 0));
      g.machine.memory.write32(TSS + 12, 0x1004);
      g.machine.memory.write16(TSS + 16, data1 | 1);
      g.user();
      g.code(a -> a.callFar(GATE | 3, 0, 4));
      assertEquals(data1, error(g, Vector.SS));
      assertEquals(CODE3, g.stack(2));
    }
  }

  // ---- conforming code, expand-down data ----

  @Test
  void shouldKeepThePrivilegeWhenConformingCodeIsCalled() {
    for (final boolean throughGate : new boolean[] {false, true}) {
      try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.PAE)) {
        g.gdt(CONFORMING, descriptor(0, 0xFFFF_FFFFL, 0xC09F));
        g.gdt(GATE, gate(GATE32 | DPL3, CONFORMING, INNER, 2));
        inner(g, Assembler::ud2);
        g.user();
        g.code(a -> a.callFar(throughGate ? GATE | 3 : CONFORMING, throughGate ? 0 : INNER, 4));
        assertEquals(Vector.UD, g.runToHandler());
        assertEquals(INNER, g.stack(0));
        assertEquals(CONFORMING | 3, g.stack(1), "RPL is the CPL, which stays 3");
        assertEquals(STACK - 8, g.stack(3));
      }
    }
  }

  @Test
  void shouldRefuseConformingCodeOfAnOuterLevel() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.gdt(CONFORMING, descriptor(0, 0xFFFF_FFFFL, 0xC0FF));
      g.code(a -> a.jmpFar(CONFORMING, INNER, 4));
      assertEquals(CONFORMING, error(g, Vector.GP));
    }
  }

  @Test
  void shouldAllowOnlyAboveTheLimitWhenDataExpandsDown() {
    // Limit, big, offset, whether four bytes may be read there.
    final long[][] cases = {
      {0xFFF, 1, 0x1000, 1},
      {0xFFF, 1, 0xFFF, 0},
      {0xFFF, 1, 0x2_0000, 1},
      {0xFFF, 0, 0xFFFC, 1},
      {0xFFF, 0, 0xFFFD, 0},
      {0xFFF, 0, 0x1_0000, 0},
      {0xFFF, 1, 0xFFFF_FFFDL, 0}
    };
    for (final long[] c : cases) {
      try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
        g.gdt(FREE, descriptor(0, c[0], 0x97 | (int) c[1] << 14));
        g.code(
            a -> {
              a.mov(Register.AX, FREE);
              a.mov(Register.EBX, c[2]);
              // MOV ES, AX; MOV EAX, ES:[EBX]
              a.db(0x8E, 0xC0, 0x26, 0x8B, 0x03);
              a.hlt();
            });
        if (c[3] != 0) {
          g.runToEnd();
        } else {
          assertEquals(0, error(g, Vector.GP), Long.toHexString(c[2]));
        }
      }
    }
  }
}

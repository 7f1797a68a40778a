package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static dev.vmexit.vcpu.soft.BareGuest.DATA0;
import static dev.vmexit.vcpu.soft.BareGuest.STACK;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * When an interrupt may come and when it may not: IF, the shadows of STI and MOV SS, the window,
 * and the single-step trap (SDM Vol. 3A, 6.8 and 18.3.1.4).
 */
final class InterruptShadowTest {
  private static final long DR6_BS = 1 << 14;

  /** Where the window opens in a program: rip, or -1 where the program halts first. */
  private static long windowOf(final Consumer<Assembler> program) {
    long window = -2;
    for (final MmuKind mmu : MmuKind.values()) {
      try (BareGuest g = BareGuest.long64(mmu)) {
        g.code(program);
        g.machine.vcpu.requestInterruptWindow(true);
        final int reason = g.machine.run();
        final long rip;
        if (reason == VcpuExit.IRQ_WINDOW) {
          assertTrue(g.machine.vcpu.interruptible());
          rip = g.machine.rip() - CODE;
          assertEquals(g.machine.rip(), g.machine.vcpu.exit().rip);
        } else {
          assertEquals(VcpuExit.HLT, reason);
          rip = -1;
        }
        assertTrue(window == -2 || window == rip, "both MMUs agree");
        window = rip;
      }
    }
    return window;
  }

  @Test
  void shouldOpenTheWindowOneInstructionAfterSti() {
    assertEquals(
        2,
        windowOf(
            a -> {
              a.sti();
              a.nop();
              a.nop();
              a.hlt();
            }));
  }

  @Test
  void shouldOpenNoWindowWhenCliFollowsSti() {
    assertEquals(
        -1,
        windowOf(
            a -> {
              a.sti();
              a.cli();
              a.hlt();
            }));
  }

  @Test
  void shouldHaltBeforeTheWindowWhenHltFollowsSti() {
    // CLI; STI; HLT: no interrupt is lost between STI and HLT.
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(
          a -> {
            a.cli();
            a.sti();
            a.hlt();
            a.nop();
          });
      g.machine.vcpu.requestInterruptWindow(true);
      assertEquals(VcpuExit.HLT, g.machine.run());
      assertEquals(CODE + 2, g.machine.vcpu.exit().rip);
      assertTrue(g.machine.vcpu.interruptible(), "the shadow ended with HLT");
      assertEquals(3, g.machine.retired());
      assertEquals(VcpuExit.IRQ_WINDOW, g.machine.run());
      assertEquals(CODE + 3, g.machine.rip());
    }
  }

  @Test
  void shouldStartNoShadowWhenInterruptsWereEnabledAlready() {
    // The first STI casts a shadow over the second, which casts none.
    assertEquals(
        2,
        windowOf(
            a -> {
              a.sti();
              a.sti();
              a.nop();
              a.hlt();
            }));
  }

  @Test
  void shouldHoldTheWindowBackForOneInstructionAfterMovSs() {
    final Consumer<Assembler> program =
        a -> {
          a.mov(Register.EAX, DATA0);
          a.push(Flags.IF);
          a.popf();
          a.mov(Register.SS, Register.AX);
          a.nop();
          a.hlt();
        };
    // IF is set by POPF, with no shadow: the window opens right there.
    assertEquals(5 + 5 + 1, windowOf(program));
    try (BareGuest g = BareGuest.long64(MmuKind.SHADOW)) {
      g.code(program);
      assertEquals(VcpuExit.LIMIT, g.machine.run(4));
      assertFalse(g.machine.vcpu.interruptible());
      assertFalse(g.machine.vcpu.nmiInjectable(), "MOV SS holds NMIs off, too");
      assertTrue((g.machine.vcpu.interruptState() & ExitEvent.INTERRUPT_SHADOW) != 0);
      g.machine.vcpu.requestInterruptWindow(true);
      assertEquals(VcpuExit.IRQ_WINDOW, g.machine.run());
      assertEquals(CODE + 11 + 2 + 1, g.machine.rip());
      assertEquals(5, g.machine.retired());
    }
  }

  @Test
  void shouldHoldTheWindowBackForOneInstructionAfterPopSs() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.flags(Flags.IF);
      g.code(
          a -> {
            a.push(Register.SS);
            a.pop(Register.SS);
            a.mov(Register.ESP, DATA);
            a.hlt();
          });
      assertEquals(VcpuExit.LIMIT, g.machine.run(2));
      assertFalse(g.machine.vcpu.interruptible());
      g.machine.vcpu.requestInterruptWindow(true);
      assertEquals(VcpuExit.IRQ_WINDOW, g.machine.run());
      assertEquals(DATA, g.machine.reg(Register.RSP));
      assertEquals(3, g.machine.retired());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldDeliverAtTheWindowWhenTheInterruptWaits(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            a.sti();
            a.mov(Register.EAX, 5);
            a.mov(Register.EAX, 6);
            a.hlt();
          });
      g.machine.vcpu.requestInterruptWindow(true);
      assertEquals(VcpuExit.IRQ_WINDOW, g.machine.run());
      g.machine.vcpu.requestInterruptWindow(false);
      g.machine.vcpu.injectInterrupt(0x55);
      assertEquals(0x55, g.runToHandler());
      assertEquals(CODE + 6, g.stack(0));
      assertEquals(5, g.machine.reg(Register.RAX));
      assertFalse(g.machine.vcpu.interruptible(), "an interrupt gate");
      g.runToEnd();
      assertEquals(6, g.machine.reg(Register.RAX));
      assertEquals(STACK, g.machine.reg(Register.RSP));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldNotOpenTheWindowWhileAnInstructionWaitsForItsAnswer(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.flags(Flags.IF);
      g.code(
          a -> {
            a.in(Register.AL, 0x60);
            a.hlt();
          });
      int reason = g.machine.enterOnce(BareMachine.NO_LIMIT);
      while (reason == VcpuExit.PAGE_FAULT) {
        reason = g.machine.enterOnce(BareMachine.NO_LIMIT);
      }
      assertEquals(VcpuExit.PIO, reason);
      assertFalse(g.machine.vcpu.interruptible());
      assertFalse(g.machine.vcpu.nmiInjectable());
      g.machine.vcpu.requestInterruptWindow(true);
      assertEquals(VcpuExit.IRQ_WINDOW, g.machine.run());
      assertEquals(CODE + 2, g.machine.rip());
      assertEquals(BareMachine.answer(0x60, 1), g.machine.reg(Register.RAX));
    }
  }

  // ---- single step ----

  /** Runs a program under TF; the addresses that #DB returned to. */
  private static List<Long> trapsOf(final MmuKind mmu, final Consumer<Assembler> program) {
    final List<Long> traps = new ArrayList<>();
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(program);
      while (true) {
        assertEquals(VcpuExit.HLT, g.machine.run());
        if (g.machine.vcpu.exit().rip != BareGuest.handler(Vector.DB)) {
          return traps;
        }
        assertEquals(DR6_BS, g.machine.get(StateLayout.DR6) & DR6_BS);
        assertEquals(0, g.flags() & Flags.TF);
        assertEquals(0, g.stack(2) & Flags.RF, "a trap sets no RF");
        g.machine.set(StateLayout.DR6, 0xFFFF_0FF0L);
        traps.add(g.stack(0) - CODE);
      }
    }
  }

  private static void setTf(final Assembler a) {
    a.push(Flags.TF);
    a.popf();
  }

  private static void clearTf(final Assembler a) {
    a.push(0);
    a.popf();
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTrapAfterEachInstructionButNotAfterTheOneThatSetsTf(final MmuKind mmu) {
    assertEquals(
        List.of(7L, 9L, 11L, 12L),
        trapsOf(
            mmu,
            a -> {
              setTf(a); // 6 bytes
              a.nop();
              a.inc(Register.EAX); // 2
              clearTf(a); // 2 and 1: the POPF that clears TF still traps
              a.hlt();
            }));
  }

  @Test
  void shouldTrapAfterTheInstructionThatFollowsIretWhenIretSetsTf() {
    final List<Long> traps =
        trapsOf(
            MmuKind.NESTED,
            a -> {
              final Label there = a.label();
              a.mov(Register.RCX, Register.RSP);
              a.push(DATA0);
              a.push(Register.RCX);
              a.push(Flags.TF);
              a.push(BareGuest.CODE0);
              a.lea(Register.RAX, Memory.rip(there));
              a.push(Register.RAX);
              a.iretq();
              a.bind(there);
              a.nop();
              clearTf(a);
              a.hlt();
            });
    assertEquals(3, traps.size());
    assertEquals(traps.getFirst() + 2, traps.get(1));
    assertEquals(traps.getFirst() + 3, traps.get(2));
  }

  @Test
  void shouldNotTrapAfterIntWhichClearsTf() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(
          a -> {
            setTf(a);
            a.interrupt(0x80);
            a.nop();
            a.hlt();
          });
      assertEquals(0x80, g.runToHandler());
      assertTrue((g.stack(2) & Flags.TF) != 0);
      // IRET of the handler sets TF again: the trap is that of the NOP.
      assertEquals(Vector.DB, g.runToHandler());
      assertEquals(CODE + 6 + 2 + 1, g.stack(0));
    }
  }

  @Test
  void shouldTrapOnceAfterTheInstructionThatFollowsMovSs() {
    assertEquals(
        List.of(11L, 14L, 16L, 17L),
        trapsOf(
            MmuKind.NESTED,
            a -> {
              setTf(a); // 6
              a.mov(Register.EAX, DATA0); // 11
              a.mov(Register.SS, Register.AX); // 13: no trap here
              a.nop(); // 14
              clearTf(a); // 16, 17
              a.hlt();
            }));
  }

  @Test
  void shouldTrapAfterStiThoughItCastsAShadow() {
    assertEquals(
        List.of(7L, 8L, 10L, 11L),
        trapsOf(
            MmuKind.NESTED,
            a -> {
              setTf(a); // 6
              a.sti(); // 7
              a.cli(); // 8
              clearTf(a); // 10, 11
              a.hlt();
            }));
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTrapAfterEachIterationOfARepeatedString(final MmuKind mmu) {
    assertEquals(
        List.of(18L, 18L, 20L, 22L, 23L),
        trapsOf(
            mmu,
            a -> {
              a.mov(Register.EDI, DATA); // 5
              a.mov(Register.ECX, 3); // 10
              a.cld(); // 11
              a.nop(); // 12
              setTf(a); // 18
              a.rep();
              a.stos(1); // 20
              clearTf(a); // 22, 23
              a.hlt();
            }));
  }

  @Test
  void shouldTrapInsteadOfSleepingWhenHltIsStepped() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(
          a -> {
            setTf(a);
            a.hlt();
            a.nop();
          });
      assertEquals(Vector.DB, g.runToHandler());
      assertEquals(CODE + 7, g.stack(0));
      assertEquals(1, g.machine.exits(VcpuExit.HLT).size(), "only the handler's");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTrapAfterTheInstructionCompletesWhenItExits(final MmuKind mmu) {
    assertEquals(
        List.of(8L, 10L, 12L, 13L),
        trapsOf(
            mmu,
            a -> {
              setTf(a);
              a.in(Register.AL, 0x70); // 8
              a.rdtsc(); // 10
              clearTf(a);
              a.hlt();
            }));
  }

  @Test
  void shouldNotTrapWhenTheInstructionFaults() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(
          a -> {
            setTf(a);
            a.ud2();
          });
      assertEquals(Vector.UD, g.runToHandler());
      assertTrue((g.stack(2) & Flags.TF) != 0);
      assertEquals(0, g.machine.get(StateLayout.DR6) & DR6_BS);
    }
  }
}

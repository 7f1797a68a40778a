package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.CODE0;
import static dev.vmexit.vcpu.soft.BareGuest.CODE3;
import static dev.vmexit.vcpu.soft.BareGuest.DATA0;
import static dev.vmexit.vcpu.soft.BareGuest.DATA3;
import static dev.vmexit.vcpu.soft.BareGuest.FREE;
import static dev.vmexit.vcpu.soft.BareGuest.STACK;
import static dev.vmexit.vcpu.soft.BareGuest.TASK;
import static dev.vmexit.vcpu.soft.BareGuest.TSS;
import static dev.vmexit.vcpu.soft.BareGuest.descriptor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Hardware task switches. */
class TaskSwitchTest {
  private static final long NEW_TSS = 0x5000;
  private static final long NEW_CODE = 0x1_8000;
  private static final long NEW_STACK = 0x4_0000;
  private static final int NEW_TASK = FREE;
  private static final int GATE = FREE + 8;
  private static final int TSS32 = 0x89;
  private static final int TSS16 = 0x81;
  private static final int BUSY = 2;

  private static BareGuest guest(final MmuKind mmu, final Paging paging) {
    final BareGuest g = BareGuest.protected32(mmu, paging);
    task32(g);
    // The processor never writes it: the way back takes what the system put there.
    g.machine.memory.write32(TSS + 28, (int) g.machine.get(StateLayout.CR3));
    return g;
  }

  /** A second task of ring 0: EAX to EDI hold 1 to 8 where the stack pointer does not. */
  private static void task32(final BareGuest g) {
    g.gdt(NEW_TASK, descriptor(NEW_TSS, 0x67, TSS32));
    final var memory = g.machine.memory;
    memory.fill(NEW_TSS, 0x68, 0);
    memory.write32(NEW_TSS + 28, (int) g.machine.get(StateLayout.CR3));
    memory.write32(NEW_TSS + 32, (int) NEW_CODE);
    memory.write32(NEW_TSS + 36, Flags.RESERVED_1 | Flags.CF);
    for (int i = 0; i < 8; i++) {
      memory.write32(NEW_TSS + 40 + i * 4L, i + 1);
    }
    memory.write32(NEW_TSS + 56, (int) NEW_STACK);
    for (int i = 0; i < 6; i++) {
      memory.write32(NEW_TSS + 72 + i * 4L, DATA0);
    }
    memory.write32(NEW_TSS + 76, CODE0);
  }

  private static void newCode(final BareGuest g, final Consumer<Assembler> program) {
    final Assembler a = new Assembler(4, NEW_CODE);
    program.accept(a);
    g.machine.load(a, NEW_CODE);
  }

  private static int busy(final BareGuest g, final int selector) {
    return (int) (g.gdt(selector) >>> 40) & BUSY;
  }

  private static int error(final BareGuest g, final int vector) {
    assertEquals(vector, g.runToHandler());
    return (int) g.stack(0);
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSaveTheOldTaskAndTakeTheNewWhenJumpingToATss(final MmuKind mmu) {
    for (final Paging paging : new Paging[] {Paging.NONE, Paging.BITS32, Paging.PAE}) {
      try (BareGuest g = guest(mmu, paging)) {
        newCode(g, Assembler::hlt);
        g.code(
            a -> {
              a.mov(Register.EBX, 0x1234_5678);
              a.jmpFar(NEW_TASK, 0, 4);
              a.nop();
            });
        g.machine.run();
        assertEquals(NEW_CODE, g.machine.vcpu.exit().rip);
        assertEquals(1, g.machine.reg(Register.RAX));
        assertEquals(4, g.machine.reg(Register.RBX));
        assertEquals(NEW_STACK, g.machine.reg(Register.RSP));
        assertEquals(8, g.machine.reg(Register.RDI));
        assertEquals(Flags.RESERVED_1 | Flags.CF, g.flags());
        assertEquals(NEW_TASK, g.machine.selector(Seg.TR));
        assertEquals(NEW_TSS, g.machine.vcpu.segmentBase(Seg.TR));
        assertEquals(0xFFFF_FFFFL, g.machine.vcpu.segmentLimit(Seg.GS));
        assertTrue((g.machine.get(StateLayout.CR0) & ControlRegisters.CR0_TS) != 0);
        assertEquals(0, busy(g, TASK), "JMP leaves the old task");
        assertEquals(BUSY, busy(g, NEW_TASK));
        assertEquals(CODE + 5 + 7, g.machine.memory.read32(TSS + 32) & 0xFFFF_FFFFL);
        assertEquals(0x1234_5678, g.machine.memory.read32(TSS + 52));
        assertEquals((int) STACK, g.machine.memory.read32(TSS + 56));
        assertEquals(CODE0, g.machine.memory.read32(TSS + 76));
        assertEquals(DATA0, g.machine.memory.read32(TSS + 92));
        assertEquals(
            paging == Paging.NONE ? 0 : 1, g.machine.exits(VcpuExit.CR).size(), "of a new CR3");
        assertEquals(3, g.machine.retired(), "MOV, JMP, HLT");
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldComeBackByIretWhenATaskWasCalled(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.BITS32)) {
      newCode(
          g,
          a -> {
            a.inc(Register.EAX);
            a.iretd();
            a.hlt();
          });
      g.code(
          a -> {
            a.mov(Register.ECX, 2);
            a.callFar(NEW_TASK, 0, 4);
            a.dec(Register.ECX);
            a.mov(Register.EDX, 7);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(7, g.machine.reg(Register.RDX));
      assertEquals(1, g.machine.reg(Register.RCX));
      assertEquals(TASK, g.machine.selector(Seg.TR));
      assertEquals(0, g.flags() & Flags.NT);
      assertEquals(BUSY, busy(g, TASK));
      assertEquals(0, busy(g, NEW_TASK));
      assertEquals(TASK, g.machine.memory.read16(NEW_TSS), "the link stays");
      assertEquals(2, g.machine.memory.read32(NEW_TSS + 40), "EAX of the nested task");
      assertEquals(NEW_CODE + 2, g.machine.memory.read32(NEW_TSS + 32) & 0xFFFF_FFFFL);
      assertEquals(0, g.machine.memory.read32(NEW_TSS + 36) & Flags.NT, "IRET clears NT");
    }
  }

  @Test
  void shouldSetNtAndKeepTheOldTaskBusyWhenNested() {
    try (BareGuest g = guest(MmuKind.NESTED, Paging.NONE)) {
      newCode(g, Assembler::hlt);
      g.code(a -> a.callFar(NEW_TASK, 0, 4));
      g.machine.run();
      assertTrue((g.flags() & Flags.NT) != 0);
      assertEquals(BUSY, busy(g, TASK));
      assertEquals(BUSY, busy(g, NEW_TASK));
    }
  }

  @Test
  void shouldSaveAndLoadSixteenBitsWhenTheTssIsOfThe286() {
    try (BareGuest g = guest(MmuKind.SHADOW, Paging.BITS32)) {
      g.gdt(NEW_TASK, descriptor(NEW_TSS, 0x2B, TSS16));
      final var memory = g.machine.memory;
      memory.fill(NEW_TSS, 0x68, 0);
      memory.write16(NEW_TSS + 14, 0x8000);
      memory.write16(NEW_TSS + 16, Flags.RESERVED_1);
      for (int i = 0; i < 8; i++) {
        memory.write16(NEW_TSS + 18 + i * 2L, 0x1000 + i);
      }
      for (int i = 0; i < 4; i++) {
        memory.write16(NEW_TSS + 34 + i * 2L, DATA0);
      }
      memory.write16(NEW_TSS + 36, BareGuest.CODE0_16);
      g.gdt(BareGuest.CODE0_16, descriptor(0x1_0000, 0xFFFF, 0x009B));
      final Assembler a16 = new Assembler(2, NEW_CODE);
      a16.inc(Register.AX);
      a16.iret(2);
      g.machine.load(a16, NEW_CODE);
      g.code(
          a -> {
            a.mov(Register.EAX, 0x7777_7777);
            a.callFar(NEW_TASK, 0, 4);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0x7777_7777, g.machine.reg(Register.RAX));
      assertEquals(0x1001, memory.read16(NEW_TSS + 18));
      assertEquals(0x8002, memory.read16(NEW_TSS + 14));
      assertEquals(BareGuest.CODE0_16, memory.read16(NEW_TSS + 36));
      assertEquals(0, g.machine.exits(VcpuExit.CR).stream().filter(e -> e.address() != 3).count());
      assertEquals(1, g.machine.exits(VcpuExit.CR).size(), "only the way back names a CR3");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSwitchThroughATaskGateWhenAUserIsAllowed(final MmuKind mmu) {
    for (final int dpl : new int[] {0, 3}) {
      try (BareGuest g = guest(mmu, Paging.PAE)) {
        g.gdt(GATE, (long) NEW_TASK << 16 | (0x85L | dpl << 5) << 40);
        newCode(g, Assembler::hlt);
        g.user();
        g.code(a -> a.callFar(GATE | 3, 0, 4));
        if (dpl == 0) {
          assertEquals(GATE, error(g, Vector.GP));
        } else {
          g.machine.run();
          assertEquals(NEW_CODE, g.machine.vcpu.exit().rip);
          assertEquals(0, g.machine.vcpu.cpl());
          assertEquals(CODE3, g.machine.memory.read32(TSS + 76));
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldPushTheErrorCodeOnTheNewStackWhenAFaultSwitches(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.BITS32)) {
      g.gate(Vector.GP, 0x85, NEW_TASK, 0, 0);
      newCode(
          g,
          a -> {
            a.pop(Register.EAX);
            a.hlt();
            a.iretd();
          });
      g.code(
          a -> {
            a.nop();
            a.mov(Register.AX, FREE + 0x78);
            a.ltr(Register.AX);
          });
      g.machine.run();
      assertEquals(NEW_CODE + 1, g.machine.vcpu.exit().rip);
      assertEquals(FREE + 0x78, g.machine.reg(Register.RAX));
      assertEquals(CODE + 1 + 4, g.machine.memory.read32(TSS + 32) & 0xFFFF_FFFFL, "a fault");
      assertTrue((g.machine.memory.read32(TSS + 36) & Flags.RF) != 0);
      assertTrue((g.flags() & Flags.NT) != 0);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSwitchWhenAnInterruptMeetsATaskGateAndReturn(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.PAE)) {
      g.gate(0x40, 0x85, NEW_TASK, 0, 0);
      newCode(
          g,
          a -> {
            a.hlt();
            a.iretd();
          });
      g.flags(Flags.IF);
      g.code(a -> a.jmp(a.here()));
      g.machine.vcpu.injectInterrupt(0x40);
      g.machine.run();
      assertEquals(NEW_CODE, g.machine.vcpu.exit().rip);
      assertEquals(0, g.flags() & Flags.IF, "flags are those of the new task");
      assertEquals(VcpuExit.LIMIT, g.machine.run(g.machine.retired() + 5));
      assertEquals(CODE, g.machine.rip());
      assertTrue((g.flags() & Flags.IF) != 0);
    }
  }

  @Test
  void shouldSurviveADoubleFaultWhenItsHandlerIsATask() {
    try (BareGuest g = guest(MmuKind.SHADOW, Paging.BITS32)) {
      g.gate(Vector.DF, 0x85, NEW_TASK, 0, 0);
      newCode(
          g,
          a -> {
            a.pop(Register.EAX);
            a.hlt();
          });
      // No stack: the #PF of PUSH cannot be delivered.
      g.entry(STACK - 0x1000, 0);
      g.code(a -> a.push(Register.EAX));
      g.machine.run();
      assertEquals(NEW_CODE + 1, g.machine.vcpu.exit().rip);
      assertEquals(0, g.machine.reg(Register.RAX), "a double fault's error code");
      assertEquals(CODE, g.machine.memory.read32(TSS + 32) & 0xFFFF_FFFFL);
      assertEquals((int) STACK, g.machine.memory.read32(TSS + 56));
    }
  }

  @Test
  void shouldLoadAnotherAddressSpaceBeforeTheSegmentsWhenCr3Differs() {
    for (final MmuKind mmu : MmuKind.values()) {
      try (BareGuest g = guest(mmu, Paging.BITS32)) {
        // The new directory maps the GDT's page to a copy, where the new code's segment differs.
        final long directory = 0x14_0000;
        final long table = 0x14_1000;
        final long copy = 0x14_2000;
        final var memory = g.machine.memory;
        for (long i = 0; i < 1024; i++) {
          memory.write32(directory + i * 4, memory.read32(BareGuest.TABLES + i * 4));
          memory.write32(table + i * 4, memory.read32(BareGuest.TABLES + 0x1000 + i * 4));
        }
        memory.write32(directory, (int) table | 7);
        memory.write32(table + (BareGuest.GDT >>> 12) * 4, (int) copy | 7);
        for (long i = 0; i <= BareGuest.GDT_LIMIT; i += 8) {
          memory.write64(copy + i, memory.read64(BareGuest.GDT + i));
        }
        memory.write64(copy + (DATA0 & 0xFFF8), descriptor(0, 0x8_FFFF, 0x4093));
        memory.write32(NEW_TSS + 28, (int) directory);
        newCode(g, Assembler::hlt);
        g.code(a -> a.jmpFar(NEW_TASK, 0, 4));
        g.machine.run();
        assertEquals(NEW_CODE, g.machine.vcpu.exit().rip);
        assertEquals(0x8_FFFF, g.machine.vcpu.segmentLimit(Seg.DS));
        assertEquals(directory, g.machine.get(StateLayout.CR3));
      }
    }
  }

  // ---- what is refused, and in which task ----

  @Test
  void shouldRefuseInTheOldTaskWhenTheTssIsBusyAbsentOrShort() {
    final long[] raw = {
      descriptor(NEW_TSS, 0x67, TSS32 | BUSY),
      descriptor(NEW_TSS, 0x67, TSS32 & ~0x80),
      descriptor(NEW_TSS, 0x66, TSS32)
    };
    final int[] vectors = {Vector.GP, Vector.NP, Vector.TS};
    for (int i = 0; i < raw.length; i++) {
      try (BareGuest g = guest(MmuKind.NESTED, Paging.NONE)) {
        g.gdt(NEW_TASK, raw[i]);
        g.code(a -> a.jmpFar(NEW_TASK, 0, 4));
        assertEquals(NEW_TASK, error(g, vectors[i]));
        assertEquals(CODE, g.stack(1));
        assertEquals(TASK, g.machine.selector(Seg.TR));
      }
    }
  }

  @Test
  void shouldRefuseIretWhenTheLinkNamesNoBusyTask() {
    try (BareGuest g = guest(MmuKind.NESTED, Paging.NONE)) {
      g.machine.memory.write16(TSS, NEW_TASK);
      g.flags(Flags.NT);
      g.code(Assembler::iretd);
      assertEquals(NEW_TASK, error(g, Vector.TS));
      assertEquals(CODE, g.stack(1));
    }
  }

  @Test
  void shouldFaultInTheNewTaskWhenItsSegmentsAreBad() {
    // Which selector is bad, what is there, the vector.
    final int[][] cases = {
      {76, DATA0, Vector.TS},
      {80, DATA3, Vector.TS},
      {72, TASK, Vector.TS},
      {96, DATA0, Vector.TS}
    };
    for (final int[] c : cases) {
      try (BareGuest g = guest(MmuKind.SHADOW, Paging.BITS32)) {
        g.machine.memory.write32(NEW_TSS + c[0], c[1]);
        // The new task's own stack may be unusable: a third task takes the fault.
        final long third = 0x5800;
        g.gdt(FREE + 16, descriptor(third, 0x67, TSS32));
        for (int i = 0; i < 0x68; i += 4) {
          g.machine.memory.write32(third + i, g.machine.memory.read32(NEW_TSS + i));
        }
        g.machine.memory.write32(third + 76, CODE0);
        g.machine.memory.write32(third + 80, DATA0);
        g.machine.memory.write32(third + 72, DATA0);
        g.machine.memory.write32(third + 96, 0);
        g.gate(c[2], 0x85, FREE + 16, 0, 0);
        newCode(g, Assembler::hlt);
        g.code(a -> a.jmpFar(NEW_TASK, 0, 4));
        g.machine.run();
        assertEquals(NEW_CODE, g.machine.vcpu.exit().rip);
        assertEquals(FREE + 16, g.machine.selector(Seg.TR));
        assertEquals(NEW_TASK, g.machine.memory.read16(third), "from the new task");
        assertEquals(c[1] & 0xFFFC, (int) g.stack(0));
      }
    }
  }

  @Test
  void shouldTrapOnTheFirstInstructionWhenTheNewTssSaysSo() {
    try (BareGuest g = guest(MmuKind.NESTED, Paging.NONE)) {
      g.machine.memory.write16(NEW_TSS + 100, 1);
      newCode(g, Assembler::hlt);
      g.code(a -> a.jmpFar(NEW_TASK, 0, 4));
      assertEquals(Vector.DB, g.runToHandler());
      assertEquals(NEW_CODE, g.stack(0));
      assertTrue((g.machine.get(StateLayout.DR6) & 1 << 15) != 0);
    }
  }

  @Test
  void shouldEnterVirtual8086ModeWhenTheNewTaskIsOne() {
    try (BareGuest g = guest(MmuKind.NESTED, Paging.BITS32)) {
      final var memory = g.machine.memory;
      memory.write32(NEW_TSS + 32, 0);
      memory.write32(NEW_TSS + 36, Flags.RESERVED_1 | Flags.VM | Flags.IOPL);
      memory.write32(NEW_TSS + 76, (int) (NEW_CODE >>> 4));
      memory.write32(NEW_TSS + 4, (int) BareGuest.RING0_STACK);
      memory.write32(NEW_TSS + 8, DATA0);
      final Assembler a16 = new Assembler(2, 0);
      a16.ud2();
      g.machine.load(a16, NEW_CODE);
      g.code(a -> a.jmpFar(NEW_TASK, 0, 4));
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(0, g.stack(0));
      assertEquals(NEW_CODE >>> 4, g.stack(1));
      assertTrue((g.stack(2) & Flags.VM) != 0);
    }
  }

  @Test
  void shouldKnowNoTasksWhenInLongMode() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.flags(Flags.NT);
      g.code(Assembler::iretq);
      assertEquals(0, error(g, Vector.GP));
    }
  }
}

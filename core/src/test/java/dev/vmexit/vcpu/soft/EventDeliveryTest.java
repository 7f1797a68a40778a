package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.CODE0;
import static dev.vmexit.vcpu.soft.BareGuest.CODE3;
import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static dev.vmexit.vcpu.soft.BareGuest.DATA0;
import static dev.vmexit.vcpu.soft.BareGuest.DATA3;
import static dev.vmexit.vcpu.soft.BareGuest.FREE;
import static dev.vmexit.vcpu.soft.BareGuest.IST1_STACK;
import static dev.vmexit.vcpu.soft.BareGuest.RING0_STACK;
import static dev.vmexit.vcpu.soft.BareGuest.STACK;
import static dev.vmexit.vcpu.soft.BareGuest.TASK;
import static dev.vmexit.vcpu.soft.BareGuest.TSS;
import static dev.vmexit.vcpu.soft.BareGuest.descriptor;
import static dev.vmexit.vcpu.soft.BareGuest.handler;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.mmu.Fault;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Interrupts and exceptions through the IVT and the IDT (SDM Vol. 3A, chapter 6; Vol. 2, INT). */
final class EventDeliveryTest {
  private static final int INTERRUPT_GATE = 0x8E;
  private static final int TRAP_GATE = 0x8F;
  private static final int INTERRUPT_GATE3 = 0xEE;
  private static final int DPL3 = 0x60;

  // ---- real mode ----

  @Test
  void shouldPushFlagsCsAndIpWhenRealModeTakesAnInterrupt() {
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      g.code(
          a -> {
            a.sti();
            a.stc();
            a.interrupt(0x21);
            a.hlt();
          });
      assertEquals(0x21, g.runToHandler());
      assertEquals(4, g.stack(0));
      assertEquals(CODE >> 4, g.stack(1));
      assertEquals(Flags.IF | Flags.CF | Flags.RESERVED_1, g.stack(2));
      assertEquals(0x1000 - 6, g.machine.reg(Register.RSP));
      assertEquals(0, g.machine.selector(Seg.CS));
      assertEquals(Flags.CF, g.flags() & (Flags.IF | Flags.TF | Flags.CF));
      g.runToEnd();
      assertEquals(0x1000, g.machine.reg(Register.RSP));
      assertTrue((g.flags() & Flags.IF) != 0);
    }
  }

  @Test
  void shouldPushNoErrorCodeWhenRealModeFaults() {
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      // A word at the last byte of a segment is beyond its limit.
      g.code(a -> a.mov(Register.AX, Memory.absolute(0xFFFF)));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0), "a fault returns to the instruction itself");
      assertEquals(CODE >> 4, g.stack(1));
      assertEquals(0x1000 - 6, g.machine.reg(Register.RSP));
    }
  }

  @Test
  void shouldShutDownWhenRealModeHasNoRoomInItsTable() {
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      g.machine.set(StateLayout.IDTR_LIMIT, 3);
      g.code(a -> a.interrupt(0x21));
      // The interrupt, then #GP, then #DF are all beyond the limit.
      g.runToShutdown();
    }
  }

  @Test
  void shouldWrapSixteenBitStackPointerWhenRealModeDelivers() {
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      g.machine.reg(Register.RSP, 0xABCD_0000L);
      g.code(a -> a.interrupt(0x40));
      assertEquals(0x40, g.runToHandler());
      assertEquals(0xABCD_FFFAL, g.machine.reg(Register.RSP));
      assertEquals(2, g.stack(0));
    }
  }

  // ---- 32-bit protected mode ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldStayOnTheStackWhenLevelIsTheSame(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
      g.code(
          a -> {
            a.interrupt(0x80);
            a.hlt();
          });
      assertEquals(0x80, g.runToHandler());
      assertEquals(STACK - 12, g.machine.reg(Register.RSP));
      assertEquals(CODE + 2, g.stack(0));
      assertEquals(CODE0, g.stack(1));
      assertEquals(Flags.RESERVED_1, g.stack(2));
      g.runToEnd();
      assertEquals(STACK, g.machine.reg(Register.RSP));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSwitchToTheStackOfTheTaskWhenUserFaults32(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.PAE)) {
      g.user();
      g.code(
          a -> {
            a.nop();
            a.hlt();
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(RING0_STACK - 24, g.machine.reg(Register.RSP));
      assertEquals(0, g.stack(0), "error code");
      assertEquals(CODE + 1, g.stack(1));
      assertEquals(CODE3, g.stack(2));
      assertEquals(Flags.RF | Flags.RESERVED_1, g.stack(3));
      assertEquals(STACK, g.stack(4));
      assertEquals(DATA3, g.stack(5));
      assertEquals(DATA0, g.machine.selector(Seg.SS));
      assertEquals(CODE0, g.machine.selector(Seg.CS));
      assertEquals(0, g.machine.vcpu.cpl());
    }
  }

  @Test
  void shouldPushWordsWhenGateIsOfSixteenBits() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.gate(0x30, 0x86);
      g.machine.reg(Register.RSP, STACK);
      g.code(a -> a.interrupt(0x30));
      assertEquals(0x30, g.runToHandler());
      assertEquals(STACK - 6, g.machine.reg(Register.RSP));
      final GuestMemory memory = g.machine.memory;
      assertEquals(2, memory.read16(STACK - 6));
      assertEquals(CODE0, memory.read16(STACK - 4));
      assertEquals(Flags.RESERVED_1, memory.read16(STACK - 2));
    }
  }

  @Test
  void shouldTakeTheStackFromASixteenBitTask() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.machine.segment(Seg.TR, TASK, descriptor(TSS, 0x2B, 0x83));
      g.machine.memory.write16(TSS + 2, 0x7000);
      g.machine.memory.write16(TSS + 4, DATA0);
      g.user();
      g.code(Assembler::hlt);
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0x7000 - 24, g.machine.reg(Register.RSP));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldPushTheErrorOfTheStackWhenTheTasksStackIsBad(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
      // Ring 1 has a good stack in the TSS, and the handler of #TS runs there.
      g.gdt(FREE, descriptor(0, 0xFFFF_FFFFL, 0xC0BB));
      g.gdt(FREE + 8, descriptor(0, 0xFFFF_FFFFL, 0xC0B3));
      g.machine.memory.write32(TSS + 12, (int) DATA + 0x800);
      g.machine.memory.write16(TSS + 16, FREE + 8 | 1);
      g.machine.memory.write16(TSS + 8, DATA3);
      g.gate(Vector.TS, INTERRUPT_GATE, FREE, CODE + 0x100, 0);
      g.gate(0x81, INTERRUPT_GATE3, FREE, CODE + 0x100, 0);
      g.gate(0x80, INTERRUPT_GATE3);
      g.user();
      g.code(
          a -> {
            a.interrupt(0x80);
            a.org(CODE + 0x100);
            a.pop(Register.EAX);
            a.mov(Memory.absolute(DATA), Register.EAX);
            a.mov(Register.EAX, Memory.at(Register.ESP));
            a.mov(Memory.absolute(DATA + 4), Register.EAX);
            // Ring 1 cannot halt: a loop that the limit ends.
            a.jmp(a.here());
          });
      assertEquals(VcpuExit.LIMIT, g.machine.run(20));
      // A software interrupt: EXT is clear.
      assertEquals(DATA3 & 0xFFFC, g.machine.memory.read32(DATA));
      assertEquals(CODE, g.machine.memory.read32(DATA + 4));
    }
  }

  @Test
  void shouldNameTheStackWhenItHasNoRoomForTheFrame() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      // Ring 0's stack ends too early; ring 1's, where #SS is handled, is good.
      g.gdt(FREE, descriptor(0, 0xFFFF_FFFFL, 0xC0BB));
      g.gdt(FREE + 8, descriptor(0, 0xFFFF_FFFFL, 0xC0B3));
      g.gdt(FREE + 16, descriptor(0, 0xFF, 0x4093));
      g.machine.memory.write32(TSS + 12, (int) DATA + 0x800);
      g.machine.memory.write16(TSS + 16, FREE + 8 | 1);
      g.machine.memory.write32(TSS + 4, 0x110);
      g.machine.memory.write16(TSS + 8, FREE + 16);
      g.gate(Vector.SS, INTERRUPT_GATE, FREE, CODE + 0x100, 0);
      g.user();
      g.flags(Flags.IF);
      g.code(
          a -> {
            a.jmp(a.here());
            a.org(CODE + 0x100);
            a.pop(Register.EAX);
            a.jmp(a.here());
          });
      g.machine.vcpu.injectInterrupt(0x80);
      assertEquals(VcpuExit.LIMIT, g.machine.run(20));
      assertEquals(FREE + 16 | 1, g.machine.reg(Register.RAX), "from outside: EXT is set");
    }
  }

  // ---- long mode ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldAlignTheStackAndPushFiveWordsWhenLong(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.machine.reg(Register.RSP, STACK - 3);
      g.code(
          a -> {
            a.interrupt(0x80);
            a.hlt();
          });
      assertEquals(0x80, g.runToHandler());
      assertEquals(STACK - 16 - 40, g.machine.reg(Register.RSP));
      assertEquals(CODE + 2, g.stack(0));
      assertEquals(CODE0, g.stack(1));
      assertEquals(Flags.RESERVED_1, g.stack(2));
      assertEquals(STACK - 3, g.stack(3));
      assertEquals(DATA0, g.stack(4));
      assertEquals(DATA0, g.machine.selector(Seg.SS), "same level: SS stays");
      g.runToEnd();
      assertEquals(STACK - 3, g.machine.reg(Register.RSP));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTakeRsp0AndNullSsWhenUserFaults64(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.user();
      g.code(Assembler::cli);
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(RING0_STACK - 48, g.machine.reg(Register.RSP));
      assertEquals(0, g.stack(0));
      assertEquals(CODE, g.stack(1));
      assertEquals(CODE3, g.stack(2));
      assertEquals(Flags.RF | Flags.RESERVED_1, g.stack(3));
      assertEquals(STACK, g.stack(4));
      assertEquals(DATA3, g.stack(5));
      assertEquals(0, g.machine.selector(Seg.SS));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTakeTheInterruptStackWhenGateNamesOne(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.gate(0x80, INTERRUPT_GATE3, CODE0, handler(0x80), 1);
      g.code(
          a -> {
            a.interrupt(0x80);
            a.hlt();
          });
      assertEquals(0x80, g.runToHandler());
      assertEquals((IST1_STACK & -16) - 40, g.machine.reg(Register.RSP));
      assertEquals(STACK, g.stack(3));
      g.runToEnd();
      assertEquals(STACK, g.machine.reg(Register.RSP));
    }
  }

  @Test
  void shouldRaiseTsNamingTheTaskWhenTheStackIsBeyondItsLimit() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.machine.segment(Seg.TR, TASK, descriptor(TSS, 0x23, 0x8B));
      g.gate(0x80, INTERRUPT_GATE, CODE0, handler(0x80), 1);
      g.code(a -> a.interrupt(0x80));
      assertEquals(Vector.TS, g.runToHandler());
      assertEquals(TASK, g.stack(0));
      assertEquals(CODE, g.stack(1));
    }
  }

  @Test
  void shouldSetExtWhenAnExternalEventMeetsABadTask() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.machine.segment(Seg.TR, TASK, descriptor(TSS, 0x23, 0x8B));
      g.gate(0x80, INTERRUPT_GATE, CODE0, handler(0x80), 1);
      g.code(a -> a.jmp(a.here()));
      g.machine.vcpu.injectInterrupt(0x80);
      assertEquals(Vector.TS, g.runToHandler());
      assertEquals(TASK | 1, g.stack(0));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenTheHandlerIsNotCanonical() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.gate(0x80, INTERRUPT_GATE, CODE0, 0x8000_0000_0000L, 0);
      g.code(a -> a.interrupt(0x80));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
      assertEquals(CODE, g.stack(1), "the INT faults, not its handler");
      assertEquals(STACK - 48, g.machine.reg(Register.RSP));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenTheHandlerIsBeyondItsSegment() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.gdt(FREE, descriptor(0, 0xFFFF, 0x409B));
      g.gate(0x80, INTERRUPT_GATE, FREE, 0x1_0000, 0);
      g.code(a -> a.interrupt(0x80));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
      assertEquals(CODE, g.stack(1));
      assertEquals(CODE0, g.stack(2));
    }
  }

  @Test
  void shouldRaiseStackFaultWhenTheTasksStackIsNotCanonical() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.machine.memory.write64(TSS + 4, 0x8000_0000_0000L);
      g.gate(Vector.SS, INTERRUPT_GATE, CODE0, handler(Vector.SS), 1);
      g.user();
      g.code(Assembler::cli);
      // #GP cannot be delivered for want of a stack: #SS, contributory twice, is #DF.
      g.gate(Vector.DF, INTERRUPT_GATE, CODE0, handler(Vector.DF), 1);
      assertEquals(Vector.DF, g.runToHandler());
      assertEquals(0, g.stack(0));
    }
  }

  @Test
  void shouldMarkTheCodeDescriptorAccessedWhenDelivering() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.gdt(FREE, descriptor(0, 0xFFFF_FFFFL, 0xA09A));
      g.gate(0x80, INTERRUPT_GATE, FREE, handler(0x80), 0);
      g.code(a -> a.interrupt(0x80));
      assertEquals(0x80, g.runToHandler());
      assertEquals(descriptor(0, 0xFFFF_FFFFL, 0xA09B), g.gdt(FREE));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldEnterSixtyFourBitCodeWhenCompatibilityModeIsInterrupted(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.user();
      g.machine.segment(Seg.CS, BareGuest.CODE3_32, g.gdt(BareGuest.CODE3_32));
      g.machine.stateChanged();
      g.gate(0x80, INTERRUPT_GATE3);
      final Assembler a = new Assembler(4, CODE);
      a.interrupt(0x80);
      a.mov(Register.EAX, 0x1234);
      a.ud2();
      g.machine.load(a, CODE);
      assertEquals(0x80, g.runToHandler());
      assertTrue(g.machine.vcpu.longMode64());
      assertEquals(BareGuest.CODE3_32, g.stack(1));
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(0x1234, g.machine.reg(Register.RAX));
      assertEquals(CODE + 7, g.stack(0));
    }
  }

  // ---- gates ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldClearIfOnlyWhenGateIsAnInterruptGate(final MmuKind mmu) {
    for (final boolean trap : new boolean[] {false, true}) {
      try (BareGuest g = BareGuest.long64(mmu)) {
        g.gate(0x80, trap ? TRAP_GATE : INTERRUPT_GATE);
        g.flags(Flags.IF | Flags.NT | Flags.DF);
        g.code(a -> a.interrupt(0x80));
        assertEquals(0x80, g.runToHandler());
        assertEquals(trap, (g.flags() & Flags.IF) != 0);
        assertEquals(Flags.DF, g.flags() & (Flags.NT | Flags.DF | Flags.TF));
        assertEquals(Flags.IF | Flags.NT | Flags.DF | Flags.RESERVED_1, g.stack(2));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseProtectionFaultWhenUserMayNotUseTheGate(final MmuKind mmu) {
    for (final boolean wide : new boolean[] {false, true}) {
      try (BareGuest g = wide ? BareGuest.long64(mmu) : BareGuest.protected32(mmu, Paging.BITS32)) {
        g.user();
        g.code(a -> a.interrupt(0x80));
        assertEquals(Vector.GP, g.runToHandler());
        assertEquals(0x80 * 8 + 2, g.stack(0));
        assertEquals(CODE, g.stack(1), "a fault, though INT is a trap");
      }
    }
  }

  @Test
  void shouldIgnoreTheGatesPrivilegeWhenTheEventIsNotSoftware() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.user();
      g.flags(Flags.IF);
      g.code(a -> a.jmp(a.here()));
      g.machine.vcpu.injectInterrupt(0x80);
      assertEquals(0x80, g.runToHandler());
      assertEquals(CODE, g.stack(0));
      assertEquals(0, g.stack(2) & Flags.RF, "an interrupt sets no RF");
    }
  }

  @Test
  void shouldIgnoreTheGatesPrivilegeForInt1ButNotForInt3() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.user();
      g.code(
          a -> {
            a.int1();
            a.int3();
          });
      assertEquals(Vector.DB, g.runToHandler());
      assertEquals(CODE + 1, g.stack(0));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(Vector.BP * 8 + 2, g.stack(0));
      assertEquals(CODE + 1, g.stack(1));
    }
  }

  @Test
  void shouldTrapWithNoErrorCodeForInt3AndInto() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.gate(Vector.BP, INTERRUPT_GATE | DPL3);
      g.gate(Vector.OF, INTERRUPT_GATE | DPL3);
      g.user();
      g.code(
          a -> {
            a.int3();
            a.into();
            a.mov(Register.AL, 0x7F);
            a.add(Register.AL, 1);
            a.into();
          });
      assertEquals(Vector.BP, g.runToHandler());
      assertEquals(CODE + 1, g.stack(0));
      assertEquals(0, g.stack(2) & Flags.RF);
      assertEquals(Vector.OF, g.runToHandler());
      assertEquals(CODE + 1 + 1 + 2 + 2 + 1, g.stack(0));
      assertTrue((g.stack(2) & Flags.OF) != 0);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseNotPresentWhenTheGateIsNot(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.gate(0x80, 0x0E);
      g.code(a -> a.interrupt(0x80));
      assertEquals(Vector.NP, g.runToHandler());
      assertEquals(0x80 * 8 + 2, g.stack(0));
      assertEquals(CODE, g.stack(1));
    }
  }

  @Test
  void shouldSetExtWhenTheGateOfAnExternalInterruptIsNotPresent() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.gate(0x80, 0x0E);
      g.code(a -> a.jmp(a.here()));
      g.machine.vcpu.injectInterrupt(0x80);
      assertEquals(Vector.NP, g.runToHandler());
      assertEquals(0x80 * 8 + 3, g.stack(0));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenTheGateIsNoGate() {
    // A task gate, a call gate, a trap gate of 16 bits in long mode.
    for (final int type : new int[] {0x85, 0x8C, 0x87}) {
      try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
        g.gate(0x80, type);
        g.code(a -> a.interrupt(0x80));
        assertEquals(Vector.GP, g.runToHandler());
        assertEquals(0x80 * 8 + 2, g.stack(0));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseProtectionFaultWhenTheVectorIsBeyondTheLimit(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.machine.set(StateLayout.IDTR_LIMIT, 0x80 * 16 + 14);
      g.code(a -> a.interrupt(0x80));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0x80 * 8 + 2, g.stack(0));
    }
  }

  @Test
  void shouldNameTheSelectorWhenTheGatesCodeIsBad() {
    final long data = descriptor(0, 0xFFFF_FFFFL, 0xC093);
    final long absent = descriptor(0, 0xFFFF_FFFFL, 0xA01B);
    final long code32 = descriptor(0, 0xFFFF_FFFFL, 0xC09B);
    final long[] raw = {data, absent, code32};
    final int[] vectors = {Vector.GP, Vector.NP, Vector.GP};
    for (int i = 0; i < raw.length; i++) {
      try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
        g.gdt(FREE, raw[i]);
        g.gate(0x80, INTERRUPT_GATE, FREE, handler(0x80), 0);
        g.code(a -> a.interrupt(0x80));
        assertEquals(vectors[i], g.runToHandler());
        assertEquals(FREE, g.stack(0));
      }
    }
  }

  @Test
  void shouldRaiseProtectionFaultOfZeroWhenTheGatesSelectorIsNull() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.gate(0x80, INTERRUPT_GATE, 0, handler(0x80), 0);
      g.code(a -> a.interrupt(0x80));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
    }
  }

  // ---- faults and traps ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReturnToTheFaultingInstructionAndSetRfWhenFaulting(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            a.xor(Register.ECX, Register.ECX);
            a.inc(Register.RBX);
            a.div(Register.ECX);
          });
      assertEquals(Vector.DE, g.runToHandler());
      assertEquals(CODE + 2 + 3, g.stack(0));
      assertTrue((g.stack(2) & Flags.RF) != 0);
      assertEquals(0, g.flags() & Flags.RF);
      assertEquals(1, g.machine.reg(Register.RBX));
      assertEquals(3, g.machine.retired(), "XOR, INC and the handler's HLT; no DIV");
      assertEquals(Vector.DE, g.runToHandler(), "the DIV again");
    }
  }

  // ---- double and triple faults ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseDoubleFaultWhenTwoContributoryFaultsMeet(final MmuKind mmu) {
    for (final boolean wide : new boolean[] {false, true}) {
      try (BareGuest g = wide ? BareGuest.long64(mmu) : BareGuest.protected32(mmu, Paging.PAE)) {
        g.gate(Vector.GP, 0x0E);
        g.code(
            a -> {
              a.nop();
              a.mov(Register.AX, FREE + 0x78);
              a.ltr(Register.AX);
            });
        assertEquals(Vector.DF, g.runToHandler());
        assertEquals(0, g.stack(0));
        assertEquals(CODE0, g.stack(2));
        assertEquals(CODE + 1 + 4, g.stack(1));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldHandleOneAfterTheOtherWhenTheFirstIsBenign(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.gate(Vector.UD, 0x0E);
      g.code(Assembler::ud2);
      assertEquals(Vector.NP, g.runToHandler());
      assertEquals(Vector.UD * 8 + 3, g.stack(0), "met while delivering an exception: EXT");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseDoubleFaultWhenAPageFaultCannotBeDelivered(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.gate(Vector.DF, INTERRUPT_GATE, CODE0, handler(Vector.DF), 1);
      // The stack of #PF is not mapped.
      g.entry(STACK - 0x1000, 0);
      g.code(a -> a.push(Register.RAX));
      assertEquals(Vector.DF, g.runToHandler());
      assertEquals(CODE, g.stack(1));
      assertEquals(STACK, g.stack(4), "PUSH did not move the stack pointer");
      assertEquals(STACK - 8, g.machine.get(StateLayout.CR2), "the second fault's address");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseAPageFaultWhenAContributoryFaultMeetsOne(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.gate(Vector.PF, INTERRUPT_GATE, CODE0, handler(Vector.PF), 1);
      g.entry(STACK - 0x1000, 0);
      g.code(
          a -> {
            a.mov(Register.AX, FREE + 0x78);
            a.ltr(Register.AX);
          });
      assertEquals(Vector.PF, g.runToHandler());
      assertEquals(2, g.stack(0), "a store by the supervisor");
      assertEquals(CODE + 4, g.stack(1));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldShutDownWhenADoubleFaultCannotBeDelivered(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.gate(Vector.GP, 0x0E);
      g.gate(Vector.DF, 0x0E);
      g.code(
          a -> {
            a.mov(Register.AX, FREE + 0x78);
            a.ltr(Register.AX);
          });
      g.runToShutdown();
      assertEquals(CODE + 4, g.machine.rip());
      // It stays down.
      g.runToShutdown();
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldShutDownWhenNoStackIsMapped(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.machine.reg(Register.RSP, 0xDEAD_0000_0000L >>> 4);
      g.code(a -> a.push(Register.RAX));
      g.runToShutdown();
    }
  }

  // ---- external interrupts ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldDeliverOnceWhenDeliveryItselfExits(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.flags(Flags.IF);
      g.code(a -> a.jmp(a.here()));
      assertEquals(VcpuExit.LIMIT, g.machine.run(10));
      g.machine.exits.clear();
      assertTrue(g.machine.vcpu.interruptible());
      g.machine.vcpu.injectInterrupt(0x80);
      assertFalse(g.machine.vcpu.interruptible(), "one at a time");
      assertEquals(0x80, g.runToHandler());
      assertEquals(STACK - 40, g.machine.reg(Register.RSP), "one frame");
      assertEquals(CODE, g.stack(0));
      assertEquals(11, g.machine.retired(), "delivery retires nothing, HLT is one");
      final long faults =
          g.machine.exits(VcpuExit.PAGE_FAULT).stream()
              .filter(e -> e.outcome() == Fault.FILLED)
              .count();
      // IDT, GDT, stack; the handler's code.
      assertEquals(mmu == MmuKind.SHADOW ? 4 : 0, faults);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldDeliverTheInterruptLaterWhenItsDeliveryFaultsInTheGuest(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.gate(Vector.PF, INTERRUPT_GATE, CODE0, handler(Vector.PF), 1);
      g.flags(Flags.IF);
      g.machine.reg(Register.RSP, STACK + 0x4_0000);
      g.entry(STACK + 0x3_F000, 0);
      g.code(a -> a.jmp(a.here()));
      g.machine.vcpu.injectInterrupt(0x80);
      assertEquals(Vector.PF, g.runToHandler());
      assertEquals(CODE, g.stack(1));
      g.entry(STACK + 0x3_F000, STACK + 0x3_F000 | 7);
      assertEquals(0x80, g.runToHandler());
      assertEquals(CODE, g.stack(0));
      assertEquals(STACK + 0x4_0000 - 40, g.machine.reg(Register.RSP));
      assertEquals(VcpuExit.LIMIT, g.machine.run(g.machine.retired() + 20), "and only once");
    }
  }

  @Test
  void shouldTakeNoOtherInterruptWhileOneIsDeferred() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.gate(Vector.PF, TRAP_GATE, CODE0, handler(Vector.PF), 1);
      g.flags(Flags.IF);
      g.machine.reg(Register.RSP, STACK + 0x4_0000);
      g.entry(STACK + 0x3_F000, 0);
      g.code(a -> a.jmp(a.here()));
      g.machine.vcpu.injectInterrupt(0x80);
      // A trap gate leaves IF set: the deferred one goes first.
      assertEquals(VcpuExit.LIMIT, g.machine.run(0));
      assertFalse(g.machine.vcpu.interruptible());
    }
  }

  // ---- NMI ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldBlockFurtherNmisUntilIret(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(a -> a.jmp(a.here()));
      assertTrue(g.machine.vcpu.nmiInjectable(), "IF does not matter");
      g.machine.vcpu.injectNmi();
      assertFalse(g.machine.vcpu.nmiInjectable());
      assertEquals(Vector.NMI, g.runToHandler());
      assertFalse(g.machine.vcpu.nmiInjectable());
      assertEquals(VcpuExit.LIMIT, g.machine.run(g.machine.retired() + 1));
      assertEquals(CODE, g.machine.rip(), "IRET is done");
      assertTrue(g.machine.vcpu.nmiInjectable());
    }
  }
}

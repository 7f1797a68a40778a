package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.CODE0;
import static dev.vmexit.vcpu.soft.BareGuest.CODE0_16;
import static dev.vmexit.vcpu.soft.BareGuest.CODE0_32;
import static dev.vmexit.vcpu.soft.BareGuest.CODE3;
import static dev.vmexit.vcpu.soft.BareGuest.CODE3_32;
import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static dev.vmexit.vcpu.soft.BareGuest.DATA0;
import static dev.vmexit.vcpu.soft.BareGuest.DATA0_16;
import static dev.vmexit.vcpu.soft.BareGuest.DATA3;
import static dev.vmexit.vcpu.soft.BareGuest.FREE;
import static dev.vmexit.vcpu.soft.BareGuest.LOCAL;
import static dev.vmexit.vcpu.soft.BareGuest.STACK;
import static dev.vmexit.vcpu.soft.BareGuest.TABLES;
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
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Segment registers, descriptor tables and far transfers (SDM Vol. 3A, chapters 3 and 5). */
final class SegmentTest {
  private static final int DATA_RIGHTS = 0x4093;
  private static final int EXECUTE_ONLY_RIGHTS = 0x4099;
  private static final int CODE_RIGHTS = 0x409B;

  private static BareGuest guest32() {
    return BareGuest.protected32(MmuKind.NESTED, Paging.NONE);
  }

  // ---- limits and types ----

  @ParameterizedTest
  @CsvSource({
    // rights, limit, offset, write, allowed
    "0x4093, 0xFF, 0xFC, false, true",
    "0x4093, 0xFF, 0xFC, true,  true",
    "0x4093, 0xFF, 0xFD, false, false",
    "0x4093, 0xFF, 0xFFFFFFFC, false, false",
    "0x4091, 0xFF, 0x10, false, true",
    "0x4091, 0xFF, 0x10, true,  false",
    "0x4097, 0xFF, 0x100, true, true",
    "0x4097, 0xFF, 0xFF, true, false",
    "0x4097, 0xFF, 0x10, false, false",
    "0x4097, 0xFF, 0xFFFC, false, true",
    "0x0097, 0xFF, 0xFFFC, false, true",
    "0x0097, 0xFF, 0xFFFD, false, false",
    "0x4095, 0xFF, 0x100, true, false",
    "0xC093, 0xFFF, 0xFFC, false, true",
    "0xC093, 0xFFF, 0xFFD, false, false",
  })
  void shouldCheckEachAccessAgainstLimitAndType(
      final String rights,
      final String limit,
      final String offset,
      final boolean write,
      final boolean allowed) {
    try (BareGuest g = guest32()) {
      g.gdt(FREE, descriptor(DATA, Long.decode(limit), Integer.decode(rights)));
      g.code(
          a -> {
            a.mov(Register.EAX, FREE);
            a.mov(Register.ES, Register.EAX);
            final Memory operand = Memory.absolute(Long.decode(offset)).in(Register.ES);
            if (write) {
              a.mov(operand, Register.EAX);
            } else {
              a.mov(Register.EAX, operand);
            }
            a.hlt();
          });
      if (allowed) {
        g.runToEnd();
      } else {
        assertEquals(Vector.GP, g.runToHandler());
        assertEquals(0, g.stack(0));
      }
    }
  }

  @Test
  void shouldRaiseStackFaultWhenTheStackSegmentIsExceeded() {
    try (BareGuest g = guest32()) {
      // Exceptions of ring 0 need a stack, so this is of ring 3.
      g.gdt(FREE, descriptor(DATA, 0xFF, 0x40F3));
      g.user();
      g.machine.segment(Seg.SS, FREE | 3, g.gdt(FREE));
      g.machine.reg(Register.RSP, 0x102);
      g.machine.stateChanged();
      g.code(a -> a.push(Register.EAX));
      assertEquals(Vector.SS, g.runToHandler());
      assertEquals(0, g.stack(0));
      assertEquals(0x102, g.stack(4), "ESP has not moved");
    }
  }

  @Test
  void shouldReadButNotWriteThroughCode() {
    try (BareGuest g = guest32()) {
      g.code(
          a -> {
            a.mov(Register.EAX, Memory.absolute(CODE).in(Register.CS));
            a.mov(Memory.absolute(CODE).in(Register.CS), Register.EAX);
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(g.machine.memory.read32(CODE), (int) g.machine.reg(Register.RAX));
    }
  }

  @Test
  void shouldNotReadThroughExecuteOnlyCode() {
    try (BareGuest g = guest32()) {
      g.machine.segment(Seg.CS, FREE, descriptor(0, 0xF_FFFF, EXECUTE_ONLY_RIGHTS));
      g.gdt(FREE, descriptor(0, 0xF_FFFF, EXECUTE_ONLY_RIGHTS));
      g.code(a -> a.mov(Register.EAX, Memory.absolute(CODE).in(Register.CS)));
      assertEquals(Vector.GP, g.runToHandler());
    }
  }

  @Test
  void shouldStopAtTheLimitWhenCodeRunsOverIt() {
    try (BareGuest g = guest32()) {
      // INC EAX; INC EAX; INC EAX; MOV EBX, imm32 of which the limit cuts the last byte off.
      g.machine.segment(Seg.CS, FREE, descriptor(0, CODE + 6, CODE_RIGHTS));
      g.gdt(FREE, descriptor(0, CODE + 6, CODE_RIGHTS));
      g.machine.memory.write64(CODE, 0x1122_3344_BB40_4040L);
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(3, g.machine.reg(Register.RAX));
      assertEquals(0, g.machine.reg(Register.RBX));
      assertEquals(CODE + 3, g.stack(1));
      assertEquals(4, g.machine.retired(), "with the handler's HLT");
    }
  }

  @Test
  void shouldRunUpToTheLastByteWhenCodeEndsAtTheLimit() {
    try (BareGuest g = guest32()) {
      g.machine.segment(Seg.CS, FREE, descriptor(0, CODE + 3, CODE_RIGHTS));
      g.machine.memory.write32(CODE, 0xF440_4040);
      g.runToEnd();
      assertEquals(3, g.machine.reg(Register.RAX));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenABranchLeavesTheSegment() {
    try (BareGuest g = guest32()) {
      g.machine.segment(Seg.CS, FREE, descriptor(0, CODE + 0x7F, CODE_RIGHTS));
      g.gdt(FREE, descriptor(0, CODE + 0x7F, CODE_RIGHTS));
      g.code(
          a -> {
            a.call(a.labelAt(CODE + 0x80));
            a.hlt();
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(CODE, g.stack(1));
      assertEquals(STACK - 16, g.machine.reg(Register.RSP), "the CALL pushed nothing");
    }
  }

  // ---- loads ----

  @ParameterizedTest
  @CsvSource({
    // rights, RPL, vector (-1: loads)
    "0x4093, 0, -1",
    "0x40F3, 3, -1",
    "0x4093, 3, 13", // RPL 3 above DPL 0
    "0x4013, 0, 11",
    "0x409B, 0, -1", // readable code
    "0x4099, 0, 13",
    "0x409F, 3, -1", // conforming: DPL does not matter
    "0x0089, 0, 13", // a TSS
  })
  void shouldCheckTheDescriptorWhenLoadingADataSegment(
      final String rights, final int rpl, final int vector) {
    try (BareGuest g = guest32()) {
      g.gdt(FREE, descriptor(DATA, 0xFFFF, Integer.decode(rights)));
      g.code(
          a -> {
            a.mov(Register.EAX, FREE | rpl);
            a.mov(Register.FS, Register.EAX);
            a.hlt();
          });
      if (vector < 0) {
        g.runToEnd();
        assertEquals(FREE | rpl, g.machine.selector(Seg.FS));
        assertEquals(DATA, g.machine.vcpu.segmentBase(Seg.FS));
      } else {
        assertEquals(vector, g.runToHandler());
        assertEquals(FREE, g.stack(0));
        assertEquals(DATA0, g.machine.selector(Seg.FS));
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0x4093, 0, -1",
    "0x4091, 0, 13",
    "0x409B, 0, 13",
    "0x40B3, 0, 13",
    "0x4093, 1, 13",
    "0x4013, 0, 12",
  })
  void shouldCheckTheDescriptorWhenLoadingTheStackSegment(
      final String rights, final int rpl, final int vector) {
    try (BareGuest g = guest32()) {
      g.gdt(FREE, descriptor(0, 0xF_FFFF, Integer.decode(rights)));
      g.code(
          a -> {
            a.mov(Register.EAX, FREE | rpl);
            a.mov(Register.SS, Register.EAX);
            a.hlt();
          });
      if (vector < 0) {
        g.runToEnd();
      } else {
        assertEquals(vector, g.runToHandler());
        assertEquals(FREE, g.stack(0));
        assertEquals(DATA0, g.machine.selector(Seg.SS));
      }
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenTheSelectorIsBeyondTheTable() {
    try (BareGuest g = guest32()) {
      g.code(
          a -> {
            a.mov(Register.EAX, BareGuest.GDT_LIMIT + 1 | 3);
            a.mov(Register.ES, Register.EAX);
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(BareGuest.GDT_LIMIT + 1, g.stack(0), "without the RPL");
    }
  }

  @Test
  void shouldFaultOnUseNotOnLoadWhenTheSelectorIsNull() {
    try (BareGuest g = guest32()) {
      g.code(
          a -> {
            a.xor(Register.EAX, Register.EAX);
            a.mov(Register.ES, Register.EAX);
            a.inc(Register.EAX);
            a.mov(Register.EBX, Memory.absolute(0).in(Register.ES));
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
      assertEquals(1, g.machine.reg(Register.RAX));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenTheStackSelectorIsNull() {
    try (BareGuest g = guest32()) {
      g.code(
          a -> {
            a.xor(Register.EAX, Register.EAX);
            a.mov(Register.SS, Register.EAX);
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
    }
    // In 64-bit mode below CPL 3 it is allowed.
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(
          a -> {
            a.xor(Register.EAX, Register.EAX);
            a.mov(Register.SS, Register.EAX);
            a.push(Register.RAX);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0, g.machine.selector(Seg.SS));
      assertEquals(0, g.machine.vcpu.cpl());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldMarkTheDescriptorAccessedWhenLoaded(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
      g.gdt(FREE, descriptor(0, 0xFFFF, 0x4092));
      g.code(
          a -> {
            a.mov(Register.EAX, FREE);
            a.mov(Register.ES, Register.EAX);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(descriptor(0, 0xFFFF, 0x4093), g.gdt(FREE));
    }
  }

  @Test
  void shouldLeaveTheRegisterAloneWhenAFarPointersSelectorFaults() {
    try (BareGuest g = guest32()) {
      g.machine.memory.write32(DATA, 0x1234);
      g.machine.memory.write16(DATA + 4, FREE);
      g.code(
          a -> {
            a.mov(Register.EBX, 7);
            a.loadFarPointer(Register.ES, Register.EBX, Memory.absolute(DATA));
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(7, g.machine.reg(Register.RBX));
    }
  }

  @Test
  void shouldLoadStackAndPointerTogetherByLss() {
    try (BareGuest g = guest32()) {
      g.machine.memory.write32(DATA, 0x5000);
      g.machine.memory.write16(DATA + 4, DATA0_16);
      g.code(
          a -> {
            a.loadFarPointer(Register.SS, Register.ESP, Memory.absolute(DATA));
            a.push(Register.EAX);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0x4FFC, g.machine.reg(Register.RSP));
      assertEquals(2, g.machine.vcpu.stackSize());
    }
  }

  @Test
  void shouldPopSsInTheWidthOfTheOldStack() {
    try (BareGuest g = guest32()) {
      // From a 32-bit stack just below a 64 KiB boundary to a 16-bit one: no wrap at 64 KiB.
      g.machine.reg(Register.RSP, DATA + 0x1_0000 - 4);
      g.machine.memory.write32(DATA + 0x1_0000 - 4, DATA0_16);
      g.code(
          a -> {
            a.pop(Register.SS);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(DATA + 0x1_0000, g.machine.reg(Register.RSP));
      assertEquals(2, g.machine.vcpu.stackSize());
    }
  }

  // ---- real mode ----

  @Test
  void shouldKeepLimitsInRealModeWhenProtectedModeSetThem() {
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      // The table lies at CODE + 0x200: base and limit, then the descriptors.
      g.machine.memory.write16(CODE + 0x200, 0x17);
      g.machine.memory.write32(CODE + 0x202, (int) CODE + 0x210);
      g.machine.memory.write64(CODE + 0x220, descriptor(0, 0xFFFF_FFFFL, 0xC093));
      g.code(
          a -> {
            a.cli();
            a.lgdt(Memory.absolute(0x200).in(Register.CS));
            a.mov(Register.EAX, Register.CR0);
            a.or(Register.AL, 1);
            a.mov(Register.CR0, Register.EAX);
            a.mov(Register.BX, 0x10);
            a.mov(Register.ES, Register.BX);
            a.and(Register.AL, 0xFE);
            a.mov(Register.CR0, Register.EAX);
            a.mov(Register.ESI, 0x12_3456);
            a.mov(Memory.at(Register.ESI).in(Register.ES).asDword(), 0xCAFE_F00DL - (1L << 32));
            // A load in real mode changes the base alone.
            a.mov(Register.BX, 0x100);
            a.mov(Register.ES, Register.BX);
            a.mov(Memory.at(Register.ESI).in(Register.ES).asByte(), 0x77);
            // DS was not touched: 64 KiB.
            a.mov(Register.AL, Memory.at(Register.ESI));
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0xCAFE_F00D, g.machine.memory.read32(0x12_3456));
      assertEquals(0x77, g.machine.memory.read8(0x12_3456 + 0x1000));
    }
  }

  @Test
  void shouldStayAtLevelZeroWhenProtectedModeIsEnteredFromAnOddSegment() {
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      // CS = 0x1003: its low bits are no privilege level.
      g.machine.vcpu.setSegment(Seg.CS, 0x1003, 0x1_0030, 0xFFFF, 0x93);
      g.machine.set(StateLayout.RIP, 0x100);
      g.machine.memory.write16(0x1_0030 + 0x200, BareGuest.GDT_LIMIT);
      g.machine.memory.write32(0x1_0030 + 0x202, (int) BareGuest.GDT);
      g.gdt(CODE0_32, descriptor(0, 0xFFFF_FFFFL, 0xC09B));
      final Assembler a = new Assembler(2, 0x100);
      a.mov(Register.EAX, 0x11);
      a.mov(Register.CR0, Register.EAX);
      // Privileged, in protected mode already.
      a.lgdt(Memory.absolute(0x200).in(Register.CS));
      a.jmpFar(CODE0_32, CODE + 0x400, 4);
      g.machine.load(a, 0x1_0030 + 0x100);
      g.machine.memory.write8(CODE + 0x400, 0xF4);
      g.machine.stateChanged();
      assertEquals(VcpuExit.HLT, g.machine.run());
      assertEquals(CODE + 0x400, g.machine.vcpu.exit().rip);
      assertEquals(0, g.machine.vcpu.cpl());
    }
  }

  @Test
  void shouldMakeCodeWritableWhenRealModeIsEnteredByAFarJump() {
    try (BareGuest g = guest32()) {
      g.machine.segment(Seg.CS, CODE0_16, g.gdt(CODE0_16));
      g.machine.stateChanged();
      final Assembler a = new Assembler(2, 0);
      a.mov(Register.EAX, 0x10);
      a.mov(Register.CR0, Register.EAX);
      a.jmpFar((int) (CODE >> 4), 0x100, 2);
      a.org(0x100);
      a.mov(Memory.absolute(0x180).in(Register.CS).asByte(), 0x5A);
      a.hlt();
      // The 16-bit segment has base 0 and reaches 64 KiB only: the code begins below.
      g.gdt(CODE0_16, descriptor(CODE, 0xFFFF, 0x009B));
      g.machine.segment(Seg.CS, CODE0_16, g.gdt(CODE0_16));
      g.machine.set(StateLayout.RIP, 0);
      g.machine.stateChanged();
      g.machine.load(a, CODE);
      assertEquals(VcpuExit.HLT, g.machine.run());
      assertEquals(0x5A, g.machine.memory.read8(CODE + 0x180));
      assertEquals(CODE >> 4, g.machine.selector(Seg.CS));
    }
  }

  @Test
  void shouldReviveANullSegmentWhenRealModeLoadsIt() {
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      g.machine.vcpu.setSegment(Seg.ES, 0, 0, 0, StateLayout.SEG_UNUSABLE);
      g.code(
          a -> {
            a.mov(Register.AX, 0x2100);
            a.mov(Register.ES, Register.AX);
            a.mov(Memory.absolute(0xFFFE).in(Register.ES).asWord(), 0x4321);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0x4321, g.machine.memory.read16(0x3_0FFE));
    }
  }

  // ---- far transfers ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldGoFromRealToLongModeAndToCompatibility(final MmuKind mmu) {
    try (BareGuest g = BareGuest.real(mmu)) {
      try (BareGuest tables = BareGuest.long64(MmuKind.NESTED)) {
        final byte[] copy = tables.bytes(BareGuest.GDT, 0x200);
        g.machine.memory.write(BareGuest.GDT, copy, 0, copy.length);
        final byte[] paging = tables.bytes(TABLES, 0xB000);
        g.machine.memory.write(TABLES, paging, 0, paging.length);
      }
      g.machine.memory.write16(CODE + 0x200, BareGuest.GDT_LIMIT);
      g.machine.memory.write32(CODE + 0x202, (int) BareGuest.GDT);
      final Assembler a = new Assembler(2, 0);
      a.cli();
      a.lgdt(Memory.absolute(0x200).in(Register.CS));
      a.mov(Register.EAX, 0x11);
      a.mov(Register.CR0, Register.EAX);
      a.jmpFar(CODE0_32, CODE + 0x300, 4);
      g.machine.load(a, CODE);
      final Assembler b = new Assembler(4, CODE + 0x300);
      b.mov(Register.EAX, DATA0);
      b.mov(Register.SS, Register.EAX);
      b.mov(Register.DS, Register.EAX);
      b.mov(Register.ESP, STACK);
      b.mov(Register.EAX, ControlRegisters.CR4_PAE);
      b.mov(Register.CR4, Register.EAX);
      b.mov(Register.EAX, TABLES);
      b.mov(Register.CR3, Register.EAX);
      b.mov(Register.ECX, Msr.EFER);
      b.rdmsr();
      b.or(Register.EAX, ControlRegisters.EFER_LME);
      b.wrmsr();
      b.mov(Register.EAX, Register.CR0);
      b.or(Register.EAX, ControlRegisters.CR0_PG - (1L << 32));
      b.mov(Register.CR0, Register.EAX);
      // Compatibility mode.
      b.mov(Register.EBX, 0x3232);
      b.rdmsr();
      b.mov(Register.ESI, Register.EAX);
      b.jmpFar(CODE0, CODE + 0x400, 4);
      g.machine.load(b, CODE + 0x300);
      final Assembler c = new Assembler(8, CODE + 0x400);
      c.mov(Register.RDX, 0x1_2345_6789L);
      c.mov(Memory.absolute(DATA), Register.RDX);
      final Label far = c.label();
      c.callFar(Memory.rip(far).asQword().as(6));
      c.hlt();
      c.bind(far);
      c.dd(CODE + 0x500);
      c.dw(CODE0_32);
      g.machine.load(c, CODE + 0x400);
      final Assembler d = new Assembler(4, CODE + 0x500);
      d.mov(Register.EDI, 0x6464);
      d.retf();
      g.machine.load(d, CODE + 0x500);
      assertEquals(VcpuExit.HLT, g.machine.run(), () -> g.machine.exits.toString());
      assertEquals(0x3232, g.machine.reg(Register.RBX));
      assertEquals(0x6464, g.machine.reg(Register.RDI));
      assertEquals(
          ControlRegisters.EFER_LME | ControlRegisters.EFER_LMA, g.machine.reg(Register.RSI));
      assertEquals(0x1_2345_6789L, g.machine.memory.read64(DATA));
      assertEquals(STACK, g.machine.reg(Register.RSP));
      assertTrue(g.machine.vcpu.longMode64());
      assertEquals(4, g.machine.exits(VcpuExit.CR).size());
    }
  }

  @ParameterizedTest
  @CsvSource({
    // rights of the target, RPL, vector (-1: arrives)
    "0xC09B, 0, -1",
    "0xC09B, 3, 13", // RPL above CPL
    "0xC0FB, 3, 13", // not conforming, DPL is not CPL
    "0xC09F, 3, -1", // conforming
    "0xC01B, 0, 11",
    "0xC093, 0, 13", // data
    "0x008D, 0, 13", // a system type that is none
    "0x0082, 0, 13", // an LDT
  })
  void shouldCheckTheTargetWhenJumpingFar(final String rights, final int rpl, final int vector) {
    try (BareGuest g = guest32()) {
      g.gdt(FREE, descriptor(0, 0xFFFF_FFFFL, Integer.decode(rights)));
      g.code(
          a -> {
            final Label there = a.label();
            a.jmpFar(FREE | rpl, there, 4);
            a.nop();
            a.bind(there);
            a.hlt();
          });
      if (vector < 0) {
        g.runToEnd();
        assertEquals(FREE, g.machine.selector(Seg.CS), "RPL becomes CPL");
      } else {
        assertEquals(vector, g.runToHandler());
        assertEquals(FREE, g.stack(0));
        assertEquals(CODE, g.stack(1));
        assertEquals(CODE0, g.stack(2));
      }
    }
  }

  @Test
  void shouldKeepItsLevelWhenUserCallsConformingCode() {
    try (BareGuest g = guest32()) {
      g.gdt(FREE, descriptor(0, 0xFFFF_FFFFL, 0xC09F));
      g.user();
      g.code(
          a -> {
            final Label routine = a.label();
            a.callFar(FREE, routine, 4);
            a.ud2();
            a.bind(routine);
            a.mov(Register.EAX, Register.CS);
            a.mov(Register.EBX, Memory.at(Register.ESP, 4));
            a.retf();
          });
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(FREE | 3, g.machine.reg(Register.RAX));
      assertEquals(CODE3, g.machine.reg(Register.RBX));
      assertEquals(CODE3, g.stack(1));
    }
  }

  @Test
  void shouldChangeNothingWhenAFarCallsStackFaults() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.gate(Vector.PF, 0x8E, CODE0, BareGuest.handler(Vector.PF), 1);
      // Only the lower of the two pushes reaches the page that is not there.
      g.machine.reg(Register.RSP, STACK + 8);
      g.entry(STACK - 0x1000, 0);
      g.machine.memory.write64(STACK, 0x5555);
      g.code(
          a -> {
            final Label far = a.label();
            a.callFar(Memory.rip(far).as(10));
            a.bind(far);
            a.dq(CODE);
            a.dw(CODE0);
          });
      assertEquals(Vector.PF, g.runToHandler());
      assertEquals(0x5555, g.machine.memory.read64(STACK));
      assertEquals(STACK + 8, g.stack(4));
      assertEquals(STACK - 8, g.machine.get(StateLayout.CR2));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldLoadStackAndDropSegmentsWhenReturningFarToUser(final MmuKind mmu) {
    for (final boolean iret : new boolean[] {false, true}) {
      try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
        g.gdt(FREE, descriptor(0, 0xFFFF_FFFFL, 0xC09F));
        final Label[] user = new Label[1];
        final Assembler code =
            g.code(
                a -> {
                  final Label there = a.label();
                  a.mov(Register.EAX, DATA3);
                  a.mov(Register.ES, Register.EAX);
                  a.mov(Register.EAX, FREE);
                  a.mov(Register.FS, Register.EAX);
                  a.push(DATA3);
                  a.push(DATA + 0x800);
                  if (iret) {
                    a.push(Flags.IF | Flags.IOPL);
                    a.push(CODE3);
                    a.mov(Register.EAX, there);
                    a.push(Register.EAX);
                    a.iretd();
                  } else {
                    a.push(0x1111);
                    a.push(0x2222);
                    a.push(CODE3);
                    a.mov(Register.EAX, there);
                    a.push(Register.EAX);
                    a.retf(4, 8);
                  }
                  a.bind(there);
                  user[0] = there;
                  a.nop();
                  a.ud2();
                });
        assertEquals(VcpuExit.LIMIT, g.machine.run(iret ? 11 : 12));
        assertEquals(code.addressOf(user[0]), g.machine.rip());
        assertEquals(3, g.machine.vcpu.cpl());
        assertEquals(CODE3, g.machine.selector(Seg.CS));
        assertEquals(DATA3, g.machine.selector(Seg.SS));
        assertEquals(DATA + 0x800 + (iret ? 0 : 8), g.machine.reg(Register.RSP));
        assertEquals(DATA3, g.machine.selector(Seg.ES), "may be kept");
        assertEquals(FREE, g.machine.selector(Seg.FS), "conforming code may be kept");
        assertEquals(0, g.machine.selector(Seg.DS));
        assertEquals(0, g.machine.selector(Seg.GS));
        if (iret) {
          assertEquals(Flags.IF | Flags.IOPL, g.flags() & (Flags.IF | Flags.IOPL));
        }
        assertEquals(Vector.UD, g.runToHandler());
        assertEquals(CODE3, g.stack(1));
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    // rights of CS, its RPL, rights of SS, RPL of SS, vector, faulting selector
    "0xC0FB, 2, 0xC0F3, 3, 13, 0x80", // DPL of code is not RPL
    "0xC0FB, 3, 0xC0F3, 2, 13, 0x88", // RPL of the stack
    "0xC0FB, 3, 0xC093, 3, 13, 0x88", // DPL of the stack
    "0xC0FB, 3, 0xC0F1, 3, 13, 0x88", // not writable
    "0xC0FB, 3, 0xC073, 3, 12, 0x88", // not present
    "0xC07B, 3, 0xC0F3, 3, 11, 0x80",
    "0xC0F3, 3, 0xC0F3, 3, 13, 0x80", // data
  })
  void shouldRaiseFaultWithNothingChangedWhenIretLoadsBadSegments(
      final String codeRights,
      final int codeRpl,
      final String stackRights,
      final int stackRpl,
      final int vector,
      final String error) {
    try (BareGuest g = guest32()) {
      g.gdt(FREE, descriptor(0, 0xFFFF_FFFFL, Integer.decode(codeRights)));
      g.gdt(FREE + 8, descriptor(0, 0xFFFF_FFFFL, Integer.decode(stackRights)));
      g.code(
          a -> {
            a.push(FREE + 8 | stackRpl);
            a.push(DATA);
            a.push(0);
            a.push(FREE | codeRpl);
            a.push(CODE);
            a.iretd();
          });
      assertEquals(vector, g.runToHandler());
      assertEquals(Long.decode(error), g.stack(0));
      assertEquals(CODE0, g.stack(2));
      assertEquals(STACK - 20 - 16, g.machine.reg(Register.RSP));
      assertEquals(DATA0, g.machine.selector(Seg.DS));
    }
  }

  @Test
  void shouldNotReturnToAnInnerLevel() {
    try (BareGuest g = guest32()) {
      g.user();
      g.code(
          a -> {
            a.push(CODE0);
            a.push(CODE);
            a.retf();
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(CODE0, g.stack(0));
    }
  }

  @Test
  void shouldKeepPrivilegedFlagsWhenUserReturnsByIret() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.user();
      g.flags(Flags.IF);
      g.code(
          a -> {
            final Label there = a.label();
            a.push(DATA3);
            a.push(STACK);
            a.push(Flags.IOPL | Flags.AC | Flags.CF);
            a.push(CODE3);
            a.lea(Register.RAX, Memory.rip(there));
            a.push(Register.RAX);
            a.iretq();
            a.bind(there);
            a.ud2();
          });
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(
          Flags.IF | Flags.AC | Flags.CF | Flags.RF | Flags.RESERVED_1,
          g.stack(2),
          "IF stays, IOPL stays");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReturnToCompatibilityModeByIret(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            final Label there = a.label();
            a.push(DATA3);
            a.push(DATA + 0x800);
            a.push(0);
            a.push(CODE3_32);
            a.lea(Register.RAX, Memory.rip(there));
            a.push(Register.RAX);
            a.iretq();
            a.bind(there);
            a.codeSize(4);
            a.inc(Register.ECX);
            a.push(Register.ECX);
            a.ud2();
          });
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(CODE3_32, g.stack(1));
      assertEquals(DATA + 0x800 - 4, g.stack(3));
      assertEquals(1, g.machine.memory.read32(DATA + 0x800 - 4));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenIretFindsNestedTaskInLongMode() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.flags(Flags.NT);
      g.code(a -> a.iret(8));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
    }
  }

  // ---- system segments and what tells of segments ----

  @Test
  void shouldLoadAndStoreTheTaskRegisterAndTheLocalTable() {
    try (BareGuest g = guest32()) {
      g.gdt(TASK, descriptor(TSS, 0x67, 0x89));
      g.ldt(4, descriptor(DATA, 0xFFFF, DATA_RIGHTS));
      g.code(
          a -> {
            a.mov(Register.EAX, TASK);
            a.ltr(Register.AX);
            a.mov(Register.EAX, LOCAL);
            a.lldt(Register.AX);
            a.mov(Register.EAX, 4);
            a.mov(Register.ES, Register.EAX);
            a.mov(Memory.absolute(0x10).in(Register.ES), Register.EAX);
            a.str(Register.EBX);
            a.sldt(Memory.absolute(DATA).asWord());
            a.xor(Register.EAX, Register.EAX);
            a.lldt(Register.AX);
            a.mov(Register.EAX, 4);
            a.mov(Register.FS, Register.EAX);
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(4, g.stack(0), "no local table any more");
      assertEquals(TASK, g.machine.reg(Register.RBX));
      assertEquals(LOCAL, g.machine.memory.read16(DATA));
      assertEquals(4, g.machine.memory.read32(DATA + 0x10));
      assertEquals(0x8B, g.gdt(TASK) >>> 40 & 0xFF, "busy");
    }
  }

  @ParameterizedTest
  @CsvSource({"0x8B, 13", "0x82, 13", "0x93, 13", "0x09, 11"})
  void shouldCheckTheDescriptorWhenLoadingTheTask(final String rights, final int vector) {
    for (final boolean wide : new boolean[] {false, true}) {
      try (BareGuest g = wide ? BareGuest.long64(MmuKind.NESTED) : guest32()) {
        g.gdt(FREE, descriptor(TSS, 0x67, Integer.decode(rights)));
        g.code(
            a -> {
              a.mov(Register.EAX, FREE);
              a.ltr(Register.AX);
            });
        assertEquals(vector, g.runToHandler());
        assertEquals(FREE, g.stack(0));
      }
    }
  }

  @Test
  void shouldWantSixteenBytesWhenLoadingSystemSegmentsInLongMode() {
    final int last = BareGuest.GDT_LIMIT - 7;
    for (final boolean task : new boolean[] {false, true}) {
      try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
        g.gdt(last, descriptor(TSS, 0x67, task ? 0x89 : 0x82));
        g.code(
            a -> {
              a.mov(Register.EAX, last);
              if (task) {
                a.ltr(Register.AX);
              } else {
                a.lldt(Register.AX);
              }
            });
        assertEquals(Vector.GP, g.runToHandler());
        assertEquals(last, g.stack(0));
      }
    }
  }

  @Test
  void shouldTakeTheUpperHalfOfTheBaseInLongMode() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.gdt(FREE, descriptor(0x8765_4321L, 0x67, 0x89));
      g.gdt(FREE + 8, 0xFFFF_8001L);
      g.code(
          a -> {
            a.mov(Register.EAX, FREE);
            a.ltr(Register.AX);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0xFFFF_8001_8765_4321L, g.machine.vcpu.segmentBase(Seg.TR));
    }
  }

  @Test
  void shouldRaiseUndefinedForSystemSegmentInstructionsInRealMode() {
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      g.code(a -> a.str(Register.AX));
      assertEquals(Vector.UD, g.runToHandler());
    }
  }

  @Test
  void shouldStoreAndLoadTablePointersInTheModesWidth() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.machine.memory.write16(DATA + 0x20, 0x1234);
      g.machine.memory.write64(DATA + 0x22, 0xFFFF_8000_1234_5678L);
      g.code(
          a -> {
            a.sgdt(Memory.absolute(DATA));
            a.sidt(Memory.absolute(DATA + 0x10));
            a.lgdt(Memory.absolute(DATA + 0x20));
            a.hlt();
          });
      g.runToEnd();
      assertEquals(BareGuest.GDT_LIMIT, g.machine.memory.read16(DATA));
      assertEquals(BareGuest.GDT, g.machine.memory.read64(DATA + 2));
      assertEquals(0xFFF, g.machine.memory.read16(DATA + 0x10));
      assertEquals(BareGuest.IDT, g.machine.memory.read64(DATA + 0x12));
      assertEquals(0x1234, g.machine.get(StateLayout.GDTR_LIMIT));
      assertEquals(0xFFFF_8000_1234_5678L, g.machine.get(StateLayout.GDTR_BASE));
    }
    try (BareGuest g = guest32()) {
      g.machine.memory.write16(DATA, 0x4321);
      g.machine.memory.write32(DATA + 2, 0x1234_5678);
      g.code(
          a -> {
            a.lgdt(Memory.absolute(DATA));
            // With the operand size prefix: 24 bits of base.
            a.db(0x66);
            a.lidt(Memory.absolute(DATA));
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0x1234_5678, g.machine.get(StateLayout.GDTR_BASE));
      assertEquals(0x0034_5678, g.machine.get(StateLayout.IDTR_BASE));
      assertEquals(0x4321, g.machine.get(StateLayout.IDTR_LIMIT));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenTheTablesBaseIsNotCanonical() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.machine.memory.write64(DATA + 2, 0x8000_0000_0000L);
      g.code(a -> a.lgdt(Memory.absolute(DATA)));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(BareGuest.GDT, g.machine.get(StateLayout.GDTR_BASE));
    }
  }

  @ParameterizedTest
  @CsvSource({
    // rights, RPL, LAR, LSL, VERR, VERW
    "0xC093, 0, true, true, true, true",
    "0xC091, 0, true, true, true, false",
    "0xC099, 0, true, true, false, false",
    "0xC09B, 0, true, true, true, false",
    "0xC093, 3, false, false, false, false",
    "0xC09F, 3, true, true, true, false",
    "0x0082, 0, true, true, false, false",
    "0x008B, 0, true, true, false, false",
    "0x008C, 0, true, false, false, false",
    "0x0085, 0, true, false, false, false",
    "0x008E, 0, false, false, false, false",
    "0x0013, 0, true, true, true, true", // not present: still visible
  })
  void shouldTellOfDescriptorsByZf(
      final String rights,
      final int rpl,
      final boolean lar,
      final boolean lsl,
      final boolean verr,
      final boolean verw) {
    try (BareGuest g = guest32()) {
      final long raw = descriptor(0, 0x1_2FFF, Integer.decode(rights));
      g.gdt(FREE, raw);
      g.code(
          a -> {
            a.mov(Register.EAX, FREE | rpl);
            a.mov(Register.ECX, 0xAAAA);
            a.lar(Register.ECX, Register.EAX);
            a.setcc(Condition.E, Register.BL);
            a.mov(Register.EDX, 0xBBBB);
            a.lsl(Register.EDX, Register.EAX);
            a.setcc(Condition.E, Register.BH);
            a.verr(Register.AX);
            a.setcc(Condition.E, Memory.absolute(DATA).asByte());
            a.verw(Register.AX);
            a.setcc(Condition.E, Memory.absolute(DATA + 1).asByte());
            a.hlt();
          });
      g.runToEnd();
      final long rbx = g.machine.reg(Register.RBX);
      assertEquals(lar, (rbx & 0xFF) != 0, "LAR");
      assertEquals(lsl, (rbx & 0xFF00) != 0, "LSL");
      assertEquals(verr, g.machine.memory.read8(DATA) != 0, "VERR");
      assertEquals(verw, g.machine.memory.read8(DATA + 1) != 0, "VERW");
      // Bits 19:16 are undefined.
      assertEquals(
          lar ? raw >>> 32 & 0xF0_FF00 : 0xAAAA,
          g.machine.reg(Register.RCX) & (lar ? 0xFFF0_FFFFL : -1L));
      assertEquals(lsl ? Descriptor.limit(raw) : 0xBBBB, g.machine.reg(Register.RDX));
    }
  }

  @Test
  void shouldRaiseTheRplByArplWhenItIsLower() {
    try (BareGuest g = guest32()) {
      g.code(
          a -> {
            a.mov(Register.EAX, 0x20);
            a.mov(Register.ECX, 0x13);
            a.modrm(0, 0, 0x63, Register.ECX, Register.EAX);
            a.setcc(Condition.E, Register.BL);
            a.mov(Memory.absolute(DATA).asWord(), 0x33);
            a.modrm(0, 0, 0x63, Register.ECX, Memory.absolute(DATA));
            a.setcc(Condition.E, Register.BH);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0x23, g.machine.reg(Register.RAX));
      assertEquals(0x33, g.machine.memory.read16(DATA));
      assertEquals(1, g.machine.reg(Register.RBX) & 0xFFFF);
    }
  }

  // ---- bases in long mode ----

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldAddTheBasesOfFsAndGsAloneIn64BitMode(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.machine.memory.write64(DATA + 0x100, 0x1111);
      g.machine.memory.write64(DATA + 0x208, 0x2222);
      g.machine.memory.write64(DATA + 0x308, 0x3333);
      g.gdt(FREE, descriptor(0x7000_0000L, 0xFFFF, DATA_RIGHTS));
      g.code(
          a -> {
            a.mov(Register.EAX, FREE);
            a.mov(Register.DS, Register.EAX);
            wrmsr(a, Msr.FS_BASE, DATA + 0x100);
            wrmsr(a, Msr.GS_BASE, DATA + 0x200);
            wrmsr(a, Msr.KERNEL_GS_BASE, DATA + 0x300);
            a.mov(Register.RBX, Memory.absolute(0).in(Register.FS));
            a.mov(Register.RSI, Memory.absolute(8).in(Register.GS));
            a.swapgs();
            a.mov(Register.RDI, Memory.absolute(8).in(Register.GS));
            a.mov(Register.ECX, Msr.KERNEL_GS_BASE);
            a.rdmsr();
            // The base of DS does not count.
            a.mov(Register.RBP, Memory.absolute(DATA + 0x100).in(Register.DS));
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0x1111, g.machine.reg(Register.RBX));
      assertEquals(0x2222, g.machine.reg(Register.RSI));
      assertEquals(0x3333, g.machine.reg(Register.RDI));
      assertEquals(DATA + 0x200, g.machine.reg(Register.RAX));
      assertEquals(0x1111, g.machine.reg(Register.RBP));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenABaseIsNotCanonical() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.code(a -> wrmsr(a, Msr.FS_BASE, 0x8000_0000_0000L));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.machine.vcpu.segmentBase(Seg.FS));
    }
  }

  @Test
  void shouldSwapGsAtLevelZeroOf64BitModeOnly() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.user();
      g.code(Assembler::swapgs);
      assertEquals(Vector.GP, g.runToHandler());
    }
    try (BareGuest g = guest32()) {
      g.machine.memory.write32(CODE, 0x00F8_010F);
      assertEquals(Vector.UD, g.runToHandler());
    }
  }

  private static void wrmsr(final Assembler a, final int msr, final long value) {
    a.mov(Register.ECX, msr);
    a.mov(Register.RAX, value);
    a.mov(Register.RDX, Register.RAX);
    a.shr(Register.RDX, 32);
    a.wrmsr();
  }

  // ---- privilege ----

  @Test
  void shouldRefuseSystemInstructionsToUser() {
    final Memory pointer = Memory.absolute(DATA);
    refused(a -> a.lgdt(pointer));
    refused(a -> a.lidt(pointer));
    refused(a -> a.lldt(Register.AX));
    refused(a -> a.ltr(Register.AX));
    refused(Assembler::clts);
    refused(a -> a.lmsw(Register.AX));
    refused(a -> a.invlpg(pointer));
    refused(Assembler::invd);
    refused(Assembler::wbinvd);
    refused(Assembler::rdmsr);
    refused(Assembler::wrmsr);
    refused(Assembler::hlt);
    refused(Assembler::cli);
    refused(Assembler::sti);
    refused(a -> a.mov(Register.RAX, Register.CR0));
    refused(a -> a.mov(Register.CR3, Register.RAX));
    refused(a -> a.mov(Register.RAX, Register.DR7));
    refused(a -> a.in(Register.AL, 0x80));
    refused(Assembler::rdpmc);
  }

  private static void refused(final Consumer<Assembler> instruction) {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.user();
      g.machine.memory.fill(TSS + 104, 0x100, 0xFF);
      g.code(instruction);
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
      assertEquals(CODE, g.stack(1));
    }
  }

  @Test
  void shouldAllowPortsByTheBitmapOfTheTask() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.user();
      g.machine.segment(Seg.TR, TASK, descriptor(TSS, 104 + 0x20, 0x8B));
      g.machine.memory.fill(TSS + 104, 0x21, 0xFF);
      // Ports 0x86 to 0x89, across a byte of the map.
      g.machine.memory.write16(TSS + 104 + 0x10, 0xFC3F);
      g.code(
          a -> {
            a.in(Register.EAX, 0x86);
            a.in(Register.AX, 0x89);
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(CODE + 2, g.stack(1));
      assertEquals(BareMachine.answer(0x86, 4), g.machine.reg(Register.RAX));
    }
  }
}

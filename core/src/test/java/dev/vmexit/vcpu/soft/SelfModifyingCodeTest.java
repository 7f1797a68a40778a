package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Code that is written after it ran, or while it runs: what is executed next is what memory holds
 * (SDM Vol. 3A, 12.6), though blocks of it are kept decoded.
 */
final class SelfModifyingCodeTest {
  private static final long RIGHTS = Pte.PRESENT | Pte.WRITABLE | Pte.USER;
  private static final int HLT = 0xF4;

  /** Bytes of MOV EAX, imm32. */
  private static final int MOV_EAX = 5;

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheNewBytesWhenTheNextInstructionIsWritten(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            final Label next = a.label();
            a.lea(Register.RBX, Memory.rip(next));
            a.inc(Register.ECX);
            a.mov(Memory.at(Register.RBX, 1).asDword(), 0x2222);
            a.bind(next);
            a.mov(Register.EAX, 0x7777_1111);
            a.inc(Register.ECX);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0x2222, g.machine.reg(Register.RAX));
      assertEquals(2, g.machine.reg(Register.RCX), "nothing ran twice");
      assertEquals(6, g.machine.retired());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheNewBytesWhenABlockThatRanIsWritten(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            final Label routine = a.label();
            final Label again = a.label();
            a.mov(Register.R8D, 300);
            a.lea(Register.RBX, Memory.rip(routine));
            a.bind(again);
            a.call(routine);
            a.add(Register.RDX, Register.RAX);
            a.inc(Memory.at(Register.RBX, 1).asDword());
            a.dec(Register.R8D);
            a.jcc(Condition.NE, again);
            a.hlt();
            a.align(64);
            a.bind(routine);
            a.mov(Register.EAX, 0x1000_0001);
            a.ret();
          });
      g.machine.reg(Register.RDX, 0);
      g.runToEnd();
      assertEquals(300L * 0x1000_0001L + 299 * 300 / 2, g.machine.reg(Register.RDX));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldFinishTheStoringInstructionWhenItOverwritesItself(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      // STOSB over its own opcode: the byte becomes HLT, but is past already.
      g.machine.reg(Register.RAX, HLT);
      g.machine.reg(Register.RDI, CODE);
      g.code(
          a -> {
            a.stos(1);
            a.inc(Register.ECX);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(1, g.machine.reg(Register.RCX));
      assertEquals(CODE + 3, g.machine.vcpu.exit().rip);
      assertEquals(HLT, g.machine.memory.read8(CODE));
      g.machine.set(StateLayout.RIP, CODE);
      g.runToEnd();
      assertEquals(CODE, g.machine.vcpu.exit().rip);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheNewBytesWhenAStoreCrossesIntoTheCodePage(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      final long page = CODE + 0x1000;
      g.machine.memory.write32(page, 0xC301_04B0); // MOV AL, 4; (ADD) bytes are replaced below
      g.machine.memory.write8(page + 2, 0xC3);
      g.code(
          a -> {
            a.call(a.labelAt(page));
            a.mov(Register.CL, Register.AL);
            // MOV AL, 9, of which the first byte lies on this page's end.
            a.mov(Memory.absolute(page - 1).asDword(), -0x3CF6_5000);
            a.call(a.labelAt(page));
            a.hlt();
          });
      g.runToEnd();
      assertEquals(4, g.machine.reg(Register.RCX) & 0xFF);
      assertEquals(9, g.machine.reg(Register.RAX) & 0xFF);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheNewBytesWhenTheyAreWrittenThroughAnAlias(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      final long alias = 0x60_0000;
      g.entry(alias, CODE | RIGHTS);
      g.code(
          a -> {
            final Label next = a.label();
            // Touch the alias for writing before the code is known as code there.
            a.mov(Memory.absolute(alias + 0xFFC).asDword(), 1);
            a.jmp(next);
            a.align(64);
            a.bind(next);
            a.mov(Register.EAX, 0x1111_1111);
            a.add(Register.EDX, Register.EAX);
            a.mov(Memory.absolute(alias + 64 + 1).asDword(), 0x2222_2222);
            a.dec(Register.ECX);
            a.jcc(Condition.NE, next);
            a.hlt();
          });
      g.machine.reg(Register.RCX, 2);
      g.machine.reg(Register.RDX, 0);
      g.runToEnd();
      assertEquals(0x3333_3333, g.machine.reg(Register.RDX));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheNewBytesWhenADeviceWritesThem(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      g.code(
          a -> {
            final Label loop = a.here();
            a.mov(Register.EAX, 1);
            a.add(Register.EDX, Register.EAX);
            a.hlt();
            a.jmp(loop);
          });
      g.machine.reg(Register.RDX, 0);
      g.runToEnd();
      g.machine.memory.write32(CODE + 1, 0x10);
      g.runToEnd();
      final byte[] code = {(byte) 0x31, (byte) 0xD2, (byte) 0xF4, (byte) 0x90, (byte) 0xF4};
      // Beginning on the page before.
      g.machine.memory.write(CODE, code, 0, code.length);
      g.machine.set(StateLayout.RIP, CODE);
      assertEquals(0x11, g.machine.reg(Register.RDX));
      g.runToEnd();
      assertEquals(0, g.machine.reg(Register.RDX));
      g.machine.memory.fill(CODE - 0x100, 0x200, 0x90);
      g.machine.memory.write8(CODE + 0x100, HLT);
      g.machine.set(StateLayout.RIP, CODE);
      g.runToEnd();
      assertEquals(CODE + 0x100, g.machine.vcpu.exit().rip);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheNewBytesWhenAStringStoresThem(final MmuKind mmu) {
    for (final boolean move : new boolean[] {false, true}) {
      try (BareGuest g = BareGuest.long64(mmu)) {
        final long target = CODE + 0x2000;
        g.machine.memory.fill(target, 0x40, 0x90);
        g.machine.memory.write8(target + 0x40, 0xC3);
        // INC EBX encoded in two bytes.
        for (int i = 0; i < 0x20; i++) {
          g.machine.memory.write16(DATA + 2 * i, 0xC3FF);
        }
        g.code(
            a -> {
              a.call(a.labelAt(target));
              a.mov(Register.RDI, target);
              a.mov(Register.RSI, DATA);
              a.mov(Register.EAX, 0xC3FF);
              a.mov(Register.ECX, 0x20);
              a.rep();
              if (move) {
                a.movs(2);
              } else {
                a.stos(2);
              }
              a.call(a.labelAt(target));
              a.hlt();
            });
        g.runToEnd();
        assertEquals(0x20, g.machine.reg(Register.RBX));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldStoreAndExecuteByTurnsWhenAPageIsDataAndCodeAgain(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      final long target = CODE + 0x3000;
      g.code(
          a -> {
            final Label again = a.label();
            final Label fill = a.label();
            a.mov(Register.R8D, 20);
            a.bind(again);
            // As data: 4 KiB of counters.
            a.mov(Register.RDI, target);
            a.mov(Register.ECX, 1024);
            a.bind(fill);
            a.mov(Memory.at(Register.RDI), Register.R8D);
            a.add(Register.RDI, 4);
            a.dec(Register.ECX);
            a.jcc(Condition.NE, fill);
            // As code: MOV EAX, imm32; RET.
            a.mov(Memory.absolute(target).asByte(), 0xB8);
            a.mov(Memory.absolute(target + 1), Register.R8D);
            a.mov(Memory.absolute(target + MOV_EAX).asByte(), 0xC3);
            a.call(a.labelAt(target));
            a.add(Register.RDX, Register.RAX);
            a.dec(Register.R8D);
            a.jcc(Condition.NE, again);
            a.hlt();
          });
      g.machine.reg(Register.RDX, 0);
      g.runToEnd();
      assertEquals(20 * 21 / 2, g.machine.reg(Register.RDX));
      assertEquals(1, g.machine.memory.read32(target + 0xFFC));
    }
  }

  // ---- instructions across two pages ----

  /** Puts MOV EAX, imm32 with two bytes of the immediate on the second page; RET follows. */
  private static void crossing(final BareGuest g, final long page, final int immediate) {
    final GuestMemory memory = g.machine.memory;
    memory.write8(page - 3, 0xB8);
    memory.write32(page - 2, immediate);
    memory.write8(page + 2, 0xC3);
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheNewBytesWhenTheSecondPageOfAnInstructionIsWritten(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      final long page = CODE + 0x1000;
      crossing(g, page, 0x1111_1111);
      g.code(
          a -> {
            a.call(a.labelAt(page - 3));
            a.mov(Register.ECX, Register.EAX);
            a.mov(Memory.absolute(page).asWord(), 0x2222);
            a.call(a.labelAt(page - 3));
            a.mov(Register.EDX, Register.EAX);
            a.mov(Memory.absolute(page - 2).asWord(), 0x3333);
            a.call(a.labelAt(page - 3));
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0x1111_1111, g.machine.reg(Register.RCX));
      assertEquals(0x2222_1111, g.machine.reg(Register.RDX));
      assertEquals(0x2222_3333, g.machine.reg(Register.RAX));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheNewPageWhenTheSecondOneIsRemapped(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      final long page = CODE + 0x1000;
      final long other = CODE + 0x4000;
      crossing(g, page, 0x1111_1111);
      g.machine.memory.write16(other, 0x2222);
      g.machine.memory.write8(other + 2, 0xC3);
      g.code(
          a -> {
            final Label again = a.label();
            a.mov(Register.R8D, 50);
            a.mov(Register.RSI, page | RIGHTS);
            a.mov(Register.RDI, other | RIGHTS);
            a.bind(again);
            a.call(a.labelAt(page - 3));
            a.add(Register.RDX, Register.RAX);
            a.mov(Memory.absolute(g.entryAddress(page)), Register.RDI);
            a.invlpg(Memory.absolute(page));
            a.xchg(Register.RSI, Register.RDI);
            a.dec(Register.R8D);
            a.jcc(Condition.NE, again);
            a.hlt();
          });
      g.machine.reg(Register.RDX, 0);
      g.runToEnd();
      assertEquals(25 * (0x1111_1111L + 0x2222_1111L), g.machine.reg(Register.RDX));
      assertTrue(g.machine.vcpu.code.size() < 40, "blocks of old mappings do not pile up");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheNewBytesWhenBothPagesAreTheSame(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      // Two linear pages on one frame: the instruction begins at its end and goes on at its start.
      final long frame = CODE + 0x1000;
      final long alias = 0x60_0000;
      g.entry(alias, frame | RIGHTS);
      g.entry(alias + 0x1000, frame | RIGHTS);
      g.machine.memory.write8(frame + 0xFFD, 0xB8);
      g.machine.memory.write16(frame + 0xFFE, 0x1111);
      g.machine.memory.write16(frame, 0x1111);
      g.machine.memory.write8(frame + 2, 0xC3);
      g.code(
          a -> {
            a.mov(Register.RBX, alias + 0xFFD);
            a.call(Register.RBX);
            a.mov(Register.ECX, Register.EAX);
            a.mov(Memory.absolute(frame + 0xFFE).asWord(), 0x2222);
            a.call(Register.RBX);
            a.mov(Register.EDX, Register.EAX);
            a.mov(Memory.absolute(frame).asWord(), 0x3333);
            a.call(Register.RBX);
            a.mov(Register.ESI, Register.EAX);
            a.mov(Memory.absolute(frame + 0xFFE).asWord(), 0x4444);
            a.call(Register.RBX);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(0x1111_1111, g.machine.reg(Register.RCX));
      assertEquals(0x1111_2222, g.machine.reg(Register.RDX));
      assertEquals(0x3333_2222, g.machine.reg(Register.RSI));
      assertEquals(0x3333_4444, g.machine.reg(Register.RAX));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldDecodeAnewWhenTheSecondPageMadeTheInstructionInvalid(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      // 0F at the end of a page; on the next, 0B makes it UD2, A2 makes it CPUID.
      final long page = CODE + 0x1000;
      g.machine.memory.write8(page - 1, 0x0F);
      g.machine.memory.write16(page, 0xC30B);
      g.code(a -> a.jmp(a.labelAt(page - 1)));
      assertEquals(Vector.UD, g.runToHandler());
      g.machine.memory.write8(page, 0xA2);
      g.machine.memory.write8(page + 1, HLT);
      g.runToEnd();
      assertEquals(1, g.machine.exits(VcpuExit.CPUID).size());
      // And by another page.
      final long other = CODE + 0x4000;
      g.machine.memory.write16(other, 0xF431); // RDTSC
      g.entry(page, other | RIGHTS);
      g.machine.set(StateLayout.RIP, page - 1);
      g.runToEnd();
      assertEquals(1, g.machine.exits(VcpuExit.TSC).size());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldDecodeAnewWhenTheSecondPageHadNoMemoryBehindIt(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      final long page = CODE + 0x1000;
      crossing(g, page, 0x1111_1111);
      g.machine.memory.write8(page + 2, HLT);
      g.entry(page, BareMachine.MMIO | RIGHTS);
      g.code(a -> a.jmp(a.labelAt(page - 3)));
      assertEquals(Vector.UD, g.runToHandler(), "nothing can be fetched from a device");
      g.entry(page, page | RIGHTS);
      g.runToEnd();
      assertEquals(0x1111_1111, g.machine.reg(Register.RAX));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldExecuteTheOtherPageWhenCodeIsRemapped(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      final long page = CODE + 0x1000;
      final long other = CODE + 0x4000;
      g.machine.memory.write32(page, 0xC301_B0);
      g.machine.memory.write32(other, 0xC302_B0);
      g.code(
          a -> {
            a.call(a.labelAt(page));
            a.mov(Register.CL, Register.AL);
            a.mov(Register.RDI, other | RIGHTS);
            a.mov(Memory.absolute(g.entryAddress(page)), Register.RDI);
            a.invlpg(Memory.absolute(page));
            a.call(a.labelAt(page));
            a.hlt();
          });
      g.runToEnd();
      assertEquals(1, g.machine.reg(Register.RCX) & 0xFF);
      assertEquals(2, g.machine.reg(Register.RAX) & 0xFF);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldDecodeTheSameBytesByTheModeWhenCodeSizesDiffer(final MmuKind mmu) {
    try (BareGuest g = BareGuest.long64(mmu)) {
      // 48 is REX.W in 64-bit code, DEC EAX elsewhere; 31 C0 clears eAX.
      g.machine.memory.write32(CODE, 0xF4C0_3148);
      g.machine.reg(Register.RAX, 0x1234);
      g.runToEnd();
      assertEquals(0, g.machine.reg(Register.RAX));
      assertEquals(2, g.machine.retired());
      g.machine.segment(Seg.CS, BareGuest.CODE0_32, g.gdt(BareGuest.CODE0_32));
      g.machine.set(StateLayout.RIP, CODE);
      g.runToEnd();
      assertEquals(2 + 3, g.machine.retired());
    }
  }

  @Test
  void shouldExecuteTheNewBytesWhenVectorStoresWriteThem() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      g.machine.set(StateLayout.CR4, g.machine.get(StateLayout.CR4) | ControlRegisters.CR4_OSFXSR);
      g.machine.stateChanged();
      final long target = CODE + 0x2000;
      g.machine.memory.write64(target, 0xC3_0000_0001_B8L);
      g.machine.memory.write64(DATA, 0xC3_0000_0002_B8L);
      g.code(
          a -> {
            a.call(a.labelAt(target));
            a.movdqu(Register.XMM0, Memory.absolute(DATA));
            a.movdqu(Memory.absolute(target), Register.XMM0);
            a.call(a.labelAt(target));
            a.hlt();
          });
      g.runToEnd();
      assertEquals(2, g.machine.reg(Register.RAX));
    }
  }

  @Test
  void shouldEndOnTheBoundedNumberOfBlocksWhenCodeKeepsChanging() {
    try (BareGuest g = BareGuest.long64(MmuKind.NESTED)) {
      final Assembler a =
          g.code(
              x -> {
                final Label again = x.label();
                final Label patched = x.label();
                x.mov(Register.ECX, 50_000);
                x.lea(Register.RBX, Memory.rip(patched));
                x.bind(again);
                x.mov(Memory.at(Register.RBX, 1), Register.ECX);
                x.jmp(patched);
                x.align(64);
                x.bind(patched);
                x.mov(Register.EAX, 0x1234_5678);
                x.cmp(Register.EAX, Register.ECX);
                final Label bad = x.label();
                x.jcc(Condition.NE, bad);
                x.dec(Register.ECX);
                x.jcc(Condition.NE, again);
                x.hlt();
                x.bind(bad);
                x.ud2();
              });
      g.runToEnd();
      assertEquals(0, g.machine.reg(Register.RCX));
      assertTrue(g.machine.vcpu.code.size() < 20);
      assertTrue(a.assemble().length < 0x1000);
    }
  }
}

package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What happens where 16-bit code runs beyond FFFFH, and where IRET cannot return. */
final class CodeLimitTest {
  private static final int NOP = 0x90;
  private static final int HLT = 0xF4;
  private static final int LAST = 0xFFFF;
  private static final int LOW_CODE = 0x5000;

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldNotWrapButRaiseProtectionFaultAtTheEndOfRealModeCode(final MmuKind mmu) {
    try (BareGuest g = BareGuest.real(mmu)) {
      g.machine.memory.write8(CODE + LAST, NOP);
      g.machine.memory.write8(CODE, HLT);
      g.machine.set(StateLayout.RIP, LAST);
      g.machine.stateChanged();
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0), "the low half of 10000H");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldGoOnBeyond64KWhereTheLimitAllows(final MmuKind mmu) {
    try (BareGuest g = BareGuest.real(mmu)) {
      final int rights = g.machine.vcpu.rights(Seg.CS);
      g.machine.vcpu.setSegment(Seg.CS, (int) CODE >> 4, CODE, 0x1_FFFF, rights);
      g.machine.memory.write8(CODE + LAST, NOP);
      g.machine.memory.write8(CODE + LAST + 1, HLT);
      g.machine.memory.write8(CODE, NOP);
      g.machine.set(StateLayout.RIP, LAST);
      g.machine.stateChanged();
      g.machine.run();
      assertEquals(LAST + 1, g.machine.vcpu.exit().rip);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldUnblockNmiThoughIretFaults(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
      g.code(
          a -> {
            a.push(0);
            // No code segment.
            a.push(0);
            a.push(0);
            a.iretd();
          });
      g.machine.vcpu.injectNmi();
      g.machine.run();
      assertEquals(
          ExitEvent.INTERRUPT_NMI_BLOCKED,
          g.machine.vcpu.interruptState() & ExitEvent.INTERRUPT_NMI_BLOCKED,
          "in the handler of the NMI");
      g.machine.set(StateLayout.RIP, CODE);
      assertEquals(Vector.GP, g.runToHandler());
      assertFalse(
          (g.machine.vcpu.interruptState() & ExitEvent.INTERRUPT_NMI_BLOCKED) != 0, "after it");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldBranchInTheFirst64KWhenTargetsHave16Bits(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
      final Assembler a = new Assembler(4, LOW_CODE);
      a.mov(Register.EDX, LOW_CODE + 0x40);
      a.mov(Memory.absolute(BareGuest.DATA).asDword(), 0xABCD_0000 | LOW_CODE + 0x40);
      a.db(0x66, 0xE8); // CALL rel16, to 40H
      a.dw(0x40 - 0x15);
      a.org(LOW_CODE + 0x15);
      a.db(0x66, 0xFF, 0xD2); // CALL DX
      a.db(0x66, 0xFF, 0x15); // CALL m16
      a.dd((int) BareGuest.DATA);
      a.db(0x66, 0xE9); // JMP rel16
      a.dw(0x60 - 0x23);
      a.org(LOW_CODE + 0x40);
      a.add(Register.ECX, 1);
      a.db(0x66, 0xC3); // RET
      a.org(LOW_CODE + 0x60);
      a.hlt();
      g.machine.load(a, LOW_CODE);
      g.machine.set(StateLayout.RIP, LOW_CODE);
      g.machine.reg(Register.RCX, 0);
      g.machine.run();
      assertEquals(LOW_CODE + 0x60, g.machine.vcpu.exit().rip);
      assertEquals(3, g.machine.reg(Register.RCX));
    }
  }
}

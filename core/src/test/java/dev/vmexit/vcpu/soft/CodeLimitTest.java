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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What happens where 16-bit code runs beyond FFFFH, and where IRET cannot return. */
final class CodeLimitTest {
  private static final int NOP = 0x90;
  private static final int HLT = 0xF4;
  private static final int LAST = 0xFFFF;

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
}

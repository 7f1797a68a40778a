package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.TASK;
import static dev.vmexit.vcpu.soft.BareGuest.TSS;
import static dev.vmexit.vcpu.soft.BareGuest.descriptor;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The virtual interrupt flag in VM86 code and in protected mode (SDM Vol. 3B, 21.3 and 21.4). */
final class VmeTest {
  private static final int SEGMENT = 0x2000;
  private static final int STACK_SEGMENT = 0x3000;
  private static final int STACK_TOP = 0x1000;
  private static final int IO_MAP = 0x88;
  private static final int TSS_LIMIT = 0x1FF;
  private static final int SERVICE = 0x21;

  /** A kernel that enters VM86 with IOPL and other flags; all interrupts are the task's. */
  private static BareGuest guest(
      final MmuKind mmu, final int flags, final Consumer<Assembler> program) {
    final BareGuest g = BareGuest.protected32(mmu, Paging.BITS32);
    final Assembler a16 = new Assembler(2, 0);
    program.accept(a16);
    g.machine.load(a16, (long) SEGMENT << 4);
    g.gdt(TASK, descriptor(TSS, TSS_LIMIT, 0x8B));
    g.machine.segment(Seg.TR, TASK, g.gdt(TASK));
    g.machine.memory.write16(TSS + 102, IO_MAP);
    g.machine.memory.fill(TSS + IO_MAP - 32, 32, 0);
    g.machine.set(StateLayout.CR4, g.machine.get(StateLayout.CR4) | ControlRegisters.CR4_VME);
    g.machine.stateChanged();
    g.code(
        a -> {
          for (int i = 0; i < 4; i++) {
            a.push(0);
          }
          a.push(STACK_SEGMENT);
          a.push(STACK_TOP);
          a.push(Flags.VM | Flags.RESERVED_1 | flags);
          a.push(SEGMENT);
          a.push(0);
          a.iretd();
        });
    return g;
  }

  /** Runs to the UD2 that ends the VM86 program; its flags. */
  private static long end(final BareGuest g) {
    assertEquals(Vector.UD, g.runToHandler());
    return g.stack(2);
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSetAndClearTheVirtualFlagWhenIoplIsBelowThree(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            Flags.IF,
            a -> {
              a.sti();
              a.ud2();
            })) {
      assertEquals(Flags.VIF | Flags.IF, end(g) & (Flags.VIF | Flags.IF));
    }
    try (BareGuest g =
        guest(
            mmu,
            Flags.IF | Flags.VIF,
            a -> {
              a.cli();
              a.ud2();
            })) {
      assertEquals(Flags.IF, end(g) & (Flags.VIF | Flags.IF));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseProtectionFaultWhenAnInterruptIsPendingAndTheFlagIsSet(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Flags.IF | Flags.VIP, Assembler::sti)) {
      assertEquals(Vector.GP, g.runToHandler());
    }
    try (BareGuest g =
        guest(
            mmu,
            Flags.IF | Flags.VIP,
            a -> {
              a.push(Flags.IF);
              a.popf(2);
            })) {
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(STACK_TOP - 2, g.stack(4), "the stack is as it was");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldShowTheVirtualFlagAsIfInImages(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            Flags.IF | Flags.CF,
            a -> {
              a.pushf(2);
              a.pop(Register.BX);
              a.sti();
              a.pushf(2);
              a.pop(Register.CX);
              a.push(Flags.RESERVED_1 | Flags.ZF);
              a.popf(2);
              a.ud2();
            })) {
      final long flags = end(g);
      assertEquals(0x3003, g.machine.reg(Register.RBX) & 0xFFFF, "IOPL shows as 3, IF as VIF");
      assertEquals(0x3203, g.machine.reg(Register.RCX) & 0xFFFF);
      assertEquals(Flags.IF | Flags.ZF, flags & (Flags.IF | Flags.VIF | Flags.ARITHMETIC));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldLeaveInterruptsToTheTaskWhereItsMapSaysSo(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            Flags.IF | Flags.VIF,
            a -> {
              a.db(0xCD, SERVICE);
              a.ud2();
              a.org(0x100);
              a.mov(Register.BX, Memory.absolute(STACK_TOP - 2).in(Register.SS));
              a.pushf(2);
              a.pop(Register.CX);
              a.db(0xCF); // IRET
            })) {
      g.machine.memory.write16(SERVICE * 4L, 0x100);
      g.machine.memory.write16(SERVICE * 4L + 2, SEGMENT);
      final long flags = end(g);
      assertEquals(0x3202, g.machine.reg(Register.RBX) & 0xFFFF, "the image has VIF for IF");
      assertEquals(0x3002, g.machine.reg(Register.RCX) & 0xFFFF, "VIF is clear in the service");
      assertEquals(Flags.VIF, flags & Flags.VIF, "IRET brings it back");
      assertEquals(2, g.stack(0), "after INT");
      assertEquals(SEGMENT, g.stack(1));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldGoToProtectedModeWhereTheMapSaysSo(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Flags.IF, a -> a.db(0xCD, SERVICE))) {
      g.machine.memory.write8(TSS + IO_MAP - 32 + (SERVICE >> 3), 1 << (SERVICE & 7));
      assertEquals(Vector.GP, g.runToHandler(), "IOPL is below 3");
    }
    try (BareGuest g = guest(mmu, Flags.IF | Flags.IOPL, a -> a.db(0xCD, SERVICE))) {
      g.machine.memory.write8(TSS + IO_MAP - 32 + (SERVICE >> 3), 1 << (SERVICE & 7));
      g.gate(SERVICE, 0xEE);
      assertEquals(SERVICE, g.runToHandler());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldHaveAVirtualFlagInProtectedModeWithPvi(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
      g.machine.set(StateLayout.CR4, g.machine.get(StateLayout.CR4) | ControlRegisters.CR4_PVI);
      g.machine.stateChanged();
      g.user();
      g.code(
          a -> {
            a.sti();
            a.ud2();
          });
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(Flags.VIF, g.stack(2) & (Flags.VIF | Flags.IF));
    }
    try (BareGuest g = BareGuest.protected32(mmu, Paging.BITS32)) {
      g.user();
      g.code(Assembler::sti);
      assertEquals(Vector.GP, g.runToHandler(), "without PVI");
    }
  }
}

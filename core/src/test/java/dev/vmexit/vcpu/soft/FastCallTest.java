package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.CODE0;
import static dev.vmexit.vcpu.soft.BareGuest.CODE3;
import static dev.vmexit.vcpu.soft.BareGuest.CODE3_32;
import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static dev.vmexit.vcpu.soft.BareGuest.DATA0;
import static dev.vmexit.vcpu.soft.BareGuest.DATA3;
import static dev.vmexit.vcpu.soft.BareGuest.STACK;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
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
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM Vol. 2, their pages; Vol. 3A, 5.8.7 and 5.8.8). */
final class FastCallTest {
  private static final long KERNEL = CODE + 0x800;
  private static final long NOT_CANONICAL = 0x8000_0000_0000L;

  /** CS and SS of the kernel at CODE0; of user code at 0x18: 32-bit code, data, 64-bit code. */
  private static final long STAR = (long) (CODE3_32 & ~3) << 48 | (long) CODE0 << 32;

  private static BareGuest guest64(final MmuKind mmu) {
    final BareGuest g = BareGuest.long64(mmu);
    g.machine.set(StateLayout.STAR, STAR);
    g.machine.set(StateLayout.LSTAR, KERNEL);
    g.machine.set(StateLayout.SYSENTER_CS, CODE0);
    g.machine.set(StateLayout.SYSENTER_EIP, KERNEL);
    g.machine.set(StateLayout.SYSENTER_ESP, DATA + 0x800);
    return g;
  }

  private static void assertFlatUser(final BareGuest g, final int cs, final boolean wide) {
    assertEquals(cs, g.machine.selector(Seg.CS));
    assertEquals(DATA3, g.machine.selector(Seg.SS));
    assertEquals(3, g.machine.vcpu.cpl());
    assertEquals(wide, g.machine.vcpu.longMode64());
    assertEquals(wide ? 8 : 4, g.machine.vcpu.stackSize());
    assertEquals(0xFFFF_FFFFL, g.machine.vcpu.segmentLimit(Seg.SS));
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSaveRipAndFlagsAndMaskThemWhenSyscall(final MmuKind mmu) {
    try (BareGuest g = guest64(mmu)) {
      g.machine.set(StateLayout.SFMASK, Flags.IF | Flags.DF | Flags.CF);
      g.user();
      g.flags(Flags.IF | Flags.DF | Flags.CF | Flags.SF | Flags.AC);
      g.code(
          a -> {
            a.syscall();
            a.org(KERNEL);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(KERNEL, g.machine.vcpu.exit().rip);
      assertEquals(CODE + 2, g.machine.reg(Register.RCX));
      assertEquals(
          Flags.IF | Flags.DF | Flags.CF | Flags.SF | Flags.AC | Flags.RESERVED_1,
          g.machine.reg(Register.R11));
      assertEquals(Flags.SF | Flags.AC | Flags.RESERVED_1, g.flags());
      assertEquals(CODE0, g.machine.selector(Seg.CS));
      assertEquals(DATA0, g.machine.selector(Seg.SS));
      assertEquals(0, g.machine.vcpu.cpl());
      assertEquals(STACK, g.machine.reg(Register.RSP), "the stack is the kernel's business");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReturnTo64BitCodeBySysretq(final MmuKind mmu) {
    try (BareGuest g = guest64(mmu)) {
      g.user();
      g.code(
          a -> {
            a.syscall();
            a.inc(Register.EBX);
            a.ud2();
            a.org(KERNEL);
            a.mov(Register.R11, Flags.IF | Flags.ZF | Flags.IOPL | Flags.RF | Flags.VM);
            a.sysretq();
          });
      assertEquals(VcpuExit.LIMIT, g.machine.run(4));
      assertFlatUser(g, CODE3, true);
      assertEquals(1, g.machine.reg(Register.RBX));
      // INC has cleared ZF; RF and VM are not loaded.
      assertEquals(Flags.IF | Flags.IOPL | Flags.RESERVED_1, g.flags());
      assertEquals(Vector.UD, g.runToHandler());
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReturnTo32BitCodeBySysret(final MmuKind mmu) {
    try (BareGuest g = guest64(mmu)) {
      g.code(
          a -> {
            final Label there = a.label();
            a.lea(Register.RCX, Memory.rip(there));
            // Only 32 bits of RCX count.
            a.mov(Register.RAX, 0x7777_0000_0000L);
            a.or(Register.RCX, Register.RAX);
            a.mov(Register.R11, Flags.CF);
            a.sysret();
            a.bind(there);
            a.codeSize(4);
            a.inc(Register.EBX);
            a.ud2();
          });
      assertEquals(VcpuExit.LIMIT, g.machine.run(6));
      assertFlatUser(g, CODE3_32, false);
      assertEquals(1, g.machine.reg(Register.RBX));
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(CODE3_32, g.stack(1));
    }
  }

  @Test
  void shouldRaiseProtectionFaultInTheKernelWhenSysretsTargetIsNotCanonical() {
    try (BareGuest g = guest64(MmuKind.NESTED)) {
      g.code(
          a -> {
            a.mov(Register.RCX, NOT_CANONICAL);
            a.sysretq();
          });
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
      assertEquals(CODE0, g.stack(2), "still at CPL 0, as on Intel's processors");
      assertEquals(0, g.machine.vcpu.cpl());
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenUserSysrets() {
    try (BareGuest g = guest64(MmuKind.NESTED)) {
      g.user();
      g.code(Assembler::sysretq);
      assertEquals(Vector.GP, g.runToHandler());
    }
  }

  @Test
  void shouldRaiseUndefinedWhenSyscallIsNotEnabledOrNot64Bit() {
    try (BareGuest g = guest64(MmuKind.NESTED)) {
      g.machine.set(StateLayout.EFER, g.machine.get(StateLayout.EFER) & ~ControlRegisters.EFER_SCE);
      g.machine.stateChanged();
      g.code(Assembler::syscall);
      assertEquals(Vector.UD, g.runToHandler());
    }
    try (BareGuest g = guest64(MmuKind.NESTED)) {
      g.user();
      g.machine.segment(Seg.CS, CODE3_32, g.gdt(CODE3_32));
      final Assembler a = new Assembler(4, CODE);
      a.syscall();
      g.machine.load(a, CODE);
      assertEquals(Vector.UD, g.runToHandler());
    }
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.machine.set(StateLayout.EFER, ControlRegisters.EFER_SCE);
      g.machine.stateChanged();
      g.code(Assembler::syscall);
      assertEquals(Vector.UD, g.runToHandler());
    }
  }

  @Test
  void shouldWrapSelectorsWhenStarIsAtTheTop() {
    try (BareGuest g = guest64(MmuKind.NESTED)) {
      g.machine.set(StateLayout.STAR, 0xFFF8_0000_0000_0000L | (long) CODE0 << 32);
      g.code(
          a -> {
            a.lea(Register.RCX, Memory.absolute(CODE + 0x100));
            a.sysretq();
            a.org(CODE + 0x100);
            a.mov(Register.EAX, Register.CS);
            a.ud2();
          });
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(0x0B, g.machine.reg(Register.RAX));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldEnterAndExitBySysenterIn64BitMode(final MmuKind mmu) {
    try (BareGuest g = guest64(mmu)) {
      // 64-bit user code is at SYSENTER_CS + 32, its stack 8 above.
      g.gdt(BareGuest.TASK, g.gdt(DATA3));
      g.user();
      g.flags(Flags.IF | Flags.CF);
      g.code(
          a -> {
            a.sysenter();
            a.org(CODE + 0x100);
            a.inc(Register.EBX);
            a.ud2();
            a.org(KERNEL);
            a.mov(Register.RSI, Register.RSP);
            a.pushf();
            a.pop(Register.RDI);
            a.mov(Register.RDX, CODE + 0x100);
            a.mov(Register.RCX, STACK - 0x100);
            a.sysexitq();
          });
      assertEquals(VcpuExit.LIMIT, g.machine.run(8));
      assertEquals(DATA + 0x800, g.machine.reg(Register.RSI));
      assertEquals(Flags.CF | Flags.RESERVED_1, g.machine.reg(Register.RDI), "IF is clear");
      assertEquals(1, g.machine.reg(Register.RBX));
      assertEquals(CODE3, g.machine.selector(Seg.CS));
      assertEquals(BareGuest.TASK | 3, g.machine.selector(Seg.SS));
      assertEquals(3, g.machine.vcpu.cpl());
      assertEquals(STACK - 0x100, g.machine.reg(Register.RSP));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldEnterAndExitBySysenterIn32BitMode(final MmuKind mmu) {
    try (BareGuest g = BareGuest.protected32(mmu, Paging.PAE)) {
      g.machine.set(StateLayout.SYSENTER_CS, CODE0);
      g.machine.set(StateLayout.SYSENTER_EIP, KERNEL);
      g.machine.set(StateLayout.SYSENTER_ESP, DATA + 0x800);
      g.user();
      g.code(
          a -> {
            a.sysenter();
            a.org(CODE + 0x100);
            a.inc(Register.EBX);
            a.ud2();
            a.org(KERNEL);
            a.mov(Register.ESI, Register.CS);
            a.mov(Register.EDI, Register.SS);
            a.mov(Register.EDX, CODE + 0x100);
            a.mov(Register.ECX, STACK - 0x100);
            a.sysexit();
          });
      assertEquals(VcpuExit.LIMIT, g.machine.run(7));
      assertEquals(CODE0, g.machine.reg(Register.RSI));
      assertEquals(DATA0, g.machine.reg(Register.RDI));
      assertFlatUser(g, CODE3_32, false);
      assertEquals(STACK - 0x100, g.machine.reg(Register.RSP));
      assertEquals(Vector.UD, g.runToHandler());
    }
  }

  @Test
  void shouldEnterLongModeWhenCompatibilityCodeSysenters() {
    try (BareGuest g = guest64(MmuKind.SHADOW)) {
      g.user();
      g.machine.segment(Seg.CS, CODE3_32, g.gdt(CODE3_32));
      final Assembler a = new Assembler(4, CODE);
      a.sysenter();
      a.codeSize(8);
      a.org(KERNEL);
      a.mov(Register.RAX, 0x1_0000_0001L);
      a.hlt();
      g.machine.load(a, CODE);
      g.runToEnd();
      assertTrue(g.machine.vcpu.longMode64());
      assertEquals(0x1_0000_0001L, g.machine.reg(Register.RAX));
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenSysenterHasNoSelectorOrTheLevelIsWrong() {
    try (BareGuest g = guest64(MmuKind.NESTED)) {
      g.machine.set(StateLayout.SYSENTER_CS, 3);
      g.code(Assembler::sysenter);
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
    }
    try (BareGuest g = guest64(MmuKind.NESTED)) {
      g.user();
      g.code(Assembler::sysexitq);
      assertEquals(Vector.GP, g.runToHandler());
    }
    try (BareGuest g = BareGuest.real(MmuKind.NESTED)) {
      g.machine.set(StateLayout.SYSENTER_CS, CODE0);
      g.code(Assembler::sysenter);
      assertEquals(Vector.GP, g.runToHandler());
      assertFalse(g.machine.vcpu.longMode64());
    }
  }

  @Test
  void shouldRaiseProtectionFaultWhenSysexitsAddressesAreNotCanonical() {
    for (final boolean stack : new boolean[] {false, true}) {
      try (BareGuest g = guest64(MmuKind.NESTED)) {
        g.code(
            a -> {
              a.mov(Register.RDX, stack ? CODE : NOT_CANONICAL);
              a.mov(Register.RCX, stack ? NOT_CANONICAL : STACK);
              a.sysexitq();
            });
        assertEquals(Vector.GP, g.runToHandler());
        assertEquals(CODE0, g.stack(2));
      }
    }
  }
}

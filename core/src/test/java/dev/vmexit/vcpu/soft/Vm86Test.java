package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.DATA0;
import static dev.vmexit.vcpu.soft.BareGuest.RING0_STACK;
import static dev.vmexit.vcpu.soft.BareGuest.TASK;
import static dev.vmexit.vcpu.soft.BareGuest.TSS;
import static dev.vmexit.vcpu.soft.BareGuest.descriptor;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Virtual-8086 mode, entered by IRET as a kernel does (SDM Vol. 3B, 21.2 and 21.3). */
class Vm86Test {
  private static final int SEGMENT = 0x2000;
  private static final long LINEAR = (long) SEGMENT << 4;
  private static final int STACK_SEGMENT = 0x3000;
  private static final int DPL3 = 3 << 5;
  private static final int GATE32 = 0x8E;
  private static final int PORT = 0x123;

  /** A kernel that enters VM86 at {@link #SEGMENT}:0, DS 1111, ES 2222, FS 3333, GS 4444. */
  private static BareGuest guest(
      final MmuKind mmu, final int flags, final Consumer<Assembler> program) {
    final BareGuest g = BareGuest.protected32(mmu, Paging.BITS32);
    final Assembler a16 = new Assembler(2, 0);
    program.accept(a16);
    g.machine.load(a16, LINEAR);
    g.code(
        a -> {
          a.push(0x4444);
          a.push(0x3333);
          a.push(0x1111);
          a.push(0x2222);
          a.push(STACK_SEGMENT);
          a.push(0x1000);
          a.push(Flags.VM | Flags.RESERVED_1 | flags);
          a.push(SEGMENT);
          a.push(0);
          a.iretd();
        });
    return g;
  }

  private static int error(final BareGuest g, final int vector) {
    assertEquals(vector, g.runToHandler());
    return (int) g.stack(0);
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldEnterByIretAndLeaveByAFault(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Flags.IOPL | Flags.IF, Assembler::ud2)) {
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(0, g.machine.vcpu.cpl());
      assertEquals(RING0_STACK - 9 * 4, g.machine.reg(Register.RSP));
      final long[] frame = {0, SEGMENT, 0, 0x1000, STACK_SEGMENT, 0x2222, 0x1111, 0x3333, 0x4444};
      for (int i = 0; i < frame.length; i++) {
        if (i != 2) {
          assertEquals(frame[i], g.stack(i), "slot " + i);
        }
      }
      assertEquals(
          Flags.VM | Flags.IOPL | Flags.IF | Flags.RF | Flags.RESERVED_1,
          g.stack(2) & ~(long) Flags.ARITHMETIC);
      assertEquals(0, g.flags() & (Flags.VM | Flags.IF));
      assertEquals(0, g.machine.selector(Seg.DS), "data segments are null in the handler");
      assertEquals(0, g.machine.selector(Seg.GS));
      assertTrue((g.machine.vcpu.rights(Seg.FS) & StateLayout.SEG_UNUSABLE) != 0);
    }
  }

  @Test
  void shouldAddressAsRealModeDoesWhenInVm86() {
    try (BareGuest g =
        guest(
            MmuKind.SHADOW,
            0,
            a -> {
              a.mov(Register.AX, 0x2345);
              // MOV ES, AX; MOV byte ES:[7], 5Ah
              a.db(0x8E, 0xC0, 0x26, 0xC6, 0x06, 0x07, 0x00, 0x5A);
              a.jmpFar(SEGMENT + 1, 0x100, 2);
              a.org(0x110);
              a.ud2();
            })) {
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(0x100, g.stack(0));
      assertEquals(SEGMENT + 1, g.stack(1));
      assertEquals(0x5A, g.machine.memory.read8(0x23457));
    }
  }

  @Test
  void shouldRaiseProtectionFaultBeyondTheLimitOf64Kib() {
    try (BareGuest g =
        guest(
            MmuKind.NESTED,
            0,
            a -> {
              a.mov(Register.BX, 0xFFFF);
              a.db(0x8B, 0x07); // MOV AX, [BX]
            })) {
      assertEquals(0, error(g, Vector.GP));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseProtectionFaultWhenIoplIsBelow3(final MmuKind mmu) {
    final int[][] codes = {{0xFA}, {0xFB}, {0x9C}, {0x9D}, {0xCF}, {0xCD, 0x21}, {0xF4}};
    for (final int[] code : codes) {
      try (BareGuest g = guest(mmu, 2 << Flags.IOPL_SHIFT, a -> a.db(code))) {
        g.gate(0x21, GATE32 | DPL3);
        assertEquals(0, error(g, Vector.GP), Integer.toHexString(code[0]));
        assertEquals(0, g.stack(1), "a fault");
        assertEquals(SEGMENT, g.stack(2));
      }
    }
  }

  @Test
  void shouldServeInt3AndIntoWhateverTheIopl() {
    try (BareGuest g =
        guest(
            MmuKind.NESTED,
            Flags.OF,
            a -> {
              a.int3();
              a.into();
            })) {
      g.gate(Vector.BP, GATE32 | DPL3);
      g.gate(Vector.OF, GATE32 | DPL3);
      assertEquals(Vector.BP, g.runToHandler());
      assertEquals(1, g.stack(0));
      assertEquals(Vector.OF, g.runToHandler(), "IRET came back to VM86");
      assertEquals(2, g.stack(0));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRunFlagInstructionsAndInterruptsWhenIoplIs3(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            Flags.IOPL | Flags.IF,
            a -> {
              a.cli();
              a.pushf();
              a.pop(Register.AX);
              a.mov(Register.BX, 0x3ED7);
              a.push(Register.BX);
              a.popf();
              a.pushf();
              a.pop(Register.CX);
              a.interrupt(0x21);
              a.push(Register.AX); // FLAGS
              a.push(Register.BX);
              a.hlt();
            })) {
      g.gate(0x21, GATE32 | DPL3);
      assertEquals(0x21, g.runToHandler());
      assertEquals(0, g.machine.reg(Register.RAX) & Flags.IF);
      assertEquals(0x3000, g.machine.reg(Register.RAX) & Flags.IOPL);
      assertEquals(0x3ED7, g.machine.reg(Register.RCX) & 0xFFFF, "POPF leaves IOPL as it is");
      assertTrue((g.stack(2) & Flags.VM) != 0);
      assertEquals(0, error(g, Vector.GP), "HLT");
    }
  }

  @Test
  void shouldRefuseAGateThatDoesNotLeadToRing0() {
    try (BareGuest g = guest(MmuKind.NESTED, Flags.IOPL, a -> a.interrupt(0x21))) {
      g.gdt(BareGuest.FREE, descriptor(0, 0xFFFF_FFFFL, 0xC0FB));
      g.gate(0x21, GATE32 | DPL3, BareGuest.FREE | 3, CODE, 0);
      assertEquals(BareGuest.FREE, error(g, Vector.GP));
    }
  }

  @Test
  void shouldRaiseUndefinedWhenAnInstructionNeedsDescriptors() {
    // SLDT, STR, LLDT, LTR, VERR of AX; LAR, LSL, ARPL.
    final int[][] codes = {
      {0x0F, 0x00, 0xC0},
      {0x0F, 0x00, 0xC8},
      {0x0F, 0x00, 0xD0},
      {0x0F, 0x00, 0xD8},
      {0x0F, 0x00, 0xE0},
      {0x0F, 0x02, 0xC0},
      {0x0F, 0x03, 0xC0},
      {0x63, 0xC0}
    };
    for (final int[] code : codes) {
      try (BareGuest g = guest(MmuKind.NESTED, Flags.IOPL, a -> a.db(code))) {
        assertEquals(Vector.UD, g.runToHandler());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTakeAnExternalInterruptAndComeBack(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Flags.IF, a -> a.jmp(a.here()))) {
      assertEquals(VcpuExit.LIMIT, g.machine.run(20));
      assertTrue(g.machine.vcpu.isVm86());
      g.machine.vcpu.injectInterrupt(0x40);
      assertEquals(0x40, g.runToHandler());
      assertEquals(SEGMENT, g.stack(1));
      assertEquals(VcpuExit.LIMIT, g.machine.run(g.machine.retired() + 3));
      assertTrue(g.machine.vcpu.isVm86());
      assertEquals(0x1111, g.machine.selector(Seg.DS));
      assertEquals(0x4_4440, g.machine.vcpu.segmentBase(Seg.GS));
    }
  }

  // ---- the I/O permission bitmap ----

  private static void bitmap(final BareGuest g, final int limit, final int firstClosed) {
    g.gdt(TASK, descriptor(TSS, limit, 0x8B));
    g.machine.segment(Seg.TR, TASK, g.gdt(TASK));
    g.machine.memory.fill(TSS + 104, limit - 103L, 0);
    g.machine.memory.write8(TSS + 104 + firstClosed / 8, 1 << firstClosed % 8);
    g.machine.stateChanged();
  }

  @Test
  void shouldAskTheBitmapWhateverTheIoplWhenInVm86() {
    try (BareGuest g =
        guest(
            MmuKind.SHADOW,
            Flags.IOPL,
            a -> {
              a.mov(Register.DX, PORT);
              a.out(Register.DX, Register.AL);
              a.inc(Register.DX);
              a.out(Register.DX, Register.AL);
            })) {
      bitmap(g, 0x1FF, PORT + 1);
      assertEquals(0, error(g, Vector.GP));
      assertEquals(PORT + 1, g.machine.reg(Register.RDX) & 0xFFFF);
      assertEquals(1, g.machine.exits(VcpuExit.PIO).size());
    }
  }

  @Test
  void shouldCheckEachPortOfAWideAccessAndTheMapsEnd() {
    // First closed port, access size, limit of the TSS, whether it passes.
    final int[][] cases = {
      {PORT + 4, 4, 0x1FF, 1},
      {PORT + 3, 4, 0x1FF, 0},
      {PORT + 1, 2, 0x1FF, 0},
      {PORT + 9, 1, 104 + PORT / 8, 0},
      {PORT + 9, 1, 105 + PORT / 8, 1}
    };
    for (final int[] c : cases) {
      try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
        bitmap(g, c[2], c[0]);
        g.user();
        g.code(
            a -> {
              a.mov(Register.EDX, PORT);
              a.in(c[1] == 4 ? Register.EAX : c[1] == 2 ? Register.AX : Register.AL, Register.DX);
              a.ud2();
            });
        assertEquals(c[3] != 0 ? Vector.UD : Vector.GP, g.runToHandler());
        assertEquals(c[3], g.machine.exits(VcpuExit.PIO).size());
      }
    }
  }

  @Test
  void shouldUseNoBitmapWhenIoplAllows() {
    try (BareGuest g = BareGuest.protected32(MmuKind.NESTED, Paging.NONE)) {
      g.user();
      g.flags(Flags.IOPL);
      g.code(
          a -> {
            a.in(Register.AL, 0x60);
            a.ud2();
          });
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(DATA0, g.machine.selector(Seg.SS));
    }
  }
}

package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** SMEP, SMAP, process contexts, random numbers and what else came after the first x86-64. */
final class SystemFeaturesTest {
  private static final int[] CLAC = {0x0F, 0x01, 0xCA};
  private static final int[] STAC = {0x0F, 0x01, 0xCB};
  private static final int FETCH = 16;
  private static final int PRESENT = 1;
  private static final int WRITE = 2;

  private static BareGuest guest(
      final MmuKind mmu, final long cr4, final Consumer<Assembler> program) {
    final BareGuest g = BareGuest.long64(mmu);
    g.machine.set(StateLayout.CR4, g.machine.get(StateLayout.CR4) | cr4);
    g.machine.stateChanged();
    g.code(program);
    return g;
  }

  /** Code, stack, descriptor tables and handlers are the supervisor's, the data page is not. */
  private static void keepFromUsers(final BareGuest g) {
    for (long page = 0; page < 0x20_0000; page += 4096) {
      if (page != DATA) {
        g.entry(page, g.entry(page) & ~Pte.USER);
      }
    }
  }

  private static void page(final BareGuest g, final int error) {
    assertEquals(Vector.PF, g.runToHandler());
    assertEquals(error, g.stack(0), "error code");
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldKeepTheSupervisorFromRunningUserPagesWithSmep(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            ControlRegisters.CR4_SMEP,
            a -> {
              a.mov(Register.RAX, DATA);
              a.jmp(Register.RAX);
            })) {
      keepFromUsers(g);
      page(g, PRESENT | FETCH);
      assertEquals(DATA, g.machine.get(StateLayout.CR2));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldKeepTheSupervisorOffUserDataWithSmapUnlessAcIsSet(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            ControlRegisters.CR4_SMAP,
            a -> {
              a.mov(Register.RBX, DATA);
              a.db(STAC);
              a.mov(Memory.at(Register.RBX).asDword(), 0x1234);
              a.mov(Register.ECX, Memory.at(Register.RBX));
              a.db(CLAC);
              a.mov(Memory.at(Register.RBX).asDword(), 0x5678);
            })) {
      keepFromUsers(g);
      page(g, PRESENT | WRITE);
      assertEquals(0x1234, g.machine.reg(Register.RCX));
      assertEquals(0x1234, g.machine.memory.read32(DATA));
      assertEquals(0, g.stack(3) & Flags.AC, "CLAC");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldKnowStacAndClacInTheSupervisorAlone(final MmuKind mmu) {
    for (final int[] code : new int[][] {STAC, CLAC}) {
      try (BareGuest g = guest(mmu, 0, a -> a.db(code))) {
        g.user();
        assertEquals(Vector.UD, g.runToHandler());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTakeAContextNumberWithCr3WhenTold(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            0,
            a -> {
              a.mov(Register.RAX, Register.CR4);
              a.or(Register.RAX, (int) ControlRegisters.CR4_PCIDE);
              a.mov(Register.CR4, Register.RAX);
              a.mov(Register.RAX, Register.CR3);
              a.or(Register.RAX, 0x123);
              a.mov(Register.RBX, ControlRegisters.CR3_NO_FLUSH);
              a.or(Register.RAX, Register.RBX);
              a.mov(Register.CR3, Register.RAX);
              a.mov(Register.RCX, Register.CR3);
              a.mov(Register.RDX, Memory.absolute(DATA));
              a.hlt();
            })) {
      g.machine.memory.write32(DATA, 77);
      g.runToEnd();
      assertEquals(BareGuest.TABLES | 0x123, g.machine.reg(Register.RCX), "bit 63 is not kept");
      assertEquals(77, g.machine.reg(Register.RDX) & 0xFFFF_FFFFL);
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRefuseContextsThatTheManualForbids(final MmuKind mmu) {
    // With a context number in CR3 already.
    try (BareGuest g =
        guest(
            mmu,
            0,
            a -> {
              a.mov(Register.RAX, Register.CR3);
              a.or(Register.RAX, 8);
              a.mov(Register.CR3, Register.RAX);
              a.mov(Register.RAX, Register.CR4);
              a.or(Register.RAX, (int) ControlRegisters.CR4_PCIDE);
              a.mov(Register.CR4, Register.RAX);
            })) {
      assertEquals(Vector.GP, g.runToHandler());
    }
    // Bit 63 without contexts.
    try (BareGuest g =
        guest(
            mmu,
            0,
            a -> {
              a.mov(Register.RAX, Register.CR3);
              a.mov(Register.RBX, ControlRegisters.CR3_NO_FLUSH);
              a.or(Register.RAX, Register.RBX);
              a.mov(Register.CR3, Register.RAX);
            })) {
      assertEquals(Vector.GP, g.runToHandler());
    }
  }

  /** INVPCID RAX, [RBX]. */
  private static void invpcid(final Assembler a) {
    a.db(0x66, 0x0F, 0x38, 0x82, 0x03);
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldDropTranslationsByContext(final MmuKind mmu) {
    for (int type = 0; type < 4; type++) {
      final int kind = type;
      try (BareGuest g =
          guest(
              mmu,
              ControlRegisters.CR4_PCIDE,
              a -> {
                a.mov(Register.RBX, DATA);
                a.mov(Register.RCX, Memory.at(Register.RBX, 0x1000));
                // The next page takes this one's frame, in the tables alone.
                a.mov(Register.RSI, 0x10_0000);
                a.hlt();
                a.mov(Register.EAX, kind);
                invpcid(a);
                a.mov(Register.RDX, Memory.at(Register.RBX, 0x1000));
                a.hlt();
              })) {
        g.machine.memory.write64(DATA, 0);
        g.machine.memory.write64(DATA + 8, DATA + 0x1000);
        g.machine.memory.write64(DATA + 0x1000, 11);
        g.machine.memory.write64(DATA + 0x2000, 22);
        g.runToEnd();
        g.machine.memory.write64(g.entryAddress(DATA + 0x1000), g.entry(DATA + 0x1000) + 0x1000);
        g.runToEnd();
        assertEquals(11, g.machine.reg(Register.RCX));
        assertEquals(22, g.machine.reg(Register.RDX), "type " + kind);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRefuseInvpcidOfWhatIsReserved(final MmuKind mmu) {
    final long[][] cases = {{4, 0, 0}, {0, 0x1000, 0}, {0, 0, 1L << 62}, {1, 5, 0}};
    for (final long[] c : cases) {
      try (BareGuest g =
          guest(
              mmu,
              0,
              a -> {
                a.mov(Register.RBX, DATA);
                a.mov(Register.EAX, (int) c[0]);
                invpcid(a);
              })) {
        g.machine.memory.write64(DATA, c[1]);
        g.machine.memory.write64(DATA + 8, c[2]);
        assertEquals(Vector.GP, g.runToHandler());
      }
    }
    try (BareGuest g = guest(mmu, 0, SystemFeaturesTest::invpcid)) {
      g.user();
      assertEquals(Vector.GP, g.runToHandler(), "a user");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTakeRandomNumbersFromTheMachine(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            0,
            a -> {
              a.mov(Register.RCX, -1);
              a.mov(Register.RDX, -1);
              a.db(0x48, 0x0F, 0xC7, 0xF0); // RDRAND RAX
              a.db(0x0F, 0xC7, 0xF9); // RDSEED ECX
              a.db(0x66, 0x0F, 0xC7, 0xF2); // RDRAND DX
              a.hlt();
            })) {
      g.flags(Flags.ARITHMETIC & ~Flags.CF);
      g.runToEnd();
      assertEquals(BareMachine.RANDOM, g.machine.reg(Register.RAX));
      assertEquals(BareMachine.RANDOM & 0xFFFF_FFFFL, g.machine.reg(Register.RCX));
      assertEquals(~0xFFFFL | BareMachine.RANDOM & 0xFFFF, g.machine.reg(Register.RDX));
      assertEquals(Flags.CF, g.flags() & Flags.ARITHMETIC);
      assertEquals(ExitEvent.TSC_RDSEED, g.machine.exits(VcpuExit.RANDOM).get(1).address(), "form");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReadTheProcessorNumber(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            0,
            a -> {
              a.mov(Register.RAX, -1);
              a.db(0xF3, 0x0F, 0xC7, 0xF8); // RDPID RAX
              a.hlt();
            })) {
      g.machine.set(StateLayout.TSC_AUX, 0x1003);
      g.runToEnd();
      assertEquals(0x1003, g.machine.reg(Register.RAX));
    }
  }

  private static BareGuest msr(final MmuKind mmu, final int index, final long value) {
    return guest(
        mmu,
        0,
        a -> {
          a.mov(Register.ECX, index);
          a.mov(Register.EAX, (int) value);
          a.mov(Register.EDX, (int) (value >>> 32));
          a.wrmsr();
          a.xor(Register.EAX, Register.EAX);
          a.xor(Register.EDX, Register.EDX);
          a.rdmsr();
          a.hlt();
        });
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldKeepMemoryTypeRanges(final MmuKind mmu) {
    final long[][] cases = {
      {Msr.MTRR_VARIABLE_FIRST, 0x8000_0006L},
      {Msr.MTRR_VARIABLE_FIRST + 15, 0xFF_8000_0800L},
      {Msr.MTRR_FIX64K_00000, 0x0606_0606_0606_0606L},
      {Msr.MTRR_FIX16K_A0000, 0},
      {Msr.MTRR_FIX4K_FIRST + 7, 0x0505_0505_0505_0505L},
      {Msr.MTRR_DEF_TYPE, 0xC06},
      {Msr.PAT, 0x0407_0506_0007_0106L} // among their numbers, but none of them
    };
    for (final long[] c : cases) {
      try (BareGuest g = msr(mmu, (int) c[0], c[1])) {
        g.runToEnd();
        assertEquals(
            c[1], g.machine.reg(Register.RDX) << 32 | g.machine.reg(Register.RAX), "MSR " + c[0]);
      }
    }
    final long[][] refused = {
      {Msr.MTRR_VARIABLE_FIRST, 2},
      {Msr.MTRR_VARIABLE_FIRST, 1L << 40},
      {Msr.MTRR_VARIABLE_FIRST + 1, 1},
      {Msr.MTRR_FIX64K_00000, 7},
      {Msr.MTRR_DEF_TYPE, 0x1000},
      {Msr.MTRR_CAP, 0},
      {Msr.PAT, 2}
    };
    for (final long[] c : refused) {
      try (BareGuest g = msr(mmu, (int) c[0], c[1])) {
        assertEquals(Vector.GP, g.runToHandler(), "MSR " + c[0]);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldAnswerTheRegistersThatKernelsRead(final MmuKind mmu) {
    final int[] known = {
      Msr.PLATFORM_ID, Msr.UCODE_REV, Msr.FEATURE_CONTROL, Msr.PLATFORM_INFO, Msr.MTRR_CAP,
      Msr.MCG_CAP, Msr.PERF_STATUS, Msr.THERM_STATUS, Msr.MISC_ENABLE, Msr.DEBUGCTL
    };
    for (final int index : known) {
      try (BareGuest g =
          guest(
              mmu,
              0,
              a -> {
                a.mov(Register.ECX, index);
                a.rdmsr();
                a.hlt();
              })) {
        g.runToEnd();
        assertTrue(g.machine.rip() > CODE, "MSR " + Integer.toHexString(index));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldFlushCachesAndChooseStatesInTheSupervisor(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            ControlRegisters.CR4_OSXSAVE,
            a -> {
              a.invd();
              a.wbinvd();
              a.xor(Register.ECX, Register.ECX);
              a.xor(Register.EDX, Register.EDX);
              a.mov(Register.EAX, 3);
              a.db(0x0F, 0x01, 0xD1); // XSETBV
              a.hlt();
            })) {
      g.runToEnd();
      assertEquals(3, g.machine.get(StateLayout.XCR0));
    }
  }
}

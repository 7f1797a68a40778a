package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Protection keys of user pages (SDM Vol. 3A, 4.6.2), under both MMUs. */
class ProtectionKeysTest {
  private static final int KEY = 5;
  private static final int ACCESS_DISABLE = 1;
  private static final int WRITE_DISABLE = 2;
  private static final int PK = PageFaultError.PRESENT | PageFaultError.PROTECTION_KEY;
  private static final long LARGE = 0x20_0000;

  private static BareGuest guest(
      final MmuKind mmu, final int pkru, final Consumer<Assembler> program) {
    final BareGuest g = BareGuest.long64(mmu);
    g.machine.set(
        StateLayout.CR4,
        g.machine.get(StateLayout.CR4)
            | ControlRegisters.CR4_PKE
            | ControlRegisters.CR4_OSXSAVE
            | ControlRegisters.CR4_OSFXSR);
    HostMemory.putInt(g.machine.state + StateLayout.PKRU, pkru);
    g.machine.stateChanged();
    g.code(program);
    return g;
  }

  private static void key(final BareGuest g, final long page, final int key) {
    g.entry(
        page,
        g.entry(page) & ~Pte.PROTECTION_KEY & ~Pte.DIRTY | (long) key << Pte.PROTECTION_KEY_SHIFT);
  }

  private static void wrpkru(final Assembler a, final int value) {
    a.mov(Register.EAX, value);
    a.xor(Register.ECX, Register.ECX);
    a.xor(Register.EDX, Register.EDX);
    a.db(0x0F, 0x01, 0xEF);
  }

  /** Ends with #UD where nothing else faults. */
  private static void access(final Assembler a, final int kind, final long address) {
    a.mov(Register.RBX, address);
    switch (kind) {
      case 0 -> a.mov(Register.ECX, Memory.at(Register.RBX));
      case 1 -> a.mov(Memory.at(Register.RBX).asDword(), 0x1234);
      default -> a.jmp(Register.RBX);
    }
    a.ud2();
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldForbidByKeyWhatTheManualSays(final MmuKind mmu) {
    for (int test = 0; test < 3 * 4 * 2 * 2 * 2; test++) {
      final int kind = test % 3;
      final int denied = test / 3 % 4;
      final boolean user = test / 12 % 2 == 1;
      final boolean wp = test / 24 % 2 == 1;
      // The page of the key, or key 0 with all others closed: never denied.
      final boolean keyed = test / 48 == 0;
      final int pkru = keyed ? denied << 2 * KEY : denied << 2 * KEY | ~3;
      final String what =
          "kind=%d denied=%d user=%s wp=%s keyed=%s".formatted(kind, denied, user, wp, keyed);
      try (BareGuest g = guest(mmu, pkru, a -> access(a, kind, DATA))) {
        final long cr0 = g.machine.get(StateLayout.CR0);
        g.machine.set(
            StateLayout.CR0, wp ? cr0 | ControlRegisters.CR0_WP : cr0 & ~ControlRegisters.CR0_WP);
        g.machine.memory.write32(DATA, 0x0B0F); // UD2
        key(g, DATA, keyed ? KEY : 0);
        if (user) {
          g.user();
        } else {
          g.machine.stateChanged();
        }
        final boolean allowed =
            !keyed
                || kind == 2
                || (denied & ACCESS_DISABLE) == 0
                    && (kind == 0 || (denied & WRITE_DISABLE) == 0 || !user && !wp);
        assertEquals(allowed ? Vector.UD : Vector.PF, g.runToHandler(), what);
        if (!allowed) {
          assertEquals(
              PK | (kind == 1 ? PageFaultError.WRITE : 0) | (user ? PageFaultError.USER : 0),
              g.stack(0),
              what);
          assertEquals(DATA, g.machine.get(StateLayout.CR2));
        }
        assertEquals(allowed && kind == 1 ? Pte.DIRTY : 0, g.entry(DATA) & Pte.DIRTY, "D, " + what);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTellTheKeyBesideAReadOnlyPageAndNotOfASupervisorPage(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, WRITE_DISABLE << 2 * KEY, a -> access(a, 1, DATA))) {
      key(g, DATA, KEY);
      g.entry(DATA, g.entry(DATA) & ~Pte.WRITABLE);
      g.user();
      assertEquals(Vector.PF, g.runToHandler());
      assertEquals(PK | PageFaultError.WRITE | PageFaultError.USER, g.stack(0));
    }
    try (BareGuest g = guest(mmu, 3 << 2 * KEY, a -> access(a, 1, DATA))) {
      key(g, DATA, KEY);
      g.entry(DATA, g.entry(DATA) & ~Pte.USER);
      assertEquals(Vector.UD, g.runToHandler(), "keys are of user pages");
      assertEquals(0x1234, g.machine.memory.read32(DATA));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldOpenAndClosePagesByWrpkru(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            3 << 2 * KEY,
            a -> {
              a.mov(Register.RBX, DATA);
              wrpkru(a, 0);
              a.mov(Memory.at(Register.RBX).asDword(), 0x77);
              wrpkru(a, WRITE_DISABLE << 2 * KEY);
              a.mov(Register.ESI, Memory.at(Register.RBX));
              a.mov(Memory.at(Register.RBX).asDword(), 0x88);
            })) {
      key(g, DATA, KEY);
      g.user();
      assertEquals(Vector.PF, g.runToHandler());
      assertEquals(PK | PageFaultError.WRITE | PageFaultError.USER, g.stack(0));
      assertEquals(0x77, g.machine.reg(Register.RSI));
      assertEquals(0x77, g.machine.memory.read32(DATA));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldTakeTheKeyOfALargePage(final MmuKind mmu) {
    for (final int pkru : new int[] {0, 3 << 2 * KEY}) {
      try (BareGuest g = guest(mmu, pkru, a -> access(a, 0, LARGE + 0x5000))) {
        final long entry =
            LARGE
                | Pte.PRESENT
                | Pte.WRITABLE
                | Pte.USER
                | Pte.PAGE_SIZE
                | (long) KEY << Pte.PROTECTION_KEY_SHIFT;
        g.machine.memory.write64(g.directoryAddress(LARGE), entry);
        g.machine.stateChanged();
        g.user();
        assertEquals(pkru == 0 ? Vector.UD : Vector.PF, g.runToHandler());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReadAndWritePkruWhereCr4Allows(final MmuKind mmu) {
    try (BareGuest g =
        guest(
            mmu,
            0,
            a -> {
              wrpkru(a, 0x5555_5554);
              a.mov(Register.RAX, -1);
              a.mov(Register.RDX, -1);
              a.db(0x0F, 0x01, 0xEE); // RDPKRU
              a.hlt();
            })) {
      g.runToEnd();
      assertEquals(0x5555_5554, g.machine.reg(Register.RAX));
      assertEquals(0, g.machine.reg(Register.RDX));
    }
    final int[][] faults = {{0xEE, 1, 0}, {0xEF, 1, 0}, {0xEF, 0, 1}};
    for (final int[] f : faults) {
      try (BareGuest g = guest(mmu, 0, a -> a.db(0x0F, 0x01, f[0]))) {
        g.machine.reg(Register.RCX, f[1]);
        g.machine.reg(Register.RDX, f[2]);
        assertEquals(Vector.GP, g.runToHandler());
      }
      try (BareGuest g = guest(mmu, 0, a -> a.db(0x0F, 0x01, f[0]))) {
        g.machine.set(StateLayout.CR4, g.machine.get(StateLayout.CR4) & ~ControlRegisters.CR4_PKE);
        g.machine.stateChanged();
        assertEquals(Vector.UD, g.runToHandler(), "CR4.PKE clear");
      }
    }
  }

  private static void state(final Assembler a, final int... operation) {
    a.mov(Register.EAX, 1 << 9);
    a.xor(Register.EDX, Register.EDX);
    a.mov(Register.RBX, DATA);
    a.db(operation);
  }

  private static final int[] XSAVE = {0x0F, 0xAE, 0x23};
  private static final int[] XSAVEC = {0x0F, 0xC7, 0x23};
  private static final int[] XRSTOR = {0x0F, 0xAE, 0x2B};

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSaveAndRestorePkruAsComponentNine(final MmuKind mmu) {
    for (final int[] save : new int[][] {XSAVE, XSAVEC}) {
      final int offset = save == XSAVE ? 832 : 576;
      try (BareGuest g =
          guest(
              mmu,
              0,
              a -> {
                wrpkru(a, 0x5555_5554);
                state(a, save);
                wrpkru(a, 0xC);
                state(a, XRSTOR);
                a.xor(Register.ECX, Register.ECX);
                a.db(0x0F, 0x01, 0xEE); // RDPKRU
                a.hlt();
              })) {
        g.machine.set(StateLayout.XCR0, 0x207);
        g.runToEnd();
        assertEquals(0x5555_5554, g.machine.memory.read32(DATA + offset));
        assertEquals(1 << 9, g.machine.memory.read64(DATA + 512), "XSTATE_BV");
        assertEquals(0x5555_5554, g.machine.reg(Register.RAX));
      }
    }
    // What the area does not have goes to its initial state: all is allowed.
    try (BareGuest g =
        guest(
            mmu,
            3 << 2 * KEY,
            a -> {
              state(a, XRSTOR);
              access(a, 0, DATA + 0x1000);
            })) {
      g.machine.set(StateLayout.XCR0, 0x207);
      key(g, DATA + 0x1000, KEY);
      assertEquals(Vector.UD, g.runToHandler());
    }
  }

  @Test
  void shouldTellKeysByCpuid() {
    final int[] out = new int[4];
    CpuModel.max().query(7, 0, 0, ControlRegisters.CR4_PKE, 1, out);
    assertEquals(3 << 3, out[2] & 3 << 3, "PKU, OSPKE");
    CpuModel.max().query(7, 0, 0, 0, 1, out);
    assertEquals(1 << 3, out[2] & 3 << 3);
    CpuModel.max().query(0xD, 0, 0, 0, 0x207, out);
    assertEquals(0x207, out[0]);
    assertEquals(840, out[1]);
    assertEquals(840, out[2]);
    CpuModel.max().query(0xD, 9, 0, 0, 0x207, out);
    assertEquals(8, out[0]);
    assertEquals(832, out[1]);
    CpuModel.of("x86-64-v3").query(7, 0, 0, 0, 1, out);
    assertEquals(0, out[2] & 1 << 3);
  }
}

package dev.vmexit.vcpu.soft;

import static dev.vmexit.vcpu.soft.BareGuest.CODE;
import static dev.vmexit.vcpu.soft.BareGuest.DATA;
import static dev.vmexit.vcpu.soft.BareGuest.MAPPED;
import static dev.vmexit.vcpu.soft.BareGuest.STACK;
import static dev.vmexit.vcpu.soft.BareGuest.TABLES;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.mmu.Fault;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareGuest.Paging;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Msr;
import dev.vmexit.x86.PageFaultError;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Paging as code on the vCPU sees it: faults, restarts, bits in the tables, the TLB. */
final class PagingTest {
  private static final long RIGHTS = Pte.PRESENT | Pte.WRITABLE | Pte.USER;

  /** The page that the tests take away or restrict; the one before it stays as it is. */
  private static final long PAGE = DATA + 0x1000;

  /** Where the instruction of interest lies, after its preparations. */
  private static final long SUBJECT = CODE + 0x100;

  private static final int WRITE = PageFaultError.WRITE;
  private static final int USER = PageFaultError.USER;
  private static final int FETCH = PageFaultError.FETCH;
  private static final int PROTECTION = PageFaultError.PRESENT;

  /** A linear address above what the guest's tables map. */
  private static final long FAR = MAPPED + 0x20_3000;

  static Stream<Arguments> modes() {
    return Stream.of(MmuKind.values())
        .flatMap(
            mmu ->
                Stream.of(Paging.BITS32, Paging.PAE, Paging.LEVEL4)
                    .map(paging -> Arguments.of(mmu, paging)));
  }

  private static BareGuest guest(final MmuKind mmu, final Paging paging) {
    final BareGuest g =
        paging == Paging.LEVEL4 ? BareGuest.long64(mmu) : BareGuest.protected32(mmu, paging);
    g.machine.memory.fill(PAGE - 0x1000, 0x2000, 0x11);
    return g;
  }

  private static void code(
      final BareGuest g, final Consumer<Assembler> before, final Consumer<Assembler> subject) {
    g.code(
        a -> {
          before.accept(a);
          a.nop();
          a.align((int) (SUBJECT - CODE));
          subject.accept(a);
          a.hlt();
        });
  }

  private static void assertPageFault(
      final BareGuest g, final long address, final int errorCode, final long rip) {
    assertEquals(Vector.PF, g.runToHandler());
    assertEquals(errorCode, g.stack(0));
    assertEquals(rip, g.stack(1));
    assertEquals(address, g.machine.get(StateLayout.CR2));
  }

  /** Puts an entry by the guest's own store, so that the MMU learns of it as it would. */
  private static void storeEntry(
      final BareGuest g, final Assembler a, final long at, final long entry) {
    if (g.paging == Paging.LEVEL4) {
      a.mov(Register.RAX, entry);
      a.mov(Register.RBX, at);
      a.mov(Memory.at(Register.RBX), Register.RAX);
    } else {
      final int low = (int) entry;
      a.mov(Register.EAX, low);
      a.mov(Memory.absolute(at), Register.EAX);
      if (g.paging == Paging.PAE) {
        final int high = (int) (entry >>> 32);
        a.mov(Register.EAX, high);
        a.mov(Memory.absolute(at + 4), Register.EAX);
      }
    }
  }

  private static Register accumulator(final BareGuest g) {
    return g.size == 8 ? Register.RAX : Register.EAX;
  }

  private static void reloadCr3(final BareGuest g, final Assembler a) {
    a.mov(accumulator(g), Register.CR3);
    a.mov(Register.CR3, accumulator(g));
  }

  // ---- restarts ----

  /** Runs the subject into a fault on PAGE, maps the page, and lets it go on. */
  private static void restart(
      final BareGuest g, final long address, final int errorCode, final Runnable atFault) {
    assertPageFault(g, address, errorCode, SUBJECT);
    atFault.run();
    g.entry(PAGE, PAGE | RIGHTS);
    g.runToEnd();
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldLeaveTheStackPointerWhenAPushFaults(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      g.user();
      g.machine.reg(Register.RSP, PAGE + 2);
      g.machine.reg(Register.RAX, 0x5A5A_5A5AL);
      g.entry(PAGE, 0);
      code(
          g,
          a -> {},
          a -> {
            a.push(accumulator(g));
            a.ud2();
          });
      assertPageFault(g, PAGE, WRITE | USER, SUBJECT);
      assertEquals(PAGE + 2, g.stack(4));
      assertEquals(0x1111_1111, g.machine.memory.read32(PAGE - 4), "nothing of it was stored");
      g.entry(PAGE, PAGE | RIGHTS);
      assertEquals(Vector.UD, g.runToHandler());
      assertEquals(PAGE + 2 - g.size, g.stack(3));
      assertEquals(0x5A5A_5A5AL, g.machine.memory.read(PAGE + 2 - g.size, g.size));
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldWriteNothingWhenOnePageOfAStoreIsMissing(final MmuKind mmu, final Paging paging) {
    for (final long at : new long[] {PAGE - 2, PAGE + 0xFFE}) {
      try (BareGuest g = guest(mmu, paging)) {
        g.machine.memory.fill(PAGE + 0x1000, 4, 0x11);
        g.entry(PAGE, 0);
        code(
            g,
            a -> a.mov(Register.EAX, 0x1234_5678),
            a -> a.mov(Memory.absolute(at), Register.EAX));
        restart(
            g,
            Math.max(at, PAGE),
            WRITE,
            () -> assertEquals(0x1111_1111, g.machine.memory.read32(at)));
        assertEquals(0x1234_5678, g.machine.memory.read32(at));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldReadModifyWriteOnceWhenItFaulted(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      g.entry(PAGE, 0);
      code(
          g,
          a -> {
            a.mov(Register.EAX, 5);
            a.stc();
          },
          a -> a.adc(Memory.absolute(PAGE + 8), Register.EAX));
      restart(g, PAGE + 8, WRITE, () -> assertEquals(1, g.stack(3) & 1, "CF is as it was"));
      assertEquals(0x1111_1117, g.machine.memory.read32(PAGE + 8));
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldReadModifyWriteOnceAcrossPagesWhenItFaulted(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      g.entry(PAGE, 0);
      code(g, a -> a.mov(Register.EAX, 1), a -> a.xadd(Memory.absolute(PAGE - 1), Register.EAX));
      restart(g, PAGE, WRITE, () -> assertEquals(1, g.machine.reg(Register.RAX)));
      assertEquals(0x1111_1111, g.machine.reg(Register.RAX));
      assertEquals(0x1111_1112, g.machine.memory.read32(PAGE - 1));
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldKeepItsProgressWhenAStringFaultsMidWay(final MmuKind mmu, final Paging paging) {
    for (final boolean down : new boolean[] {false, true}) {
      try (BareGuest g = guest(mmu, paging)) {
        g.entry(PAGE, 0);
        final long start = down ? PAGE + 0x1008 : PAGE - 12;
        code(
            g,
            a -> {
              if (down) {
                a.std();
              }
              a.mov(Register.ESI, down ? CODE + 28 : CODE);
              a.mov(Register.EDI, start);
              a.mov(Register.ECX, 8);
            },
            a -> {
              a.rep();
              a.movs(4);
            });
        restart(
            g,
            down ? PAGE + 0xFFC : PAGE,
            WRITE,
            () -> {
              assertEquals(5, g.machine.reg(Register.RCX));
              assertEquals(down ? CODE + 16 : CODE + 12, g.machine.reg(Register.RSI));
              assertEquals(down ? PAGE + 0xFFC : PAGE, g.machine.reg(Register.RDI));
            });
        assertEquals(0, g.machine.reg(Register.RCX));
        final long low = down ? start - 28 : start;
        for (int i = 0; i < 8; i++) {
          assertEquals(g.machine.memory.read32(CODE + 4 * i), g.machine.memory.read32(low + 4 * i));
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldPopNothingWhenTheTargetOfAPopFaults(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      g.entry(PAGE, 0);
      code(
          g,
          a -> a.push(0x1234),
          a ->
              a.pop(
                  g.size == 8 ? Memory.absolute(PAGE).asQword() : Memory.absolute(PAGE).asDword()));
      final long frame = g.size == 8 ? 48 : 16;
      assertPageFault(g, PAGE, WRITE, SUBJECT);
      // In long mode the frame begins at an aligned address below the pushed word.
      assertEquals((g.size == 8 ? STACK - 16 : STACK - 4) - frame, g.machine.reg(Register.RSP));
      g.entry(PAGE, PAGE | RIGHTS);
      g.runToEnd();
      assertEquals(STACK, g.machine.reg(Register.RSP));
      assertEquals(0x1234, g.machine.memory.read(PAGE, g.size));
    }
  }

  // ---- error codes ----

  /** Makes PAGE have an entry and runs one access to it at a level; the fault or the end. */
  private static void access(
      final MmuKind mmu,
      final Paging paging,
      final long entry,
      final boolean user,
      final boolean wp,
      final Consumer<Assembler> subject,
      final int errorCode) {
    try (BareGuest g = guest(mmu, paging)) {
      g.entry(PAGE, entry);
      if (user) {
        g.user();
      }
      if (!wp) {
        g.machine.set(StateLayout.CR0, g.machine.get(StateLayout.CR0) & ~ControlRegisters.CR0_WP);
        g.machine.stateChanged();
      }
      g.gate(0x80, 0xEE);
      code(
          g,
          a -> {},
          a -> {
            subject.accept(a);
            a.interrupt(0x80);
          });
      if (errorCode < 0) {
        assertEquals(0x80, g.runToHandler());
      } else {
        assertPageFault(g, PAGE + 0x10, errorCode, SUBJECT);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldTellTheKindOfAccessInTheErrorCode(final MmuKind mmu, final Paging paging) {
    final long readOnly = PAGE | Pte.PRESENT | Pte.USER;
    final long kernel = PAGE | Pte.PRESENT | Pte.WRITABLE;
    final Consumer<Assembler> load = a -> a.mov(Register.AL, Memory.absolute(PAGE + 0x10));
    final Consumer<Assembler> store = a -> a.mov(Memory.absolute(PAGE + 0x10), Register.AL);
    final Consumer<Assembler> modify = a -> a.add(Memory.absolute(PAGE + 0x10), Register.AL);
    access(mmu, paging, 0, false, true, load, 0);
    access(mmu, paging, 0, false, true, store, WRITE);
    access(mmu, paging, 0, true, true, load, USER);
    access(mmu, paging, 0, true, true, modify, USER | WRITE);
    access(mmu, paging, readOnly, false, true, load, -1);
    access(mmu, paging, readOnly, false, true, store, PROTECTION | WRITE);
    access(mmu, paging, readOnly, false, true, modify, PROTECTION | WRITE);
    access(mmu, paging, readOnly, false, false, store, -1);
    access(mmu, paging, readOnly, true, true, load, -1);
    access(mmu, paging, readOnly, true, true, store, PROTECTION | WRITE | USER);
    access(mmu, paging, readOnly, true, false, store, PROTECTION | WRITE | USER);
    access(mmu, paging, kernel, false, true, store, -1);
    access(mmu, paging, kernel, true, true, load, PROTECTION | USER);
    access(mmu, paging, kernel, true, true, store, PROTECTION | WRITE | USER);
    if (paging != Paging.BITS32) {
      // Bit 62 is reserved with PAE, free with four levels; bit 45 is beyond the address.
      access(
          mmu, paging, kernel | 1L << 45, false, true, load, PROTECTION | PageFaultError.RESERVED);
      access(mmu, paging, kernel | Pte.NO_EXECUTE, false, true, store, -1);
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldTellAFetchInTheErrorCodeWhenExecutionIsForbidden(
      final MmuKind mmu, final Paging paging) {
    for (final boolean user : new boolean[] {false, true}) {
      for (final boolean present : new boolean[] {false, true}) {
        if (present && paging == Paging.BITS32) {
          continue;
        }
        try (BareGuest g = guest(mmu, paging)) {
          g.entry(PAGE, present ? PAGE | RIGHTS | Pte.NO_EXECUTE : 0);
          if (user) {
            g.user();
          }
          code(g, a -> {}, a -> a.jmp(a.labelAt(PAGE + 0x10)));
          // 32-bit paging has no execute-disable, and then the code does not tell of fetches.
          assertPageFault(
              g,
              PAGE + 0x10,
              (paging == Paging.BITS32 ? 0 : FETCH)
                  | (user ? USER : 0)
                  | (present ? PROTECTION : 0),
              PAGE + 0x10);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldFaultOnTheSecondPageWhenAnInstructionCrossesToIt(
      final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      g.entry(PAGE, 0);
      // MOV EAX, imm32, its last two bytes on PAGE.
      g.machine.memory.write8(PAGE - 3, 0xB8);
      g.machine.memory.write32(PAGE - 2, 0x1234_5678);
      g.machine.memory.write8(PAGE + 2, 0xF4);
      code(g, a -> {}, a -> a.jmp(a.labelAt(PAGE - 3)));
      assertPageFault(g, PAGE, paging == Paging.BITS32 ? 0 : FETCH, PAGE - 3);
      g.entry(PAGE, PAGE | RIGHTS);
      assertEquals(VcpuExit.HLT, g.machine.run());
      assertEquals(PAGE + 2, g.machine.vcpu.exit().rip);
      assertEquals(0x1234_5678, g.machine.reg(Register.RAX));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldForbidByAnyLevelOfTheTables(final MmuKind mmu) {
    for (final long at : new long[] {TABLES, TABLES + 0x1000, TABLES + 0x2000}) {
      try (BareGuest g = guest(mmu, Paging.LEVEL4)) {
        g.machine.memory.write64(at, g.machine.memory.read64(at) & ~Pte.USER);
        g.user();
        code(g, a -> {}, Assembler::nop);
        assertPageFault(g, SUBJECT - 0x100, PROTECTION | USER | FETCH, CODE);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldRaiseProtectionOrStackFaultWhenTheAddressIsNotCanonical(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.LEVEL4)) {
      code(
          g,
          a -> a.mov(Register.RBX, 0x7FFF_FFFF_FFFEL),
          a -> a.mov(Register.EAX, Memory.at(Register.RBX)));
      // The first page of the access is not mapped, but half of it has no address at all.
      final int vector = g.runToHandler();
      assertTrue(vector == Vector.GP || vector == Vector.PF);
      assertEquals(SUBJECT, g.stack(1));
    }
    try (BareGuest g = guest(mmu, Paging.LEVEL4)) {
      g.user();
      g.machine.reg(Register.RSP, 0x8000_0000_0004L);
      code(g, a -> {}, a -> a.push(Register.RAX));
      assertEquals(Vector.SS, g.runToHandler());
      assertEquals(0, g.stack(0));
    }
  }

  // ---- accessed and dirty ----

  @ParameterizedTest
  @MethodSource("modes")
  void shouldSetAccessedAndDirtyWhereTheGuestCanSeeThem(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      final long entryAt = g.entryAddress(PAGE);
      code(
          g,
          a -> {
            a.mov(Register.ECX, Memory.absolute(entryAt));
            a.mov(Register.EAX, Memory.absolute(PAGE));
            a.mov(Register.EDX, Memory.absolute(entryAt));
            a.mov(Memory.absolute(PAGE), Register.EAX);
            a.mov(Register.EBX, Memory.absolute(entryAt));
          },
          a -> {});
      g.runToEnd();
      final long bits = Pte.ACCESSED | Pte.DIRTY;
      assertEquals(0, g.machine.reg(Register.RCX) & bits);
      assertEquals(Pte.ACCESSED, g.machine.reg(Register.RDX) & bits);
      assertEquals(bits, g.machine.reg(Register.RBX) & bits);
      final long directory = g.machine.memory.read(g.directoryAddress(PAGE), g.entrySize());
      assertEquals(Pte.ACCESSED, directory & bits, "a table has no dirty bit");
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldSetThemAgainWhenTheGuestHasClearedThem(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      code(
          g,
          a -> {
            a.mov(Memory.absolute(PAGE), Register.EAX);
            storeEntry(g, a, g.entryAddress(PAGE), PAGE | RIGHTS);
            a.invlpg(Memory.absolute(PAGE));
            a.mov(Register.ECX, Memory.absolute(PAGE));
            a.mov(Register.EDI, Memory.absolute(g.entryAddress(PAGE)));
            a.mov(Memory.absolute(PAGE), Register.EAX);
          },
          a -> {});
      g.runToEnd();
      assertEquals(PAGE | RIGHTS | Pte.ACCESSED, g.machine.reg(Register.RDI));
      assertEquals(PAGE | RIGHTS | Pte.ACCESSED | Pte.DIRTY, g.entry(PAGE));
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldSetNothingWhenTheAccessFaults(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      final long entry = PAGE | Pte.PRESENT | Pte.USER;
      g.entry(PAGE, entry);
      code(g, a -> {}, a -> a.mov(Memory.absolute(PAGE), Register.EAX));
      assertPageFault(g, PAGE, PROTECTION | WRITE, SUBJECT);
      assertEquals(entry, g.entry(PAGE));
    }
  }

  // ---- the TLB ----

  @ParameterizedTest
  @MethodSource("modes")
  void shouldSeeTheNewPageAfterInvlpg(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      g.machine.memory.write32(PAGE + 0x5000, 0x2222_2222);
      code(
          g,
          a -> {
            a.mov(Register.ECX, Memory.absolute(PAGE));
            storeEntry(g, a, g.entryAddress(PAGE), PAGE + 0x5000 | RIGHTS);
            a.invlpg(Memory.absolute(PAGE + 0x123));
            a.mov(Register.EDX, Memory.absolute(PAGE));
            a.mov(Memory.absolute(PAGE + 4), Register.EDX);
          },
          a -> {});
      g.runToEnd();
      assertEquals(0x1111_1111, g.machine.reg(Register.RCX));
      assertEquals(0x2222_2222, g.machine.reg(Register.RDX));
      assertEquals(0x2222_2222, g.machine.memory.read32(PAGE + 0x5004));
      assertEquals(1, g.machine.exits(VcpuExit.INVLPG).size());
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldForgetAllOfALargePageByOneInvlpg(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      // A large page at 4 MiB is remapped from the frame at 4 MiB to that at 0.
      final long large = 0x40_0000;
      final long at = g.directoryAddress(large);
      g.machine.memory.write(at, g.entrySize(), large | RIGHTS | Pte.PAGE_SIZE);
      g.machine.memory.write32(large + DATA, 0x4444_4444);
      g.machine.memory.write32(large + PAGE, 0x5555_5555);
      code(
          g,
          a -> {
            a.mov(Register.ECX, Memory.absolute(large + DATA));
            a.add(Register.ECX, Memory.absolute(large + PAGE));
            storeEntry(g, a, at, RIGHTS | Pte.PAGE_SIZE);
            a.invlpg(Memory.absolute(large + DATA));
            a.mov(Register.ESI, Memory.absolute(large + DATA));
            a.mov(Register.EDI, Memory.absolute(large + PAGE));
          },
          a -> {});
      g.runToEnd();
      assertEquals(0x4444_4444L + 0x5555_5555L, g.machine.reg(Register.RCX));
      assertEquals(0x1111_1111, g.machine.reg(Register.RSI));
      assertEquals(0x1111_1111, g.machine.reg(Register.RDI), "another part of the same page");
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldForgetAllOfAGigabyteByOneInvlpg(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.LEVEL4)) {
      // The second gigabyte is mapped by one page: to frame 0, then away.
      final long at = TABLES + 0x1008;
      final long base = 1L << 30;
      g.machine.memory.write64(at, RIGHTS | Pte.PAGE_SIZE);
      code(
          g,
          a -> {
            a.mov(Register.ECX, Memory.absolute(base + PAGE));
            a.mov(Register.EDX, Memory.absolute(base + 0x40_0000 + PAGE));
            storeEntry(g, a, at, 0);
            a.invlpg(Memory.absolute(base + 0x20_0000));
          },
          a -> a.mov(Register.ESI, Memory.absolute(base + PAGE)));
      assertPageFault(g, base + PAGE, 0, SUBJECT);
      assertEquals(0x1111_1111, g.machine.reg(Register.RCX));
    }
  }

  @ParameterizedTest
  @MethodSource("modes")
  void shouldKeepGlobalPagesOnlyOverACr3Load(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      final long other = PAGE + 0x1000;
      g.machine.memory.write32(PAGE + 0x5000, 0x2222_2222);
      g.machine.memory.write32(other, 0x3333_3333);
      g.machine.memory.write32(other + 0x5000, 0x4444_4444);
      g.entry(PAGE, PAGE | RIGHTS | Pte.GLOBAL);
      code(
          g,
          a -> {
            a.mov(Register.ECX, Memory.absolute(PAGE));
            a.mov(Register.ECX, Memory.absolute(other));
            storeEntry(g, a, g.entryAddress(PAGE), PAGE + 0x5000 | RIGHTS | Pte.GLOBAL);
            storeEntry(g, a, g.entryAddress(other), other + 0x5000 | RIGHTS);
            reloadCr3(g, a);
            a.mov(Register.ESI, Memory.absolute(PAGE));
            a.mov(Register.EDI, Memory.absolute(other));
            // Switching global pages off and on drops them all.
            final Register r = accumulator(g);
            a.mov(r, Register.CR4);
            a.xor(r, ControlRegisters.CR4_PGE);
            a.mov(Register.CR4, r);
            a.mov(Register.EBP, Memory.absolute(PAGE));
          },
          a -> {});
      g.runToEnd();
      assertEquals(0x1111_1111, g.machine.reg(Register.RSI), "still cached");
      assertEquals(0x4444_4444, g.machine.reg(Register.RDI));
      assertEquals(0x2222_2222, g.machine.reg(Register.RBP));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSeeTheOtherAddressSpaceAfterACr3Switch(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.LEVEL4)) {
      // A second set of tables differs in the frame behind PAGE.
      final long second = 0x20_0000;
      final byte[] tables = g.bytes(TABLES, 0xB000);
      g.machine.memory.write(second, tables, 0, tables.length);
      g.machine.memory.write64(second, second + 0x1000 | RIGHTS);
      g.machine.memory.write64(second + 0x1000, second + 0x2000 | RIGHTS);
      g.machine.memory.write64(second + 0x2000, second + 0x3000 | RIGHTS);
      g.machine.memory.write64(second + 0x3000 + (PAGE >>> 12) * 8, PAGE + 0x5000 | RIGHTS);
      g.machine.memory.write32(PAGE + 0x5000, 0x2222_2222);
      g.code(
          a -> {
            final Label again = a.label();
            a.mov(Register.R8D, 100);
            a.mov(Register.RSI, TABLES);
            a.mov(Register.RDI, second);
            a.bind(again);
            a.mov(Register.CR3, Register.RDI);
            a.add(Register.EBX, Memory.absolute(PAGE));
            a.inc(Memory.absolute(PAGE + 4).asDword());
            a.mov(Register.CR3, Register.RSI);
            a.add(Register.ECX, Memory.absolute(PAGE));
            a.dec(Register.R8D);
            a.jcc(Condition.NE, again);
            a.hlt();
          });
      g.runToEnd();
      assertEquals(100 * 0x2222_2222L & 0xFFFF_FFFFL, g.machine.reg(Register.RBX));
      assertEquals(100 * 0x1111_1111L & 0xFFFF_FFFFL, g.machine.reg(Register.RCX));
      assertEquals(100, g.machine.memory.read32(PAGE + 0x5004));
      assertEquals(0x1111_1111, g.machine.memory.read32(PAGE + 4));
      if (mmu == MmuKind.SHADOW) {
        assertTrue(g.machine.exits(VcpuExit.PAGE_FAULT).size() < 30, "the shadow tables are kept");
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldApplyWriteProtectionAtOnceWhenWpIsToggled(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.LEVEL4)) {
      g.entry(PAGE, PAGE | Pte.PRESENT);
      code(
          g,
          a -> {
            a.mov(Register.RAX, Register.CR0);
            a.mov(Register.RBX, Register.RAX);
            a.and(Register.EAX, ~(int) ControlRegisters.CR0_WP);
            a.mov(Register.CR0, Register.RAX);
            a.mov(Memory.absolute(PAGE).asDword(), 0x77);
            a.mov(Register.CR0, Register.RBX);
          },
          a -> a.mov(Memory.absolute(PAGE).asDword(), 0x88));
      assertPageFault(g, PAGE, PROTECTION | WRITE, SUBJECT);
      assertEquals(0x77, g.machine.memory.read32(PAGE));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldApplyExecuteDisableOnceEferAllowsIt(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.LEVEL4)) {
      g.machine.set(StateLayout.EFER, g.machine.get(StateLayout.EFER) & ~ControlRegisters.EFER_NXE);
      g.machine.stateChanged();
      g.entry(PAGE, PAGE | RIGHTS);
      g.machine.memory.write8(PAGE, 0xC3);
      code(
          g,
          a -> {
            a.call(a.labelAt(PAGE));
            storeEntry(g, a, g.entryAddress(PAGE), PAGE | RIGHTS | Pte.NO_EXECUTE);
            a.mov(Register.ECX, Msr.EFER);
            a.rdmsr();
            a.or(Register.EAX, ControlRegisters.EFER_NXE);
            a.wrmsr();
          },
          a -> a.call(a.labelAt(PAGE)));
      assertPageFault(g, PAGE, PROTECTION | FETCH, PAGE);
    }
  }

  // ---- tables that change under the MMU ----

  @ParameterizedTest
  @MethodSource("modes")
  void shouldFollowTablesThatTheGuestBuildsAndTearsDown(final MmuKind mmu, final Paging paging) {
    try (BareGuest g = guest(mmu, paging)) {
      // A new table behind a directory entry that is not there yet.
      final long table = 0x30_0000;
      final long index = paging == Paging.BITS32 ? FAR >>> 12 & 1023 : FAR >>> 12 & 511;
      final long entryAt = table + index * g.entrySize();
      g.entry(table, table | RIGHTS);
      code(
          g,
          a -> {
            storeEntry(g, a, entryAt, PAGE | RIGHTS);
            storeEntry(g, a, g.directoryAddress(FAR), table | RIGHTS);
            a.mov(Register.ECX, Memory.absolute(FAR));
            a.mov(Memory.absolute(FAR + 8).asDword(), 0x99);
            // Not present any more: by the leaf's entry.
            storeEntry(g, a, entryAt, 0);
            a.invlpg(Memory.absolute(FAR));
          },
          a -> a.mov(Register.ECX, Memory.absolute(FAR)));
      assertPageFault(g, FAR, 0, SUBJECT);
      assertEquals(0x1111_1111, g.machine.reg(Register.RCX));
      assertEquals(0x99, g.machine.memory.read32(PAGE + 8));
      if (mmu == MmuKind.SHADOW) {
        assertTrue(
            g.machine.exits(VcpuExit.PAGE_FAULT).stream()
                .anyMatch(e -> e.outcome() == Fault.TABLE_WRITE));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldSeeEachOfManyStoresOfOneInstructionToATable(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.LEVEL4)) {
      // FXRSTOR and FXSAVE move 512 bytes: 64 entries of the table that maps the data.
      g.machine.set(StateLayout.CR4, g.machine.get(StateLayout.CR4) | ControlRegisters.CR4_OSFXSR);
      g.machine.stateChanged();
      final long window = 0x50_0000;
      final long entries = g.entryAddress(window);
      final long image = 0x38_0000;
      assertEquals(0, entries & 0x1FF);
      for (int i = 0; i < 64; i++) {
        g.machine.memory.write32(window + i * 0x1000, i);
        g.machine.memory.write32(window + 0x4_0000 + i * 0x1000, 0x100 + i);
      }
      g.code(
          a -> {
            a.mov(Register.RSI, window);
            final Label touch = a.here();
            a.mov(Register.EAX, Memory.at(Register.RSI));
            a.add(Register.RSI, 0x1000);
            a.cmp(Register.RSI, (int) window + 0x4_0000);
            a.jcc(Condition.NE, touch);
            a.fxrstor(Memory.absolute(image));
            a.fxsave(Memory.absolute(entries));
            reloadCr3(g, a);
            a.hlt();
          });
      // The image that FXSAVE will store: its XMM part makes entries 20 to 51 point elsewhere.
      for (int i = 0; i < 32; i++) {
        g.machine.memory.write64(
            image + 160 + 8 * i, window + 0x4_0000 + (20 + i) * 0x1000 | RIGHTS);
      }
      g.machine.memory.write16(image, 0x37F);
      g.machine.memory.write32(image + 24, 0x1F80);
      g.runToEnd();
      final Assembler b = new Assembler(8, CODE + 0x800);
      b.mov(Register.EBX, Memory.absolute(window + 20 * 0x1000));
      b.mov(Register.ECX, Memory.absolute(window + 51 * 0x1000));
      b.hlt();
      g.machine.load(b, CODE + 0x800);
      g.machine.set(StateLayout.RIP, CODE + 0x800);
      g.runToEnd();
      assertEquals(0x100 + 20, g.machine.reg(Register.RBX));
      assertEquals(0x100 + 51, g.machine.reg(Register.RCX));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldPushAnInterruptFrameOntoATable(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.LEVEL4)) {
      // The stack is the page of the very table that maps 14 to 16 MiB.
      final long table = TABLES + 0x3000 + 7 * 0x1000;
      g.machine.reg(Register.RSP, table + 0x1000);
      g.code(
          a -> {
            a.mov(Register.EAX, Memory.absolute(0xE0_0000));
            a.interrupt(0x80);
            a.push(Register.RAX);
            a.pop(Register.RBX);
            a.hlt();
          });
      assertEquals(0x80, g.runToHandler());
      assertEquals(table + 0x1000 - 40, g.machine.reg(Register.RSP));
      assertEquals(table + 0x1000, g.stack(3));
      g.runToEnd();
      assertEquals(g.machine.reg(Register.RAX), g.machine.reg(Register.RBX));
    }
  }

  @ParameterizedTest
  @EnumSource(MmuKind.class)
  void shouldReloadPdptesAndRefuseReservedBits(final MmuKind mmu) {
    try (BareGuest g = guest(mmu, Paging.PAE)) {
      final long pdpt = 0x30_0000;
      g.entry(pdpt, pdpt | RIGHTS);
      g.machine.memory.write64(pdpt, TABLES + 0x1000 | Pte.PRESENT);
      g.machine.memory.write64(pdpt + 8, TABLES + 0x1000 | Pte.PRESENT);
      code(
          g,
          a -> {
            a.mov(Register.EAX, pdpt);
            a.mov(Register.CR3, Register.EAX);
            a.mov(Register.ECX, Memory.absolute(0x4000_0000L + PAGE));
            // Not in force before CR3 is loaded again.
            a.mov(Memory.absolute(pdpt + 8).asDword(), (int) (TABLES + 0x1000) | 7);
            a.mov(Register.EDX, Memory.absolute(0x4000_0000L + PAGE));
            a.stc();
          },
          a -> a.mov(Register.CR3, Register.EAX));
      assertEquals(Vector.GP, g.runToHandler());
      assertEquals(0, g.stack(0));
      assertEquals(1, g.stack(3) & 1, "the arithmetic flags survive the refusal");
      assertEquals(0x1111_1111, g.machine.reg(Register.RCX));
      assertEquals(0x1111_1111, g.machine.reg(Register.RDX));
    }
  }
}

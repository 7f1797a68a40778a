package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.vcpu.soft.BareMachine.MmuKind;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Seg;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Whatever a guest executes, the machine stays whole: no Java exception, no byte outside of the
 * guest's RAM, and it can always be stopped. Seeded: a failure names the page that made it.
 */
final class HostileCodeTest {
  /** Pages for each kind of code; more by the system property, for a campaign. */
  private static final int PAGES = Integer.getInteger("vmexit.hostile.pages", 1_000);

  /** The first page: what a campaign in parts begins each with. */
  private static final int FIRST = Integer.getInteger("vmexit.hostile.first", 0);

  private static final int PAGES_PER_MACHINE = 16;
  private static final int MOST_ENTRIES = 60;
  private static final int MOST_INSTRUCTIONS = 200;
  private static final long KICK_NANOS = 3_000_000;

  private static final long RAM = 0x10_0000;
  private static final long ROM = 0xF000_0000L;
  private static final long CODE = 0x1_0000;
  private static final long TABLES = 0x8_0000;
  private static final long GDT = 0x1000;
  private static final long IDT = 0x2000;
  private static final long HANDLER = 0x4000;

  private static final int RIGHTS = (int) (Pte.PRESENT | Pte.WRITABLE | Pte.USER);

  /** Bytes that begin something interesting more often than chance would have it. */
  private static final int[] LIKELY = {
    0x0F, 0x0F, 0x0F, 0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x48, 0x4C, 0x41, 0x2E, 0x64, 0x65, 0x36, 0xC8,
    0xC9, 0xCA, 0xCB, 0xCC, 0xCD, 0xCE, 0xCF, 0x9A, 0xEA, 0xFF, 0xE8, 0xC3, 0xC2, 0x9C, 0x9D, 0x60,
    0x61, 0x62, 0x63, 0x8E, 0x8C, 0xA4, 0xA5, 0xAA, 0xAB, 0x6C, 0x6D, 0x6E, 0x6F, 0xE4, 0xE6, 0xEC,
    0xEF, 0xFA, 0xFB, 0xF4, 0xF6, 0xF7, 0xD8, 0xD9, 0xDB, 0xDD, 0xDF, 0x9B, 0x07, 0x17, 0x1F, 0xC4,
    0xC5, 0x20, 0x22, 0x01, 0x00, 0xAE, 0xC7, 0x30, 0x32, 0x31, 0xA2, 0x05, 0x34, 0x35,
  };

  private static final int VM86_RIGHTS = 0xF3;

  /** Bits of CR4 that change what code may do. */
  private static final int FEATURES =
      (int)
          (ControlRegisters.CR4_VME
              | ControlRegisters.CR4_PVI
              | ControlRegisters.CR4_TSD
              | ControlRegisters.CR4_DE
              | ControlRegisters.CR4_UMIP
              | ControlRegisters.CR4_FSGSBASE
              | ControlRegisters.CR4_OSXSAVE
              | ControlRegisters.CR4_PKE
              | ControlRegisters.CR4_SMEP
              | ControlRegisters.CR4_SMAP);

  private static final byte[] ROM_CONTENT = new byte[0x1000];

  static {
    new Random(1).nextBytes(ROM_CONTENT);
  }

  private final Random random = new Random();
  private boolean vm86;
  private volatile SoftVcpu running;
  private volatile boolean done;

  /** Ends what no limit ends: faults that beget faults, strings over devices. */
  private void watch() {
    while (!done) {
      LockSupport.parkNanos(KICK_NANOS);
      final SoftVcpu vcpu = running;
      if (vcpu != null) {
        vcpu.kick();
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "2, false, false",
    "2, true, false",
    "2, true, true",
    "4, false, false",
    "4, true, false",
    "8, false, false",
    "8, true, false"
  })
  void shouldStayWholeWhateverTheGuestExecutes(
      final int codeSize, final boolean user, final boolean virtual8086)
      throws InterruptedException {
    vm86 = virtual8086;
    final Thread watcher = new Thread(this::watch, "watcher");
    watcher.setDaemon(true);
    watcher.start();
    try {
      final long retired = runPages(codeSize, user);
      assertTrue(retired > PAGES, "the pages did run: " + retired);
    } finally {
      done = true;
      watcher.join();
    }
  }

  private long runPages(final int codeSize, final boolean user) {
    long retired = 0;
    int page = FIRST;
    final int last = FIRST + PAGES;
    while (page < last) {
      final GuestMemory memory = GuestMemory.builder().ram(0, RAM).rom(ROM, ROM_CONTENT).build();
      final MmuKind mmu = MmuKind.values()[page / PAGES_PER_MACHINE & 1];
      try (BareMachine m = new BareMachine(mmu, memory)) {
        running = m.vcpu;
        final int end = Math.min(last, page + PAGES_PER_MACHINE);
        boolean alive = true;
        while (alive && page < end) {
          final long seed = page * 31L + codeSize * 2 + (user ? 1 : 0) + (vm86 ? 1L << 40 : 0);
          try {
            alive = runPage(m, seed, codeSize, user);
          } catch (final RuntimeException | Error e) {
            throw new AssertionError(
                "seed " + seed + ", " + mmu + ", rip " + Long.toHexString(m.rip()), e);
          }
          page++;
        }
        retired += m.retired();
        running = null;
        final byte[] rom = new byte[ROM_CONTENT.length];
        memory.read(ROM, rom, 0, rom.length);
        assertArrayEquals(ROM_CONTENT, rom);
      }
    }
    return retired;
  }

  /** Runs one page of code; false where the machine has shut down. */
  private boolean runPage(
      final BareMachine m, final long seed, final int codeSize, final boolean user) {
    random.setSeed(seed);
    prepare(m, codeSize, user);
    final long limit = m.retired() + MOST_INSTRUCTIONS;
    int kicks = 0;
    for (int entry = 0; entry < MOST_ENTRIES; entry++) {
      m.exits.clear();
      final int reason = m.enterOnce(limit);
      assertEquals(0, m.get(StateLayout.ZERO));
      switch (reason) {
        case VcpuExit.SHUTDOWN -> {
          return false;
        }
        case VcpuExit.LIMIT -> {
          return true;
        }
        case VcpuExit.KICK -> {
          if (++kicks > 1) {
            return true;
          }
        }
        case VcpuExit.HLT -> somewhereElse(m, codeSize, user);
        case VcpuExit.PAGE_FAULT -> entry -= random.nextInt(4) == 0 ? 0 : 1;
        default -> {
          if (random.nextInt(8) == 0 && m.vcpu.interruptible()) {
            m.vcpu.injectInterrupt(32 + random.nextInt(224));
          } else if (random.nextInt(50) == 0 && m.vcpu.nmiInjectable()) {
            m.vcpu.injectNmi();
          } else if (random.nextInt(20) == 0) {
            m.vcpu.requestInterruptWindow(random.nextBoolean());
          }
        }
      }
    }
    return true;
  }

  /** After a handler's HLT: the sane segments and registers again, somewhere in the page. */
  private void somewhereElse(final BareMachine m, final int codeSize, final boolean user) {
    registers(m, codeSize, user);
    m.set(StateLayout.RIP, (codeSize == 2 ? 0 : CODE) + random.nextInt(0x1000));
    m.stateChanged();
  }

  private void prepare(final BareMachine m, final int codeSize, final boolean user) {
    final GuestMemory memory = m.memory;
    final byte[] low = new byte[0x1_0000];
    Arrays.fill(low, (int) HANDLER, (int) HANDLER + 0x1000, (byte) 0xF4);
    memory.write(0, low, 0, low.length);
    for (int vector = 0; vector < 256; vector++) {
      if (codeSize == 2 && !user) {
        memory.write32(vector * 4L, (int) HANDLER + vector * 4);
      } else {
        final long gate = HANDLER + vector * 4 | 8L << 16 | (vector % 3 == 0 ? 0xEEL : 0x8FL) << 40;
        memory.write64(IDT + (codeSize == 8 ? 16L : 8L) * vector, gate);
      }
    }
    memory.write64(GDT + 8, code(codeSize == 8 ? 8 : 4, 0));
    memory.write64(GDT + 0x18, code(codeSize, 3));
    memory.write64(GDT + 0x20, 0x00CF_F300_0000_FFFFL);
    memory.write64(GDT + 0x28, 0x0000_8B00_3000_0067L);
    memory.write64(GDT + 0x10, 0x00CF_9300_0000_FFFFL);
    memory.write32(0x3004, 0x7000);
    memory.write32(0x3008, codeSize == 8 ? 0 : 0x10);
    tables(memory, codeSize);
    final byte[] code = new byte[0x2000];
    random.nextBytes(code);
    for (int i = 0; i < code.length; i++) {
      if (random.nextInt(3) == 0) {
        code[i] = (byte) LIKELY[random.nextInt(LIKELY.length)];
      }
    }
    memory.write(CODE, code, 0, code.length);
    registers(m, codeSize, user);
    m.set(StateLayout.RIP, (codeSize == 2 ? 0 : CODE) + random.nextInt(0x1000));
    m.stateChanged();
  }

  private static long code(final int codeSize, final int dpl) {
    final long base = codeSize == 2 ? CODE : 0;
    final int rights = codeSize == 8 ? 0xA09B : codeSize == 4 ? 0xC09B : 0x009B;
    return BareGuest.descriptor(base, codeSize == 2 ? 0xFFFF : 0xFFFF_FFFFL, rights | dpl << 5);
  }

  private static void tables(final GuestMemory memory, final int codeSize) {
    if (codeSize == 8) {
      memory.write64(TABLES, TABLES + 0x1000 | RIGHTS);
      memory.write64(TABLES + 0x1000, TABLES + 0x2000 | RIGHTS);
    } else {
      memory.write64(TABLES, TABLES + 0x2000 | Pte.PRESENT);
    }
    memory.write64(TABLES + 0x2000, TABLES + 0x3000 | RIGHTS);
    memory.write64(TABLES + 0x2008, RIGHTS | Pte.PAGE_SIZE);
    for (int i = 0; i < 512; i++) {
      // Some pages are missing, some read-only, some a device's.
      final long entry = i % 37 == 36 ? 0 : (long) i << 12 | (i % 23 == 22 ? RIGHTS & ~2 : RIGHTS);
      final long key = codeSize == 8 ? i & 15L : 0;
      memory.write64(TABLES + 0x3000 + 8L * i, entry | key << Pte.PROTECTION_KEY_SHIFT);
    }
  }

  private void registers(final BareMachine m, final int codeSize, final boolean user) {
    for (int i = 0; i < 16; i++) {
      m.set(
          StateLayout.GPR + i * 8,
          switch (random.nextInt(4)) {
            case 0 -> random.nextInt(0x10_0000);
            case 1 -> random.nextInt(64);
            case 2 -> random.nextLong();
            default -> CODE + random.nextInt(0x3000) - 0x800;
          });
    }
    final boolean real = codeSize == 2 && !user;
    m.set(StateLayout.gpr(4), real ? 0xF000 : 0x6000 + random.nextInt(8));
    m.set(
        StateLayout.RFLAGS,
        random.nextInt(0x40_0000) & ~(Flags.VM | Flags.NT | (random.nextInt(8) == 0 ? 0 : Flags.TF))
            | Flags.RESERVED_1);
    m.set(StateLayout.GDTR_BASE, GDT);
    m.set(StateLayout.GDTR_LIMIT, 0x2F + (codeSize == 8 ? 8 : 0));
    m.set(StateLayout.IDTR_BASE, real ? 0 : IDT);
    m.set(StateLayout.IDTR_LIMIT, real ? 0x3FF : 0xFFF);
    m.set(StateLayout.CR3, TABLES);
    m.set(StateLayout.EFER, 0);
    m.set(StateLayout.CR4, ControlRegisters.CR4_OSFXSR | ControlRegisters.CR4_OSXMMEXCPT);
    if (real) {
      m.set(StateLayout.CR0, ControlRegisters.CR0_ET);
      m.segment(Seg.CS, (int) CODE >> 4, 0x0000_9301_0000_FFFFL);
      for (final int segment : new int[] {Seg.ES, Seg.SS, Seg.DS, Seg.FS, Seg.GS}) {
        m.segment(segment, 0x100, 0x0000_9300_1000_FFFFL);
      }
      return;
    }
    long cr0 = ControlRegisters.CR0_PE | ControlRegisters.CR0_ET | ControlRegisters.CR0_NE;
    if (codeSize != 2) {
      cr0 |= ControlRegisters.CR0_PG | ControlRegisters.CR0_WP;
      m.set(StateLayout.CR4, m.get(StateLayout.CR4) | ControlRegisters.CR4_PAE);
    }
    if (codeSize == 8) {
      m.set(
          StateLayout.EFER,
          ControlRegisters.EFER_LME | ControlRegisters.EFER_LMA | ControlRegisters.EFER_SCE);
    }
    if (random.nextInt(4) == 0) {
      m.set(StateLayout.CR4, m.get(StateLayout.CR4) | FEATURES & random.nextInt());
      // Fewer bits than half: with most keys forbidden little would run.
      final int sparse = random.nextInt();
      HostMemory.putInt(m.state + StateLayout.PKRU, sparse & random.nextInt());
    }
    m.set(StateLayout.CR0, cr0);
    if (vm86) {
      m.set(StateLayout.RFLAGS, m.get(StateLayout.RFLAGS) | Flags.VM);
      m.vcpu.setSegment(Seg.CS, (int) CODE >> 4, CODE, 0xFFFF, VM86_RIGHTS);
      for (final int segment : new int[] {Seg.ES, Seg.SS, Seg.DS, Seg.FS, Seg.GS}) {
        m.vcpu.setSegment(segment, 0x100, 0x1000, 0xFFFF, VM86_RIGHTS);
      }
      m.segment(Seg.TR, 0x28, 0x0000_8B00_3000_0067L);
      return;
    }
    final int dpl = user ? 3 : 0;
    m.segment(Seg.CS, user ? 0x1B : 8, code(codeSize, dpl));
    final long data = 0x00CF_9300_0000_FFFFL | (long) dpl << 45;
    for (final int segment : new int[] {Seg.ES, Seg.SS, Seg.DS, Seg.FS, Seg.GS}) {
      m.segment(segment, user ? 0x23 : 0x10, data);
    }
    m.segment(Seg.TR, 0x28, 0x0000_8B00_3000_0067L);
  }
}

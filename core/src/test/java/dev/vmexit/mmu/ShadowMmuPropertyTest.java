package dev.vmexit.mmu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.mmu.Translation.Result;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Pte;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A guest whose tables are noise: every frame is table, data or both, tables point at themselves,
 * at ROM and at nothing. After each step the shadow must say what a fresh walk says, and a second
 * ShadowMmu that sees no memory, only the entries of each fault's walk, must follow exactly.
 */
final class ShadowMmuPropertyTest {
  private static final int FRAMES = 24;
  private static final long ROM = 0x3_0000;
  private static final int[] INDEXES = {0, 1, 2, 255, 256, 511};
  private static final int[] INDEXES_32 = {0, 1, 2, 3, 4, 5, 510, 511, 512, 513, 1022, 1023};

  private Random random;
  private GuestMemory memory;
  private ShadowMmu shadow;
  private ShadowMmu replica;
  private final Fault fault = new Fault();
  private final Fault replicaFault = new Fault();
  private final Fed fed = new Fed();
  private final Result result = new Result();
  private final Walk walk = new Walk();
  private GuestWalker walker;
  private final Set<Long> writableInTlb = new HashSet<>();
  private final long[] recent = new long[8];
  private int[] outcomes;

  @ParameterizedTest
  @CsvSource({
    "1, 4096, 4",
    "2, 4096, 1",
    "3, 16, 4",
    "4, 16, 1",
    "5, 20, 3",
    "6, 64, 100",
    "7, 16, 100000"
  })
  void shouldAgreeWithFreshWalkWhenAnythingHappens(
      final long seed, final int maxPages, final int floodThreshold) {
    random = new Random(seed);
    outcomes = new int[6];
    try (GuestMemory m =
        GuestMemory.builder().ram(0, FRAMES * 4096L).rom(ROM, new byte[4096]).build()) {
      memory = m;
      final TableMemory tables = TableMemory.of(m);
      walker = new GuestWalker(tables);
      shadow = new ShadowMmu(tables, SlotView.of(m), maxPages, floodThreshold);
      replica = new ShadowMmu(fed, SlotView.of(m), maxPages, floodThreshold);
      shadow.attach(new Tlb());
      for (int round = 0; round < 60; round++) {
        scramble();
        for (int step = 0; step < 2000; step++) {
          step();
        }
      }
    }
    for (int outcome = 1; outcome < outcomes.length; outcome++) {
      assertTrue(outcomes[outcome] > 50, "outcome " + outcome + " seen too seldom");
    }
    final ShadowStats stats = shadow.stats();
    assertEquals(stats, replica.stats());
    assertEquals(maxPages <= 64, stats.evicted() > 0, stats::toString);
    assertEquals(floodThreshold < 100, stats.flooded() > 0, stats::toString);
    assertEquals(floodThreshold > 1, stats.prefetched() > 0, stats::toString);
  }

  private void step() {
    final int dice = random.nextInt(100);
    if (dice < 60) {
      access(randomGva(), randomAccess());
    } else if (dice < 90) {
      store(random.nextInt(FRAMES) * 4096L);
    } else if (dice < 92) {
      final long gpa = random.nextInt(FRAMES * 4096 - 16);
      memory.write64(gpa, randomEntry());
      shadow.memoryWritten(gpa, 8);
      replica.memoryWritten(gpa, 8);
    } else if (dice < 94) {
      final long gva = randomGva();
      shadow.invalidatePage(gva);
      replica.invalidatePage(gva);
    } else if (dice < 98) {
      final PagingContext c = shadow.context();
      setContext(c.cr0(), randomCr3(), c.cr4(), c.efer());
    } else if (dice < 99) {
      randomContext();
    } else if (random.nextInt(20) == 0) {
      shadow.flushAll();
      replica.flushAll();
      assertEquals(0, shadow.stats().used());
    }
  }

  /** One access to the end: a lookup, the fault if it misses, the lookup again. */
  private void access(final long gva, final int access) {
    shadow.translate(gva, access, result);
    walker.probe(shadow.context(), gva, access, walk);
    check(gva, access);
    if (result.outcome != Result.MISS) {
      return;
    }
    final boolean expectedOk = walk.ok;
    final long expectedGpa = walk.gpa;
    final int expectedCode = walk.errorCode;
    final int outcome = shadow.handleFault(gva, result.errorCode, fault);
    feed();
    assertEquals(outcome, replica.handleFault(gva, result.errorCode, replicaFault));
    assertEquals(fault.gpa, replicaFault.gpa);
    assertEquals(fault.errorCode, replicaFault.errorCode);
    assertEquals(fault.walk.count, replicaFault.walk.count);
    outcomes[outcome]++;
    if (!expectedOk) {
      assertEquals(Fault.REFLECTED, outcome);
      assertEquals(expectedCode, fault.errorCode);
      return;
    }
    recent[random.nextInt(recent.length)] = gva;
    assertEquals(expectedGpa, fault.gpa);
    final boolean write = (access & Translation.WRITE) != 0;
    shadow.translate(gva, access, result);
    walker.probe(shadow.context(), gva, access, walk);
    check(gva, access);
    switch (outcome) {
      case Fault.FILLED -> {
        assertEquals(Result.OK, result.outcome);
        if (result.writable) {
          writableInTlb.add(result.gpa >>> 12);
        }
      }
      case Fault.TABLE_WRITE -> {
        assertTrue(write);
        assertTrue(shadow.isShadowed(fault.gpa >>> 12));
        assertEquals(Result.MISS, result.outcome);
        tableStore(fault.gpa & ~7L);
      }
      case Fault.NO_SLOT -> {
        assertFalse(memory.isBacked(fault.gpa));
        assertEquals(Result.NO_SLOT, result.outcome);
      }
      case Fault.READ_ONLY -> {
        assertTrue(write && memory.isReadOnly(fault.gpa));
        assertEquals(Result.NO_SLOT, result.outcome);
      }
      default -> throw new AssertionError("outcome " + outcome);
    }
  }

  /** Compares a lookup with a fresh walk of the same moment. */
  private void check(final long gva, final int access) {
    final boolean write = (access & Translation.WRITE) != 0;
    if (result.outcome == Result.MISS) {
      return;
    }
    assertTrue(walk.ok, "translated what the guest forbids");
    assertEquals(walk.gpa, result.gpa);
    for (int i = 0; i < walk.count; i++) {
      assertTrue((walk.entryValue[i] & Pte.ACCESSED) != 0, "accessed bit");
    }
    assertTrue(!write || walk.dirty, "dirty bit");
    if (result.outcome == Result.NO_SLOT) {
      assertTrue(!memory.isBacked(result.gpa) || (write && memory.isReadOnly(result.gpa)));
      return;
    }
    assertEquals(Result.OK, result.outcome);
    assertTrue(memory.isBacked(result.gpa));
    assertEquals((walk.rights & PagingContext.MAY_READ) != 0, result.readable);
    assertEquals((walk.rights & PagingContext.MAY_FETCH) != 0, result.executable);
    assertEquals(walk.global, result.global);
    if (result.writable) {
      assertTrue((walk.rights & PagingContext.MAY_WRITE) != 0 && walk.dirty);
      assertTrue(memory.isRam(result.gpa));
      assertFalse(shadow.isShadowed(result.gpa >>> 12), "a shadowed table is writable");
    }
    assertEquals(shadow.isShadowed(gva), replica.isShadowed(gva));
  }

  /** A guest store by physical address: seen by the MMU if, and only if, the frame is shadowed. */
  private void store(final long frame) {
    final long gpa = frame + INDEXES[random.nextInt(INDEXES.length)] * 8L;
    assertEquals(shadow.isShadowed(frame >>> 12), replica.isShadowed(frame >>> 12));
    if (shadow.isShadowed(frame >>> 12)) {
      assertFalse(writableInTlb.contains(frame >>> 12), "the TLB still writes to a table");
      tableStore(gpa);
    } else {
      memory.write64(gpa, randomEntry());
    }
  }

  private void tableStore(final long aligned) {
    final int size = 1 << random.nextInt(4);
    final long gpa =
        random.nextInt(8) == 0
            ? Math.min(aligned + random.nextInt(8), FRAMES * 4096L - 8)
            : aligned + (random.nextInt(8) & -size);
    final long value = size == 8 && context32() ? twoEntries() : randomEntry();
    memory.write(gpa, size, value);
    shadow.tableWritten(gpa, size, value);
    replica.tableWritten(gpa, size, value);
  }

  private boolean context32() {
    return shadow.context().mode() == PagingMode.BITS32;
  }

  private long twoEntries() {
    return (randomEntry() & 0xFFFF_FFFFL) | randomEntry() << 32;
  }

  private void scramble() {
    writableInTlb.clear();
    for (int frame = 0; frame < FRAMES; frame++) {
      for (final int index : INDEXES) {
        memory.write64(frame * 4096L + index * 8L, anyEntries());
      }
      // Behind the MMU's back until here; from here on all is told.
      shadow.memoryWritten(frame * 4096L, 4096);
      replica.memoryWritten(frame * 4096L, 4096);
    }
    randomContext();
  }

  private long anyEntries() {
    return random.nextBoolean() ? randomEntry() : twoEntries();
  }

  private void randomContext() {
    long cr0 = ControlRegisters.CR0_PE;
    if (random.nextInt(10) != 0) {
      cr0 |= ControlRegisters.CR0_PG;
    }
    if (random.nextInt(4) != 0) {
      cr0 |= ControlRegisters.CR0_WP;
    }
    long cr4 = 0;
    if (random.nextInt(3) != 0) {
      cr4 |= ControlRegisters.CR4_PAE;
    }
    for (final long bit :
        new long[] {
          ControlRegisters.CR4_PSE,
          ControlRegisters.CR4_PGE,
          ControlRegisters.CR4_SMEP,
          ControlRegisters.CR4_SMAP
        }) {
      if (random.nextBoolean()) {
        cr4 |= bit;
      }
    }
    long efer = random.nextInt(4) != 0 ? ControlRegisters.EFER_NXE : 0;
    if (random.nextBoolean() && (cr4 & ControlRegisters.CR4_PAE) != 0) {
      efer |= ControlRegisters.EFER_LME | ControlRegisters.EFER_LMA;
    }
    setContext(cr0, randomCr3(), cr4, efer);
  }

  private long randomCr3() {
    return random.nextInt(4) * 4096L;
  }

  private void setContext(final long cr0, final long cr3, final long cr4, final long efer) {
    if (PagingContext.modeOf(cr0, cr4, efer) == PagingMode.PAE) {
      // Most noise is no valid PDPTE; leave reserved ones to chance now and then.
      for (int i = 0; i < 4 && random.nextInt(20) != 0; i++) {
        final long gpa = PagingContext.pdpteAddress(cr3, i);
        final long entry = random.nextInt(FRAMES) * 4096L | (random.nextInt(4) == 0 ? 0 : 1);
        memory.write64(gpa, entry);
        shadow.tableWritten(gpa, 8, entry);
        replica.tableWritten(gpa, 8, entry);
      }
    }
    fed.count = 4;
    fed.position = 0;
    for (int i = 0; i < 4; i++) {
      fed.address[i] = PagingContext.pdpteAddress(cr3, i);
      fed.value[i] = memory.read64(fed.address[i]);
    }
    assertEquals(shadow.setContext(cr0, cr3, cr4, efer), replica.setContext(cr0, cr3, cr4, efer));
    assertEquals(shadow.context().cr3(), replica.context().cr3());
  }

  private long randomEntry() {
    if (random.nextInt(16) == 0) {
      return random.nextLong() & ~Pte.PRESENT;
    }
    long entry = Pte.PRESENT;
    entry |= random.nextInt(12) != 0 ? Pte.WRITABLE : 0;
    entry |= random.nextInt(12) != 0 ? Pte.USER : 0;
    entry |= random.nextBoolean() ? Pte.ACCESSED : 0;
    entry |= random.nextBoolean() ? Pte.DIRTY : 0;
    entry |= random.nextInt(4) == 0 ? Pte.GLOBAL : 0;
    if (random.nextInt(10) == 0) {
      // A page of any size: its frames start at 0, low enough to hit RAM at small offsets.
      return entry | Pte.PAGE_SIZE | (random.nextInt(8) == 0 ? 0x8000_0000L : 0);
    }
    if (random.nextInt(20) == 0) {
      entry |= Pte.NO_EXECUTE;
    }
    if (random.nextInt(80) == 0) {
      entry |= 1L << (40 + random.nextInt(23));
    }
    final int frame = random.nextInt(FRAMES + 4);
    if (frame >= FRAMES + 2) {
      return entry | ROM;
    }
    return entry | (frame >= FRAMES ? 0xFEE0_0000L : frame * 4096L);
  }

  private long randomGva() {
    if (random.nextInt(4) == 0) {
      // Where large pages from frame 0 cover the guest's RAM.
      return random.nextInt(2) * 0x4000_0000L + random.nextInt(FRAMES + 2) * 4096L + 8;
    }
    if (random.nextBoolean()) {
      final long gva = recent[random.nextInt(recent.length)];
      return shadow.context().mode() == PagingMode.LEVEL4 ? gva : gva & 0xFFFF_FFFFL;
    }
    long gva = random.nextInt(4096);
    if (context32()) {
      gva |= (long) INDEXES_32[random.nextInt(INDEXES_32.length)] << 12;
      gva |= (long) INDEXES_32[random.nextInt(INDEXES_32.length)] << 22;
      return gva;
    }
    for (int shift = 12; shift < 48; shift += 9) {
      gva |= (long) INDEXES[random.nextInt(INDEXES.length)] << shift;
    }
    return shadow.context().mode() == PagingMode.LEVEL4 ? gva << 16 >> 16 : gva & 0xFFFF_FFFFL;
  }

  private int randomAccess() {
    final int kind =
        switch (random.nextInt(5)) {
          case 0 -> Translation.FETCH;
          case 1, 2 -> Translation.WRITE;
          default -> Translation.READ;
        };
    final int privilege =
        switch (random.nextInt(4)) {
          case 0 -> Translation.USER;
          case 1 -> Translation.SMAP_OVERRIDE;
          default -> 0;
        };
    return kind | privilege;
  }

  private void feed() {
    fed.count = fault.walk.count;
    fed.position = 0;
    System.arraycopy(fault.walk.entryAddress, 0, fed.address, 0, fed.count);
    System.arraycopy(fault.walk.entryValue, 0, fed.value, 0, fed.count);
  }

  /** Serves the entries of one walk in order, as a replay does, and nothing else. */
  private static final class Fed implements TableMemory {
    final long[] address = new long[Walk.MAX_ENTRIES];
    final long[] value = new long[Walk.MAX_ENTRIES];
    int count;
    int position;

    @Override
    public long read(final long gpa, final int size) {
      assertTrue(position < count, "reads more than was recorded");
      assertEquals(address[position], gpa);
      return value[position++];
    }

    @Override
    public boolean isBacked(final long gpa) {
      return true;
    }

    @Override
    public void write(final long gpa, final int size, final long value) {}
  }

  /** Keeps the frames that a TLB could store to. */
  private final class Tlb implements TlbControl {
    @Override
    public void flushAll() {
      writableInTlb.clear();
    }

    @Override
    public void flushPage(final long gva) {}

    @Override
    public void writeProtectFrame(final long gfn) {
      writableInTlb.remove(gfn);
    }

    @Override
    public void flushFrame(final long gfn) {
      writableInTlb.remove(gfn);
    }
  }
}

package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Pte;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Register;
import java.util.function.Consumer;

/**
 * The world of a test's guest: a {@link BareMachine} set to one of the processor's modes, with
 * tables in place. Every vector has a handler that halts, so that the test can look at the frame;
 * run further, it drops the error code and returns.
 *
 * <pre>
 *   0x0_1000 GDT      0x0_2000 IDT     0x0_3000 TSS      0x0_4000 LDT     0x0_6000 handlers
 *   0x1_0000 code     0x2_0000 data    0x3_0000 stack top
 *   0x3_8000 stack of ring 0           0x3_C000 stack of IST 1
 *   0x10_0000 page tables: everything up to 16 MiB is mapped to itself
 * </pre>
 */
final class BareGuest implements AutoCloseable {
  static final long GDT = 0x1000;
  static final long IDT = 0x2000;
  static final long TSS = 0x3000;
  static final long LDT = 0x4000;
  static final long HANDLERS = 0x6000;
  static final int HANDLER_BYTES = 16;
  static final long CODE = 0x1_0000;
  static final long DATA = 0x2_0000;
  static final long STACK = 0x3_0000;
  static final long RING0_STACK = 0x3_8000;
  static final long IST1_STACK = 0x3_C008;
  static final long TABLES = 0x10_0000;

  /** Linear addresses that are mapped to themselves end here. */
  static final long MAPPED = 0x100_0000;

  // Selectors; the order is the one that SYSCALL, SYSENTER and their returns want.
  static final int CODE0 = 0x08;
  static final int DATA0 = 0x10;
  static final int CODE3_32 = 0x18 | 3;
  static final int DATA3 = 0x20 | 3;
  static final int CODE3 = 0x28 | 3;
  static final int TASK = 0x30;
  static final int CODE0_32 = 0x40;
  static final int CODE0_16 = 0x48;
  static final int DATA0_16 = 0x50;
  static final int LOCAL = 0x60;

  /** First selector that a test may use as it likes. */
  static final int FREE = 0x80;

  static final int GDT_LIMIT = 0x1FF;

  private static final int ALL_RIGHTS = (int) (Pte.PRESENT | Pte.WRITABLE | Pte.USER);

  /** How linear addresses are translated. */
  enum Paging {
    NONE,
    BITS32,
    PAE,
    LEVEL4
  }

  final BareMachine machine;
  final Paging paging;

  /** Code size: 2, 4 or 8. */
  final int size;

  private BareGuest(final BareMachine.MmuKind mmu, final int size, final Paging paging) {
    machine = new BareMachine(mmu);
    this.size = size;
    this.paging = paging;
  }

  // ---- modes ----

  /** Real mode at {@code CODE >> 4}:0, stack at {@code STACK - 0x1000 >> 4}:1000. */
  static BareGuest real(final BareMachine.MmuKind mmu) {
    final BareGuest g = new BareGuest(mmu, 2, Paging.NONE);
    final BareMachine m = g.machine;
    g.handlers(2);
    for (int vector = 0; vector < 256; vector++) {
      m.memory.write16(vector * 4L, (int) HANDLERS + vector * HANDLER_BYTES);
      m.memory.write16(vector * 4L + 2, 0);
    }
    g.realSegment(Seg.CS, (int) (CODE >> 4));
    g.realSegment(Seg.SS, (int) (STACK - 0x1000 >> 4));
    g.realSegment(Seg.DS, (int) (DATA >> 4));
    g.realSegment(Seg.ES, (int) (DATA >> 4));
    m.set(StateLayout.RIP, 0);
    m.reg(Register.RSP, 0x1000);
    m.set(StateLayout.IDTR_BASE, 0);
    m.set(StateLayout.IDTR_LIMIT, 0x3FF);
    m.set(StateLayout.CR0, ControlRegisters.CR0_ET);
    m.stateChanged();
    return g;
  }

  private void realSegment(final int segment, final int selector) {
    machine.vcpu.setSegment(segment, selector, (long) selector << 4, 0xFFFF, 0x93);
  }

  /** Protected mode, flat 32-bit segments, CPL 0. */
  static BareGuest protected32(final BareMachine.MmuKind mmu, final Paging paging) {
    final BareGuest g = new BareGuest(mmu, 4, paging);
    final BareMachine m = g.machine;
    g.descriptors(descriptor(0, 0xFFFF_FFFFL, 0xC09B));
    g.gdt(TASK, descriptor(TSS, 0x67, 0x8B));
    m.memory.write32(TSS + 4, (int) RING0_STACK);
    m.memory.write16(TSS + 8, DATA0);
    m.memory.write16(TSS + 102, 104);
    g.handlers(4);
    for (int vector = 0; vector < 256; vector++) {
      g.gate(vector, 0x8E);
    }
    long cr4 = 0;
    if (paging == Paging.BITS32) {
      cr4 = ControlRegisters.CR4_PSE | ControlRegisters.CR4_PGE;
      g.tables32();
    } else if (paging == Paging.PAE) {
      cr4 = ControlRegisters.CR4_PAE | ControlRegisters.CR4_PGE;
      g.tablesPae();
    }
    g.enter(cr4, paging == Paging.PAE ? ControlRegisters.EFER_NXE : 0);
    return g;
  }

  /** 64-bit mode, CPL 0. */
  static BareGuest long64(final BareMachine.MmuKind mmu) {
    final BareGuest g = new BareGuest(mmu, 8, Paging.LEVEL4);
    final BareMachine m = g.machine;
    g.descriptors(descriptor(0, 0xFFFF_FFFFL, 0xA09B));
    g.gdt(TASK, descriptor(TSS, 0x67, 0x8B));
    g.gdt(TASK + 8, 0);
    m.memory.write64(TSS + 4, RING0_STACK);
    m.memory.write64(TSS + 0x24, IST1_STACK);
    m.memory.write16(TSS + 102, 104);
    g.handlers(8);
    for (int vector = 0; vector < 256; vector++) {
      g.gate(vector, 0x8E);
    }
    g.tables64();
    g.enter(
        ControlRegisters.CR4_PAE | ControlRegisters.CR4_PGE,
        ControlRegisters.EFER_SCE
            | ControlRegisters.EFER_LME
            | ControlRegisters.EFER_LMA
            | ControlRegisters.EFER_NXE);
    return g;
  }

  private void descriptors(final long code0) {
    gdt(CODE0, code0);
    gdt(DATA0, descriptor(0, 0xFFFF_FFFFL, 0xC093));
    gdt(CODE3_32, descriptor(0, 0xFFFF_FFFFL, 0xC0FB));
    gdt(DATA3, descriptor(0, 0xFFFF_FFFFL, 0xC0F3));
    gdt(CODE3, code0 | 3L << 45);
    gdt(CODE0_32, descriptor(0, 0xFFFF_FFFFL, 0xC09B));
    gdt(CODE0_16, descriptor(0, 0xFFFF, 0x009B));
    gdt(DATA0_16, descriptor(0, 0xFFFF, 0x0093));
    gdt(LOCAL, descriptor(LDT, 0xFF, 0x82));
  }

  private void enter(final long cr4, final long efer) {
    final BareMachine m = machine;
    m.segment(Seg.CS, CODE0, gdt(CODE0));
    m.segment(Seg.TR, TASK, gdt(TASK));
    for (final int segment : new int[] {Seg.SS, Seg.DS, Seg.ES, Seg.FS, Seg.GS}) {
      m.segment(segment, DATA0, gdt(DATA0));
    }
    m.set(StateLayout.GDTR_BASE, GDT);
    m.set(StateLayout.GDTR_LIMIT, GDT_LIMIT);
    m.set(StateLayout.IDTR_BASE, IDT);
    m.set(StateLayout.IDTR_LIMIT, size == 8 ? 0xFFF : 0x7FF);
    long cr0 = ControlRegisters.CR0_PE | ControlRegisters.CR0_ET | ControlRegisters.CR0_WP;
    if (paging != Paging.NONE) {
      cr0 |= ControlRegisters.CR0_PG;
      m.set(StateLayout.CR3, TABLES);
    }
    m.set(StateLayout.CR0, cr0);
    m.set(StateLayout.CR4, cr4);
    m.set(StateLayout.EFER, efer);
    m.set(StateLayout.RIP, CODE);
    m.reg(Register.RSP, STACK);
    m.stateChanged();
  }

  /** Goes to CPL 3 before the run: user segments everywhere. */
  void user() {
    final BareMachine m = machine;
    m.segment(Seg.CS, CODE3, gdt(CODE3));
    for (final int segment : new int[] {Seg.SS, Seg.DS, Seg.ES, Seg.FS, Seg.GS}) {
      m.segment(segment, DATA3, gdt(DATA3));
    }
    m.stateChanged();
  }

  // ---- tables ----

  /** A descriptor; rights as {@code StateLayout.SEG_RIGHTS} has them. */
  static long descriptor(final long base, final long limit, final int rights) {
    final long units = (rights & Descriptor.GRANULAR) != 0 ? limit >>> 12 : limit;
    return units & 0xFFFF
        | (base & 0xFF_FFFF) << 16
        | (rights & 0xFFL) << 40
        | (units >>> 16 & 0xF) << 48
        | (rights >>> 12 & 0xFL) << 52
        | (base >>> 24 & 0xFF) << 56;
  }

  long gdt(final int selector) {
    return machine.memory.read64(GDT + (selector & 0xFFF8));
  }

  void gdt(final int selector, final long raw) {
    machine.memory.write64(GDT + (selector & 0xFFF8), raw);
  }

  void ldt(final int selector, final long raw) {
    machine.memory.write64(LDT + (selector & 0xFFF8), raw);
  }

  static long handler(final int vector) {
    return HANDLERS + (long) vector * HANDLER_BYTES;
  }

  /** A gate to the vector's handler; {@code typeAndDpl} is the descriptor's sixth byte. */
  void gate(final int vector, final int typeAndDpl) {
    gate(vector, typeAndDpl, CODE0, handler(vector), 0);
  }

  void gate(
      final int vector,
      final int typeAndDpl,
      final int selector,
      final long offset,
      final int ist) {
    final long low =
        offset & 0xFFFF
            | (long) selector << 16
            | (long) ist << 32
            | (long) typeAndDpl << 40
            | (offset >>> 16 & 0xFFFF) << 48;
    if (size == 8) {
      machine.memory.write64(IDT + vector * 16L, low);
      machine.memory.write64(IDT + vector * 16L + 8, offset >>> 32);
    } else {
      machine.memory.write64(IDT + vector * 8L, low);
    }
  }

  private void handlers(final int codeSize) {
    for (int vector = 0; vector < 256; vector++) {
      final Assembler a = new Assembler(codeSize, handler(vector));
      a.hlt();
      if (codeSize != 2 && Vector.hasErrorCode(vector)) {
        a.add(codeSize == 8 ? Register.RSP : Register.ESP, codeSize);
      }
      a.iret(codeSize);
      machine.load(a, handler(vector));
    }
  }

  private void tables32() {
    for (int i = 0; i < MAPPED >>> 22; i++) {
      machine.memory.write32(TABLES + i * 4L, (int) (TABLES + 0x1000 * (1 + i)) | ALL_RIGHTS);
    }
    for (long page = 0; page < MAPPED >>> 12; page++) {
      machine.memory.write32(TABLES + 0x1000 + page * 4, (int) (page << 12) | ALL_RIGHTS);
    }
  }

  private void tablesPae() {
    machine.memory.write64(TABLES, TABLES + 0x1000 | Pte.PRESENT);
    directory(TABLES + 0x1000);
  }

  private void tables64() {
    machine.memory.write64(TABLES, TABLES + 0x1000 | ALL_RIGHTS);
    machine.memory.write64(TABLES + 0x1000, TABLES + 0x2000 | ALL_RIGHTS);
    directory(TABLES + 0x2000);
  }

  private void directory(final long at) {
    for (int i = 0; i < MAPPED >>> 21; i++) {
      machine.memory.write64(at + i * 8L, at + 0x1000 * (1 + i) | ALL_RIGHTS);
    }
    for (long page = 0; page < MAPPED >>> 12; page++) {
      machine.memory.write64(at + 0x1000 + page * 8, page << 12 | ALL_RIGHTS);
    }
  }

  /** Guest-physical address of the entry that maps a 4 KiB page below {@link #MAPPED}. */
  long entryAddress(final long gva) {
    return switch (paging) {
      case NONE -> throw new IllegalStateException("no paging");
      case BITS32 -> TABLES + 0x1000 + (gva >>> 12) * 4;
      case PAE -> TABLES + 0x2000 + (gva >>> 12) * 8;
      case LEVEL4 -> TABLES + 0x3000 + (gva >>> 12) * 8;
    };
  }

  /** Guest-physical address of the directory entry of a page below {@link #MAPPED}. */
  long directoryAddress(final long gva) {
    return switch (paging) {
      case NONE -> throw new IllegalStateException("no paging");
      case BITS32 -> TABLES + (gva >>> 22) * 4;
      case PAE -> TABLES + 0x1000 + (gva >>> 21) * 8;
      case LEVEL4 -> TABLES + 0x2000 + (gva >>> 21) * 8;
    };
  }

  int entrySize() {
    return paging == Paging.BITS32 ? 4 : 8;
  }

  long entry(final long gva) {
    return machine.memory.read(entryAddress(gva), entrySize());
  }

  /** Replaces a page's entry behind the guest's back; caches of it are flushed. */
  void entry(final long gva, final long value) {
    machine.memory.write(entryAddress(gva), entrySize(), value);
    machine.vcpu.flushAll();
  }

  // ---- code ----

  /**
   * Assembles the guest's code and puts it to {@link #CODE}; the assembler is returned laid out.
   */
  Assembler code(final Consumer<Assembler> program) {
    final Assembler a = new Assembler(size, size == 2 ? 0 : CODE);
    program.accept(a);
    machine.load(a, CODE);
    return a;
  }

  // ---- runs ----

  /** Runs to the HLT of a handler; its vector. */
  int runToHandler() {
    final int reason = machine.run();
    assertEquals(VcpuExit.HLT, reason, () -> "exits: " + machine.exits);
    final long at = machine.vcpu.exit().rip - HANDLERS;
    assertTrue(
        at >= 0 && at < 256 * HANDLER_BYTES && at % HANDLER_BYTES == 0,
        () -> "halted at " + Long.toHexString(machine.vcpu.exit().rip));
    return (int) at / HANDLER_BYTES;
  }

  /** Runs to a HLT of the guest's own code. */
  void runToEnd() {
    final int reason = machine.run();
    assertEquals(VcpuExit.HLT, reason, () -> "exits: " + machine.exits);
    final long rip = machine.vcpu.exit().rip;
    assertTrue(
        rip < HANDLERS && size == 2 || rip >= CODE,
        () -> "vector " + (rip - HANDLERS) / HANDLER_BYTES + " from " + Long.toHexString(stack(1)));
  }

  void runToShutdown() {
    assertEquals(VcpuExit.SHUTDOWN, machine.run(), () -> "exits: " + machine.exits);
  }

  /** The n-th slot of the stack, in the mode's width; flat segments and identical mapping. */
  long stack(final int index) {
    final long base = size == 8 ? 0 : machine.vcpu.segmentBase(Seg.SS);
    final long rsp = machine.reg(Register.RSP);
    return machine.memory.read(base + (size == 2 ? rsp & 0xFFFF : rsp) + (long) index * size, size);
  }

  long flags() {
    return machine.vcpu.rflags();
  }

  void flags(final long value) {
    machine.set(StateLayout.RFLAGS, value | Flags.RESERVED_1);
    machine.stateChanged();
  }

  byte[] bytes(final long gpa, final int count) {
    final byte[] bytes = new byte[count];
    HostMemory.copyOut(machine.memory.hostAddress(gpa), bytes, 0, count);
    return bytes;
  }

  @Override
  public void close() {
    machine.close();
  }
}

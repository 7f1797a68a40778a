package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.R8;
import static dev.vmexit.x86.encode.Register.RAX;
import static dev.vmexit.x86.encode.Register.RBX;
import static dev.vmexit.x86.encode.Register.RCX;
import static dev.vmexit.x86.encode.Register.RDI;
import static dev.vmexit.x86.encode.Register.RDX;
import static dev.vmexit.x86.encode.Register.RSI;
import static dev.vmexit.x86.encode.Register.RSP;
import static dev.vmexit.x86.encode.Register.SS;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.util.ArrayList;
import java.util.List;

/**
 * Hand-made guests for the three code paths of 2006: memory access, memory-mapped I/O, interrupt
 * injection. Each is a flat image for the loader's 64-bit mode (the first 4 GiB mapped to
 * themselves by 2 MiB pages) at {@link #ADDRESS}, wants {@link #MEMORY_SIZE} bytes of RAM, leaves
 * what it found in memory at {@link #RESULTS}, and ends with an OUT to {@link #EXIT_PORT}, then HLT
 * with IF clear.
 */
final class GoldenGuests {
  /** Load address and entry of every image. */
  static final long ADDRESS = 0x10_0000;

  static final long MEMORY_SIZE = 0xE0_0000;

  /** Where results are left, as 8-byte values one after the other. */
  static final long RESULTS = 0x18_0000;

  /** Port of the debug-exit device; value 0 means that the guest came to its end. */
  static final int EXIT_PORT = 0xF4;

  private GoldenGuests() {}

  private static void exit(final Assembler a) {
    a.xor(EAX, EAX);
    a.out(EXIT_PORT, AL);
    final Label rest = a.here();
    a.cli();
    a.hlt();
    a.jmp(rest);
  }

  // ---- memory access ----

  /**
   * One access of the first guest.
   *
   * @param gva linear (and guest-physical) address
   * @param write whether it stores
   * @param firstTouch whether the page was never touched before in this way
   * @param rip of the instruction
   */
  record Touch(long gva, boolean write, boolean firstTouch, long rip) {}

  /** A guest and the order of its accesses to data. */
  record MemoryGuest(byte[] image, List<Touch> touches) {}

  /** First 2 MiB page that the memory guest reads before it writes. */
  static final long READ_FIRST = 0x40_0000;

  /** 2 MiB page that it writes first. */
  static final long WRITE_FIRST = 0x60_0000;

  /**
   * Boundary of two 4 KiB pages that one access crosses, in 2 MiB pages touched by nothing else.
   */
  static final long CROSSED = 0xA0_0000;

  /** What the memory guest stores. */
  static final long STORED = 0x1122_3344_5566_7788L;

  /**
   * Reads a page for the first time and again, writes it for the first time and again; writes
   * another page first, then reads it; stores across a boundary whose both sides are new.
   *
   * <p>Results: the three values read (0, 0, {@link #STORED}), and what was stored across.
   */
  static MemoryGuest memoryAccess() {
    final Assembler a = new Assembler(8, ADDRESS);
    final List<Label> places = new ArrayList<>();
    a.mov(RCX, STORED);
    a.mov(RSI, READ_FIRST);
    a.mov(RDI, WRITE_FIRST);
    a.mov(R8, CROSSED - 4);
    places.add(a.here());
    a.mov(RAX, Memory.at(RSI));
    places.add(a.here());
    a.mov(RBX, Memory.at(RSI, 8));
    places.add(a.here());
    a.mov(Memory.at(RSI, 0x10), RCX);
    places.add(a.here());
    a.mov(Memory.at(RSI, 0x18), RCX);
    places.add(a.here());
    a.mov(Memory.at(RDI), RCX);
    places.add(a.here());
    a.mov(RDI, Memory.at(RDI));
    places.add(a.here());
    a.mov(Memory.at(R8), RCX);
    a.mov(RSI, RESULTS);
    a.mov(Memory.at(RSI), RAX);
    a.mov(Memory.at(RSI, 8), RBX);
    a.mov(Memory.at(RSI, 16), RDI);
    a.mov(RAX, Memory.at(R8));
    a.mov(Memory.at(RSI, 24), RAX);
    exit(a);
    final byte[] image = a.assemble();
    final long[] gva = {
      READ_FIRST,
      READ_FIRST + 8,
      READ_FIRST + 0x10,
      READ_FIRST + 0x18,
      WRITE_FIRST,
      WRITE_FIRST,
      CROSSED - 4
    };
    final boolean[] write = {false, false, true, true, true, false, true};
    final boolean[] first = {true, false, true, false, true, false, true};
    final List<Touch> touches = new ArrayList<>();
    for (int i = 0; i < gva.length; i++) {
      touches.add(new Touch(gva[i], write[i], first[i], a.addressOf(places.get(i))));
    }
    return new MemoryGuest(image, List.copyOf(touches));
  }

  // ---- memory-mapped I/O ----

  /** Where no slot is. */
  static final long MMIO = 0xD000_0000L;

  /** RAM beside {@link #RESULTS} that string instructions copy from and to. */
  static final long STRING_BUFFER = 0x19_0000;

  /**
   * One access that must reach the bus.
   *
   * @param write whether it is a store; {@code value} counts for stores only
   */
  record Access(long gpa, int size, boolean write, long value) {}

  /** A guest and the accesses that it makes, in order. */
  record MmioGuest(byte[] image, List<Access> accesses) {}

  /**
   * What the bus answers to a load in the test: each byte is the low byte of its address, plus one,
   * so that every load tells its place.
   */
  static long answer(final long gpa, final int size) {
    long value = 0;
    for (int i = 0; i < size; i++) {
      value |= (gpa + i + 1 & 0xFF) << (8 * i);
    }
    return value;
  }

  /**
   * Loads and stores of every size, read-modify-write, strings, and a pair of accesses that cross a
   * page; loads are answered by {@link #answer}.
   *
   * <p>Results: the four loads (zero-extended), the value that XCHG brought, the load across the
   * pages, the flags after the ADD.
   */
  static MmioGuest mmio() {
    final Assembler a = new Assembler(8, ADDRESS);
    final List<Access> accesses = new ArrayList<>();
    a.mov(RSP, ADDRESS);
    a.mov(RBX, MMIO);
    a.mov(RSI, RESULTS);
    loads(a, accesses);
    stores(a, accesses);
    readModifyWrite(a, accesses);
    strings(a, accesses);
    crossing(a, accesses);
    exit(a);
    return new MmioGuest(a.assemble(), List.copyOf(accesses));
  }

  private static void load(final List<Access> accesses, final long gpa, final int size) {
    accesses.add(new Access(gpa, size, false, 0));
  }

  private static void store(
      final List<Access> accesses, final long gpa, final int size, final long value) {
    accesses.add(new Access(gpa, size, true, value));
  }

  private static void loads(final Assembler a, final List<Access> accesses) {
    for (int i = 0; i < 4; i++) {
      final int size = 1 << i;
      final long offset = 0x10L + 8L * i;
      a.xor(EAX, EAX);
      a.mov(Register.gpr(0, size), Memory.at(RBX, offset));
      a.mov(Memory.at(RSI, 8L * i), RAX);
      load(accesses, MMIO + offset, size);
    }
  }

  private static void stores(final Assembler a, final List<Access> accesses) {
    a.mov(RAX, STORED);
    for (int i = 0; i < 4; i++) {
      final int size = 1 << i;
      final long offset = 0x40L + 8L * i;
      a.mov(Memory.at(RBX, offset), Register.gpr(0, size));
      store(accesses, MMIO + offset, size, size == 8 ? STORED : STORED & (1L << 8 * size) - 1);
    }
    a.mov(Memory.at(RBX, 0x60).asDword(), 0x1234_5678);
    store(accesses, MMIO + 0x60, 4, 0x1234_5678);
    a.mov(Memory.at(RBX, 0x68).asQword(), -1);
    store(accesses, MMIO + 0x68, 8, -1L);
  }

  private static void readModifyWrite(final Assembler a, final List<Access> accesses) {
    a.mov(EAX, 0x0F0F_0F0F);
    a.add(Memory.at(RBX, 0x80), EAX);
    a.pushf();
    a.pop(RCX);
    a.and(ECX, Flags.ARITHMETIC);
    a.mov(Memory.at(RSI, 48), RCX);
    load(accesses, MMIO + 0x80, 4);
    store(accesses, MMIO + 0x80, 4, answer(MMIO + 0x80, 4) + 0x0F0F_0F0FL & 0xFFFF_FFFFL);
    a.or(Memory.at(RBX, 0x88).asByte(), 0x70);
    load(accesses, MMIO + 0x88, 1);
    store(accesses, MMIO + 0x88, 1, answer(MMIO + 0x88, 1) | 0x70);
    a.mov(RAX, STORED);
    a.xchg(Memory.at(RBX, 0x90), RAX);
    a.mov(Memory.at(RSI, 32), RAX);
    load(accesses, MMIO + 0x90, 8);
    store(accesses, MMIO + 0x90, 8, STORED);
    a.inc(Memory.at(RBX, 0x98).asWord());
    load(accesses, MMIO + 0x98, 2);
    store(accesses, MMIO + 0x98, 2, answer(MMIO + 0x98, 2) + 1);
    a.lock();
    a.inc(Memory.at(RBX, 0xA0).asDword());
    load(accesses, MMIO + 0xA0, 4);
    store(accesses, MMIO + 0xA0, 4, answer(MMIO + 0xA0, 4) + 1);
  }

  private static void strings(final Assembler a, final List<Access> accesses) {
    a.push(RSI);
    a.cld();
    // From the bus to memory, and back from there to elsewhere on the bus.
    a.mov(RSI, MMIO + 0x100);
    a.mov(EDI, STRING_BUFFER);
    a.mov(ECX, 3);
    a.rep();
    a.movs(4);
    a.mov(RSI, STRING_BUFFER);
    a.mov(RDI, MMIO + 0x180);
    a.mov(ECX, 3);
    a.rep();
    a.movs(4);
    for (int i = 0; i < 3; i++) {
      load(accesses, MMIO + 0x100 + 4L * i, 4);
    }
    for (int i = 0; i < 3; i++) {
      store(accesses, MMIO + 0x180 + 4L * i, 4, answer(MMIO + 0x100 + 4L * i, 4));
    }
    // From the bus to the bus: one element at a time.
    a.mov(RSI, MMIO + 0x120);
    a.mov(RDI, MMIO + 0x1A0);
    a.movs(2);
    load(accesses, MMIO + 0x120, 2);
    store(accesses, MMIO + 0x1A0, 2, answer(MMIO + 0x120, 2));
    a.mov(RDI, MMIO + 0x1C0);
    a.mov(AX, 0xABCD);
    a.mov(ECX, 2);
    a.rep();
    a.stos(2);
    store(accesses, MMIO + 0x1C0, 2, 0xABCD);
    store(accesses, MMIO + 0x1C2, 2, 0xABCD);
    a.pop(RSI);
  }

  /** Both halves are 4 bytes, so that each is one access of the bus. */
  private static void crossing(final Assembler a, final List<Access> accesses) {
    a.mov(RAX, Memory.at(RBX, 0xFFC));
    a.mov(Memory.at(RSI, 40), RAX);
    load(accesses, MMIO + 0xFFC, 4);
    load(accesses, MMIO + 0x1000, 4);
    a.mov(RAX, STORED);
    a.mov(Memory.at(RBX, 0x1FFC), RAX);
    store(accesses, MMIO + 0x1FFC, 4, STORED & 0xFFFF_FFFFL);
    store(accesses, MMIO + 0x2000, 4, STORED >>> 32);
  }

  // ---- interrupt injection ----

  /** Vectors of the interrupts; the second one has the higher priority. */
  static final int INTERRUPT_VECTOR = 0x40;

  static final int SECOND_VECTOR = 0x50;

  private static final long LOCAL_APIC = 0xFEE0_0000L;
  private static final int APIC_EOI = 0xB0;
  private static final int APIC_SPURIOUS = 0xF0;
  private static final int APIC_COMMAND = 0x300;
  private static final int APIC_ENABLED = 0x1FF;

  /** Fixed delivery, edge, to the sender itself (SDM Vol. 3A, 11.6.1). */
  private static final int TO_SELF = 0x4_4000;

  private static final long IDT = 0x17_0000;
  private static final long INJECTION_STACK = 0x16_F000;
  private static final int CODE_SELECTOR = 0x10;

  /**
   * One interrupt that the guest must see.
   *
   * @param why what held it back
   * @param returnRip where it interrupts: the rip that is pushed
   */
  record Arrival(String why, int vector, long returnRip) {}

  /** A guest and the interrupts in the order in which it takes them. */
  record InjectionGuest(byte[] image, List<Arrival> arrivals) {}

  /** What the injection guest is assembled with. */
  private static final class Injection {
    private final Assembler a = new Assembler(8, ADDRESS);
    private final List<Label> places = new ArrayList<>();
    private final List<Arrival> arrivals = new ArrayList<>();

    /** Asks the local APIC for an interrupt: an MMIO store after which it is pending. */
    private void request(final int vector) {
      a.mov(Memory.at(RBX, APIC_COMMAND).asDword(), TO_SELF | vector);
    }

    private void arrives(final int vector, final String why) {
      places.add(a.here());
      arrivals.add(new Arrival(why, vector, 0));
    }

    private void gate(final Label handler, final int vector) {
      a.mov(EDI, IDT + 16L * vector);
      a.mov(EAX, handler);
      a.mov(Memory.at(RDI), AX);
      a.shr(EAX, 16);
      a.mov(Memory.at(RDI, 6), AX);
      a.mov(Memory.at(RDI, 2).asWord(), CODE_SELECTOR);
      a.mov(Memory.at(RDI, 4).asWord(), 0x8E00);
      a.mov(Memory.at(RDI, 8).asQword(), 0);
    }

    /** Notes where it interrupted, and with which vector; RBX is the local APIC throughout. */
    private void handler(final Label label, final int vector) {
      a.bind(label);
      a.push(RAX);
      a.push(RDX);
      a.push(RCX);
      a.mov(EDX, RESULTS);
      a.mov(RAX, Memory.at(RDX));
      a.inc(Memory.at(RDX).asQword());
      a.shl(RAX, 4);
      a.add(RDX, RAX);
      a.mov(RCX, Memory.at(RSP, 24));
      a.mov(Memory.at(RDX, 8), RCX);
      a.mov(Memory.at(RDX, 16).asQword(), vector);
      a.mov(Memory.at(RBX, APIC_EOI).asDword(), 0);
      a.pop(RCX);
      a.pop(RDX);
      a.pop(RAX);
      a.iretq();
    }

    private InjectionGuest assemble() {
      final byte[] image = a.assemble();
      final List<Arrival> placed = new ArrayList<>();
      for (int i = 0; i < arrivals.size(); i++) {
        final Arrival arrival = arrivals.get(i);
        placed.add(new Arrival(arrival.why(), arrival.vector(), a.addressOf(places.get(i))));
      }
      return new InjectionGuest(image, List.copyOf(placed));
    }
  }

  /**
   * Takes interrupts that were held back by IF, the shadows of STI and MOV SS, and (the second of
   * two) by the handler of another, which needs an interrupt window.
   *
   * <p>Results: the count of interrupts, then for each of them the rip where it came and its
   * vector.
   */
  static InjectionGuest injection() {
    final Injection g = new Injection();
    final Assembler a = g.a;
    final Label first = a.label("first");
    final Label second = a.label("second");
    final Label idtPointer = a.label("idtPointer");
    a.mov(RSP, INJECTION_STACK);
    g.gate(first, INTERRUPT_VECTOR);
    g.gate(second, SECOND_VECTOR);
    a.lidt(Memory.rip(idtPointer));
    a.mov(EBX, LOCAL_APIC);
    a.mov(Memory.at(RBX, APIC_SPURIOUS).asDword(), APIC_ENABLED);
    a.sti();
    a.nop();

    g.request(INTERRUPT_VECTOR);
    g.arrives(INTERRUPT_VECTOR, "nothing");
    a.nop();

    a.cli();
    g.request(INTERRUPT_VECTOR);
    a.nop();
    a.nop();
    a.pushf();
    a.or(Memory.at(RSP).asQword(), Flags.IF);
    a.popf();
    g.arrives(INTERRUPT_VECTOR, "IF, until POPF");
    a.nop();

    a.cli();
    g.request(INTERRUPT_VECTOR);
    a.nop();
    a.sti();
    a.nop();
    g.arrives(INTERRUPT_VECTOR, "the shadow of STI");
    a.nop();

    a.cli();
    g.request(INTERRUPT_VECTOR);
    a.mov(EAX, SS);
    a.sti();
    a.mov(SS, EAX);
    a.nop();
    g.arrives(INTERRUPT_VECTOR, "the shadow of MOV SS, after that of STI");
    a.nop();

    a.cli();
    g.request(INTERRUPT_VECTOR);
    a.sti();
    a.hlt();
    g.arrives(INTERRUPT_VECTOR, "the shadow of STI, until HLT");
    a.nop();

    a.cli();
    g.request(INTERRUPT_VECTOR);
    g.request(SECOND_VECTOR);
    a.sti();
    a.nop();
    g.arrives(SECOND_VECTOR, "the shadow of STI, the first of two");
    g.arrives(INTERRUPT_VECTOR, "the handler of the first");
    a.nop();
    a.cli();
    exit(a);

    g.handler(first, INTERRUPT_VECTOR);
    g.handler(second, SECOND_VECTOR);
    a.align(8, 0);
    a.bind(idtPointer);
    a.dw(0xFFF);
    a.dq(IDT);
    return g.assemble();
  }
}

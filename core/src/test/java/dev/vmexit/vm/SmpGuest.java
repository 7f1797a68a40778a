package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.CR0;
import static dev.vmexit.x86.encode.Register.DS;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.ES;
import static dev.vmexit.x86.encode.Register.ESP;
import static dev.vmexit.x86.encode.Register.RBX;
import static dev.vmexit.x86.encode.Register.RDI;
import static dev.vmexit.x86.encode.Register.RSP;
import static dev.vmexit.x86.encode.Register.SS;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;

/**
 * A guest of two processors: the first starts the second by INIT and start-up IPI, both count up
 * one word together, then interrupts go to and fro between them.
 */
final class SmpGuest {
  /** Interrupts each way. */
  static final int ROUNDS = 50;

  /** What each processor adds to {@link #SHARED}. */
  static final int ADDED = 500;

  static final int TO_SECOND = 0x50;
  static final int TO_FIRST = 0x51;
  static final long SHARED = 0x7000;
  static final long STARTED = 0x7008;
  static final long AT_SECOND = 0x7010;
  static final long AT_FIRST = 0x7018;
  static final long SECOND_ID = 0x7020;

  private static final long LOCAL_APIC = 0xFEE0_0000L;
  private static final int ID = 0x20;
  private static final int EOI = 0xB0;
  private static final int SPURIOUS = 0xF0;
  private static final int COMMAND = 0x300;
  private static final int COMMAND_HIGH = 0x310;
  private static final int INIT = 0x4500;
  private static final int STARTUP = 0x4600;
  private static final int FIXED = 0x4000;

  private static final int TRAMPOLINE = 0x2_0000;
  private static final int SECOND_CODE = 0x2_1000;
  private static final long TABLES = 0x2_2000;

  /** Within the reach of real mode. */
  private static final long GDT_POINTER = 0x7100;

  private static final long IDT_POINTER = 0x7110;
  private static final long SECOND_IDT = 0x2_3000;
  private static final long FIRST_IDT = 0x17_0000;
  private static final int IDT_LIMIT = 0xFFF;
  private static final int CODE = 8;
  private static final int DATA = 0x10;

  private SmpGuest() {}

  /** The first processor's program, in 64-bit mode. */
  static byte[] image() {
    final Assembler a = new Assembler(8, GoldenGuests.ADDRESS);
    final Label handler = a.label("handler");
    final Label idtPointer = a.label("idtPointer");
    a.mov(RSP, 0x16_F000);
    a.mov(EDI, FIRST_IDT + 16 * TO_FIRST);
    a.mov(EAX, handler);
    a.mov(Memory.at(RDI), AX);
    a.shr(EAX, 16);
    a.mov(Memory.at(RDI, 6), AX);
    a.mov(Memory.at(RDI, 2).asWord(), 0x10);
    a.mov(Memory.at(RDI, 4).asWord(), 0x8E00);
    a.mov(Memory.at(RDI, 8).asQword(), 0);
    a.lidt(Memory.rip(idtPointer));
    a.mov(RBX, LOCAL_APIC);
    a.mov(Memory.at(RBX, SPURIOUS).asDword(), 0x1FF);
    a.sti();
    send(a, INIT);
    send(a, STARTUP | TRAMPOLINE >> 12);
    count(a);
    await(a, STARTED, 1);
    a.mov(ECX, 1);
    final Label again = a.here();
    send(a, FIXED | TO_SECOND);
    final Label wait = a.here();
    a.pause();
    a.cmp(Memory.absolute(AT_FIRST).asDword(), ECX);
    a.jcc(Condition.NE, wait);
    a.inc(ECX);
    a.cmp(ECX, ROUNDS + 1);
    a.jcc(Condition.NE, again);
    a.xor(EAX, EAX);
    a.out(GoldenGuests.EXIT_PORT, AL);
    final Label rest = a.here();
    a.cli();
    a.hlt();
    a.jmp(rest);
    a.bind(handler);
    a.lock();
    a.inc(Memory.absolute(AT_FIRST).asDword());
    a.mov(Memory.at(RBX, EOI).asDword(), 0);
    a.iretq();
    a.align(8, 0);
    a.bind(idtPointer);
    a.dw(IDT_LIMIT);
    a.dq(FIRST_IDT);
    return a.assemble();
  }

  private static void send(final Assembler a, final int command) {
    a.mov(Memory.at(RBX, COMMAND_HIGH).asDword(), 1 << 24);
    a.mov(Memory.at(RBX, COMMAND).asDword(), command);
  }

  private static void await(final Assembler a, final long address, final int value) {
    final Label again = a.here();
    a.pause();
    a.cmp(Memory.absolute(address).asDword(), value);
    a.jcc(Condition.NE, again);
  }

  private static void count(final Assembler a) {
    a.mov(ECX, ADDED);
    final Label again = a.here();
    a.lock();
    a.inc(Memory.absolute(SHARED).asDword());
    a.dec(ECX);
    a.jcc(Condition.NE, again);
  }

  /** Puts the second processor's code and tables into memory. */
  static void prepare(final GuestMemory memory) {
    write(memory, TABLES + 8, 0x00CF_9B00_0000_FFFFL);
    write(memory, TABLES + 16, 0x00CF_9300_0000_FFFFL);
    memory.write16(GDT_POINTER, 23);
    memory.write32(GDT_POINTER + 2, (int) TABLES);
    memory.write16(IDT_POINTER, IDT_LIMIT);
    memory.write32(IDT_POINTER + 2, (int) SECOND_IDT);

    final Assembler start = new Assembler(2, 0);
    start.cli();
    start.lgdt(Memory.absolute(GDT_POINTER));
    start.mov(EAX, CR0);
    start.or(AL, 1);
    start.mov(CR0, EAX);
    start.jmpFar(CODE, SECOND_CODE, 4);
    put(memory, TRAMPOLINE, start.assemble());

    final Assembler a = new Assembler(4, SECOND_CODE);
    final Label handler = a.label("handler");
    a.mov(EAX, DATA);
    a.mov(DS, AX);
    a.mov(ES, AX);
    a.mov(SS, AX);
    a.mov(ESP, TABLES);
    a.mov(EAX, handler);
    a.mov(Memory.absolute(SECOND_IDT + 8 * TO_SECOND), AX);
    a.shr(EAX, 16);
    a.mov(Memory.absolute(SECOND_IDT + 8 * TO_SECOND + 6), AX);
    a.mov(Memory.absolute(SECOND_IDT + 8 * TO_SECOND + 2).asWord(), CODE);
    a.mov(Memory.absolute(SECOND_IDT + 8 * TO_SECOND + 4).asWord(), 0x8E00);
    a.lidt(Memory.absolute(IDT_POINTER));
    a.mov(EBX, LOCAL_APIC);
    a.mov(EAX, Memory.at(EBX, ID));
    a.mov(Memory.absolute(SECOND_ID), EAX);
    a.mov(Memory.at(EBX, SPURIOUS).asDword(), 0x1FF);
    count(a);
    a.mov(Memory.absolute(STARTED).asDword(), 1);
    a.sti();
    final Label rest = a.here();
    a.hlt();
    a.jmp(rest);
    a.bind(handler);
    a.inc(Memory.absolute(AT_SECOND).asDword());
    a.mov(Memory.at(EBX, EOI).asDword(), 0);
    a.mov(Memory.at(EBX, COMMAND_HIGH).asDword(), 0);
    a.mov(Memory.at(EBX, COMMAND).asDword(), FIXED | TO_FIRST);
    a.iret(4);
    put(memory, SECOND_CODE, a.assemble());
  }

  private static void write(final GuestMemory memory, final long gpa, final long value) {
    memory.write64(gpa, value);
  }

  private static void put(final GuestMemory memory, final long gpa, final byte[] code) {
    memory.write(gpa, code, 0, code.length);
  }
}

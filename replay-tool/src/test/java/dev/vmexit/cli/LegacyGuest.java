package dev.vmexit.cli;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.CR0;
import static dev.vmexit.x86.encode.Register.CR2;
import static dev.vmexit.x86.encode.Register.CR3;
import static dev.vmexit.x86.encode.Register.CR4;
import static dev.vmexit.x86.encode.Register.DS;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.ES;
import static dev.vmexit.x86.encode.Register.ESI;
import static dev.vmexit.x86.encode.Register.ESP;
import static dev.vmexit.x86.encode.Register.FS;
import static dev.vmexit.x86.encode.Register.GS;
import static dev.vmexit.x86.encode.Register.SS;

import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * A multiboot kernel that runs one short program after another, each into an exception or an
 * interrupt, and prints what the handler finds on the serial line: registers, the frame, the task
 * register. After each the tables and stacks are what they were.
 *
 * <pre>
 *   10_0000  multiboot header, handlers of 16 bytes from 10_0100, programs
 *   20_0000  GDT, 20_0400 IDT, 20_1000 tasks and LDT: copied from the image before each program
 *   20_2000  page directory, 4 MiB pages
 *   20_8000, 21_0000, 21_8000   tops of the stacks of ring 0, ring 3 and the second task
 * </pre>
 */
final class LegacyGuest {
  static final int CODE0 = 0x08;
  static final int DATA0 = 0x10;
  static final int CODE3 = 0x18 | 3;
  static final int DATA3 = 0x20 | 3;
  static final int TASK = 0x28;
  static final int TASK2 = 0x30;
  static final int TASK16 = 0x38;
  static final int GATE3 = 0x40;
  static final int GATE0 = 0x48;
  static final int GATE_ABSENT = 0x50;
  static final int TASK_GATE = 0x58;
  static final int CONFORMING = 0x60;
  static final int ABSENT = 0x68;
  static final int EXECUTE_ONLY = 0x70;
  static final int LDT = 0x78;
  static final int READ_ONLY = 0x80;
  static final int CODE3_16 = 0x88;
  static final int TASK_ABSENT = 0x90;
  static final int TASK_SHORT = 0x98;
  static final int CODE_ABSENT = 0xA0;
  static final int GATE_TO_DATA = 0xA8;
  static final int GATE16 = 0xB0;
  static final int DATA16 = 0xB8;
  static final int GATE_NULL = 0xC0;
  static final int CODE16 = 0xC8;
  static final int CODE1 = 0xD0;
  static final int DATA1 = 0xD8;
  static final int TASK_BUSY = 0xE0;

  /** A task for faults of which no handler of the faulting task could tell. */
  static final int RESCUE = 0xE8;

  static final int LOCAL_DATA = 4;

  /** Interrupts of ring 3; 0x41 is of ring 0 alone. */
  static final int END = 0x40;

  static final int RING0_ONLY = 0x41;
  static final int TIMER_VECTOR = 0x30;
  static final int TASK_VECTOR = 0x50;
  static final int ABSENT_VECTOR = 0x51;
  static final int TRAP16_VECTOR = 0x52;
  static final int CODE_ABSENT_VECTOR = 0x53;
  static final int RESCUE_VECTOR = 0x54;
  static final int VECTORS = 0x60;

  static final int TSS = 0x20_1000;
  static final int TSS2 = 0x20_1200;
  static final int TSS16 = 0x20_1400;
  static final int STACK0 = 0x20_8000;
  static final int STACK3 = 0x21_0000;
  static final int STACK2 = 0x21_8000;
  static final int STACK16 = 0x7F00;

  /** Where {@link #vm86} puts code, and its segment. */
  static final int VM86_SEGMENT = 0x2000;

  static final int VM86_STACK = 0x3000;

  /** A port that the task's bitmap allows, and one that it does not. */
  static final int OPEN_PORT = 0x80;

  static final int CLOSED_PORT = 0x81;

  private static final int LOAD = 0x10_0000;
  private static final int HANDLERS = LOAD + 0x100;
  private static final int GATE_TARGET = LOAD + 0x900;
  private static final int RESCUE_ENTRY = GATE_TARGET + 32;
  private static final int TSS3 = 0x20_1600;
  private static final int TABLES = 0x20_0000;
  private static final int TABLES_SIZE = 0x1A00;
  private static final int IDT = TABLES + 0x400;
  private static final int LDT_BASE = TABLES + 0x1800;
  private static final int DIRECTORY = 0x20_2000;
  private static final int NEXT = 0x20_3000;
  private static final int IO_MAP = 0x88;
  private static final int UART = 0x3F8;
  private static final int CR4_PSE = 1 << 4;
  private static final int LARGE_USER = 0x87;
  private static final int FRAME_WORDS = 23;
  private static final int FLAGS_AT = 64;
  private static final int NOT_ARITHMETIC = ~0x8D5;

  private record Program(String name, Consumer<Assembler> body) {}

  private final List<Program> programs = new ArrayList<>();

  /** Adds a program; it runs in ring 0 with flat segments. */
  void add(final String name, final Consumer<Assembler> body) {
    programs.add(new Program(name, body));
  }

  /** Names in the order of the lines. */
  List<String> names() {
    return programs.stream().map(Program::name).toList();
  }

  /** Adds a program that ring 3 runs. */
  void user(final String name, final int flags, final Consumer<Assembler> body) {
    add(
        name,
        a -> {
          toUser(a, flags);
          body.accept(a);
        });
  }

  /** Goes on in ring 3. */
  static void toUser(final Assembler a, final int flags) {
    final Label there = a.label();
    a.push(DATA3);
    a.push(STACK3);
    a.push(flags | 2);
    a.push(CODE3);
    a.mov(EAX, there);
    a.push(EAX);
    a.iretd();
    a.bind(there);
  }

  /** Adds a program of virtual-8086 mode. */
  void vm86(final String name, final int flags, final Consumer<Assembler> body) {
    add(
        name,
        a -> {
          final Assembler real = new Assembler(2, 0);
          body.accept(real);
          final byte[] code = real.assemble();
          final Label bytes = a.label();
          final Label over = a.label();
          a.mov(ESI, bytes);
          a.mov(EDI, VM86_SEGMENT << 4);
          a.mov(ECX, code.length);
          a.rep();
          a.movs(1);
          for (final int selector : new int[] {0x4444, 0x3333, 0x1111, 0x2222, VM86_STACK}) {
            a.push(selector);
          }
          a.push(0x1000);
          a.push(1 << 17 | 2 | flags);
          a.push(VM86_SEGMENT);
          a.push(0);
          a.jmp(over);
          a.bind(bytes);
          a.bytes(code);
          a.bind(over);
          a.iretd();
        });
  }

  Path write(final Path file) throws IOException {
    return Files.write(file, assemble());
  }

  private byte[] assemble() {
    final Assembler a = new Assembler(4, LOAD);
    final Label start = a.label();
    final Label end = a.label();
    final int flags = 1 << 16;
    a.dd(0x1BAD_B002L, flags, -(0x1BAD_B002L + flags) & 0xFFFF_FFFFL, LOAD, LOAD);
    a.dd(end);
    a.dd(end);
    a.dd(start);
    final Label common = a.label();
    for (int vector = 0; vector < VECTORS; vector++) {
      a.org(HANDLERS + 16L * vector);
      if (!hasErrorCode(vector)) {
        a.push(0);
      }
      a.push(vector);
      a.jmp(common);
    }
    a.org(GATE_TARGET);
    a.interrupt(END);
    a.org(RESCUE_ENTRY);
    a.push(RESCUE_VECTOR);
    a.jmp(common);
    a.org(GATE_TARGET + 48);
    final Label pristine = a.label();
    handler(a, common, pristine);
    final Label reset = a.label();
    a.bind(start);
    a.cli();
    timer(a);
    for (int i = 0; i < 4; i++) {
      a.mov(Memory.absolute(DIRECTORY + 4 * i).asDword(), i << 22 | LARGE_USER);
    }
    a.mov(EAX, CR4_PSE);
    a.mov(CR4, EAX);
    a.mov(EAX, DIRECTORY);
    a.mov(CR3, EAX);
    a.mov(EAX, CR0);
    a.or(EAX, 0x8000_0001);
    a.and(EAX, ~0x6000_0004);
    a.mov(CR0, EAX);
    // Whatever table the loader left: ours must stand before CS is loaded.
    a.mov(ESP, STACK0);
    tables(a, pristine);
    final Label first = a.label();
    a.mov(EAX, first);
    a.mov(Memory.absolute(NEXT), EAX);
    a.jmpFar(CODE0, reset, 4);
    a.bind(reset);
    reset(a, pristine);
    a.jmp(Memory.absolute(NEXT).asDword());
    Label here = first;
    for (final Program program : programs) {
      final Label next = a.label();
      a.bind(here);
      a.mov(EAX, next);
      a.mov(Memory.absolute(NEXT), EAX);
      registers(a);
      program.body().accept(a);
      a.hlt();
      here = next;
    }
    a.bind(here);
    FlatGuests.debugExit(a);
    a.align(16);
    a.bind(pristine);
    a.bytes(tables());
    a.bind(end);
    return a.assemble();
  }

  private static boolean hasErrorCode(final int vector) {
    return vector == 8 || vector >= 10 && vector <= 14 || vector == 17;
  }

  private static void registers(final Assembler a) {
    a.mov(EAX, 0xA0A1_A2A3L);
    a.mov(EBX, 0xB0B1_B2B3L);
    a.mov(ECX, 0xC0C1_C2C3L);
    a.mov(EDX, 0xD0D1_D2D3L);
    a.mov(ESI, 0x51);
    a.mov(EDI, 0xD1);
  }

  private static void tables(final Assembler a, final Label pristine) {
    a.mov(ESI, pristine);
    a.mov(EDI, TABLES);
    a.mov(ECX, TABLES_SIZE / 4);
    a.cld();
    a.rep();
    a.movs(4);
    final Label gdt = a.label();
    final Label idt = a.label();
    final Label over = a.label();
    a.jmp(over);
    a.bind(gdt);
    a.dw(0xEF);
    a.dd(TABLES);
    a.bind(idt);
    a.dw(VECTORS * 8 - 1);
    a.dd(IDT);
    a.bind(over);
    a.lgdt(Memory.absolute(gdt));
    a.lidt(Memory.absolute(idt));
  }

  /** The first interrupt controller from vector 30H on, all masked; its timer runs. */
  private static void timer(final Assembler a) {
    final int[][] writes = {
      {0x20, 0x11},
      {0x21, TIMER_VECTOR},
      {0x21, 4},
      {0x21, 1},
      {0x21, 0xFF},
      {0xA1, 0xFF},
      {0x43, 0x34},
      {0x40, 0},
      {0x40, 0x10}
    };
    for (final int[] write : writes) {
      a.mov(AL, write[1]);
      a.out(write[0], AL);
    }
  }

  /** Lets the timer interrupt. */
  static void unmaskTimer(final Assembler a) {
    a.mov(AL, 0xFE);
    a.out(0x21, AL);
  }

  /** Everything as it was: tables, segments, task, stacks; flags clear. */
  private static void reset(final Assembler a, final Label pristine) {
    a.mov(AL, 0xFF);
    a.out(0x21, AL);
    a.mov(AL, 0x20);
    a.out(0x20, AL);
    a.mov(EAX, DATA0);
    a.mov(SS, AX);
    a.mov(ESP, STACK0);
    a.mov(DS, AX);
    a.mov(ES, AX);
    a.push(2);
    a.popf(4);
    tables(a, pristine);
    a.mov(EAX, DATA0);
    a.mov(FS, AX);
    a.mov(GS, AX);
    a.xor(EAX, EAX);
    a.lldt(AX);
    a.mov(EAX, TASK);
    a.ltr(AX);
    a.clts();
    a.mov(EAX, CR4_PSE);
    a.mov(CR4, EAX);
    a.xor(EAX, EAX);
    for (final int top : new int[] {STACK0, STACK3, STACK2, STACK16, (VM86_STACK << 4) + 0x1000}) {
      a.mov(EDI, top - 0x100);
      a.mov(ECX, 0x60);
      a.rep();
      a.stos(4);
    }
  }

  private void handler(final Assembler a, final Label common, final Label pristine) {
    final Label print = a.label();
    final Label put = a.label();
    a.bind(common);
    a.pusha(4);
    for (final var segment : List.of(DS, ES, FS, GS)) {
      a.mov(EAX, segment);
      a.push(EAX);
    }
    a.mov(EDX, ESP);
    final Label flat = a.label();
    a.mov(EBX, SS);
    a.lar(EAX, EBX);
    a.test(EAX, 1 << 22);
    a.jcc(Condition.NE, flat);
    a.movzx(EDX, DX);
    a.bind(flat);
    a.mov(EAX, DATA0);
    a.mov(DS, AX);
    a.mov(ES, AX);
    a.mov(SS, AX);
    a.mov(ESP, STACK0 - 0x400);
    a.and(Memory.at(EDX, FLAGS_AT).asDword(), NOT_ARITHMETIC);
    a.mov(ESI, EDX);
    a.mov(ECX, FRAME_WORDS);
    a.cld();
    final Label more = a.here();
    a.lods(4);
    a.call(print);
    a.dec(ECX);
    a.jcc(Condition.NE, more);
    a.mov(EAX, EBX);
    a.call(print);
    a.xor(EAX, EAX);
    a.str(AX);
    a.call(print);
    a.mov(EAX, CR0);
    a.and(EAX, 8);
    a.call(print);
    a.mov(EAX, CR2);
    a.call(print);
    a.pushf(4);
    a.pop(EAX);
    a.and(EAX, NOT_ARITHMETIC);
    a.call(print);
    a.mov(AL, '\n');
    a.call(put);
    reset(a, pristine);
    a.jmp(Memory.absolute(NEXT).asDword());
    // EAX in eight digits and a blank.
    a.bind(print);
    a.push(ECX);
    a.mov(ECX, 8);
    final Label digit = a.here();
    a.rol(EAX, 4);
    a.push(EAX);
    a.and(EAX, 15);
    a.add(EAX, '0');
    a.cmp(EAX, '9');
    final Label decimal = a.label();
    a.jcc(Condition.BE, decimal);
    a.add(EAX, 'a' - '9' - 1);
    a.bind(decimal);
    a.call(put);
    a.pop(EAX);
    a.dec(ECX);
    a.jcc(Condition.NE, digit);
    a.pop(ECX);
    a.mov(AL, ' ');
    a.bind(put);
    a.push(EDX);
    a.push(EAX);
    a.mov(EDX, UART + 5);
    final Label busy = a.here();
    a.in(AL, DX);
    a.test(AL, 0x20);
    a.jcc(Condition.E, busy);
    a.pop(EAX);
    a.mov(EDX, UART);
    a.out(DX, AL);
    a.pop(EDX);
    a.ret();
  }

  // ---- tables ----

  private static long segment(final long base, final long limit, final int access, final int size) {
    return limit & 0xFFFF
        | (base & 0xFF_FFFF) << 16
        | (long) access << 40
        | (limit >>> 16 & 0xF) << 48
        | (long) size << 52
        | (base >>> 24) << 56;
  }

  private static long gate(final int selector, final long offset, final int access, final int n) {
    return offset & 0xFFFF
        | (long) selector << 16
        | (long) n << 32
        | (long) access << 40
        | (offset >>> 16) << 48;
  }

  private static byte[] tables() {
    final ByteBuffer t = ByteBuffer.allocate(TABLES_SIZE).order(ByteOrder.LITTLE_ENDIAN);
    t.putLong(CODE0, segment(0, 0xF_FFFF, 0x9B, 0xC));
    t.putLong(DATA0, segment(0, 0xF_FFFF, 0x93, 0xC));
    t.putLong(CODE3 & ~3, segment(0, 0xF_FFFF, 0xFB, 0xC));
    t.putLong(DATA3 & ~3, segment(0, 0xF_FFFF, 0xF3, 0xC));
    t.putLong(TASK, segment(TSS, IO_MAP + 0x20, 0x89, 0));
    t.putLong(TASK2, segment(TSS2, 0x67, 0x89, 0));
    t.putLong(TASK16, segment(TSS16, 0x2B, 0x81, 0));
    t.putLong(GATE3, gate(CODE0, GATE_TARGET, 0xEC, 2));
    t.putLong(GATE0, gate(CODE0, GATE_TARGET, 0x8C, 0));
    t.putLong(GATE_ABSENT, gate(CODE0, GATE_TARGET, 0x6C, 0));
    t.putLong(TASK_GATE, gate(TASK2, 0, 0xE5, 0));
    t.putLong(CONFORMING, segment(0, 0xF_FFFF, 0x9F, 0xC));
    t.putLong(ABSENT, segment(0, 0xF_FFFF, 0x73, 0xC));
    t.putLong(EXECUTE_ONLY, segment(0, 0xF_FFFF, 0xF9, 0xC));
    t.putLong(LDT, segment(LDT_BASE, 0xF, 0x82, 0));
    t.putLong(READ_ONLY, segment(0, 0xF_FFFF, 0xF1, 0xC));
    t.putLong(CODE3_16, segment(LOAD, 0xFFFF, 0xFB, 0));
    t.putLong(TASK_ABSENT, segment(TSS2, 0x67, 0x09, 0));
    t.putLong(TASK_SHORT, segment(TSS2, 0x60, 0x89, 0));
    t.putLong(CODE_ABSENT, segment(0, 0xF_FFFF, 0x7B, 0xC));
    t.putLong(GATE_TO_DATA, gate(DATA0, GATE_TARGET, 0xEC, 0));
    t.putLong(GATE16, gate(CODE16, GATE_TARGET - LOAD, 0xE4, 1));
    t.putLong(DATA16, segment(0, 0xFFFF, 0x93, 0));
    t.putLong(GATE_NULL, gate(0, GATE_TARGET, 0xEC, 0));
    t.putLong(CODE16, segment(LOAD, 0xFFFF, 0x9B, 0));
    t.putLong(CODE1, segment(0, 0xF_FFFF, 0xBB, 0xC));
    t.putLong(DATA1, segment(0, 0xF_FFFF, 0xB3, 0xC));
    t.putLong(TASK_BUSY, segment(TSS2, 0x67, 0x8B, 0));
    t.putLong(RESCUE, segment(TSS3, 0x67, 0x89, 0));
    for (int vector = 0; vector < VECTORS; vector++) {
      final int access = vector == 3 || vector == 4 || vector == END ? 0xEE : 0x8E;
      t.putLong(0x400 + 8 * vector, gate(CODE0, HANDLERS + 16L * vector, access, 0));
    }
    t.putLong(0x400 + 8 * TASK_VECTOR, gate(TASK2, 0, 0xE5, 0));
    t.putLong(0x400 + 8 * ABSENT_VECTOR, gate(CODE0, GATE_TARGET, 0x6E, 0));
    t.putLong(0x400 + 8 * TRAP16_VECTOR, gate(CODE16, GATE_TARGET - LOAD, 0xE7, 0));
    t.putLong(0x400 + 8 * CODE_ABSENT_VECTOR, gate(CODE_ABSENT & ~3, GATE_TARGET, 0xEE, 0));
    t.putLong(0x400 + 8 * RESCUE_VECTOR, gate(RESCUE, 0, 0xE5, 0));
    // Ring 0's stack; port 80 open, all others closed.
    t.putInt(0x1004, STACK0);
    t.putInt(0x1008, DATA0);
    t.putInt(0x101C, DIRECTORY);
    t.putShort(0x1066, (short) IO_MAP);
    for (int i = 0; i <= 0x20; i++) {
      t.put(0x1000 + IO_MAP + i, (byte) 0xFF);
    }
    t.put(0x1000 + IO_MAP + OPEN_PORT / 8, (byte) ~(1 << OPEN_PORT % 8));
    task32(t, TSS2, GATE_TARGET);
    task32(t, TSS3, RESCUE_ENTRY);
    task16(t);
    t.putLong(0x1800, segment(0, 0xF_FFFF, 0x93, 0xC));
    t.putLong(0x1808, segment(0, 0xF_FFFF, 0xF3, 0xC));
    return t.array();
  }

  /** A task of ring 0 where EAX to EDI hold 1 to 8. */
  private static void task32(final ByteBuffer t, final int tss, final int eip) {
    final int at = tss - TABLES;
    t.putInt(at + 4, STACK0);
    t.putInt(at + 8, DATA0);
    t.putInt(at + 28, DIRECTORY);
    t.putInt(at + 32, eip);
    t.putInt(at + 36, 2);
    for (int i = 0; i < 8; i++) {
      t.putInt(at + 40 + 4 * i, i + 1);
    }
    t.putInt(at + 56, STACK2);
    for (int i = 0; i < 6; i++) {
      t.putInt(at + 72 + 4 * i, i == 1 ? CODE0 : DATA0);
    }
    t.putInt(at + 100, 0x68 << 16);
  }

  /** The same of 16 bits. */
  private static void task16(final ByteBuffer t) {
    final int at = TSS16 - TABLES;
    t.putShort(at + 14, (short) (GATE_TARGET - LOAD));
    t.putShort(at + 16, (short) 2);
    for (int i = 0; i < 8; i++) {
      t.putShort(at + 18 + 2 * i, (short) (i + 0x11));
    }
    t.putShort(at + 26, (short) STACK16);
    t.putShort(at + 34, (short) DATA0);
    t.putShort(at + 36, (short) CODE16);
    t.putShort(at + 38, (short) DATA16);
    t.putShort(at + 40, (short) DATA0);
  }
}

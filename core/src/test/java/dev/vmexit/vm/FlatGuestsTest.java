package dev.vmexit.vm;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.ESI;
import static dev.vmexit.x86.encode.Register.ESP;
import static dev.vmexit.x86.encode.Register.RAX;
import static dev.vmexit.x86.encode.Register.RBX;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.vmexit.boot.BootEntry;
import dev.vmexit.vcpu.kvm.Kvm;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Flat guests of each mode on the software vCPU and on the host's KVM: the same exits, each with
 * the same payload, rip and instruction, and the same memory in the end. What a host's KVM cannot
 * execute is finished by the interpreter, so that this holds on KVM in software too.
 */
@Timeout(value = 60, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
final class FlatGuestsTest {
  private static final int DATA = 0x7000;
  private static final int STACK = 0x6F00;
  private static final int TABLE = 0x5000;
  private static final int DATA_BYTES = 0x200;

  /** What a guest does before it ends; its results are at {@link #DATA}. */
  enum Guest {
    LOOPS(FlatGuestsTest::loops),
    STRINGS(FlatGuestsTest::strings),
    PORTS(FlatGuestsTest::ports),
    STACK_AND_CALLS(FlatGuestsTest::calls),
    MULTIPLY_AND_DIVIDE(FlatGuestsTest::arithmetic),
    BIT_COUNTS(FlatGuestsTest::bitCounts),
    FLOATING_POINT(FlatGuestsTest::floatingPoint),
    INTERRUPTS_OF_SOFTWARE(FlatGuestsTest::interrupts),
    EXCEPTIONS(FlatGuestsTest::exceptions);

    private final Consumer<Code> code;

    Guest(final Consumer<Code> code) {
      this.code = code;
    }
  }

  /** An assembler, and what depends on the mode. */
  private record Code(Assembler a, BootEntry.Mode mode) {
    Memory data(final int offset) {
      return Memory.absolute(DATA + offset);
    }

    boolean isLong() {
      return mode == BootEntry.Mode.LONG64;
    }

    boolean isReal() {
      return mode == BootEntry.Mode.REAL16;
    }

    int codeSize() {
      return isLong() ? 8 : isReal() ? 2 : 4;
    }
  }

  @BeforeAll
  static void needsKvm() {
    Kvm.assume();
  }

  private static byte[] image(final Guest guest, final BootEntry.Mode mode) {
    final int size =
        switch (mode) {
          case REAL16 -> 2;
          case PROTECTED32 -> 4;
          case LONG64 -> 8;
        };
    final Assembler a = new Assembler(size, GoldenMachine.flatAddress(mode));
    a.mov(ESP, STACK);
    guest.code.accept(new Code(a, mode));
    a.xor(EAX, EAX);
    a.out(GoldenGuests.EXIT_PORT, AL);
    final Label rest = a.here();
    a.cli();
    a.hlt();
    a.jmp(rest);
    return a.assemble();
  }

  @ParameterizedTest
  @EnumSource(Guest.class)
  void shouldMakeTheSameExitsInRealMode(final Guest guest) {
    compare(guest, BootEntry.Mode.REAL16);
  }

  @ParameterizedTest
  @EnumSource(Guest.class)
  void shouldMakeTheSameExitsInProtectedMode(final Guest guest) {
    compare(guest, BootEntry.Mode.PROTECTED32);
  }

  @ParameterizedTest
  @EnumSource(Guest.class)
  void shouldMakeTheSameExitsInLongMode(final Guest guest) {
    compare(guest, BootEntry.Mode.LONG64);
  }

  private static void compare(final Guest guest, final BootEntry.Mode mode) {
    final byte[] image = image(guest, mode);
    try (GoldenMachine soft = GoldenMachine.flat(image, mode, VirtualMachine.Backend.SOFT);
        GoldenMachine kvm = GoldenMachine.flat(image, mode, VirtualMachine.Backend.KVM)) {
      final RunResult expected = soft.run();
      assertEquals(RunEnd.DEBUG_EXIT, expected.end(), () -> expected + "\n" + soft.exits());
      final RunResult result = kvm.run();
      assertEquals(RunEnd.DEBUG_EXIT, result.end(), () -> result + "\n" + kvm.exits());
      assertEquals(KvmPathsTest.comparable(soft), KvmPathsTest.comparable(kvm));
      for (int i = 0; i < DATA_BYTES; i += 8) {
        final int at = i;
        assertEquals(
            soft.memory().read64(DATA + i),
            kvm.memory().read64(DATA + i),
            () -> "memory at " + Integer.toHexString(DATA + at));
      }
    }
  }

  // ---- the guests ----

  private static void loops(final Code c) {
    final Assembler a = c.a();
    a.mov(ECX, 100);
    a.xor(EAX, EAX);
    final Label again = a.here();
    a.add(EAX, ECX);
    a.dec(ECX);
    a.jcc(Condition.NE, again);
    a.mov(c.data(0), EAX);
    a.out(0x80, AL);
  }

  private static void strings(final Code c) {
    final Assembler a = c.a();
    a.cld();
    a.mov(EDI, DATA);
    a.mov(EAX, 0x5A5A_1234);
    a.mov(ECX, 16);
    a.rep();
    a.stos(4);
    a.mov(ESI, DATA + 2);
    a.mov(EDI, DATA + 0x80);
    a.mov(ECX, 33);
    a.rep();
    a.movs(1);
    a.std();
    a.mov(ESI, DATA + 0x20);
    a.mov(EDI, DATA + 0x120);
    a.mov(ECX, 5);
    a.rep();
    a.movs(2);
    a.cld();
    a.mov(c.data(0x180), ESI);
    a.mov(c.data(0x188), EDI);
  }

  private static void ports(final Code c) {
    final Assembler a = c.a();
    a.mov(EAX, 0x1122_3344);
    a.out(0x80, AL);
    a.mov(DX, 0x80);
    a.out(DX, AL);
    a.mov(DX, 0xC0);
    a.out(DX, AX);
    a.out(DX, EAX);
    a.xor(EAX, EAX);
    a.in(AL, 0xC0);
    a.mov(c.data(0), EAX);
    a.in(AX, 0xC0);
    a.mov(c.data(8), EAX);
    a.in(EAX, DX);
    a.mov(c.data(16), EAX);
    a.cld();
    a.mov(ESI, DATA);
    a.mov(ECX, 7);
    a.mov(DX, 0x80);
    a.rep();
    a.outs(1);
    a.mov(EDI, DATA + 0x40);
    a.mov(ECX, 3);
    a.mov(DX, 0xC0);
    a.rep();
    a.ins(2);
  }

  private static void calls(final Code c) {
    final Assembler a = c.a();
    final Label function = a.label("function");
    final Label after = a.label("after");
    a.mov(EAX, 7);
    a.call(function);
    a.call(function);
    a.pushf();
    a.push(c.isLong() ? RAX : EAX);
    a.pop(c.isLong() ? RBX : EBX);
    a.popf();
    a.mov(c.data(0), EBX);
    a.mov(c.data(8), ESP);
    a.jmp(after);
    a.bind(function);
    a.add(EAX, EAX);
    a.ret();
    a.bind(after);
  }

  private static void arithmetic(final Code c) {
    final Assembler a = c.a();
    a.mov(EAX, 0x1234_5678);
    a.mov(EBX, 0x9ABC);
    a.mul(EBX);
    a.mov(c.data(0), EAX);
    a.mov(c.data(8), EDX);
    a.mov(ECX, 0x1_0001);
    a.div(ECX);
    a.mov(c.data(16), EAX);
    a.mov(c.data(24), EDX);
    a.imul(EAX, ECX, 77);
    a.mov(c.data(32), EAX);
  }

  private static void bitCounts(final Code c) {
    final Assembler a = c.a();
    a.mov(EAX, 0x00F0_1230);
    a.popcnt(EBX, EAX);
    a.mov(c.data(0), EBX);
    a.bsf(ECX, EAX);
    a.mov(c.data(8), ECX);
    a.mov(c.data(0x10), EAX);
    a.popcnt(EDX, c.data(0x10).asDword());
    a.mov(c.data(0x18), EDX);
  }

  private static void floatingPoint(final Code c) {
    final Assembler a = c.a();
    // fninit; fldpi; fld1; faddp; fsqrt; fldl2e; fmulp
    a.db(0xDB, 0xE3, 0xD9, 0xEB, 0xD9, 0xE8, 0xDE, 0xC1, 0xD9, 0xFA, 0xD9, 0xEA, 0xDE, 0xC9);
    a.mov(EBX, DATA);
    // fst qword [ebx]; fistp dword [ebx + 16]: the ModRM byte for BX in 16-bit code is another.
    if (c.isReal()) {
      a.db(0xDD, 0x17, 0xDB, 0x5F, 0x10);
    } else {
      a.db(0xDD, 0x13, 0xDB, 0x5B, 0x10);
    }
  }

  /** Leads a vector to a handler; changes EAX. */
  private static void gate(final Code c, final int vector, final Label handler) {
    final Assembler a = c.a();
    a.mov(EAX, handler);
    if (c.isReal()) {
      a.mov(Memory.absolute(4L * vector), AX);
      a.mov(Memory.absolute(4L * vector + 2).asWord(), 0);
      return;
    }
    final long at = TABLE + (c.isLong() ? 16L : 8L) * vector;
    a.mov(Memory.absolute(at), AX);
    a.shr(EAX, 16);
    a.mov(Memory.absolute(at + 6), AX);
    a.mov(Memory.absolute(at + 2).asWord(), 0x10);
    a.mov(Memory.absolute(at + 4).asWord(), 0x8E00);
    if (c.isLong()) {
      a.mov(Memory.absolute(at + 8).asDword(), 0);
      a.mov(Memory.absolute(at + 12).asDword(), 0);
    }
  }

  private static void loadTable(final Code c) {
    if (!c.isReal()) {
      final Assembler a = c.a();
      a.mov(c.data(0x1F0).asWord(), 0xFFF);
      a.mov(c.data(0x1F2).asDword(), TABLE);
      a.mov(c.data(0x1F6).asDword(), 0);
      a.lidt(c.data(0x1F0));
    }
  }

  private static void interrupts(final Code c) {
    final Assembler a = c.a();
    final Label handler = a.label("handler");
    final Label breakpoint = a.label("breakpoint");
    final Label after = a.label("after");
    gate(c, 0x30, handler);
    gate(c, 3, breakpoint);
    loadTable(c);
    a.mov(EBX, 1);
    a.interrupt(0x30);
    a.interrupt(0x30);
    a.int3();
    a.mov(c.data(0), EBX);
    a.jmp(after);
    a.bind(handler);
    a.add(EBX, EBX);
    a.iret(c.codeSize());
    a.bind(breakpoint);
    a.add(EBX, 100);
    a.iret(c.codeSize());
    a.bind(after);
  }

  private static void exceptions(final Code c) {
    final Assembler a = c.a();
    final Label divide = a.label("divide");
    final Label undefined = a.label("undefined");
    final Label after = a.label("after");
    gate(c, 0, divide);
    gate(c, 6, undefined);
    loadTable(c);
    a.xor(ECX, ECX);
    a.mov(EBX, 1);
    a.mov(EAX, 5);
    a.xor(EDX, EDX);
    // The handler mends the divisor; the division restarts.
    a.div(ECX);
    a.mov(c.data(0), EAX);
    a.ud2();
    a.bind(divide);
    a.mov(ECX, 5);
    a.add(EBX, 10);
    a.iret(c.codeSize());
    a.bind(undefined);
    a.add(EBX, 100);
    a.mov(c.data(8), EBX);
    a.mov(ESP, STACK);
    a.jmp(after);
    a.bind(after);
  }
}

package dev.vmexit.x86.encode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What the assembler writes, read back by objdump: every form with varied operands. */
final class AssemblerObjdumpTest {
  private final List<Case> cases = new ArrayList<>();

  private record Case(byte[] code, String text) {}

  @BeforeEach
  void needObjdump() {
    assumeTrue(Objdump.isPresent(), "SKIPPED: objdump (package binutils) is not installed");
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 4, 8})
  void shouldReadBackWhenFormsHaveVariedOperands(final int codeSize) {
    binaryForms(codeSize);
    immediateForms(codeSize);
    unaryForms(codeSize);
    shiftForms(codeSize);
    bitForms(codeSize);
    conversionForms(codeSize);
    stackForms(codeSize);
    specialRegisterForms(codeSize);
    systemForms(codeSize);
    stringAndPortForms(codeSize);
    plainForms(codeSize);
    indirectBranchForms(codeSize);
    floatingForms(codeSize);
    check(codeSize, 700);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 4, 8})
  void shouldReachTheLabelWhenBranchesAreShortAndNear(final int codeSize) {
    final Assembler a = new Assembler(codeSize, 0);
    final Label start = a.here();
    final Label middle = a.label();
    final Label end = a.label();
    a.jmp(start);
    a.jmp(end);
    a.jcc(Condition.NE, middle);
    a.jcc(Condition.G, end);
    a.call(end);
    a.loop(start);
    a.loope(start);
    a.loopne(middle);
    a.jrcxz(4, start);
    a.jmpShort(middle);
    a.jccShort(Condition.B, start);
    a.jmpNear(middle);
    a.jccNear(Condition.S, start);
    a.bind(middle);
    for (int i = 0; i < 200; i++) {
      a.hlt();
    }
    a.bind(end);
    a.ret();
    final byte[] code = a.assemble();
    final List<Objdump.Line> lines = Objdump.disassemble(code, codeSize);
    final String middleText = "0x" + Long.toHexString(a.addressOf(middle));
    final String endText = "0x" + Long.toHexString(a.addressOf(end));
    final List<String> expected =
        List.of(
            "jmp 0x0",
            "jmp " + endText,
            "jne " + middleText,
            "jg " + endText,
            "call " + endText,
            "loop 0x0",
            "loope 0x0",
            "loopne " + middleText,
            "jecxz 0x0",
            "jmp " + middleText,
            "jb 0x0",
            "jmp " + middleText,
            "js 0x0");
    for (int i = 0; i < expected.size(); i++) {
      assertEquals(expected.get(i), lines.get(i).text(), "line " + i);
    }
    assertEquals("ret", lines.getLast().text());
    assertEquals(code.length - 1, lines.getLast().offset());
  }

  private void binaryForms(final int codeSize) {
    final List<String> names =
        List.of("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp", "mov");
    int turn = 0;
    for (final String name : names) {
      for (final int size : sizes(codeSize)) {
        for (final Memory memory : memories(codeSize)) {
          final Register register = registers(codeSize, size).get(turn++ % count(codeSize, size));
          if (register.kind() == Register.Kind.HIGH_BYTE && usesRex(memory)) {
            continue;
          }
          final Memory sized = memory.as(size);
          add(codeSize, a -> binary(a, name, sized, register), name, sized, register);
          add(codeSize, a -> binary(a, name, register, memory), name, register, sized);
        }
        final Register first = registers(codeSize, size).get(turn % count(codeSize, size));
        final Register second = registers(codeSize, size).get((turn + 3) % count(codeSize, size));
        if (mixable(first, second)) {
          add(codeSize, a -> binary(a, name, first, second), name, first, second);
        }
      }
    }
    for (final int size : sizes(codeSize)) {
      final Register register = registers(codeSize, size).get(1);
      final Memory memory = memories(codeSize).get(1).as(size);
      add(codeSize, a -> a.test(memory, register), "test", memory, register);
      add(codeSize, a -> a.xchg(memory, register), "xchg", memory, register);
      add(codeSize, a -> a.xchg(register, memory), "xchg", memory, register);
      add(codeSize, a -> a.cmpxchg(memory, register), "cmpxchg", memory, register);
      add(codeSize, a -> a.xadd(memory, register), "xadd", memory, register);
      if (size > 1) {
        final Register accumulator = Register.gpr(0, size);
        add(codeSize, a -> a.xchg(accumulator, register), "xchg", register, accumulator);
        add(codeSize, a -> a.xchg(register, accumulator), "xchg", register, accumulator);
        add(codeSize, a -> a.imul(register, memory), "imul", register, memory);
        add(codeSize, a -> a.bsf(register, memory), "bsf", register, memory);
        add(codeSize, a -> a.bsr(register, memory), "bsr", register, memory);
        add(codeSize, a -> a.popcnt(register, memory), "popcnt", register, memory);
        add(codeSize, a -> a.lea(register, memory), "lea", register, memory.as(0));
        for (final Condition condition : Condition.values()) {
          final String name = "cmov" + name(condition);
          add(codeSize, a -> a.cmovcc(condition, register, memory), name, register, memory);
        }
      }
    }
  }

  private static void binary(
      final Assembler a, final String name, final Operand destination, final Operand source) {
    switch (name) {
      case "add" -> a.add(destination, source);
      case "or" -> a.or(destination, source);
      case "adc" -> a.adc(destination, source);
      case "sbb" -> a.sbb(destination, source);
      case "and" -> a.and(destination, source);
      case "sub" -> a.sub(destination, source);
      case "xor" -> a.xor(destination, source);
      case "cmp" -> a.cmp(destination, source);
      case "mov" -> a.mov(destination, source);
      default -> throw new IllegalArgumentException(name);
    }
  }

  private static void binary(
      final Assembler a, final String name, final Operand destination, final long immediate) {
    switch (name) {
      case "add" -> a.add(destination, immediate);
      case "or" -> a.or(destination, immediate);
      case "adc" -> a.adc(destination, immediate);
      case "sbb" -> a.sbb(destination, immediate);
      case "and" -> a.and(destination, immediate);
      case "sub" -> a.sub(destination, immediate);
      case "xor" -> a.xor(destination, immediate);
      case "cmp" -> a.cmp(destination, immediate);
      case "mov" -> a.mov(destination, immediate);
      case "test" -> a.test(destination, immediate);
      default -> throw new IllegalArgumentException(name);
    }
  }

  private void immediateForms(final int codeSize) {
    final List<String> names =
        List.of("add", "or", "adc", "sbb", "and", "sub", "xor", "cmp", "mov", "test");
    for (final String name : names) {
      for (final int size : sizes(codeSize)) {
        for (final long immediate : new long[] {1, 0x7F, -1, -0x80, 0x7654, -0x7654, 0x12345678}) {
          if (size < 4 && immediate != (size == 1 ? (byte) immediate : (short) immediate)) {
            continue;
          }
          final String value = hex(immediate, size);
          for (final int number : new int[] {0, 3, 6, 9}) {
            if ((number == 9 || (number == 6 && size == 1)) && codeSize != 8) {
              continue;
            }
            final Register register = Register.gpr(number, size);
            add(codeSize, a -> binary(a, name, register, immediate), name, register, value);
          }
          final Memory memory = memories(codeSize).get(2).as(size);
          add(codeSize, a -> binary(a, name, memory, immediate), name, memory, value);
          if (size > 1 && name.equals("mov")) {
            final Register to = Register.gpr(5, size);
            final String values = memory(memory) + "," + value;
            add(codeSize, a -> a.imul(to, memory, immediate), "imul", to, values);
          }
        }
      }
    }
    if (codeSize == 8) {
      add(8, a -> a.mov(Register.RAX, 0x123456789ABCDEFL), "movabs rax,0x123456789abcdef");
      add(8, a -> a.mov(Register.R15, 0xFFFF_FFFFL), "movabs r15,0xffffffff");
    }
  }

  private void unaryForms(final int codeSize) {
    for (final int size : sizes(codeSize)) {
      final List<Operand> operands = new ArrayList<>(registers(codeSize, size));
      operands.add(memories(codeSize).get(0).as(size));
      operands.add(memories(codeSize).get(3).as(size));
      for (final Operand operand : operands) {
        add(codeSize, a -> a.inc(operand), "inc", operand);
        add(codeSize, a -> a.dec(operand), "dec", operand);
        add(codeSize, a -> a.not(operand), "not", operand);
        add(codeSize, a -> a.neg(operand), "neg", operand);
        add(codeSize, a -> a.mul(operand), "mul", operand);
        add(codeSize, a -> a.imul(operand), "imul", operand);
        add(codeSize, a -> a.div(operand), "div", operand);
        add(codeSize, a -> a.idiv(operand), "idiv", operand);
        if (size == 1) {
          for (final Condition condition : Condition.values()) {
            add(codeSize, a -> a.setcc(condition, operand), "set" + name(condition), operand);
          }
        }
      }
    }
  }

  private void shiftForms(final int codeSize) {
    for (final int size : sizes(codeSize)) {
      for (final Operand o : List.of(Register.gpr(2, size), memories(codeSize).get(1).as(size))) {
        add(codeSize, a -> a.rol(o, 1), "rol", o, "1");
        add(codeSize, a -> a.ror(o, 3), "ror", o, "0x3");
        add(codeSize, a -> a.rcl(o, 4), "rcl", o, "0x4");
        add(codeSize, a -> a.rcr(o, Register.CL), "rcr", o, "cl");
        add(codeSize, a -> a.shl(o, 7), "shl", o, "0x7");
        add(codeSize, a -> a.shl(o, Register.CL), "shl", o, "cl");
        add(codeSize, a -> a.shr(o, 1), "shr", o, "1");
        add(codeSize, a -> a.sar(o, 31), "sar", o, "0x1f");
        add(codeSize, a -> a.sar(o, Register.CL), "sar", o, "cl");
        if (size > 1) {
          final Register from = Register.gpr(7, size);
          add(codeSize, a -> a.shld(o, from, 5), "shld", o, text(from) + ",0x5");
          add(codeSize, a -> a.shld(o, from, Register.CL), "shld", o, text(from) + ",cl");
          add(codeSize, a -> a.shrd(o, from, 5), "shrd", o, text(from) + ",0x5");
          add(codeSize, a -> a.shrd(o, from, Register.CL), "shrd", o, text(from) + ",cl");
        }
      }
    }
  }

  private void bitForms(final int codeSize) {
    for (final int size : sizes(codeSize)) {
      if (size == 1) {
        continue;
      }
      for (final Operand o : List.of(Register.gpr(1, size), memories(codeSize).get(2).as(size))) {
        final Register bit = Register.gpr(6, size);
        add(codeSize, a -> a.bt(o, bit), "bt", o, text(bit));
        add(codeSize, a -> a.bts(o, bit), "bts", o, text(bit));
        add(codeSize, a -> a.btr(o, bit), "btr", o, text(bit));
        add(codeSize, a -> a.btc(o, bit), "btc", o, text(bit));
        add(codeSize, a -> a.bt(o, 9), "bt", o, "0x9");
        add(codeSize, a -> a.bts(o, 9), "bts", o, "0x9");
        add(codeSize, a -> a.btr(o, 9), "btr", o, "0x9");
        add(codeSize, a -> a.btc(o, 9), "btc", o, "0x9");
      }
      if (size > 2) {
        final Register register = Register.gpr(3, size);
        add(codeSize, a -> a.bswap(register), "bswap", register);
      }
    }
  }

  private void conversionForms(final int codeSize) {
    for (final int size : sizes(codeSize)) {
      if (size == 1) {
        continue;
      }
      final Register to = Register.gpr(2, size);
      final Memory asByte = memories(codeSize).get(3).asByte();
      final Memory asWord = asByte.asWord();
      add(codeSize, a -> a.movzx(to, Register.CL), "movzx", to, Register.CL);
      add(codeSize, a -> a.movzx(to, asByte), "movzx", to, asByte);
      add(codeSize, a -> a.movsx(to, asByte), "movsx", to, asByte);
      if (size > 2) {
        add(codeSize, a -> a.movzx(to, asWord), "movzx", to, asWord);
        add(codeSize, a -> a.movsx(to, Register.DX), "movsx", to, Register.DX);
      }
    }
    if (codeSize == 8) {
      add(8, a -> a.movzx(Register.R9D, Register.SIL), "movzx r9d,sil");
      add(8, a -> a.movsxd(Register.RDX, Register.R8D), "movsxd rdx,r8d");
      add(8, a -> a.mov(Register.AH, Register.BL), "mov ah,bl");
      add(
          8,
          a -> a.movsxd(Register.RDX, Memory.at(Register.R12).asDword()),
          "movsxd rdx,DWORD PTR [r12]");
    }
  }

  private void stackForms(final int codeSize) {
    for (final int size : codeSize == 8 ? new int[] {2, 8} : new int[] {2, 4}) {
      final Register register = Register.gpr(6, size);
      final Memory memory = memories(codeSize).get(2).as(size);
      add(codeSize, a -> a.push(register), "push", register);
      add(codeSize, a -> a.pop(register), "pop", register);
      add(codeSize, a -> a.push(memory), "push", memory);
      add(codeSize, a -> a.pop(memory), "pop", memory);
    }
    add(codeSize, a -> a.push(Register.FS), "push fs");
    add(codeSize, a -> a.push(Register.GS), "push gs");
    add(codeSize, a -> a.pop(Register.FS), "pop fs");
    add(codeSize, a -> a.pop(Register.GS), "pop gs");
    add(codeSize, a -> a.push(0x12), "push 0x12");
    add(codeSize, a -> a.push(0x1234), "push 0x1234");
    add(codeSize, a -> a.push(-2), "push " + hex(-2, codeSize));
    add(codeSize, a -> a.pushf(), "pushf");
    add(codeSize, a -> a.popf(), "popf");
    add(codeSize, a -> a.enter(0x20, 1), "enter 0x20,0x1");
    add(codeSize, Assembler::leave, "leave");
    if (codeSize != 8) {
      for (final Register segment : List.of(Register.ES, Register.SS, Register.DS)) {
        add(codeSize, a -> a.push(segment), "push", segment);
        add(codeSize, a -> a.pop(segment), "pop", segment);
      }
      add(codeSize, a -> a.push(Register.CS), "push cs");
      add(codeSize, a -> a.pusha(4), codeSize == 4 ? "pusha" : "pushad");
      add(codeSize, a -> a.popa(2), codeSize == 4 ? "popaw" : "popa");
    } else {
      add(8, a -> a.pushf(8), "pushf");
      add(8, a -> a.pushImmediate(2, 0x1234), "pushw 0x1234");
    }
  }

  private void specialRegisterForms(final int codeSize) {
    final Register whole = Register.gpr(3, codeSize == 8 ? 8 : 4);
    for (final Register control :
        codeSize == 8
            ? List.of(Register.CR0, Register.CR2, Register.CR3, Register.CR4, Register.CR8)
            : List.of(Register.CR0, Register.CR2, Register.CR3, Register.CR4)) {
      add(codeSize, a -> a.mov(control, whole), "mov", control, whole);
      add(codeSize, a -> a.mov(whole, control), "mov", whole, control);
    }
    for (final Register debug : List.of(Register.DR0, Register.DR6, Register.DR7)) {
      add(codeSize, a -> a.mov(debug, whole), "mov", debug, whole);
      add(codeSize, a -> a.mov(whole, debug), "mov", whole, debug);
    }
    final Memory word = memories(codeSize).get(1).asWord();
    for (final Register segment : List.of(Register.ES, Register.DS, Register.GS, Register.SS)) {
      final String source = codeSize == 2 ? "ax" : "eax";
      add(codeSize, a -> a.mov(segment, Register.AX), "mov", segment, source);
      add(codeSize, a -> a.mov(segment, word), "mov", segment, word);
      add(codeSize, a -> a.mov(word, segment), "mov", word, segment);
      add(codeSize, a -> a.mov(Register.ECX, segment), "mov", Register.ECX, segment);
    }
  }

  private void systemForms(final int codeSize) {
    final Memory place = memories(codeSize).get(2).as(0);
    final String text = memory(place);
    final String word = memory(place.asWord());
    add(codeSize, a -> a.invlpg(place), "invlpg BYTE PTR " + text);
    add(codeSize, a -> a.lgdt(place), table("lgdt", text));
    add(codeSize, a -> a.lidt(place), table("lidt", text));
    add(codeSize, a -> a.sgdt(place), table("sgdt", text));
    add(codeSize, a -> a.sidt(place), table("sidt", text));
    add(codeSize, a -> a.lldt(place), "lldt " + word);
    add(codeSize, a -> a.ltr(Register.AX), "ltr ax|ltr eax");
    add(codeSize, a -> a.lmsw(place), "lmsw " + word);
    add(codeSize, a -> a.smsw(place), "smsw " + word);
    add(codeSize, a -> a.smsw(Register.ECX), "smsw ecx");
    add(codeSize, a -> a.str(place), "str " + word);
    add(codeSize, a -> a.sldt(place), "sldt " + word);
    add(codeSize, a -> a.verr(place), "verr " + word);
    add(codeSize, a -> a.verw(place), "verw " + word);
    add(codeSize, a -> a.cmpxchg8b(place), "cmpxchg8b QWORD PTR " + text);
    add(codeSize, a -> a.lar(Register.ECX, place.asWord()), "lar ecx," + word);
    if (codeSize == 8) {
      add(
          8,
          a -> a.cmpxchg16b(place),
          "cmpxchg16b XMMWORD PTR " + text + "|cmpxchg16b OWORD PTR " + text);
      add(8, Assembler::swapgs, "swapgs");
      add(8, Assembler::sysretq, "rex.W sysret|sysretq");
      add(8, Assembler::sysexitq, "rex.W sysexit|sysexitq");
    }
    final Register to = Register.gpr(3, codeSize == 8 ? 4 : codeSize);
    final String pointer = (to.size() == 2 ? "DWORD PTR " : "FWORD PTR ") + text;
    add(codeSize, a -> a.loadFarPointer(Register.SS, to, place), "lss", to, pointer);
    add(codeSize, a -> a.loadFarPointer(Register.GS, to, place), "lgs", to, pointer);
    if (codeSize != 8) {
      add(codeSize, a -> a.loadFarPointer(Register.ES, to, place), "les", to, pointer);
    }
    add(codeSize, a -> a.fxsave(place), codeSize == 8 ? "fxsave64 " + text : "fxsave " + text);
    add(codeSize, a -> a.fxrstor(place), codeSize == 8 ? "fxrstor64 " + text : "fxrstor " + text);
  }

  private static String table(final String name, final String text) {
    return String.join(
        "|",
        name + " " + text,
        name + "w " + text,
        name + "d " + text,
        name + " tbyte ptr " + text);
  }

  private void stringAndPortForms(final int codeSize) {
    final String si = codeSize == 2 ? "si" : codeSize == 4 ? "esi" : "rsi";
    final String di = codeSize == 2 ? "di" : codeSize == 4 ? "edi" : "rdi";
    for (final int size : sizes(codeSize)) {
      final String pointer = pointer(size);
      final String source = pointer + "ds:[" + si + "]";
      final String destination = pointer + "es:[" + di + "]";
      final String accumulator = text(Register.gpr(0, size));
      add(codeSize, a -> a.movs(size), "movs " + destination + "," + source);
      add(codeSize, a -> a.cmps(size), "cmps " + source + "," + destination);
      add(codeSize, a -> a.stos(size), "stos " + destination + "," + accumulator);
      add(codeSize, a -> a.lods(size), "lods " + accumulator + "," + source);
      add(codeSize, a -> a.scas(size), "scas " + accumulator + "," + destination);
      add(
          codeSize,
          a -> {
            a.rep();
            a.stos(size);
          },
          "rep stos " + destination + "," + accumulator);
      add(
          codeSize,
          a -> {
            a.repe();
            a.cmps(size);
          },
          "repz cmps " + source + "," + destination);
      add(
          codeSize,
          a -> {
            a.repne();
            a.scas(size);
          },
          "repnz scas " + accumulator + "," + destination);
      if (size < 8) {
        add(codeSize, a -> a.ins(size), "ins " + destination + ",dx");
        add(codeSize, a -> a.outs(size), "outs dx," + source);
        final Register in = Register.gpr(0, size);
        add(codeSize, a -> a.in(in, Register.DX), "in", in, "dx");
        add(codeSize, a -> a.in(in, 0x60), "in", in, "0x60");
        add(codeSize, a -> a.out(Register.DX, in), "out dx," + text(in));
        add(codeSize, a -> a.out(0x80, in), "out 0x80," + text(in));
      }
    }
    final Memory memory = memories(codeSize).get(0).asDword();
    add(
        codeSize,
        a -> {
          a.lock();
          a.add(memory, 1);
        },
        "lock add " + memory(memory) + ",0x1");
  }

  private void plainForms(final int codeSize) {
    add(codeSize, Assembler::nop, "nop");
    add(codeSize, Assembler::pause, "pause");
    add(codeSize, Assembler::cbw, "cbw");
    add(codeSize, Assembler::cwde, "cwde");
    add(codeSize, Assembler::cwd, "cwd");
    add(codeSize, Assembler::cdq, "cdq");
    add(codeSize, Assembler::hlt, "hlt");
    add(codeSize, Assembler::cmc, "cmc");
    add(codeSize, Assembler::clc, "clc");
    add(codeSize, Assembler::stc, "stc");
    add(codeSize, Assembler::cli, "cli");
    add(codeSize, Assembler::sti, "sti");
    add(codeSize, Assembler::cld, "cld");
    add(codeSize, Assembler::std, "std");
    add(codeSize, Assembler::sahf, "sahf");
    add(codeSize, Assembler::lahf, "lahf");
    add(codeSize, Assembler::xlat, "xlat BYTE PTR ds:[" + text(Register.gpr(3, codeSize)) + "]");
    add(codeSize, Assembler::int3, "int3");
    add(codeSize, Assembler::int1, "int1|icebp");
    add(codeSize, a -> a.interrupt(0x80), "int 0x80");
    add(codeSize, Assembler::syscall, "syscall");
    add(codeSize, Assembler::sysret, "sysret|sysretd|sysretl");
    add(codeSize, Assembler::sysenter, "sysenter");
    add(codeSize, Assembler::sysexit, "sysexit|sysexitd");
    add(codeSize, Assembler::clts, "clts");
    add(codeSize, Assembler::invd, "invd");
    add(codeSize, Assembler::wbinvd, "wbinvd");
    add(codeSize, Assembler::ud2, "ud2");
    add(codeSize, Assembler::wrmsr, "wrmsr");
    add(codeSize, Assembler::rdmsr, "rdmsr");
    add(codeSize, Assembler::rdtsc, "rdtsc");
    add(codeSize, Assembler::rdtscp, "rdtscp");
    add(codeSize, Assembler::rdpmc, "rdpmc");
    add(codeSize, Assembler::cpuid, "cpuid");
    add(codeSize, Assembler::lfence, "lfence");
    add(codeSize, Assembler::mfence, "mfence");
    add(codeSize, Assembler::sfence, "sfence");
    if (codeSize == 8) {
      add(8, Assembler::cdqe, "cdqe");
      add(8, Assembler::cqo, "cqo");
    } else {
      add(codeSize, Assembler::daa, "daa");
      add(codeSize, Assembler::das, "das");
      add(codeSize, Assembler::aaa, "aaa");
      add(codeSize, Assembler::aas, "aas");
      add(codeSize, Assembler::into, "into");
      add(codeSize, a -> a.aam(7), "aam 0x7");
      add(codeSize, a -> a.aad(7), "aad 0x7");
    }
  }

  private void indirectBranchForms(final int codeSize) {
    final int size = codeSize;
    final Register register = Register.gpr(2, size);
    final Memory memory = memories(codeSize).get(1).as(size);
    add(codeSize, a -> a.jmp(register), "jmp", register);
    add(codeSize, a -> a.call(register), "call", register);
    add(codeSize, a -> a.jmp(memory), "jmp", memory);
    add(codeSize, a -> a.call(memory), "call", memory);
    final String text = memory(memory.as(0));
    add(codeSize, a -> a.jmpFar(memory.as(4)), "jmp DWORD PTR " + text);
    add(codeSize, a -> a.callFar(memory.as(4)), "call DWORD PTR " + text);
    add(codeSize, a -> a.jmpFar(memory.as(6)), "jmp FWORD PTR " + text);
    add(codeSize, a -> a.callFar(memory.as(6)), "call FWORD PTR " + text);
    if (codeSize == 8) {
      add(
          8,
          a -> a.jmpFar(memory.as(10)),
          "rex.WB jmp FWORD PTR " + text + "|rex.WB jmp TBYTE PTR " + text);
      add(
          8,
          a -> a.callFar(memory.as(10)),
          "rex.WB call FWORD PTR " + text + "|rex.WB call TBYTE PTR " + text);
      add(8, Assembler::iretq, "iretq");
      add(8, Assembler::iretd, "iret|iretd");
      add(8, a -> a.retf(8), "rex.W retf|retfq");
    } else {
      final int other = codeSize == 2 ? 4 : 2;
      add(codeSize, a -> a.jmpFar(0x18, 0x1234, codeSize), "jmp 0x18:0x1234");
      add(codeSize, a -> a.callFar(0x18, 0x1234, codeSize), "call 0x18:0x1234");
      add(codeSize, a -> a.jmpFar(8, 0x4321, other), "jmp 0x8:0x4321|jmpw 0x8:0x4321");
      add(codeSize, a -> a.callFar(8, 0x4321, other), "call 0x8:0x4321|callw 0x8:0x4321");
      add(codeSize, a -> a.iret(codeSize), "iret");
      add(codeSize, a -> a.iret(other), codeSize == 2 ? "iretd" : "iretw");
      add(codeSize, a -> a.retf(other), codeSize == 2 ? "retfd" : "retfw");
    }
    add(codeSize, Assembler::ret, "ret");
    add(codeSize, a -> a.ret(8), "ret 0x8");
    add(codeSize, Assembler::retf, "retf");
    add(codeSize, a -> a.retf(codeSize == 8 ? 4 : codeSize, 6), "retf 0x6");
  }

  private void floatingForms(final int codeSize) {
    final Memory memory = memories(codeSize).get(0).as(0);
    final String text = memory(memory);
    add(codeSize, Assembler::fninit, "fninit");
    add(codeSize, Assembler::fnclex, "fnclex");
    add(codeSize, Assembler::fld1, "fld1");
    add(codeSize, Assembler::fldz, "fldz");
    add(codeSize, Assembler::fldpi, "fldpi");
    add(codeSize, Assembler::fnstswAx, "fnstsw ax");
    add(codeSize, a -> a.fnstsw(memory), "fnstsw WORD PTR " + text);
    add(codeSize, a -> a.fnstcw(memory), "fnstcw WORD PTR " + text);
    add(codeSize, a -> a.fldcw(memory), "fldcw WORD PTR " + text);
    add(codeSize, a -> a.fld(memory.as(4)), "fld DWORD PTR " + text);
    add(codeSize, a -> a.fld(memory.as(8)), "fld QWORD PTR " + text);
    add(codeSize, a -> a.fld(memory.as(10)), "fld TBYTE PTR " + text);
    add(codeSize, a -> a.fld(Register.ST3), "fld st(3)");
    add(codeSize, a -> a.fst(memory.as(4)), "fst DWORD PTR " + text);
    add(codeSize, a -> a.fst(Register.ST2), "fst st(2)");
    add(codeSize, a -> a.fstp(memory.as(10)), "fstp TBYTE PTR " + text);
    add(codeSize, a -> a.fstp(Register.ST1), "fstp st(1)");
    add(codeSize, a -> a.fild(memory.as(2)), "fild WORD PTR " + text);
    add(codeSize, a -> a.fild(memory.as(8)), "fild QWORD PTR " + text);
    add(codeSize, a -> a.fistp(memory.as(4)), "fistp DWORD PTR " + text);
    add(codeSize, a -> a.fistp(memory.as(8)), "fistp QWORD PTR " + text);
    add(codeSize, a -> a.fadd(memory.as(8)), "fadd QWORD PTR " + text);
    add(codeSize, a -> a.fadd(Register.ST5), "fadd st,st(5)");
    add(codeSize, a -> a.fmul(memory.as(4)), "fmul DWORD PTR " + text);
    add(codeSize, a -> a.fsub(Register.ST1), "fsub st,st(1)");
    add(codeSize, a -> a.fdiv(memory.as(4)), "fdiv DWORD PTR " + text);
    add(codeSize, a -> a.fxch(Register.ST4), "fxch st(4)");
    add(codeSize, a -> a.ldmxcsr(memory), "ldmxcsr DWORD PTR " + text);
    add(codeSize, a -> a.stmxcsr(memory), "stmxcsr DWORD PTR " + text);
    final Register xmm = codeSize == 8 ? Register.XMM11 : Register.XMM3;
    final Register other = Register.XMM6;
    final String wide = "XMMWORD PTR " + text;
    add(codeSize, a -> a.movd(xmm, Register.EDX), "movd", xmm, Register.EDX);
    add(codeSize, a -> a.movd(memory.as(4), xmm), "movd", memory.as(4), xmm);
    add(codeSize, a -> a.movq(xmm, memory), "movq", xmm, memory.as(8));
    add(codeSize, a -> a.movq(memory, xmm), "movq", memory.as(8), xmm);
    add(codeSize, a -> a.movdqa(xmm, memory), "movdqa", xmm, wide);
    add(codeSize, a -> a.movdqa(memory, xmm), "movdqa " + wide + "," + text(xmm));
    add(codeSize, a -> a.movdqu(xmm, other), "movdqu", xmm, other);
    add(codeSize, a -> a.movdqu(memory, xmm), "movdqu " + wide + "," + text(xmm));
    add(codeSize, a -> a.movaps(xmm, memory), "movaps", xmm, wide);
    add(codeSize, a -> a.movups(memory, other), "movups " + wide + "," + text(other));
    add(codeSize, a -> a.paddd(other, xmm), "paddd", other, xmm);
    add(codeSize, a -> a.paddq(other, memory), "paddq", other, wide);
    add(codeSize, a -> a.pxor(xmm, xmm), "pxor", xmm, xmm);
    add(codeSize, a -> a.addps(xmm, memory), "addps", xmm, wide);
    add(codeSize, a -> a.addpd(xmm, other), "addpd", xmm, other);
    add(codeSize, a -> a.addss(xmm, memory), "addss", xmm, memory.as(4));
    add(codeSize, a -> a.addsd(xmm, memory), "addsd", xmm, memory.as(8));
    add(codeSize, a -> a.mulsd(xmm, other), "mulsd", xmm, other);
    add(codeSize, a -> a.modrm(0x66, 0, 0x0F3A0F, xmm, other, 5), "palignr", xmm, other + ",0x5");
    if (codeSize == 8) {
      add(8, a -> a.movd(xmm, Register.R9), "movq xmm11,r9");
    }
  }

  // ---- operands ----

  private static int[] sizes(final int codeSize) {
    return codeSize == 8 ? new int[] {1, 2, 4, 8} : new int[] {1, 2, 4};
  }

  private static List<Register> registers(final int codeSize, final int size) {
    final List<Register> registers = new ArrayList<>();
    for (int number = 0; number < (codeSize == 8 ? 16 : 8); number++) {
      if (size == 1 && codeSize != 8 && number >= 4) {
        registers.add(Register.highByte(number));
      } else {
        registers.add(Register.gpr(number, size));
      }
    }
    if (size == 1 && codeSize == 8) {
      registers.add(Register.AH);
      registers.add(Register.BH);
    }
    return registers;
  }

  private static int count(final int codeSize, final int size) {
    return registers(codeSize, size).size();
  }

  private static boolean mixable(final Register first, final Register second) {
    return !(first.kind() == Register.Kind.HIGH_BYTE && second.number() >= 4)
        && !(second.kind() == Register.Kind.HIGH_BYTE && first.number() >= 4);
  }

  private static boolean usesRex(final Memory memory) {
    return (memory.base() != null && memory.base().number() >= 8)
        || (memory.index() != null && memory.index().number() >= 8);
  }

  private static List<Memory> memories(final int codeSize) {
    return switch (codeSize) {
      case 2 ->
          List.of(
              Memory.at(Register.BX, Register.SI, 1, 0x10),
              Memory.at(Register.BP, 0x20),
              Memory.absolute(0x1234),
              Memory.at(Register.DI, -0x123),
              Memory.at(Register.BP, Register.DI, 1, 0),
              Memory.at(Register.SI).in(Register.ES),
              Memory.at(Register.EBX, Register.ECX, 4, 0x12345));
      case 4 ->
          List.of(
              Memory.at(Register.EAX, Register.ESI, 8, 0x10),
              Memory.at(Register.EBP, 0x20),
              Memory.absolute(0x12345678),
              Memory.at(Register.ESP, -0x1234),
              Memory.at(Register.EDI).in(Register.FS),
              Memory.indexed(Register.EDX, 4, 0x10),
              Memory.at(Register.BX, Register.DI, 1, 0x10));
      default ->
          List.of(
              Memory.at(Register.RAX, Register.RSI, 8, 0x10),
              Memory.at(Register.R13),
              Memory.absolute(0x12345678),
              Memory.at(Register.RSP, -0x1234),
              Memory.at(Register.R12, 0x44).in(Register.GS),
              Memory.indexed(Register.R12, 4, 0x10),
              Memory.at(Register.RBP, Register.R9, 2, 0),
              Memory.at(Register.R15D, Register.EDX, 1, -8),
              Memory.at(Register.RDI, 0x7F));
    };
  }

  // ---- objdump's spelling ----

  private static String text(final Operand operand) {
    return switch (operand) {
      case final Register register -> name(register);
      case final Memory memory -> memory(memory);
    };
  }

  private static String name(final Register register) {
    final String name = register.name().toLowerCase(Locale.ROOT);
    return switch (register.kind()) {
      case DEBUG -> name;
      case ST -> "st(" + register.number() + ")";
      default -> name;
    };
  }

  private static String name(final Condition condition) {
    return condition.name().toLowerCase(Locale.ROOT);
  }

  private static String memory(final Memory memory) {
    final StringBuilder text = new StringBuilder(pointer(memory.size()));
    if (memory.segment() != null) {
      text.append(name(memory.segment())).append(':');
    }
    if (memory.base() == null && memory.index() == null) {
      return (memory.segment() == null ? text.append("ds:") : text)
          .append("0x")
          .append(Long.toHexString(memory.displacement()))
          .toString();
    }
    text.append('[');
    if (memory.base() != null) {
      text.append(name(memory.base()));
    }
    if (memory.index() != null) {
      text.append(memory.base() != null ? "+" : "").append(name(memory.index()));
      if (memory.index().size() != 2) {
        text.append('*').append(memory.scale());
      }
    }
    final long displacement = memory.displacement();
    // rBP and r13 as a base have no form without a displacement; with BP that holds alone.
    final boolean needed =
        memory.base() != null
            && (memory.base().number() & 7) == 5
            && (memory.base().size() != 2 || memory.index() == null);
    if (displacement != 0 || needed) {
      text.append(displacement < 0 ? "-0x" : "+0x")
          .append(Long.toHexString(Math.abs(displacement)));
    }
    return text.append(']').toString();
  }

  private static String pointer(final int size) {
    return switch (size) {
      case 1 -> "BYTE PTR ";
      case 2 -> "WORD PTR ";
      case 4 -> "DWORD PTR ";
      case 8 -> "QWORD PTR ";
      default -> "";
    };
  }

  private static String hex(final long value, final int size) {
    final long mask = size == 8 ? -1L : (1L << (size * 8)) - 1;
    return "0x" + Long.toHexString(value & mask);
  }

  // ---- cases ----

  private void add(
      final int codeSize,
      final Consumer<Assembler> form,
      final String name,
      final Operand operand) {
    add(codeSize, form, name + " " + text(operand));
  }

  private void add(
      final int codeSize,
      final Consumer<Assembler> form,
      final String name,
      final Operand first,
      final Operand second) {
    add(codeSize, form, name, first, text(second));
  }

  private void add(
      final int codeSize,
      final Consumer<Assembler> form,
      final String name,
      final Operand first,
      final String rest) {
    add(codeSize, form, name + " " + text(first) + "," + rest);
  }

  private void add(final int codeSize, final Consumer<Assembler> form, final String text) {
    final Assembler assembler = new Assembler(codeSize, 0);
    form.accept(assembler);
    cases.add(new Case(assembler.assemble(), text));
  }

  private void check(final int codeSize, final int atLeast) {
    final ByteArrayOutputStream code = new ByteArrayOutputStream();
    for (final Case next : cases) {
      code.writeBytes(next.code());
    }
    final List<Objdump.Line> lines = Objdump.disassemble(code.toByteArray(), codeSize);
    final List<String> wrong = new ArrayList<>();
    int offset = 0;
    int line = 0;
    for (final Case next : cases) {
      while (line < lines.size() && lines.get(line).offset() < offset) {
        line++;
      }
      final String actual =
          line < lines.size() && lines.get(line).offset() == offset
              ? lines.get(line).text()
              : "(no instruction starts here)";
      // Versions of objdump differ in some spellings: any of the alternatives will do.
      final boolean same =
          List.of(next.text().toLowerCase(Locale.ROOT).split("\\|"))
              .contains(actual.toLowerCase(Locale.ROOT));
      if (!same) {
        wrong.add(
            String.format(
                Locale.ROOT,
                "%s: meant <%s>, objdump says <%s>",
                HexFormat.of().formatHex(next.code()),
                next.text(),
                actual));
      }
      offset += next.code().length;
    }
    assertEquals(List.of(), wrong);
    assertTrue(cases.size() >= atLeast, "cases: " + cases.size());
  }
}

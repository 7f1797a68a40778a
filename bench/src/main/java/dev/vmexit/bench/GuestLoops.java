package dev.vmexit.bench;

import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.EBP;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.EDX;
import static dev.vmexit.x86.encode.Register.R10D;
import static dev.vmexit.x86.encode.Register.R11D;
import static dev.vmexit.x86.encode.Register.R12D;
import static dev.vmexit.x86.encode.Register.R8D;
import static dev.vmexit.x86.encode.Register.R9D;
import static dev.vmexit.x86.encode.Register.RAX;
import static dev.vmexit.x86.encode.Register.RBX;
import static dev.vmexit.x86.encode.Register.RCX;
import static dev.vmexit.x86.encode.Register.RDI;
import static dev.vmexit.x86.encode.Register.RDX;
import static dev.vmexit.x86.encode.Register.RSI;
import static dev.vmexit.x86.encode.Register.RSP;

import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;

/** Programs for 64-bit mode that never end and never exit. */
final class GuestLoops {
  /** Where they are loaded and start. */
  static final long ORIGIN = 0x10_0000;

  private static final long DATA = 0x20_0000;
  private static final long DATA_BYTES = 1 << 20;

  private GuestLoops() {}

  /** Code of a loop. */
  static byte[] named(final String name) {
    final Assembler a = new Assembler(8, ORIGIN);
    a.mov(RSP, DATA);
    switch (name) {
      case "integer" -> integer(a);
      case "memory" -> memory(a);
      case "calls" -> calls(a);
      case "branches" -> branches(a);
      case "sha256" -> sha256(a);
      default -> throw new IllegalArgumentException("no loop is named " + name);
    }
    return a.assemble();
  }

  /** Register arithmetic with flags that nobody reads but the loop's end. */
  private static void integer(final Assembler a) {
    final Label again = a.here();
    a.mov(ECX, 1000);
    final Label next = a.here();
    a.add(RAX, RCX);
    a.imul(RDX, RAX, 31);
    a.xor(RBX, RDX);
    a.lea(RSI, Memory.at(RBX, RAX, 4, 17));
    a.shr(RSI, 3);
    a.sub(RAX, RSI);
    a.and(EBX, 0xFF_FFFF);
    a.or(RAX, RBX);
    a.dec(ECX);
    a.jcc(Condition.NE, next);
    a.jmp(again);
  }

  /** Loads, stores and read-modify-writes over a megabyte. */
  private static void memory(final Assembler a) {
    final Label again = a.here();
    a.mov(RSI, DATA);
    a.mov(RDI, DATA + DATA_BYTES);
    a.mov(ECX, DATA_BYTES / 32);
    final Label next = a.here();
    a.mov(RAX, Memory.at(RSI));
    a.mov(EDX, Memory.at(RSI, 8));
    a.add(RAX, RDX);
    a.mov(Memory.at(RDI), RAX);
    a.add(Memory.at(RDI, 8), RDX);
    a.movzx(EBX, Memory.at(RSI, 17).asByte());
    a.mov(Memory.at(RDI, 16), EBX);
    a.add(RSI, 32);
    a.add(RDI, 32);
    a.dec(ECX);
    a.jcc(Condition.NE, next);
    a.jmp(again);
  }

  /** Fibonacci numbers by recursion. */
  private static void calls(final Assembler a) {
    final Label fibonacci = a.label("fibonacci");
    final Label again = a.here();
    a.mov(EDI, 20);
    a.call(fibonacci);
    a.jmp(again);
    a.bind(fibonacci);
    final Label recurse = a.label("recurse");
    a.cmp(EDI, 2);
    a.jcc(Condition.AE, recurse);
    a.mov(EAX, EDI);
    a.ret();
    a.bind(recurse);
    a.push(RBX);
    a.push(RDI);
    a.sub(EDI, 1);
    a.call(fibonacci);
    a.mov(EBX, EAX);
    a.pop(RDI);
    a.sub(EDI, 2);
    a.call(fibonacci);
    a.add(EAX, EBX);
    a.pop(RBX);
    a.ret();
  }

  /** Branches that follow a random number: nothing predicts them. */
  private static void branches(final Assembler a) {
    final Label next = a.here();
    a.imul(EAX, EAX, 1_103_515_245);
    a.add(EAX, 12_345);
    for (int bit = 16; bit < 24; bit++) {
      final Label skip = a.label();
      a.test(EAX, 1L << bit);
      a.jcc(Condition.E, skip);
      a.add(EBX, bit);
      a.xor(ECX, EBX);
      a.bind(skip);
    }
    a.jmp(next);
  }

  /** The 64 rounds of SHA-256 with their schedule in memory, unrolled by eight. */
  private static void sha256(final Assembler a) {
    final Register[] state = {EAX, EBX, ECX, EDX, R8D, R9D, R10D, R11D};
    final Label block = a.here();
    a.mov(RSI, DATA);
    a.mov(R12D, 8);
    final Label rounds = a.here();
    for (int round = 0; round < 8; round++) {
      round(a, state, round);
    }
    a.add(RSI, 32);
    a.dec(R12D);
    a.jcc(Condition.NE, rounds);
    a.jmp(block);
  }

  /** One round; the roles of the eight words rotate with it. */
  private static void round(final Assembler a, final Register[] state, final int round) {
    final Register first = state[(8 - round) & 7];
    final Register second = state[(9 - round) & 7];
    final Register third = state[(10 - round) & 7];
    final Register fourth = state[(11 - round) & 7];
    final Register fifth = state[(12 - round) & 7];
    final Register sixth = state[(13 - round) & 7];
    final Register seventh = state[(14 - round) & 7];
    final Register last = state[(15 - round) & 7];
    // last += Sigma1(fifth) + Ch(fifth, sixth, seventh) + K + W
    a.mov(EDI, fifth);
    a.ror(EDI, 14);
    a.xor(EDI, fifth);
    a.ror(EDI, 5);
    a.xor(EDI, fifth);
    a.ror(EDI, 6);
    a.mov(EBP, sixth);
    a.xor(EBP, seventh);
    a.and(EBP, fifth);
    a.xor(EBP, seventh);
    a.add(last, EDI);
    a.add(last, EBP);
    a.add(last, 0x428A_2F98);
    a.add(last, Memory.at(RSI, round * 4L));
    a.add(fourth, last);
    // last += Sigma0(first) + Maj(first, second, third)
    a.mov(EDI, first);
    a.ror(EDI, 9);
    a.xor(EDI, first);
    a.ror(EDI, 11);
    a.xor(EDI, first);
    a.ror(EDI, 2);
    a.add(last, EDI);
    a.mov(EBP, first);
    a.or(EBP, second);
    a.and(EBP, third);
    a.mov(EDI, first);
    a.and(EDI, second);
    a.or(EBP, EDI);
    a.add(last, EBP);
    // The schedule: the word of 16 rounds later.
    a.mov(EDI, Memory.at(RSI, round * 4L));
    a.mov(EBP, EDI);
    a.ror(EDI, 7);
    a.shr(EBP, 3);
    a.xor(EDI, EBP);
    a.add(EDI, Memory.at(RSI, round * 4L + 36));
    a.mov(Memory.at(RSI, round * 4L + 64), EDI);
  }
}

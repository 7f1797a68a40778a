package dev.vmexit.cli;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.CX;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EBX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.RAX;
import static dev.vmexit.x86.encode.Register.RBX;

import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Consumer;

/** Tiny guests that behave badly, or need to be stopped: flat binaries. */
final class FlatGuests {
  /** Where those in real mode go. */
  static final String ADDRESS = "0x7c00";

  private static final int POST_CODE = 0x80;
  private static final int UART = 0x3F8;
  private static final int LINE_STATUS = 5;

  /** Port accesses between two dots of {@link #chatter}. */
  static final int PER_DOT = 10_000;

  private FlatGuests() {}

  /** Where a guest goes that starts in a mode of so many bits. */
  static long address(final int bits) {
    return bits == 16 ? 0x7C00 : 0x10_0000;
  }

  /** Assembles a guest for real mode into a file. */
  static Path write(final Path file, final Consumer<Assembler> program) throws IOException {
    return write(file, 16, program);
  }

  /** Assembles a guest for a mode of so many bits into a file. */
  static Path write(final Path file, final int bits, final Consumer<Assembler> program)
      throws IOException {
    final Assembler a = new Assembler(bits / 8, address(bits));
    program.accept(a);
    return Files.write(file, a.assemble());
  }

  /** An exception when there is no table to find its handler by. */
  static void tripleFault(final Assembler a) {
    final Label none = a.label();
    a.lidt(Memory.absolute(none));
    a.int3();
    a.bind(none);
    a.dw(0);
    a.dd(0);
  }

  /** Halts with interrupts disabled. */
  static void halt(final Assembler a) {
    a.cli();
    a.hlt();
  }

  /** In 64-bit mode, jumps to where there is no memory. */
  static void leave(final Assembler a) {
    a.mov(RAX, 0x8000_0000L);
    a.jmp(RAX);
  }

  /** In real mode, jumps to where the PCI hole would be on a small machine: the VGA's window. */
  static void leaveReal(final Assembler a) {
    a.jmpFar(0xA000, 0, 2);
  }

  /** Ends the run by the debug-exit device; halts where there is none. */
  static void debugExit(final Assembler a) {
    a.mov(AL, 42);
    a.out(0xF4, AL);
    halt(a);
  }

  /** Says hello, then does nothing for ever. */
  static void hello(final Assembler a) {
    print(a, "hello, world\r\n");
    a.jmp(a.here());
  }

  /** Exits for ever, and prints a dot after every so many. */
  static void chatter(final Assembler a) {
    final Label outer = a.here();
    a.mov(CX, PER_DOT);
    final Label inner = a.here();
    a.out(POST_CODE, AL);
    a.loop(inner);
    a.mov(DX, UART);
    a.mov(AL, '.');
    a.out(DX, AL);
    a.jmp(outer);
  }

  /**
   * {@link #chatter} in 64-bit mode: between two dots it edits its page tables and stores to pages
   * that they map.
   */
  static void paging(final Assembler a) {
    final long entry = 0xB000 + 8 * 3; // of the loader's tables: 2 MiB from 6 MiB on
    final long page = 3L << 21;
    final Label outer = a.here();
    a.mov(ECX, PER_DOT);
    final Label inner = a.here();
    a.out(POST_CODE, AL);
    a.dec(ECX);
    a.jcc(Condition.NE, inner);
    a.mov(EBX, entry);
    a.mov(RAX, Memory.at(RBX));
    a.xor(RAX, 1 << 9); // a bit that is the system's
    a.mov(Memory.at(RBX), RAX);
    for (int i = 0; i < 8; i++) {
      a.mov(EBX, page + i * 4096L);
      a.invlpg(Memory.at(RBX));
      a.mov(Memory.at(RBX), RAX);
    }
    a.mov(DX, UART);
    a.mov(AL, '.');
    a.out(DX, AL);
    a.jmp(outer);
  }

  /** Says ready, then prints the capital letter of each control key. */
  static void echo(final Assembler a) {
    print(a, "ready");
    final Label poll = a.here();
    a.mov(DX, UART + LINE_STATUS);
    a.in(AL, DX);
    a.test(AL, 1);
    a.jcc(Condition.E, poll);
    a.mov(DX, UART);
    a.in(AL, DX);
    a.or(AL, 0x40);
    a.out(DX, AL);
    a.jmp(poll);
  }

  private static void print(final Assembler a, final String text) {
    a.mov(DX, UART);
    for (int i = 0; i < text.length(); i++) {
      a.mov(AL, text.charAt(i));
      a.out(DX, AL);
    }
  }
}

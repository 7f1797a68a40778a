package dev.vmexit.cli;

import static dev.vmexit.x86.encode.Register.AL;
import static dev.vmexit.x86.encode.Register.AX;
import static dev.vmexit.x86.encode.Register.DS;
import static dev.vmexit.x86.encode.Register.DX;
import static dev.vmexit.x86.encode.Register.EAX;
import static dev.vmexit.x86.encode.Register.ECX;
import static dev.vmexit.x86.encode.Register.EDI;
import static dev.vmexit.x86.encode.Register.ES;
import static dev.vmexit.x86.encode.Register.ESI;
import static dev.vmexit.x86.encode.Register.ESP;

import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Condition;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Consumer;

/** A BIOS of 64 KiB that does one thing: 16-bit code, entered as after a reset. */
final class HandMadeBios {
  private static final int BYTES = 0x1_0000;
  private static final int RESET_VECTOR = 0xFFF0;
  private static final int ENTRY = 0x1000;
  private static final int CODE_BYTES = 0x800;
  private static final int SEGMENT = 0xF000;
  private static final int STACK = 0x6F00;
  private static final int DEBUG_EXIT = 0xF4;

  /** Addressed by the segment that its code runs in. */
  final Assembler a = new Assembler(2, ENTRY);

  private HandMadeBios() {}

  /**
   * Writes the BIOS; its code ends the run by the debug exit with status 33.
   *
   * @param body what it does before
   */
  static Path write(final Path file, final Consumer<HandMadeBios> body) throws IOException {
    final HandMadeBios bios = new HandMadeBios();
    bios.a.mov(ESP, STACK);
    body.accept(bios);
    bios.end(33);
    final byte[] code = bios.a.assemble();
    final byte[] image = new byte[BYTES];
    System.arraycopy(code, 0, image, ENTRY, code.length);
    final Assembler vector = new Assembler(2, RESET_VECTOR);
    vector.jmpFar(SEGMENT, ENTRY, 2);
    final byte[] jump = vector.assemble();
    System.arraycopy(jump, 0, image, RESET_VECTOR, jump.length);
    return Files.write(file, image);
  }

  /** Ends the run with an odd status. */
  void end(final int status) {
    port(DEBUG_EXIT, status >>> 1);
    final Label rest = a.here();
    a.hlt();
    a.jmp(rest);
  }

  void port(final int port, final int value) {
    a.mov(EAX, value);
    a.mov(DX, port);
    a.out(DX, AL);
  }

  /** Says one character on the serial port. */
  void say(final char character) {
    port(0x3F8, character);
  }

  /** Writes a register of the host bridge. */
  void pam(final int register, final int value) {
    a.mov(DX, 0xCF8);
    a.mov(EAX, 0x8000_0000 | register & ~3);
    a.out(DX, EAX);
    port(0xCFC + (register & 3), value);
  }

  /** Stores four bytes at a linear address up to 0x10FFEC. */
  void store(final int address, final int value) {
    a.mov(at(address).asDword(), value);
  }

  /** Loads four bytes into EAX. */
  void load(final int address) {
    a.mov(EAX, at(address));
  }

  /** Copies the code onto itself: from ROM to the RAM behind it, while writes reach that. */
  void copyOnto() {
    a.mov(AX, SEGMENT);
    a.mov(ES, AX);
    a.mov(DS, AX);
    a.mov(ESI, ENTRY);
    a.mov(EDI, ENTRY);
    a.mov(ECX, CODE_BYTES / 4);
    a.cld();
    a.rep();
    a.movs(4);
    a.xor(EAX, EAX);
    a.mov(DS, AX);
  }

  private Memory at(final int address) {
    final int segment = Math.min(address >>> 4, 0xFFFF);
    a.mov(AX, segment);
    a.mov(ES, AX);
    return Memory.absolute(address - (segment << 4)).in(ES);
  }

  /** Says one character where EAX has a value, another one where it does not. */
  void sayWhether(final int value, final char yes, final char no) {
    final Label differs = a.label("differs");
    final Label said = a.label("said");
    a.cmp(EAX, value);
    a.jcc(Condition.NE, differs);
    say(yes);
    a.jmp(said);
    a.bind(differs);
    say(no);
    a.bind(said);
  }
}

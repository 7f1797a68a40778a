package dev.vmexit.x86.decode;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BOOLEAN;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/** Capstone 4's disassembler, in process: an oracle that shares no line with this project. */
@SuppressWarnings("restricted") // foreign calls are what this class is for
final class Capstone implements AutoCloseable {
  private static final String LIBRARY = "libcapstone.so.4";
  private static final int CS_ARCH_X86 = 3;
  private static final FunctionDescriptor OPEN =
      FunctionDescriptor.of(JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS);
  private static final FunctionDescriptor CLOSE = FunctionDescriptor.of(JAVA_INT, ADDRESS);
  private static final FunctionDescriptor ITERATE =
      FunctionDescriptor.of(JAVA_BOOLEAN, JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, ADDRESS);

  // struct cs_insn: id, address, size, bytes[16], mnemonic[32], op_str[160], detail.
  private static final int INSN_BYTES = 256;
  private static final int INSN_SIZE = 16;
  private static final int INSN_MNEMONIC = 34;
  private static final int INSN_OPERANDS = 66;

  private final Arena arena;
  private final MethodHandle close;
  private final MethodHandle iterate;
  private final MemorySegment handlePointer;
  private final long handle;
  private final MemorySegment code;
  private final MemorySegment codePointer;
  private final MemorySegment sizePointer;
  private final MemorySegment addressPointer;
  private final MemorySegment insn;

  private Capstone(final Arena arena, final SymbolLookup library, final int codeSize) {
    this.arena = arena;
    final Linker linker = Linker.nativeLinker();
    final MethodHandle open = linker.downcallHandle(find(library, "cs_open"), OPEN);
    close = linker.downcallHandle(find(library, "cs_close"), CLOSE);
    iterate = linker.downcallHandle(find(library, "cs_disasm_iter"), ITERATE);
    handlePointer = arena.allocate(JAVA_LONG);
    code = arena.allocate(16);
    codePointer = arena.allocate(ADDRESS);
    sizePointer = arena.allocate(JAVA_LONG);
    addressPointer = arena.allocate(JAVA_LONG);
    insn = arena.allocate(INSN_BYTES, 8);
    // CS_MODE_16, 32, 64 are 2, 4, 8: bytes of the code size.
    final int status;
    try {
      status = (int) open.invokeExact(CS_ARCH_X86, codeSize, handlePointer);
    } catch (final Throwable e) {
      throw new IllegalStateException(e);
    }
    if (status != 0) {
      throw new IllegalStateException("cs_open codeSize=" + codeSize + " status=" + status);
    }
    handle = handlePointer.get(JAVA_LONG, 0);
  }

  private static MemorySegment find(final SymbolLookup library, final String name) {
    return library.find(name).orElseThrow(() -> new IllegalStateException("symbol=" + name));
  }

  /** Opens the disassembler for a code size of 2, 4 or 8; empty where the library is absent. */
  static Optional<Capstone> open(final int codeSize) {
    final Arena arena = Arena.ofConfined();
    final SymbolLookup library;
    try {
      library = SymbolLookup.libraryLookup(LIBRARY, arena);
    } catch (final IllegalArgumentException e) {
      arena.close();
      return Optional.empty();
    }
    return Optional.of(new Capstone(arena, library, codeSize));
  }

  /**
   * Disassembles one instruction at address 0.
   *
   * @return its length, or 0 when the bytes are none
   */
  int disassemble(final byte[] bytes, final int available) {
    MemorySegment.copy(bytes, 0, code, ValueLayout.JAVA_BYTE, 0, available);
    codePointer.set(ADDRESS, 0, code);
    sizePointer.set(JAVA_LONG, 0, available);
    addressPointer.set(JAVA_LONG, 0, 0);
    final boolean found;
    try {
      // Safe: all pointers are into this arena, and cs_insn's detail stays null without
      // CS_OPT_DETAIL.
      found = (boolean) iterate.invokeExact(handle, codePointer, sizePointer, addressPointer, insn);
    } catch (final Throwable e) {
      throw new IllegalStateException(e);
    }
    return found ? insn.get(ValueLayout.JAVA_SHORT, INSN_SIZE) : 0;
  }

  /** Name of the last instruction, prefixes such as "lock " before it. */
  String mnemonic() {
    return insn.getString(INSN_MNEMONIC);
  }

  /** Operands of the last instruction. */
  String operands() {
    return insn.getString(INSN_OPERANDS);
  }

  @Override
  public void close() {
    try {
      final int status = (int) close.invokeExact(handlePointer);
      if (status != 0) {
        throw new IllegalStateException("cs_close status=" + status);
      }
    } catch (final Throwable e) {
      throw new IllegalStateException(e);
    } finally {
      arena.close();
    }
  }
}

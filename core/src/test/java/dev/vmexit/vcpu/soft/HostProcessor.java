package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Label;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Register;
import java.io.IOException;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * The host's own processor as an oracle: runs a few instructions of 64-bit user code natively, with
 * given registers, flags, x87/SSE state and memory.
 *
 * <p>One mapping below 4 GiB (so that 32-bit addressing reaches it) holds, from its start:
 *
 * <pre>
 *   0x0000  trampoline and the code under test   one page
 *   0x1000  state block                          one page, see the constants
 *   0x2000  guard                                one page
 *   0x3000  memory of the code under test        MEMORY_SIZE
 *   0x5000  guard                                one page
 * </pre>
 *
 * <p>The code must not fault, must not enter the kernel, and must not name memory outside {@link
 * #memoryAddress}; it may push on the host's stack (some hundred bytes) but not replace rsp,
 * because the JVM's signal handlers run there. x87 and SSE exceptions are always masked. Not
 * thread-safe.
 */
@SuppressWarnings("restricted") // Foreign calls are what this class is for.
final class HostProcessor implements AutoCloseable {
  /** Bytes of memory that the code under test may use. */
  static final int MEMORY_SIZE = 0x2000;

  /** Longest code under test. */
  static final int MAX_CODE = 256;

  /** Bytes of an FXSAVE image. */
  static final int FX_SIZE = 512;

  /** Bytes of the upper halves of all YMM registers. */
  static final int HIGH_SIZE = 256;

  private static final int PAGE = 4096;
  private static final int CODE_SLOT = 0x800;
  private static final int STATE = PAGE;
  private static final int MEMORY = 3 * PAGE;
  private static final int MAPPING_SIZE = 6 * PAGE;

  // The state block.
  private static final int GPRS = STATE;
  private static final int RFLAGS = STATE + 0x80;
  private static final int HOST_RSP = STATE + 0x88;
  private static final int HOST_FX = STATE + 0x200;
  private static final int FX = STATE + 0x400;
  private static final int YMM = STATE + 0x600;

  private static final int FX_CONTROL = 0;
  private static final int FX_MXCSR = 24;
  private static final int X87_MASKS = 0x3F;
  private static final int SSE_MASKS = 0x1F80;
  private static final int MXCSR_VALID = 0xFFFF;

  /** Flags that user code can set without consequences for the host. */
  private static final long USER_FLAGS = Flags.ARITHMETIC | Flags.DF;

  private static final int PROT_NONE = 0;
  private static final int PROT_ALL = 7;
  private static final int MAP_PRIVATE = 2;
  private static final int MAP_ANONYMOUS = 0x20;
  private static final int MAP_FIXED_NOREPLACE = 0x10_0000;

  private static final Linker LINKER = Linker.nativeLinker();

  private final long base;
  private final MethodHandle trampoline;
  private final long exit;
  private final boolean avx = hasFlags("avx");
  private boolean closed;

  /**
   * Maps the memory and writes the trampoline.
   *
   * @throws IllegalStateException the host refuses executable memory below 4 GiB
   */
  HostProcessor() {
    base = map();
    final Assembler a = new Assembler(8, base);
    final Label exitLabel = a.label("exit");
    writeTrampoline(a, exitLabel);
    final byte[] code = a.assemble();
    exit = a.addressOf(exitLabel);
    // Inside the mapping made above, which lives until close(); this thread alone knows it.
    HostMemory.copyIn(code, 0, base, code.length);
    trampoline = LINKER.downcallHandle(MemorySegment.ofAddress(base), FunctionDescriptor.ofVoid());
  }

  /** Whether this host can be the oracle. */
  static boolean isSupported() {
    return "amd64".equals(System.getProperty("os.arch"))
        && "Linux".equals(System.getProperty("os.name"));
  }

  /** Whether the host's processor has all of some features, by Linux's names. */
  static boolean hasFlags(final String... names) {
    try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
      final List<String> flags =
          lines
              .filter(line -> line.startsWith("flags"))
              .findFirst()
              .map(line -> List.of(line.substring(line.indexOf(':') + 1).trim().split(" ")))
              .orElse(List.of());
      return flags.containsAll(List.of(names));
    } catch (final IOException e) {
      return false;
    }
  }

  /** Linear address of the first byte of the memory that the code may use. */
  long memoryAddress() {
    return base + MEMORY;
  }

  /** Linear address where the code under test runs. */
  long codeAddress() {
    return base + CODE_SLOT;
  }

  /**
   * Runs code once.
   *
   * @param code whole instructions that fall through to their end
   * @param gprs by {@link Gpr} number, in and out; rsp in is ignored, out is by how much it moved
   * @param flags RFLAGS before; arithmetic flags and DF count
   * @param fx FXSAVE image, in and out; or null for the state after FNINIT with all zero
   * @param memory goes to {@link #memoryAddress}, in and out
   * @return RFLAGS afterwards: arithmetic flags and DF
   */
  long run(
      final byte[] code,
      final long[] gprs,
      final long flags,
      final byte[] fx,
      final byte[] memory) {
    return run(code, gprs, flags, fx, null, memory);
  }

  /**
   * As the other one, with the upper halves of the YMM registers.
   *
   * @param high 16 bytes for each register, in and out; or null for zeros. Goes with {@code fx}
   */
  long run(
      final byte[] code,
      final long[] gprs,
      final long flags,
      final byte[] fx,
      final byte[] high,
      final byte[] memory) {
    if (code.length > MAX_CODE || memory.length > MEMORY_SIZE) {
      throw new IllegalArgumentException(
          "code of "
              + code.length
              + " bytes (allowed "
              + MAX_CODE
              + "), memory of "
              + memory.length
              + " bytes (allowed "
              + MEMORY_SIZE
              + ")");
    }
    if (closed) {
      throw new IllegalStateException("closed");
    }
    // All addresses below are inside the mapping: the sizes were checked above.
    HostMemory.copyIn(code, 0, base + CODE_SLOT, code.length);
    final long jump = base + CODE_SLOT + code.length;
    HostMemory.putByte(jump, 0xE9);
    HostMemory.putInt(jump + 1, (int) (exit - (jump + 5)));
    for (int i = 0; i < Gpr.COUNT; i++) {
      HostMemory.putLong(base + GPRS + 8L * i, gprs[i]);
    }
    HostMemory.putLong(base + RFLAGS, (flags & USER_FLAGS) | Flags.RESERVED_1);
    writeFx(fx);
    for (int i = 0; i < 16; i++) {
      final long register = base + YMM + 32L * i;
      HostMemory.copy(base + FX + 160 + 16L * i, register, 16);
      if (high == null) {
        HostMemory.fill(register + 16, 16, 0);
      } else {
        HostMemory.copyIn(high, 16 * i, register + 16, 16);
      }
    }
    HostMemory.copyIn(memory, 0, base + MEMORY, memory.length);
    try {
      trampoline.invokeExact();
    } catch (final Throwable impossible) {
      throw new AssertionError("a downcall throws nothing", impossible);
    }
    HostMemory.copyOut(base + MEMORY, memory, 0, memory.length);
    for (int i = 0; i < Gpr.COUNT; i++) {
      gprs[i] = HostMemory.getLong(base + GPRS + 8L * i);
    }
    gprs[Gpr.RSP] -= HostMemory.getLong(base + HOST_RSP);
    if (fx != null) {
      HostMemory.copyOut(base + FX, fx, 0, FX_SIZE);
    }
    for (int i = 0; high != null && i < 16; i++) {
      HostMemory.copyOut(base + YMM + 32L * i + 16, high, 16 * i, 16);
    }
    return HostMemory.getLong(base + RFLAGS) & USER_FLAGS;
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      final MethodHandle munmap =
          LINKER.downcallHandle(
              LINKER.defaultLookup().findOrThrow("munmap"),
              FunctionDescriptor.of(
                  ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));
      try {
        // The mapping is this object's own; closed keeps everybody off it from here on.
        final int result = (int) munmap.invokeExact(base, (long) MAPPING_SIZE);
        if (result != 0) {
          throw new IllegalStateException("munmap failed");
        }
      } catch (final RuntimeException e) {
        throw e;
      } catch (final Throwable impossible) {
        throw new AssertionError("a downcall throws nothing", impossible);
      }
    }
  }

  private void writeFx(final byte[] fx) {
    if (fx == null) {
      HostMemory.fill(base + FX, FX_SIZE, 0);
      HostMemory.putShort(base + FX + FX_CONTROL, 0x37F);
      HostMemory.putInt(base + FX + FX_MXCSR, SSE_MASKS);
      return;
    }
    HostMemory.copyIn(fx, 0, base + FX, FX_SIZE);
    final int control = HostMemory.getShort(base + FX + FX_CONTROL);
    HostMemory.putShort(base + FX + FX_CONTROL, control | X87_MASKS);
    final int mxcsr = HostMemory.getInt(base + FX + FX_MXCSR);
    HostMemory.putInt(base + FX + FX_MXCSR, (mxcsr & MXCSR_VALID) | SSE_MASKS);
  }

  /** System V calling convention: rbx, rbp, r12 to r15, rsp, MXCSR, FCW, DF=0 are the caller's. */
  private void writeTrampoline(final Assembler a, final Label exitLabel) {
    final Register[] saved = {
      Register.RBX, Register.RBP, Register.R12, Register.R13, Register.R14, Register.R15
    };
    for (final Register register : saved) {
      a.push(register);
    }
    a.mov(at(HOST_RSP), Register.RSP);
    a.fxsave(at(HOST_FX));
    a.fxrstor(at(FX));
    moveYmm(a, 0x6F);
    a.push(at(RFLAGS).asQword());
    a.popf();
    for (int i = 0; i < Gpr.COUNT; i++) {
      if (i != Gpr.RSP) {
        a.mov(Register.gpr(i, 8), at(GPRS + 8 * i));
      }
    }
    final Label slot = a.label("slot");
    a.jmpNear(slot);
    a.bind(exitLabel);
    for (int i = 0; i < Gpr.COUNT; i++) {
      a.mov(at(GPRS + 8 * i), Register.gpr(i, 8));
    }
    // Back to the host's stack before anything is pushed: the code may have moved rsp.
    a.mov(Register.RSP, at(HOST_RSP));
    a.pushf();
    a.pop(at(RFLAGS).asQword());
    a.cld();
    a.fxsave(at(FX));
    moveYmm(a, 0x7F);
    if (avx) {
      // VZEROUPPER: what was there is nobody's, and costs the host's SSE code nothing then.
      a.db(0xC5, 0xF8, 0x77);
    }
    a.fxrstor(at(HOST_FX));
    for (int i = saved.length - 1; i >= 0; i--) {
      a.pop(saved[i]);
    }
    a.ret();
    a.org(base + CODE_SLOT);
    a.bind(slot);
  }

  /** VMOVDQU of every YMM register from (6F) or to (7F) the state block. */
  private void moveYmm(final Assembler a, final int opcode) {
    for (int i = 0; avx && i < 16; i++) {
      a.db(0xC5, i < 8 ? 0xFE : 0x7E, opcode, (i & 7) << 3 | 4, 0x25);
      a.dd((int) base + YMM + 32 * i);
    }
  }

  /** The mapping lies below 2 GiB, so that absolute addresses reach it. */
  private Memory at(final int offset) {
    return Memory.absolute(base + offset);
  }

  private static long map() {
    final MethodHandle mmap =
        LINKER.downcallHandle(
            LINKER.defaultLookup().findOrThrow("mmap"),
            FunctionDescriptor.of(
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_LONG));
    final MethodHandle mprotect =
        LINKER.downcallHandle(
            LINKER.defaultLookup().findOrThrow("mprotect"),
            FunctionDescriptor.of(
                ValueLayout.JAVA_INT,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_LONG,
                ValueLayout.JAVA_INT));
    try {
      for (long address = 0x2000_0000L; address < 0x7000_0000L; address += 0x100_0000L) {
        // NOREPLACE: never over a mapping that somebody else owns.
        final long result =
            (long)
                mmap.invokeExact(
                    address,
                    (long) MAPPING_SIZE,
                    PROT_ALL,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                    -1,
                    0L);
        if (result == address) {
          final int low = (int) mprotect.invokeExact(address + 2L * PAGE, (long) PAGE, PROT_NONE);
          final int high = (int) mprotect.invokeExact(address + 5L * PAGE, (long) PAGE, PROT_NONE);
          if (low != 0 || high != 0) {
            throw new IllegalStateException("mprotect failed");
          }
          return address;
        }
      }
    } catch (final RuntimeException e) {
      throw e;
    } catch (final Throwable impossible) {
      throw new AssertionError("a downcall throws nothing", impossible);
    }
    throw new IllegalStateException("no executable memory below 2 GiB to be had");
  }
}

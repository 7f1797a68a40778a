package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Register;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** Calls of machine code and of the C library that {@link HostUser} needs. */
@SuppressWarnings("restricted") // Foreign calls are what this class is for.
final class HostCall {
  /** What a function leaves to its caller, beside rsp (System V ABI). */
  static final Register[] SAVED = {
    Register.RBX, Register.RBP, Register.R12, Register.R13, Register.R14, Register.R15
  };

  private static final int PROT_NONE = 0;
  private static final int PROT_ALL = 7;
  private static final int MAP_PRIVATE = 2;
  private static final int MAP_ANONYMOUS = 0x20;
  private static final int MAP_FIXED_NOREPLACE = 0x10_0000;
  private static final long SYS_MODIFY_LDT = 154;
  private static final long LDT_WRITE = 0x11;

  private static final Linker LINKER = Linker.nativeLinker();

  private final MethodHandle handle;

  HostCall(final long address) {
    handle = LINKER.downcallHandle(MemorySegment.ofAddress(address), FunctionDescriptor.ofVoid());
  }

  void call() {
    try {
      handle.invokeExact();
    } catch (final Throwable impossible) {
      throw new AssertionError("a downcall throws nothing", impossible);
    }
  }

  private static long libc(final String name, final long... arguments) {
    final ValueLayout[] layouts = new ValueLayout[arguments.length];
    final Object[] values = new Object[arguments.length];
    for (int i = 0; i < arguments.length; i++) {
      layouts[i] = ValueLayout.JAVA_LONG;
      values[i] = arguments[i];
    }
    try {
      return (long)
          LINKER
              .downcallHandle(
                  LINKER.defaultLookup().findOrThrow(name),
                  FunctionDescriptor.of(ValueLayout.JAVA_LONG, layouts))
              .invokeWithArguments(values);
    } catch (final Throwable impossible) {
      throw new AssertionError("a downcall throws nothing", impossible);
    }
  }

  private static void check(final String name, final long result) {
    if ((int) result != 0) {
      throw new IllegalStateException(name + " failed");
    }
  }

  /** Maps memory below 2 GiB, of all rights, aligned to 16 MiB. */
  static long map(final long size) {
    for (long address = 0x2000_0000L; address < 0x7000_0000L; address += 0x100_0000L) {
      // NOREPLACE: never over a mapping that somebody else owns.
      final long result =
          libc(
              "mmap",
              address,
              size,
              PROT_ALL,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
              -1,
              0);
      if (result == address) {
        return address;
      }
    }
    throw new IllegalStateException("no executable memory below 2 GiB to be had");
  }

  static void forbid(final long address, final long size) {
    check("mprotect", libc("mprotect", address, size, PROT_NONE));
  }

  static void unmap(final long address, final long size) {
    check("munmap", libc("munmap", address, size));
  }

  /** Makes the process' LDT that of {@link UserContext}. */
  static void writeLdt(final long base) {
    for (int i = 0; i < UserContext.LDT.length; i++) {
      final int[] entry = UserContext.LDT[i];
      final int bits = entry[2];
      // struct user_desc: entry_number, base_addr, limit, and a word of bit fields.
      final byte[] description = new byte[16];
      FloatValues.put(description, 0, 4, i);
      FloatValues.put(description, 4, 4, base);
      FloatValues.put(description, 8, 4, entry[0]);
      final int word =
          ((bits & UserContext.LDT_32) != 0 ? 1 : 0)
              | entry[1] << 1
              | ((bits & UserContext.LDT_READ_ONLY) != 0 ? 8 : 0)
              | ((bits & UserContext.LDT_PAGES) != 0 ? 16 : 0)
              | ((bits & UserContext.LDT_ABSENT) != 0 ? 32 : 0);
      FloatValues.put(description, 12, 4, word);
      try (Arena arena = Arena.ofConfined()) {
        final MemorySegment segment = arena.allocateFrom(ValueLayout.JAVA_BYTE, description);
        check(
            "modify_ldt",
            libc("syscall", SYS_MODIFY_LDT, LDT_WRITE, segment.address(), description.length));
      }
    }
  }

  /** A call that takes two structures, in and out; null for none. */
  static void invoke(final String name, final byte[] in, final byte[] out) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment result = allocate(arena, out);
      check(name, libc(name, allocate(arena, in).address(), result.address()));
      copyBack(result, out);
    }
  }

  /** The same with a number in front. */
  static void invoke(final String name, final int number, final byte[] in, final byte[] out) {
    try (Arena arena = Arena.ofConfined()) {
      final MemorySegment result = allocate(arena, out);
      check(name, libc(name, number, allocate(arena, in).address(), result.address()));
      copyBack(result, out);
    }
  }

  private static MemorySegment allocate(final Arena arena, final byte[] content) {
    return content == null
        ? MemorySegment.NULL
        : arena.allocateFrom(ValueLayout.JAVA_BYTE, content);
  }

  private static void copyBack(final MemorySegment from, final byte[] to) {
    if (to != null) {
      MemorySegment.copy(from, ValueLayout.JAVA_BYTE, 0, to, 0, to.length);
    }
  }

  /** VMOVDQU of every YMM register from (6F) or to (7F) memory below 2 GiB. */
  static void moveYmm(final Assembler a, final int opcode, final long address, final boolean avx) {
    for (int i = 0; avx && i < 16; i++) {
      a.db(0xC5, i < 8 ? 0xFE : 0x7E, opcode, (i & 7) << 3 | 4, 0x25);
      a.dd((int) address + 32 * i);
    }
  }
}

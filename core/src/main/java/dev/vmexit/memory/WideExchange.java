package dev.vmexit.memory;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/**
 * Compares and exchanges 16 bytes at once: LOCK CMPXCHG16B, for which the JDK has no operation, so
 * that a few bytes of machine code of our own do it, in a page that is mapped once per process.
 *
 * <p>On a host that is no x86-64 or allows no executable mapping it is done in two halves: no
 * longer one step to other threads.
 */
public final class WideExchange {
  /**
   * 32 bytes: what was expected, low half first, replaced by what was found; then the new value.
   */
  public static final int OPERANDS = 32;

  // rdi: the memory, 16-byte aligned; rsi: OPERANDS. The System V ABI lets all but rbx go.
  private static final byte[] CODE = {
    0x53, // push rbx
    0x48,
    (byte) 0x8B,
    0x06, // mov rax, [rsi]
    0x48,
    (byte) 0x8B,
    0x56,
    0x08, // mov rdx, [rsi + 8]
    0x48,
    (byte) 0x8B,
    0x5E,
    0x10, // mov rbx, [rsi + 16]
    0x48,
    (byte) 0x8B,
    0x4E,
    0x18, // mov rcx, [rsi + 24]
    (byte) 0xF0,
    0x48,
    0x0F,
    (byte) 0xC7,
    0x0F, // lock cmpxchg16b [rdi]
    0x48,
    (byte) 0x89,
    0x06, // mov [rsi], rax
    0x48,
    (byte) 0x89,
    0x56,
    0x08, // mov [rsi + 8], rdx
    0x0F,
    (byte) 0x94,
    (byte) 0xC0, // sete al
    0x0F,
    (byte) 0xB6,
    (byte) 0xC0, // movzx eax, al
    0x5B, // pop rbx
    (byte) 0xC3, // ret
  };

  private static final MethodHandle CALL =
      HostCode.function(
          CODE,
          FunctionDescriptor.of(
              ValueLayout.JAVA_INT, ValueLayout.JAVA_LONG, ValueLayout.JAVA_LONG));

  private WideExchange() {}

  /** Whether 16 bytes are exchanged in one step here. */
  public static boolean isAtomic() {
    return CALL != null;
  }

  /**
   * Stores the new value where memory is as expected.
   *
   * @param address aligned to 16 bytes, mapped for writing while the call runs
   * @param operands address of {@link #OPERANDS} bytes that are the caller's alone
   * @return whether memory was as expected; the operands' first half is what it was
   */
  public static boolean compareAndSet(final long address, final long operands) {
    if (CALL == null) {
      return inHalves(address, operands);
    }
    try {
      // Safe: the code reads and writes these two places and nothing else, and never blocks.
      return (int) CALL.invokeExact(address, operands) != 0;
    } catch (final Throwable t) {
      throw new IllegalStateException(t);
    }
  }

  private static boolean inHalves(final long address, final long operands) {
    final long low = HostMemory.getLong(address);
    final long high = HostMemory.getLong(address + 8);
    final boolean equal =
        low == HostMemory.getLong(operands) && high == HostMemory.getLong(operands + 8);
    if (equal) {
      HostMemory.putLong(address, HostMemory.getLong(operands + 16));
      HostMemory.putLong(address + 8, HostMemory.getLong(operands + 24));
    }
    HostMemory.putLong(operands, low);
    HostMemory.putLong(operands + 8, high);
    return equal;
  }
}

package dev.vmexit.memory;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * Copies as many bytes as the longest x86 instruction has (Intel SDM vol. 2A, 2.3.11), as two words
 * that overlap: less than the call of a copy of so many bytes, and an exit needs several. Arrays
 * are checked, addresses are not.
 */
public final class InstructionBytes {
  /** How many they are. */
  public static final int LENGTH = 15;

  private static final int LAST_WORD = LENGTH - Long.BYTES;

  private static final VarHandle WORDS =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private InstructionBytes() {}

  /** From array to array. */
  public static void copy(final byte[] from, final byte[] to) {
    WORDS.set(to, 0, (long) WORDS.get(from, 0));
    WORDS.set(to, LAST_WORD, (long) WORDS.get(from, LAST_WORD));
  }

  /** From a place outside the heap, whose bytes the caller vouches for. */
  public static void copyOut(final long from, final byte[] to) {
    WORDS.set(to, 0, HostMemory.getLong(from));
    WORDS.set(to, LAST_WORD, HostMemory.getLong(from + LAST_WORD));
  }

  /** To a place outside the heap that has room for them. */
  public static void copyIn(final byte[] from, final long to) {
    HostMemory.putLong(to, (long) WORDS.get(from, 0));
    HostMemory.putLong(to + LAST_WORD, (long) WORDS.get(from, LAST_WORD));
  }
}

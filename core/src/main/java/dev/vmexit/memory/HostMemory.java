package dev.vmexit.memory;

import org.agrona.UnsafeApi;

/**
 * Plain, unaligned, little-endian access to addresses of this process.
 *
 * <p>Everything the guest owns (its RAM, the vCPU state) lives outside the Java heap at raw
 * addresses. No bounds are checked here: each caller says why its address is inside a live mapping.
 * Sub-word reads come back zero-extended, because that is what x86 operands are.
 *
 * <p>Only little-endian hosts are supported, as the guest's byte order is the host's here.
 */
public final class HostMemory {
  /** Where an array's bytes begin; asked for once, as the JIT compiler does not know it. */
  private static final long BYTES = UnsafeApi.arrayBaseOffset(byte[].class);

  private HostMemory() {}

  /** Reads one byte, zero-extended. */
  public static int getByte(final long address) {
    return UnsafeApi.getByte(address) & 0xFF;
  }

  /** Reads two bytes, zero-extended. */
  public static int getShort(final long address) {
    return UnsafeApi.getShort(address) & 0xFFFF;
  }

  /** Reads four bytes. */
  public static int getInt(final long address) {
    return UnsafeApi.getInt(address);
  }

  /** Reads four bytes, zero-extended. */
  public static long getUnsignedInt(final long address) {
    return UnsafeApi.getInt(address) & 0xFFFF_FFFFL;
  }

  /** Reads eight bytes. */
  public static long getLong(final long address) {
    return UnsafeApi.getLong(address);
  }

  /** Writes the low byte of a value. */
  public static void putByte(final long address, final int value) {
    UnsafeApi.putByte(address, (byte) value);
  }

  /** Writes the low two bytes of a value. */
  public static void putShort(final long address, final int value) {
    UnsafeApi.putShort(address, (short) value);
  }

  /** Writes four bytes. */
  public static void putInt(final long address, final int value) {
    UnsafeApi.putInt(address, value);
  }

  /** Writes eight bytes. */
  public static void putLong(final long address, final long value) {
    UnsafeApi.putLong(address, value);
  }

  /** Reads {@code size} bytes (1, 2, 4 or 8), zero-extended. */
  public static long get(final long address, final int size) {
    return switch (size) {
      case 1 -> getByte(address);
      case 2 -> getShort(address);
      case 4 -> getUnsignedInt(address);
      case 8 -> getLong(address);
      default -> throw new IllegalArgumentException("size=" + size + ", allowed: 1, 2, 4, 8");
    };
  }

  /** Writes the low {@code size} bytes (1, 2, 4 or 8) of a value. */
  public static void put(final long address, final int size, final long value) {
    switch (size) {
      case 1 -> putByte(address, (int) value);
      case 2 -> putShort(address, (int) value);
      case 4 -> putInt(address, (int) value);
      case 8 -> putLong(address, value);
      default -> throw new IllegalArgumentException("size=" + size + ", allowed: 1, 2, 4, 8");
    }
  }

  /**
   * Replaces {@code size} bytes (1, 2, 4 or 8) where they are as expected, as one step in the sight
   * of all threads and of KVM's vCPUs, with the order of a volatile read and write.
   *
   * <p>That holds for whatever lies within an aligned eight bytes. An operand that crosses such a
   * boundary is compared and stored in two steps: the JDK has no operation for it, and a
   * processor's own would be a split lock, which hosts slow down or forbid.
   *
   * @return whether they were, and the value is stored
   */
  public static boolean compareAndSet(
      final long address, final int size, final long expected, final long value) {
    if (size == 8 && (address & 7) == 0) {
      return UnsafeApi.compareAndSetLong(null, address, expected, value);
    }
    if (size == 4 && (address & 3) == 0) {
      return UnsafeApi.compareAndSetInt(null, address, (int) expected, (int) value);
    }
    final long mask = -1L >>> 64 - 8 * size;
    final int shift = (int) (address & 7) * 8;
    if (shift + 8 * size > 64) {
      if (get(address, size) != (expected & mask)) {
        return false;
      }
      put(address, size, value);
      return true;
    }
    final long container = address & -8L;
    final long field = mask << shift;
    while (true) {
      final long word = UnsafeApi.getLongVolatile(null, container);
      if ((word & field) != (expected << shift & field)) {
        return false;
      }
      final long replaced = word & ~field | value << shift & field;
      if (UnsafeApi.compareAndSetLong(null, container, word, replaced)) {
        return true;
      }
    }
  }

  // ---- what another thread, or the kernel, reads and writes at the same time ----

  /** Reads eight bytes, and nothing after it earlier. */
  public static long getLongAcquire(final long address) {
    return UnsafeApi.getLongAcquire(null, address);
  }

  /** Writes eight bytes, and nothing before it later. */
  public static void putLongRelease(final long address, final long value) {
    UnsafeApi.putLongRelease(null, address, value);
  }

  /** Reads four bytes in the one order of all volatile accesses. */
  public static int getIntVolatile(final long address) {
    return UnsafeApi.getIntVolatile(null, address);
  }

  /** Reads eight bytes in the one order of all volatile accesses. */
  public static long getLongVolatile(final long address) {
    return UnsafeApi.getLongVolatile(null, address);
  }

  /** Writes the low byte of a value in the one order of all volatile accesses. */
  public static void putByteVolatile(final long address, final int value) {
    UnsafeApi.putByteVolatile(null, address, (byte) value);
  }

  /** Writes eight bytes in the one order of all volatile accesses. */
  public static void putLongVolatile(final long address, final long value) {
    UnsafeApi.putLongVolatile(null, address, value);
  }

  /** Adds to four bytes as one step, in the one order of all volatile accesses. */
  public static void addInt(final long address, final int value) {
    UnsafeApi.getAndAddInt(null, address, value);
  }

  /** Copies between two places outside the heap. */
  public static void copy(final long from, final long to, final long length) {
    UnsafeApi.copyMemory(from, to, length);
  }

  /** Copies from an array to a place outside the heap. */
  public static void copyIn(final byte[] from, final int offset, final long to, final long length) {
    UnsafeApi.copyMemory(from, BYTES + offset, null, to, length);
  }

  /** Copies from a place outside the heap to an array. */
  public static void copyOut(
      final long from, final byte[] to, final int offset, final long length) {
    UnsafeApi.copyMemory(null, from, to, BYTES + offset, length);
  }

  /** Fills with one byte value. */
  public static void fill(final long address, final long length, final int value) {
    UnsafeApi.setMemory(address, length, (byte) value);
  }

  /** Allocates zeroed memory outside the heap; given back by {@link #free}. */
  public static long allocate(final long length) {
    final long address = UnsafeApi.allocateMemory(length);
    UnsafeApi.setMemory(address, length, (byte) 0);
    return address;
  }

  /** Gives back what {@link #allocate} gave. */
  public static void free(final long address) {
    UnsafeApi.freeMemory(address);
  }
}

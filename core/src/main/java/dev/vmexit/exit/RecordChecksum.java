package dev.vmexit.exit;

import dev.vmexit.memory.HostMemory;

/**
 * The checksum that stands behind each record in a ring: a killed process leaves the ring as the
 * one copy of its last exits, and a flipped bit must not pass for one of them.
 *
 * <p>It is computed on the vCPU's thread, while the record is copied; so it takes eight bytes at a
 * step, where CRC-32C would need a call. Each step is a bijection of the state: two records that
 * differ in one word never differ in nothing but their end, which 32 of 64 bits are kept of.
 */
final class RecordChecksum {
  /** Bytes behind each record. */
  static final int LENGTH = Integer.BYTES;

  private static final long MULTIPLIER = 0x9E37_79B9_7F4A_7C15L;

  private RecordChecksum() {}

  static long start(final int length) {
    return length * MULTIPLIER;
  }

  static long mix(final long state, final long word) {
    return Long.rotateLeft(state ^ word, 29) * MULTIPLIER;
  }

  static int finish(final long state) {
    return (int) (state ^ state >>> 32);
  }

  /** The checksum of a record of at least eight bytes. */
  static int of(final long address, final int length) {
    long state = start(length);
    final int last = length - Long.BYTES;
    for (int i = 0; i < last; i += Long.BYTES) {
      state = mix(state, HostMemory.getLong(address + i));
    }
    return finish(mix(state, HostMemory.getLong(address + last)));
  }
}

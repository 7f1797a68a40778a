package dev.vmexit.device;

import java.util.Arrays;

/**
 * Guest-physical memory that is not RAM: ranges of addresses, each claimed by one device.
 *
 * <p>Loads from an address that nobody claims yield all ones and stores to it vanish; both are
 * counted. A machine has a handful of ranges, so a scan behind a one-entry cache beats a tree. Used
 * by the vCPU thread alone.
 */
public final class MmioBus {
  private MmioDevice[] devices = new MmioDevice[0];
  private long[] bases = new long[0];
  private long[] lengths = new long[0];

  // The range that was found last, by itself: one cache line of an exit's many.
  private MmioDevice recent;
  private long recentBase;
  private long recentLength;

  private long unclaimedReads;
  private long unclaimedWrites;

  /**
   * Claims a range.
   *
   * @param base guest-physical address of its first byte
   * @param length bytes, at least 1
   * @throws IllegalArgumentException when it is empty, wraps around or overlaps another one
   */
  public void register(final MmioDevice device, final long base, final long length) {
    if (base < 0 || length <= 0 || base > Long.MAX_VALUE - length) {
      throw new IllegalArgumentException(
          "base=0x" + Long.toHexString(base) + " length=0x" + Long.toHexString(length));
    }
    for (int i = 0; i < bases.length; i++) {
      if (base < bases[i] + lengths[i] && bases[i] < base + length) {
        throw new IllegalArgumentException(
            "base=0x" + Long.toHexString(base) + " overlaps 0x" + Long.toHexString(bases[i]));
      }
    }
    final int count = bases.length;
    devices = Arrays.copyOf(devices, count + 1);
    bases = Arrays.copyOf(bases, count + 1);
    lengths = Arrays.copyOf(lengths, count + 1);
    devices[count] = device;
    bases[count] = base;
    lengths[count] = length;
  }

  /** Whether a device claims the byte at an address. */
  public boolean claims(final long gpa) {
    return find(gpa) != null;
  }

  /**
   * Answers a load.
   *
   * @param gpa guest-physical address
   * @param size 1 to 8 bytes; one that crosses the border of a range is split into bytes
   * @return the value, zero-extended
   */
  public long read(final long gpa, final int size) {
    final MmioDevice device = find(gpa);
    if (device == null) {
      if (size > 1 && find(gpa + size - 1) != null) {
        return readSplit(gpa, size);
      }
      unclaimedReads++;
      return ones(size);
    }
    final long offset = gpa - recentBase;
    if (offset + size > recentLength || !powerOfTwo(size)) {
      return readSplit(gpa, size);
    }
    return device.readMmio(offset, size) & ones(size);
  }

  /**
   * Takes a store.
   *
   * @param gpa guest-physical address
   * @param size 1 to 8 bytes; one that crosses the border of a range is split into bytes
   */
  public void write(final long gpa, final int size, final long value) {
    final MmioDevice device = find(gpa);
    if (device == null) {
      if (size > 1 && find(gpa + size - 1) != null) {
        writeSplit(gpa, size, value);
      } else {
        unclaimedWrites++;
      }
      return;
    }
    final long offset = gpa - recentBase;
    if (offset + size > recentLength || !powerOfTwo(size)) {
      writeSplit(gpa, size, value);
    } else {
      device.writeMmio(offset, size, value & ones(size));
    }
  }

  /** Loads, or bytes of them, that found no device. */
  public long unclaimedReads() {
    return unclaimedReads;
  }

  /** Stores, or bytes of them, that found no device. */
  public long unclaimedWrites() {
    return unclaimedWrites;
  }

  /** The device at an address, whose range is then the recent one; null where there is none. */
  private MmioDevice find(final long gpa) {
    if (Long.compareUnsigned(gpa - recentBase, recentLength) < 0) {
      return recent;
    }
    for (int i = 0; i < bases.length; i++) {
      if (Long.compareUnsigned(gpa - bases[i], lengths[i]) < 0) {
        recentBase = bases[i];
        recentLength = lengths[i];
        recent = devices[i];
        return recent;
      }
    }
    return null;
  }

  private long readSplit(final long gpa, final int size) {
    long value = 0;
    for (int i = 0; i < size; i++) {
      value |= read(gpa + i, 1) << (8 * i);
    }
    return value;
  }

  private void writeSplit(final long gpa, final int size, final long value) {
    for (int i = 0; i < size; i++) {
      write(gpa + i, 1, (value >>> (8 * i)) & 0xFF);
    }
  }

  private static boolean powerOfTwo(final int size) {
    return (size & (size - 1)) == 0;
  }

  private static long ones(final int size) {
    return size >= 8 ? -1L : (1L << (8 * size)) - 1;
  }
}

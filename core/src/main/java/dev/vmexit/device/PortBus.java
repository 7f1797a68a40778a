package dev.vmexit.device;

import java.util.Arrays;

/**
 * The I/O port space: 65,536 ports, each claimed by at most one device.
 *
 * <p>Reads of a port that nobody claims yield all ones and writes to it vanish, as on a bus with
 * pull-ups; both are counted. Used by the vCPU thread alone.
 */
public final class PortBus {
  /** Number of ports. */
  public static final int PORTS = 0x1_0000;

  private final PortDevice[] devices = new PortDevice[PORTS];
  private long unclaimedReads;
  private long unclaimedWrites;

  /**
   * Claims the ports {@code first} to {@code last}, both included.
   *
   * @throws IllegalArgumentException when the range is not inside the port space or a port of it is
   *     claimed already
   */
  public void register(final PortDevice device, final int first, final int last) {
    if (first < 0 || last >= PORTS || first > last) {
      throw new IllegalArgumentException(
          "ports=" + range(first, last) + ", allowed: 0x0-0xffff, first <= last");
    }
    for (int port = first; port <= last; port++) {
      if (devices[port] != null) {
        throw new IllegalArgumentException(
            "ports="
                + range(first, last)
                + ": port 0x"
                + Integer.toHexString(port)
                + " is claimed");
      }
    }
    for (int port = first; port <= last; port++) {
      devices[port] = device;
    }
  }

  /**
   * Claims ports where none of them is claimed, as a guest's write to a base address register asks.
   *
   * @return false where the range is not free: then nothing is claimed
   */
  public boolean claimIfFree(final PortDevice device, final int first, final int last) {
    if (first < 0 || last >= PORTS || first > last) {
      return false;
    }
    for (int port = first; port <= last; port++) {
      if (devices[port] != null) {
        return false;
      }
    }
    Arrays.fill(devices, first, last + 1, device);
    return true;
  }

  /** Gives ports back that {@link #claimIfFree} claimed. */
  public void release(final int first, final int last) {
    Arrays.fill(devices, first, last + 1, null);
  }

  /**
   * Answers IN.
   *
   * @param port 0 to 0xFFFF
   * @param size 1, 2 or 4 bytes
   * @return the value, zero-extended
   */
  public int read(final int port, final int size) {
    final PortDevice device = devices[port];
    if (size > 1 && crosses(port, size)) {
      return readSplit(port, size);
    }
    if (device == null) {
      unclaimedReads++;
      return ones(size);
    }
    return device.readPort(port, size) & ones(size);
  }

  /** Answers INS of several elements: see {@link PortDevice#readString}. */
  public void readString(final int port, final int size, final int times, final byte[] to) {
    final PortDevice device = devices[port];
    if (device != null && (size == 1 || !crosses(port, size))) {
      device.readString(port, size, times, to);
      return;
    }
    for (int i = 0; i < times; i++) {
      final int value = read(port, size);
      for (int b = 0; b < size; b++) {
        to[i * size + b] = (byte) (value >>> 8 * b);
      }
    }
  }

  /** Takes OUTS of several elements: see {@link PortDevice#writeString}. */
  public void writeString(final int port, final int size, final int times, final byte[] from) {
    final PortDevice device = devices[port];
    if (device != null && (size == 1 || !crosses(port, size))) {
      device.writeString(port, size, times, from);
      return;
    }
    for (int i = 0; i < times; i++) {
      write(port, size, PortDevice.element(from, size, i));
    }
  }

  /**
   * Takes OUT.
   *
   * @param port 0 to 0xFFFF
   * @param size 1, 2 or 4 bytes
   */
  public void write(final int port, final int size, final int value) {
    final PortDevice device = devices[port];
    if (size > 1 && crosses(port, size)) {
      for (int i = 0; i < size; i++) {
        write((port + i) & 0xFFFF, 1, (value >>> (8 * i)) & 0xFF);
      }
    } else if (device == null) {
      unclaimedWrites++;
    } else {
      device.writePort(port, size, value & ones(size));
    }
  }

  /** The device at a port, or null. */
  public PortDevice deviceAt(final int port) {
    return devices[port];
  }

  /** IN instructions, or bytes of them, that found no device. */
  public long unclaimedReads() {
    return unclaimedReads;
  }

  /** OUT instructions, or bytes of them, that found no device. */
  public long unclaimedWrites() {
    return unclaimedWrites;
  }

  /** An access over the border of two devices goes to each byte's own. */
  private int readSplit(final int port, final int size) {
    int value = 0;
    for (int i = 0; i < size; i++) {
      value |= read((port + i) & 0xFFFF, 1) << (8 * i);
    }
    return value;
  }

  /** Whether an access begins at one device and ends at another; identity is what is meant. */
  @SuppressWarnings("ReferenceEquality")
  private boolean crosses(final int port, final int size) {
    return devices[(port + size - 1) & 0xFFFF] != devices[port];
  }

  private static int ones(final int size) {
    return size == 1 ? 0xFF : size == 2 ? 0xFFFF : -1;
  }

  private static String range(final int first, final int last) {
    return "0x" + Integer.toHexString(first) + "-0x" + Integer.toHexString(last);
  }
}

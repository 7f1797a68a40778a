package dev.vmexit.x86.encode;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * Code under construction: runs of bytes with holes for addresses, branches whose length is not
 * known yet, and padding. The layout starts with every branch short and lengthens those that do not
 * reach until all do; lengths only grow, so it ends.
 */
final class CodeBuffer {
  /** What a hole in the bytes is filled with. */
  enum Fill {
    /** Label less the end of the instruction, signed. */
    RELATIVE,
    /** The label's address, as an unsigned or a signed number of the hole's size. */
    ABSOLUTE,
    /** The label's address where the processor sign-extends it. */
    ABSOLUTE_SIGNED
  }

  private record Hole(int offset, int size, Fill fill, int end, long addend, Label label) {}

  private sealed interface Item permits Bytes, Branch, Align, Org {}

  private static final class Bytes implements Item {
    private byte[] data = new byte[64];
    private int length;
    private final List<Hole> holes = new ArrayList<>();
  }

  private static final class Branch implements Item {
    private final byte[] shortOpcode;
    private final byte[] nearOpcode;
    private final int nearSize;
    private final Label target;
    private boolean near;

    private Branch(
        final byte[] shortOpcode, final byte[] nearOpcode, final int nearSize, final Label target) {
      this.shortOpcode = shortOpcode;
      this.nearOpcode = nearOpcode;
      this.nearSize = nearSize;
      this.target = target;
    }

    private int length() {
      return near ? nearOpcode.length + nearSize : shortOpcode.length + 1;
    }
  }

  private record Align(int boundary, int filler) implements Item {}

  private record Org(long address, int filler) implements Item {}

  private final long origin;
  private final List<Item> items = new ArrayList<>();
  private Bytes open;

  CodeBuffer(final long origin) {
    this.origin = origin;
  }

  /** Appends the low byte of a value. */
  void put(final int value) {
    if (open == null) {
      open = new Bytes();
      items.add(open);
    }
    if (open.length == open.data.length) {
      open.data = Arrays.copyOf(open.data, open.length * 2);
    }
    open.data[open.length++] = (byte) value;
  }

  /** Appends the low bytes of a value, the lowest first. */
  void put(final long value, final int size) {
    for (int i = 0; i < size; i++) {
      put((int) (value >>> (8 * i)));
    }
  }

  /**
   * Appends a hole.
   *
   * @param trailing bytes of the same instruction that will follow the hole
   */
  void putHole(
      final int size, final Fill fill, final int trailing, final long addend, final Label label) {
    put(0, size);
    final int end = open.length + trailing;
    open.holes.add(new Hole(open.length - size, size, fill, end, addend, label));
  }

  /** Appends a branch that is short or near, whichever reaches. */
  void putBranch(
      final byte[] shortOpcode, final byte[] nearOpcode, final int nearSize, final Label target) {
    close();
    items.add(new Branch(shortOpcode, nearOpcode, nearSize, target));
  }

  void align(final int boundary, final int filler) {
    close();
    items.add(new Align(boundary, filler));
  }

  void org(final long address, final int filler) {
    close();
    items.add(new Org(address, filler));
  }

  void bind(final Label label) {
    close();
    label.item = items.size();
  }

  private void close() {
    open = null;
  }

  /** Lays everything out and fills the holes. */
  byte[] assemble(final List<Label> labels) {
    for (final Item item : items) {
      if (item instanceof final Branch branch) {
        branch.near = false;
      }
    }
    final long[] address = new long[items.size() + 1];
    do {
      layOut(address);
      for (final Label label : labels) {
        if (label.item >= 0) {
          label.address = address[label.item];
        }
      }
    } while (lengthenBranches(address));
    final long length = address[items.size()] - origin;
    final byte[] code = new byte[Math.toIntExact(length)];
    for (int i = 0; i < items.size(); i++) {
      final int at = (int) (address[i] - origin);
      final int next = (int) (address[i + 1] - origin);
      switch (items.get(i)) {
        case final Bytes bytes -> writeBytes(bytes, code, at);
        case final Branch branch -> writeBranch(branch, code, at);
        case final Align align -> Arrays.fill(code, at, next, (byte) align.filler);
        case final Org org -> Arrays.fill(code, at, next, (byte) org.filler);
      }
    }
    return code;
  }

  private void layOut(final long[] address) {
    long at = origin;
    for (int i = 0; i < items.size(); i++) {
      address[i] = at;
      at +=
          switch (items.get(i)) {
            case final Bytes bytes -> bytes.length;
            case final Branch branch -> branch.length();
            case final Align align -> -at & (align.boundary - 1L);
            case final Org org -> {
              if (org.address < at) {
                throw new IllegalStateException(
                    String.format(
                        Locale.ROOT, "org 0x%x: the code already reached 0x%x", org.address, at));
              }
              yield org.address - at;
            }
          };
    }
    address[items.size()] = at;
  }

  private boolean lengthenBranches(final long[] address) {
    boolean changed = false;
    for (int i = 0; i < items.size(); i++) {
      if (items.get(i) instanceof final Branch branch && !branch.near) {
        final long distance = addressOf(branch.target) - (address[i] + branch.length());
        if (distance != (byte) distance) {
          branch.near = true;
          changed = true;
        }
      }
    }
    return changed;
  }

  private void writeBytes(final Bytes bytes, final byte[] code, final int at) {
    System.arraycopy(bytes.data, 0, code, at, bytes.length);
    for (final Hole hole : bytes.holes) {
      final long target = addressOf(hole.label) + hole.addend;
      if (hole.fill == Fill.RELATIVE) {
        final long distance = target - (origin + at + hole.end);
        checkBranch(distance, hole.size, hole.label, origin + at + hole.offset);
        write(code, at + hole.offset, distance, hole.size);
      } else {
        checkAddress(target, hole);
        write(code, at + hole.offset, target, hole.size);
      }
    }
  }

  private void writeBranch(final Branch branch, final byte[] code, final int at) {
    final byte[] opcode = branch.near ? branch.nearOpcode : branch.shortOpcode;
    final int size = branch.near ? branch.nearSize : 1;
    System.arraycopy(opcode, 0, code, at, opcode.length);
    final long distance = addressOf(branch.target) - (origin + at + branch.length());
    checkBranch(distance, size, branch.target, origin + at);
    write(code, at + opcode.length, distance, size);
  }

  private static void checkBranch(
      final long distance, final int size, final Label label, final long at) {
    final boolean reaches =
        switch (size) {
          case 1 -> distance == (byte) distance;
          // IP wraps in 16 bits, so any place of the segment is in reach.
          case 2 -> distance > -0x1_0000 && distance < 0x1_0000;
          default -> distance == (int) distance;
        };
    if (!reaches) {
      throw new IllegalStateException(
          String.format(
              Locale.ROOT,
              "branch out of range: %s is %d bytes away at 0x%x, displacement of %d bytes",
              label,
              distance,
              at,
              size));
    }
  }

  private static void checkAddress(final long address, final Hole hole) {
    if (hole.size == 8) {
      return;
    }
    final int bits = hole.size * 8;
    final boolean fitsSigned = address >> (bits - 1) == 0 || address >> (bits - 1) == -1;
    final boolean fits =
        fitsSigned || (hole.fill == Fill.ABSOLUTE && address >>> (bits - 1) >>> 1 == 0);
    if (!fits) {
      throw new IllegalStateException(
          String.format(
              Locale.ROOT,
              "address of %s, 0x%x, does not fit into %d bytes",
              hole.label,
              address,
              hole.size));
    }
  }

  private static long addressOf(final Label label) {
    if (!label.isBound()) {
      throw new IllegalStateException("label " + label + " is used but never bound");
    }
    return label.address;
  }

  private static void write(final byte[] code, final int at, final long value, final int size) {
    for (int i = 0; i < size; i++) {
      code[at + i] = (byte) (value >>> (8 * i));
    }
  }
}

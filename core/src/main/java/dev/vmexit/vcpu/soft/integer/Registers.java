package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.soft.SoftCpu;

/** General registers by offset and a size that is only known at run time: for the rarer ops. */
final class Registers {
  private Registers() {}

  /** Reads 1, 2, 4 or 8 bytes, zero-extended. */
  static long read(final SoftCpu cpu, final int offset, final int size) {
    return switch (size) {
      case 1 -> cpu.reg8(offset);
      case 2 -> cpu.reg16(offset);
      case 4 -> cpu.reg32(offset) & 0xFFFF_FFFFL;
      default -> cpu.reg64(offset);
    };
  }

  /** Writes the low bytes of a value: 4 bytes clear the upper half, 1 and 2 keep the rest. */
  static void write(final SoftCpu cpu, final int offset, final int size, final long value) {
    switch (size) {
      case 1 -> cpu.reg8(offset, (int) value);
      case 2 -> cpu.reg16(offset, (int) value);
      case 4 -> cpu.reg32(offset, (int) value);
      default -> cpu.reg64(offset, value);
    }
  }

  /** Sign-extends the low 1, 2, 4 or 8 bytes of a value. */
  static long signExtend(final long value, final int size) {
    final int shift = Alu.shiftOf(size);
    return (value << shift) >> shift;
  }
}

package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;

/**
 * Addition, subtraction and logic with their flags (SDM Vol. 2, each instruction; Vol. 1, appendix
 * A).
 *
 * <p>Every operation takes its operands in 64 bits, whatever stands above the operand size being
 * ignored, and the operand size as the distance of its top bit from bit 63 ({@link #B8} …). Callers
 * pass that as a constant: once inlined, what depends on it folds away. Results carry garbage above
 * the operand size.
 *
 * <p>Where a result goes to memory by a path that may leave the instruction, the flags must not
 * change before the store: for that each operation's flags have a method of their own.
 */
final class Alu {
  /** Operand sizes, as {@code 64 - bits}. */
  static final int B8 = 56;

  static final int B16 = 48;
  static final int B32 = 32;
  static final int B64 = 0;

  /** CF and, by their difference, OF in the vector of carries. */
  private static final long CARRY_AND_OVERFLOW = 3L << 62;

  private Alu() {}

  /** The size constant of an operand of 1, 2, 4 or 8 bytes. */
  static int shiftOf(final int size) {
    return 64 - 8 * size;
  }

  /** CF as 0 or 1. */
  static long carry(final SoftCpu cpu) {
    return HostMemory.getLong(cpu.state + StateLayout.FLAG_CARRIES) >>> 63;
  }

  static long add(final SoftCpu cpu, final long a, final long b, final int shift) {
    final long r = a + b;
    addFlags(cpu, a, b, r, shift);
    return r;
  }

  static long adc(final SoftCpu cpu, final long a, final long b, final int shift) {
    final long r = a + b + carry(cpu);
    addFlags(cpu, a, b, r, shift);
    return r;
  }

  /** Flags of {@code r = a + b}, with or without a carry in: the result tells the carries. */
  static void addFlags(
      final SoftCpu cpu, final long a, final long b, final long r, final int shift) {
    cpu.setFlags(
        (r << shift) >> shift, ((a & b) | ((a | b) & ~r)) << shift, (a ^ b ^ r) & Flags.AF);
  }

  static long sub(final SoftCpu cpu, final long a, final long b, final int shift) {
    final long r = a - b;
    subFlags(cpu, a, b, r, shift);
    return r;
  }

  static long sbb(final SoftCpu cpu, final long a, final long b, final int shift) {
    final long r = a - b - carry(cpu);
    subFlags(cpu, a, b, r, shift);
    return r;
  }

  /** Subtracts for the flags alone. */
  static void cmp(final SoftCpu cpu, final long a, final long b, final int shift) {
    subFlags(cpu, a, b, a - b, shift);
  }

  /** Flags of {@code r = a - b}, with or without a borrow in. */
  static void subFlags(
      final SoftCpu cpu, final long a, final long b, final long r, final int shift) {
    cpu.setFlags(
        (r << shift) >> shift, ((~a & b) | ((~a | b) & r)) << shift, (a ^ b ^ r) & Flags.AF);
  }

  static long and(final SoftCpu cpu, final long a, final long b, final int shift) {
    final long r = a & b;
    logicFlags(cpu, r, shift);
    return r;
  }

  static long or(final SoftCpu cpu, final long a, final long b, final int shift) {
    final long r = a | b;
    logicFlags(cpu, r, shift);
    return r;
  }

  static long xor(final SoftCpu cpu, final long a, final long b, final int shift) {
    final long r = a ^ b;
    logicFlags(cpu, r, shift);
    return r;
  }

  /** ANDs for the flags alone. */
  static void test(final SoftCpu cpu, final long a, final long b, final int shift) {
    logicFlags(cpu, a & b, shift);
  }

  /** CF and OF clear, the rest by the result; AF, undefined by the SDM, is clear on processors. */
  static void logicFlags(final SoftCpu cpu, final long r, final int shift) {
    cpu.setFlags((r << shift) >> shift, 0, 0);
  }

  static long inc(final SoftCpu cpu, final long a, final int shift) {
    final long r = a + 1;
    incFlags(cpu, a, r, shift);
    return r;
  }

  /** As those of an addition of 1, but CF stays. */
  static void incFlags(final SoftCpu cpu, final long a, final long r, final int shift) {
    keepCarry(cpu, (r << shift) >> shift, (a & ~r) << shift, (a ^ r ^ 1) & Flags.AF);
  }

  static long dec(final SoftCpu cpu, final long a, final int shift) {
    final long r = a - 1;
    decFlags(cpu, a, r, shift);
    return r;
  }

  /** As those of a subtraction of 1, but CF stays. */
  static void decFlags(final SoftCpu cpu, final long a, final long r, final int shift) {
    keepCarry(cpu, (r << shift) >> shift, (~a & r) << shift, (a ^ r ^ 1) & Flags.AF);
  }

  static long neg(final SoftCpu cpu, final long a, final int shift) {
    return sub(cpu, 0, a, shift);
  }

  /** Sets the flags with OF from {@code carries} and CF as it was. */
  private static void keepCarry(
      final SoftCpu cpu, final long result, final long carries, final long aux) {
    final long old = HostMemory.getLong(cpu.state + StateLayout.FLAG_CARRIES);
    // Flipping both top bits changes CF and leaves their difference, OF.
    cpu.setFlags(result, carries ^ (((carries ^ old) >> 63) & CARRY_AND_OVERFLOW), aux);
  }
}

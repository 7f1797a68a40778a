package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.SoftCpu;

/**
 * Read-modify-write of memory that the TLB does not map for writing: a miss, a page crossing, a
 * device, a watched page.
 *
 * <p>The ops do the mapped case themselves and come here for the rest, those with LOCK for all. The
 * store may leave the instruction to have it executed again (a device's register), so flags change
 * after it.
 */
final class Rmw {
  static final int ADD = 0;
  static final int OR = 1;
  static final int ADC = 2;
  static final int SBB = 3;
  static final int AND = 4;
  static final int SUB = 5;
  static final int XOR = 6;
  static final int INC = 7;
  static final int DEC = 8;
  static final int NEG = 9;
  static final int NOT = 10;

  private Rmw() {}

  /** Applies an operation to the operand at a linear address; {@code b} is its second operand. */
  static void slow(
      final SoftCpu cpu, final int operation, final long linear, final int size, final long b) {
    final long a = cpu.loadForWrite(linear, size);
    final long r = apply(cpu, operation, a, b);
    cpu.store(linear, size, r);
    setFlags(cpu, operation, a, b, r, size);
  }

  /** As {@link #slow}, of any operand, and in one step in the sight of others: LOCK. */
  static void locked(
      final SoftCpu cpu, final int operation, final long linear, final int size, final long b) {
    long a;
    long r;
    do {
      a = cpu.loadForWrite(linear, size);
      r = apply(cpu, operation, a, b);
    } while (!cpu.storeIfSame(linear, size, a, r));
    setFlags(cpu, operation, a, b, r, size);
  }

  private static long apply(final SoftCpu cpu, final int operation, final long a, final long b) {
    return switch (operation) {
      case ADD -> a + b;
      case OR -> a | b;
      case ADC -> a + b + Alu.carry(cpu);
      case SBB -> a - b - Alu.carry(cpu);
      case AND -> a & b;
      case SUB -> a - b;
      case XOR -> a ^ b;
      case INC -> a + 1;
      case DEC -> a - 1;
      case NEG -> -a;
      case NOT -> ~a;
      default -> throw new IllegalArgumentException("operation=" + operation);
    };
  }

  private static void setFlags(
      final SoftCpu cpu,
      final int operation,
      final long a,
      final long b,
      final long r,
      final int size) {
    final int shift = Alu.shiftOf(size);
    switch (operation) {
      case ADD, ADC -> Alu.addFlags(cpu, a, b, r, shift);
      case SUB, SBB -> Alu.subFlags(cpu, a, b, r, shift);
      case NEG -> Alu.subFlags(cpu, 0, a, r, shift);
      case INC -> Alu.incFlags(cpu, a, r, shift);
      case DEC -> Alu.decFlags(cpu, a, r, shift);
      case NOT -> {}
      default -> Alu.logicFlags(cpu, r, shift);
    }
  }

  /**
   * Stores the result of an operation that has already set its flags, in such an order that a store
   * which leaves the instruction leaves the former flags behind.
   */
  static void storeAfterFlags(
      final SoftCpu cpu,
      final long linear,
      final int size,
      final long value,
      final long formerResult,
      final long formerCarries,
      final long formerAux) {
    final long s = cpu.state;
    final long result = HostMemory.getLong(s + StateLayout.FLAG_RESULT);
    final long carries = HostMemory.getLong(s + StateLayout.FLAG_CARRIES);
    final long aux = HostMemory.getLong(s + StateLayout.FLAG_AUX);
    cpu.setFlags(formerResult, formerCarries, formerAux);
    cpu.store(linear, size, value);
    cpu.setFlags(result, carries, aux);
  }
}

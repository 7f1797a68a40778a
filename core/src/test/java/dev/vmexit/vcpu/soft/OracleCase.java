package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.encode.Assembler;
import dev.vmexit.x86.encode.Memory;
import dev.vmexit.x86.encode.Operand;
import dev.vmexit.x86.encode.Register;
import java.util.random.RandomGenerator;

/**
 * One comparison with the oracle: code, the state before it, and what of the state afterwards the
 * manual leaves undefined. Forms fill it; operands are random, biased to the edges.
 */
final class OracleCase {
  static final int MEMORY_BYTES = 256;

  /** Memory operands stay this far from the ends, bit strings and strings reach further. */
  private static final int MARGIN = 64;

  private static final long[] EDGES = {
    0,
    1,
    2,
    -1,
    -2,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFFL,
    0x8000_0000L,
    0xFFFF_FFFFL,
    0x1_0000_0000L,
    Long.MAX_VALUE,
    Long.MIN_VALUE,
    0x0F,
    0x10
  };

  final RandomGenerator random;
  final Assembler a;
  final long memoryAddress;
  final long[] gprs = new long[Gpr.COUNT];
  final byte[] memory = new byte[MEMORY_BYTES];

  /** FXSAVE image, or null where the case has to do with general registers alone. */
  byte[] fx;

  /** Upper halves of the YMM registers beside {@link #fx}, or null for what they are. */
  byte[] high;

  long flags;

  /** RFLAGS bits that the instruction leaves undefined. */
  long undefinedFlags;

  /** Bits of the x87 status word that the instruction leaves undefined. */
  int undefinedStatus;

  private int reserved = 1 << Gpr.RSP;

  OracleCase(final RandomGenerator random, final long codeAddress, final long memoryAddress) {
    this.random = random;
    this.memoryAddress = memoryAddress;
    a = new Assembler(8, codeAddress);
    for (int i = 0; i < Gpr.COUNT; i++) {
      gprs[i] = value();
    }
    random.nextBytes(memory);
    for (int i = 0; i + 8 <= MEMORY_BYTES; i += 8) {
      if (random.nextInt(4) == 0) {
        putMemory(i, 8, value());
      }
    }
    flags = random.nextLong() & Flags.ARITHMETIC;
  }

  /** A number, often one that is special to some size. */
  long value() {
    return switch (random.nextInt(4)) {
      case 0 -> EDGES[random.nextInt(EDGES.length)];
      case 1 -> random.nextInt(-200, 200);
      case 2 -> (1L << random.nextInt(64)) + random.nextInt(-1, 2);
      default -> random.nextLong();
    };
  }

  int below(final int bound) {
    return random.nextInt(bound);
  }

  boolean chance(final int oneIn) {
    return random.nextInt(oneIn) == 0;
  }

  int pick(final int... values) {
    return values[random.nextInt(values.length)];
  }

  /** Keeps a register from being picked as an operand or a part of an address from here on. */
  void reserve(final int register) {
    reserved |= 1 << register;
  }

  /** Number of a general register that is not reserved. */
  int number() {
    int number;
    do {
      number = random.nextInt(Gpr.COUNT);
    } while ((reserved >> number & 1) != 0);
    return number;
  }

  /** General register, among bytes also AH to BH. */
  Register register(final int size) {
    if (size == 1 && chance(5)) {
      final int number = 4 + random.nextInt(4);
      if ((reserved >> (number & 3) & 1) == 0) {
        return Register.highByte(number);
      }
    }
    return Register.gpr(number(), size);
  }

  /** Register or memory. */
  Operand rm(final int size) {
    return chance(2) ? register(size) : memory(size, 1);
  }

  /** Memory by one of the ways of addressing, its registers set so that it lies in the buffer. */
  Memory memory(final int size, final int alignment) {
    final int offset = MARGIN + random.nextInt((MEMORY_BYTES - 2 * MARGIN) / alignment) * alignment;
    return memoryAt(size, Math.min(offset, (MEMORY_BYTES - MARGIN - size) / alignment * alignment));
  }

  /** Memory at an offset of the buffer. */
  Memory memoryAt(final int size, final int offset) {
    final long target = memoryAddress + offset;
    switch (random.nextInt(6)) {
      case 0 -> {
        return Memory.rip(a.labelAt(target)).as(size);
      }
      case 1 -> {
        return Memory.absolute(target).as(size);
      }
      default -> {
        return byRegisters(target).as(size);
      }
    }
  }

  private Memory byRegisters(final long target) {
    final int base = number();
    final long displacement =
        switch (random.nextInt(3)) {
          case 0 -> 0;
          case 1 -> random.nextInt(-128, 128);
          default -> random.nextInt();
        };
    final boolean narrow = chance(4);
    final int addressSize = narrow ? 4 : 8;
    final int index = number();
    long rest = target - displacement;
    final boolean indexed = chance(2) && index != base;
    final int scale = 1 << random.nextInt(4);
    if (indexed) {
      gprs[index] = narrow ? random.nextLong() : random.nextInt(-1000, 1000);
      rest -= gprs[index] * scale;
    }
    gprs[base] = narrow ? (rest & 0xFFFF_FFFFL) | random.nextLong() << 32 : rest;
    final Register baseRegister = Register.gpr(base, addressSize);
    return indexed
        ? Memory.at(baseRegister, Register.gpr(index, addressSize), scale, displacement)
        : Memory.at(baseRegister, displacement);
  }

  void putMemory(final int offset, final int size, final long value) {
    for (int i = 0; i < size; i++) {
      memory[offset + i] = (byte) (value >>> (8 * i));
    }
  }
}

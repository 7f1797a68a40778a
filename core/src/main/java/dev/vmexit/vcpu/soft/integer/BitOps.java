package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/** BT, BTS, BTR, BTC, BSF, BSR, POPCNT, LZCNT, TZCNT. */
final class BitOps {
  static final int TEST = 0;
  static final int SET = 1;
  static final int RESET = 2;
  static final int COMPLEMENT = 3;

  static final int SCAN_FORWARD = 0;
  static final int SCAN_REVERSE = 1;
  static final int POPULATION = 2;
  static final int LEADING = 3;
  static final int TRAILING = 4;

  private BitOps() {}

  static Op bindTest(final Instruction insn, final int operation) {
    return Forms.isMemory(insn, 0)
        ? new TestMemory(insn, operation)
        : new TestRegister(insn, operation);
  }

  static Op bindScan(final Instruction insn, final int operation) {
    return new Scan(insn, operation);
  }

  static long apply(final int operation, final long value, final long bit) {
    return switch (operation) {
      case SET -> value | bit;
      case RESET -> value & ~bit;
      case COMPLEMENT -> value ^ bit;
      default -> value;
    };
  }

  /** Bit number of an operand within a register: CF alone changes. */
  static final class TestRegister extends Op {
    private final int operation;
    private final int size;
    private final int dst;

    /** Offset of the register that holds the bit number, or -1: the immediate. */
    private final int src;

    private final int imm;

    TestRegister(final Instruction insn, final int operation) {
      super(insn);
      this.operation = operation;
      size = insn.operandSizes[0];
      dst = Forms.register(insn, 0);
      src = insn.operandKind[1] == Instruction.GPR ? Forms.register(insn, 1) : -1;
      imm = (int) insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int number = (src < 0 ? imm : cpu.reg16(src)) & (8 * size - 1);
      final long bit = 1L << number;
      final long value = Registers.read(cpu, dst, size);
      if (operation != TEST) {
        Registers.write(cpu, dst, size, apply(operation, value, bit));
      }
      cpu.setCf((value & bit) != 0);
    }
  }

  /** A register's bit number is signed and reaches beyond the operand; an immediate's does not. */
  static final class TestMemory extends Op {
    private final int operation;
    private final int size;
    private final int src;
    private final int imm;
    private final boolean locked;

    TestMemory(final Instruction insn, final int operation) {
      super(insn);
      this.operation = operation;
      size = insn.operandSizes[0];
      src = insn.operandKind[1] == Instruction.GPR ? Forms.register(insn, 1) : -1;
      imm = (int) insn.immediate;
      locked = insn.hasPrefix(Instruction.PREFIX_LOCK);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long number =
          src < 0
              ? imm & (8 * size - 1)
              : Registers.signExtend(Registers.read(cpu, src, size), size);
      final long bits = 8L * size;
      final long delta = Math.floorDiv(number, bits) * size;
      final long bit = 1L << (number & (bits - 1));
      final boolean write = operation != TEST;
      final long linear = displacedAddress(cpu, delta, size, write);
      final long value;
      if (locked) {
        value = setLocked(cpu, linear, bit);
      } else if (write) {
        value = cpu.loadForWrite(linear, size);
        cpu.store(linear, size, apply(operation, value, bit));
      } else {
        value = cpu.load(linear, size);
      }
      cpu.setCf((value & bit) != 0);
    }

    private long setLocked(final SoftCpu cpu, final long linear, final long bit) {
      long value;
      do {
        value = cpu.loadForWrite(linear, size);
      } while (!cpu.storeIfSame(linear, size, value, apply(operation, value, bit)));
      return value;
    }
  }

  /** What looks at a whole operand and yields a number. */
  static final class Scan extends Op {
    private final int operation;
    private final int size;
    private final int dst;

    /** Offset of the source register, or -1: memory. */
    private final int src;

    Scan(final Instruction insn, final int operation) {
      super(insn);
      this.operation = operation;
      size = insn.operandSizes[0];
      dst = Forms.register(insn, 0);
      src = Forms.isMemory(insn, 1) ? -1 : Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long value =
          src < 0 ? cpu.load(readAddress(cpu, size), size) : Registers.read(cpu, src, size);
      switch (operation) {
        case SCAN_FORWARD -> scanned(cpu, value, Long.numberOfTrailingZeros(value));
        case SCAN_REVERSE -> scanned(cpu, value, 63 - Long.numberOfLeadingZeros(value));
        case POPULATION -> {
          final int count = Long.bitCount(value);
          Registers.write(cpu, dst, size, count);
          // All flags but ZF are clear: PF of a zero result is turned round.
          cpu.setFlags(count == 0 ? 0 : 1, 0, count == 0 ? 4 : 0);
        }
        case LEADING -> counted(cpu, value, Long.numberOfLeadingZeros(value) - (64 - 8 * size));
        default -> counted(cpu, value, Math.min(Long.numberOfTrailingZeros(value), 8 * size));
      }
    }

    /**
     * BSF and BSR: a source of 0 leaves the whole destination alone. The flags that the SDM leaves
     * undefined are as on Zen 4: PF by the bit number, the others clear.
     */
    private void scanned(final SoftCpu cpu, final long value, final int number) {
      if (value == 0) {
        cpu.setFlags(0, 0, 0);
      } else {
        Registers.write(cpu, dst, size, number);
        // Bit 8 keeps bit number 0 from looking like a zero result.
        cpu.setFlags(0x100 | number, 0, 0);
      }
    }

    /** LZCNT and TZCNT: CF for a source of 0, ZF for a count of 0; OF stays, the others clear. */
    private void counted(final SoftCpu cpu, final long value, final int count) {
      Registers.write(cpu, dst, size, count);
      final boolean overflow = cpu.of();
      final boolean carry = value == 0;
      cpu.setFlags(
          count == 0 ? 0 : 1,
          (carry ? 1L << 63 : 0) | (carry != overflow ? 1L << 62 : 0),
          count == 0 ? 4 : 0);
    }
  }
}

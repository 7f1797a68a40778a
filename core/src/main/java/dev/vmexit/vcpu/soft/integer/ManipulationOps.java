package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * BMI1, BMI2 and ADX: bit fields, scattered bits, shifts and products that leave the flags alone,
 * additions with a carry of their own (SDM Vol. 1, 5.1.16 and 5.1.17).
 */
final class ManipulationOps {
  private ManipulationOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case ANDN, PDEP, PEXT, MULX -> new Binary(insn, 2, 1);
      case BEXTR, BZHI, SARX, SHLX, SHRX -> new Binary(insn, 1, 2);
      case BLSI, BLSMSK, BLSR, RORX -> new Unary(insn);
      case ADCX -> new AddCarry(insn, false);
      case ADOX -> new AddCarry(insn, true);
      default -> null;
    };
  }

  /** Scatters the low bits of a value to where a mask has ones. */
  static long deposit(final long value, final long mask) {
    return Long.expand(value, mask);
  }

  /** Gathers the bits of a value where a mask has ones. */
  static long extract(final long value, final long mask) {
    return Long.compress(value, mask);
  }

  /** An operand that is a register or memory. */
  private abstract static class Form extends Op {
    final int size;
    final int dst;

    /** Offset of the register in ModRM.rm, or -1: memory. */
    private final int rm;

    /** Whether the mode may turn out to be one that knows no VEX. */
    private final boolean vexInLegacyMode;

    Form(final Instruction insn, final int rmOperand) {
      super(insn);
      size = insn.operandSizes[0];
      dst = Forms.register(insn, 0);
      rm = Forms.isMemory(insn, rmOperand) ? -1 : Forms.register(insn, rmOperand);
      vexInLegacyMode = insn.codeSize != 8 && insn.hasPrefix(Instruction.PREFIX_VEX);
    }

    final long operand(final SoftCpu cpu) {
      if (vexInLegacyMode && !cpu.knowsVex()) {
        throw cpu.undefined();
      }
      return rm < 0 ? cpu.load(readAddress(cpu, size), size) : Registers.read(cpu, rm, size);
    }

    /** Flags of a result: SF, ZF; CF as given; OF clear; AF and PF, which are undefined, too. */
    final void result(final SoftCpu cpu, final long value, final boolean carry) {
      Registers.write(cpu, dst, size, value);
      cpu.setFlags(Registers.signExtend(value, size), carry ? 3L << 62 : 0, 0);
    }
  }

  /** Two sources, one of them in VEX.vvvv. */
  private static final class Binary extends Form {
    private static final int RDX = StateLayout.gpr(Gpr.RDX);

    private final Mnemonic mnemonic;
    private final int other;

    Binary(final Instruction insn, final int rmOperand, final int vvvvOperand) {
      super(insn, rmOperand);
      mnemonic = insn.mnemonic;
      other = Forms.register(insn, vvvvOperand);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long a = operand(cpu);
      final long b = Registers.read(cpu, other, size);
      final int bits = size * 8;
      switch (mnemonic) {
        case ANDN -> result(cpu, a & ~b, false);
        case PDEP -> Registers.write(cpu, dst, size, deposit(b, a));
        case PEXT -> Registers.write(cpu, dst, size, extract(b, a));
        case SHLX -> Registers.write(cpu, dst, size, a << (b & bits - 1));
        case SHRX -> Registers.write(cpu, dst, size, a >>> (b & bits - 1));
        case SARX ->
            Registers.write(cpu, dst, size, Registers.signExtend(a, size) >> (b & bits - 1));
        case BZHI -> {
          final int index = (int) b & 0xFF;
          result(cpu, index < bits ? a & (1L << index) - 1 : a, index >= bits);
        }
        case BEXTR -> {
          final int start = (int) b & 0xFF;
          final int count = (int) (b >>> 8) & 0xFF;
          final long shifted = start < bits ? a >>> start : 0;
          result(cpu, count < 64 ? shifted & (1L << count) - 1 : shifted, false);
        }
        default -> {
          // MULX: the high half wins where both destinations are one register.
          final long d = Registers.read(cpu, RDX, size);
          final long low = a * d;
          final long high = size == 8 ? Math.unsignedMultiplyHigh(a, d) : low >>> 32;
          Registers.write(cpu, other, size, low);
          Registers.write(cpu, dst, size, high);
        }
      }
    }
  }

  private static final class Unary extends Form {
    private final Mnemonic mnemonic;
    private final int count;

    Unary(final Instruction insn) {
      super(insn, 1);
      mnemonic = insn.mnemonic;
      count = (int) insn.immediate & (size * 8 - 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long a = operand(cpu);
      switch (mnemonic) {
        case BLSI -> result(cpu, a & -a, a != 0);
        case BLSMSK -> result(cpu, a ^ a - 1, a == 0);
        case BLSR -> result(cpu, a & a - 1, a == 0);
        default ->
            Registers.write(
                cpu,
                dst,
                size,
                size == 8 ? Long.rotateRight(a, count) : Integer.rotateRight((int) a, count));
      }
    }
  }

  /** ADCX through CF alone, ADOX through OF alone. */
  private static final class AddCarry extends Form {
    private final boolean overflow;

    AddCarry(final Instruction insn, final boolean overflow) {
      super(insn, 1);
      this.overflow = overflow;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long a = operand(cpu);
      final long b = Registers.read(cpu, dst, size);
      final boolean in = overflow ? cpu.of() : cpu.cf();
      final long sum = a + b + (in ? 1 : 0);
      Registers.write(cpu, dst, size, sum);
      final boolean out = size == 4 ? sum >>> 32 != 0 : ((a & b) | ((a | b) & ~sum)) < 0;
      if (!overflow) {
        cpu.setCf(out);
      } else if (out != in) {
        // OF is bit 63 ^ bit 62: flipping the lower one leaves CF.
        final long at = cpu.state + StateLayout.FLAG_CARRIES;
        HostMemory.putLong(at, HostMemory.getLong(at) ^ 1L << 62);
      }
    }
  }
}

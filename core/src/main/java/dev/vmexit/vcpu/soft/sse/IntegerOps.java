package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.function.LongBinaryOperator;

/**
 * Packed integer instructions on XMM registers that work element by element, and the bitwise ones
 * on floats, which are the same. Those that compilers and libc like best have a class of their own,
 * so that HotSpot inlines the semantics; the others share {@link Lanewise}.
 */
final class IntegerOps {
  private IntegerOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case PXOR, XORPS, XORPD -> isZeroing(insn) ? new Zero(insn) : new Xor(insn);
      case POR, ORPS, ORPD -> new Or(insn);
      case PAND, ANDPS, ANDPD -> new And(insn);
      case PANDN, ANDNPS, ANDNPD -> new AndNot(insn);
      case PCMPEQB -> new EqualBytes(insn);
      case PCMPEQD -> new EqualDoublewords(insn);
      case PMINUB -> new MinUnsignedBytes(insn);
      case PSUBB -> new SubtractBytes(insn);
      case PADDD -> new AddDoublewords(insn);
      case PADDQ -> new AddQuadwords(insn);
      case PSLLDQ -> new ShiftLeftBytes(insn);
      case PSRLDQ -> new ShiftRightBytes(insn);
      default -> {
        final LongBinaryOperator lane = LaneTable.lane(insn.mnemonic);
        if (lane != null) {
          yield new Lanewise(insn, lane);
        }
        final LongBinaryOperator shift = LaneTable.shift(insn.mnemonic);
        if (shift == null) {
          yield null;
        }
        yield insn.operandKind[1] == Instruction.IMMEDIATE
            ? immediateShift(insn, shift)
            : new Shift(insn, shift);
      }
    };
  }

  private static boolean isZeroing(final Instruction insn) {
    return insn.operandKind[1] == Instruction.XMM
        && insn.operandRegister[0] == insn.operandRegister[1];
  }

  private static Op immediateShift(final Instruction insn, final LongBinaryOperator shift) {
    if (insn.mnemonic == Mnemonic.PSLLD) {
      return new ShiftLeftDoublewords(insn);
    }
    if (insn.mnemonic == Mnemonic.PSRLD) {
      return new ShiftRightDoublewords(insn);
    }
    return new ImmediateShift(insn, shift);
  }

  /** PXOR of a register with itself: the usual way to clear it. */
  private static final class Zero extends SseOp {
    Zero(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long to = cpu.state + destination;
      HostMemory.putLong(to, 0);
      HostMemory.putLong(to + 8, 0);
    }
  }

  private static final class Xor extends SseOp {
    Xor(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Lanes.xor(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high = Lanes.xor(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class Or extends SseOp {
    Or(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Lanes.or(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high = Lanes.or(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class And extends SseOp {
    And(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Lanes.and(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high = Lanes.and(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class AndNot extends SseOp {
    AndNot(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Lanes.andNot(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high = Lanes.andNot(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class EqualBytes extends SseOp {
    EqualBytes(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Lanes.equalBytes(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high = Lanes.equalBytes(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class EqualDoublewords extends SseOp {
    EqualDoublewords(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Lanes.equalDoublewords(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high =
          Lanes.equalDoublewords(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class MinUnsignedBytes extends SseOp {
    MinUnsignedBytes(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Lanes.minUnsignedBytes(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high =
          Lanes.minUnsignedBytes(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class SubtractBytes extends SseOp {
    SubtractBytes(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Lanes.subtractBytes(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high =
          Lanes.subtractBytes(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class AddDoublewords extends SseOp {
    AddDoublewords(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Lanes.addDoublewords(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high =
          Lanes.addDoublewords(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class AddQuadwords extends SseOp {
    AddQuadwords(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = Long.sum(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high = Long.sum(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  /** Any instruction of {@link LaneTable#lane}. */
  private static final class Lanewise extends SseOp {
    private final LongBinaryOperator lane;

    Lanewise(final Instruction insn, final LongBinaryOperator lane) {
      super(insn);
      this.lane = lane;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low = lane.applyAsLong(HostMemory.getLong(to), HostMemory.getLong(from));
      final long high = lane.applyAsLong(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  /** Shift by the low 64 bits of a register or of memory. */
  private static final class Shift extends SseOp {
    private final LongBinaryOperator shift;

    Shift(final Instruction insn, final LongBinaryOperator shift) {
      super(insn);
      this.shift = shift;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long count = HostMemory.getLong(source16(cpu));
      final long to = cpu.state + destination;
      HostMemory.putLong(to, shift.applyAsLong(HostMemory.getLong(to), count));
      HostMemory.putLong(to + 8, shift.applyAsLong(HostMemory.getLong(to + 8), count));
    }
  }

  private static final class ImmediateShift extends SseOp {
    private final LongBinaryOperator shift;
    private final long count;

    ImmediateShift(final Instruction insn, final LongBinaryOperator shift) {
      super(insn);
      this.shift = shift;
      count = insn.immediate & 0xFF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long to = cpu.state + destination;
      HostMemory.putLong(to, shift.applyAsLong(HostMemory.getLong(to), count));
      HostMemory.putLong(to + 8, shift.applyAsLong(HostMemory.getLong(to + 8), count));
    }
  }

  private static final class ShiftLeftDoublewords extends SseOp {
    private final long count;

    ShiftLeftDoublewords(final Instruction insn) {
      super(insn);
      count = insn.immediate & 0xFF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long to = cpu.state + destination;
      HostMemory.putLong(to, Lanes.shiftLeftDoublewords(HostMemory.getLong(to), count));
      HostMemory.putLong(to + 8, Lanes.shiftLeftDoublewords(HostMemory.getLong(to + 8), count));
    }
  }

  private static final class ShiftRightDoublewords extends SseOp {
    private final long count;

    ShiftRightDoublewords(final Instruction insn) {
      super(insn);
      count = insn.immediate & 0xFF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long to = cpu.state + destination;
      HostMemory.putLong(to, Lanes.shiftRightDoublewords(HostMemory.getLong(to), count));
      HostMemory.putLong(to + 8, Lanes.shiftRightDoublewords(HostMemory.getLong(to + 8), count));
    }
  }

  /** PSLLDQ: the whole register by bytes. */
  private static final class ShiftLeftBytes extends SseOp {
    private final int bits;

    ShiftLeftBytes(final Instruction insn) {
      super(insn);
      bits = (int) Math.min(insn.immediate & 0xFF, 16) * 8;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long to = cpu.state + destination;
      final long low = HostMemory.getLong(to);
      final long high = HostMemory.getLong(to + 8);
      if (bits == 0) {
        return;
      }
      HostMemory.putLong(to, bits < 64 ? low << bits : 0);
      HostMemory.putLong(
          to + 8,
          bits < 64 ? high << bits | low >>> (64 - bits) : bits < 128 ? low << (bits - 64) : 0);
    }
  }

  /** PSRLDQ. */
  private static final class ShiftRightBytes extends SseOp {
    private final int bits;

    ShiftRightBytes(final Instruction insn) {
      super(insn);
      bits = (int) Math.min(insn.immediate & 0xFF, 16) * 8;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long to = cpu.state + destination;
      final long low = HostMemory.getLong(to);
      final long high = HostMemory.getLong(to + 8);
      if (bits == 0) {
        return;
      }
      HostMemory.putLong(
          to,
          bits < 64 ? low >>> bits | high << (64 - bits) : bits < 128 ? high >>> (bits - 64) : 0);
      HostMemory.putLong(to + 8, bits < 64 ? high >>> bits : 0);
    }
  }
}

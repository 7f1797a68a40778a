package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import java.util.function.LongUnaryOperator;

/** SSSE3 on XMM registers, but for what works element by element (SDM Vol. 1, 12.6). */
final class ByteShuffleOps {
  private ByteShuffleOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case PSHUFB -> new ShuffleBytes(insn);
      case PALIGNR -> new AlignRight(insn);
      case PHADDW, PHADDSW, PHADDD, PHSUBW, PHSUBSW, PHSUBD ->
          new Neighbours(insn, LaneTable.neighbours(insn.mnemonic));
      default -> null;
    };
  }

  private static final class ShuffleBytes extends SseOp {
    ShuffleBytes(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long indexesLow = HostMemory.getLong(from);
      final long indexesHigh = HostMemory.getLong(from + 8);
      final long low = cpu.reg64(destination);
      final long high = cpu.reg64(destination + 8);
      cpu.reg64(destination, Lanes.shuffleBytes(low, high, indexesLow));
      cpu.reg64(destination + 8, Lanes.shuffleBytes(low, high, indexesHigh));
    }
  }

  private static final class AlignRight extends SseOp {
    private final int bits;

    AlignRight(final Instruction insn) {
      super(insn);
      bits = (int) (insn.immediate & 0xFF) * 8;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long a = HostMemory.getLong(from);
      final long b = HostMemory.getLong(from + 8);
      final long c = cpu.reg64(destination);
      final long d = cpu.reg64(destination + 8);
      cpu.reg64(destination, word(a, b, c, d, bits));
      cpu.reg64(destination + 8, word(a, b, c, d, bits + 64));
    }

    /** 64 bits from a position on, of 256. */
    private static long word(
        final long a, final long b, final long c, final long d, final int from) {
      return switch (from >>> 6) {
        case 0 -> Lanes.extract(a, b, from & 63);
        case 1 -> Lanes.extract(b, c, from & 63);
        case 2 -> Lanes.extract(c, d, from & 63);
        case 3 -> Lanes.extract(d, 0, from & 63);
        default -> 0;
      };
    }
  }

  private static final class Neighbours extends SseOp {
    private final LongUnaryOperator pairs;

    Neighbours(final Instruction insn, final LongUnaryOperator pairs) {
      super(insn);
      this.pairs = pairs;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low =
          pairs.applyAsLong(HostMemory.getLong(to))
              | pairs.applyAsLong(HostMemory.getLong(to + 8)) << 32;
      final long high =
          pairs.applyAsLong(HostMemory.getLong(from))
              | pairs.applyAsLong(HostMemory.getLong(from + 8)) << 32;
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }
}

package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.vcpu.soft.x87.SoftFloat;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** SSE3: sums within a register, alternating sums, and moves that duplicate (SDM Vol. 1, 12.3). */
final class HorizontalOps {
  private static final long LOW = 0xFFFF_FFFFL;

  private HorizontalOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case ADDSUBPS, ADDSUBPD, HADDPS, HADDPD, HSUBPS, HSUBPD -> new Sum(insn);
      case MOVSLDUP, MOVSHDUP -> new DuplicateFloats(insn);
      case MOVDDUP -> new DuplicateDouble(insn);
      default -> null;
    };
  }

  private static final class Sum extends SseOp {
    private final Mnemonic mnemonic;

    Sum(final Instruction insn) {
      super(insn);
      mnemonic = insn.mnemonic;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long al = HostMemory.getLong(to);
      final long ah = HostMemory.getLong(to + 8);
      final long bl = HostMemory.getLong(from);
      final long bh = HostMemory.getLong(from + 8);
      final SoftFloat f = Mxcsr.begin(cpu);
      final long low;
      final long high;
      switch (mnemonic) {
        case ADDSUBPD -> {
          low = SseMath.compute(f, SseMath.SUBTRACT, al, bl);
          high = SseMath.compute(f, SseMath.ADD, ah, bh);
        }
        case HADDPD -> {
          low = SseMath.compute(f, SseMath.ADD, al, ah);
          high = SseMath.compute(f, SseMath.ADD, bl, bh);
        }
        case HSUBPD -> {
          low = SseMath.compute(f, SseMath.SUBTRACT, al, ah);
          high = SseMath.compute(f, SseMath.SUBTRACT, bl, bh);
        }
        case ADDSUBPS -> {
          low = alternate(f, al, bl);
          high = alternate(f, ah, bh);
        }
        case HADDPS -> {
          low = pairs(f, SseMath.ADD, al, ah);
          high = pairs(f, SseMath.ADD, bl, bh);
        }
        default -> {
          low = pairs(f, SseMath.SUBTRACT, al, ah);
          high = pairs(f, SseMath.SUBTRACT, bl, bh);
        }
      }
      Mxcsr.finish(cpu, f);
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }

    private static long alternate(final SoftFloat f, final long a, final long b) {
      final long difference = SseMath.compute(f, SseMath.SUBTRACT, (int) a, (int) b);
      final long sum = SseMath.compute(f, SseMath.ADD, (int) (a >>> 32), (int) (b >>> 32));
      return (difference & LOW) | sum << 32;
    }

    /** Each argument's two floats taken together. */
    private static long pairs(final SoftFloat f, final int operation, final long a, final long b) {
      final long first = SseMath.compute(f, operation, (int) a, (int) (a >>> 32));
      final long second = SseMath.compute(f, operation, (int) b, (int) (b >>> 32));
      return (first & LOW) | second << 32;
    }
  }

  private static final class DuplicateFloats extends SseOp {
    private final boolean odd;

    DuplicateFloats(final Instruction insn) {
      super(insn);
      odd = insn.mnemonic == Mnemonic.MOVSHDUP;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long low = HostMemory.getLong(from);
      final long high = HostMemory.getLong(from + 8);
      cpu.reg64(destination, twice(odd ? low >>> 32 : low & LOW));
      cpu.reg64(destination + 8, twice(odd ? high >>> 32 : high & LOW));
    }

    private static long twice(final long value) {
      return value | value << 32;
    }
  }

  private static final class DuplicateDouble extends SseOp {
    DuplicateDouble(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = source8(cpu);
      cpu.reg64(destination, value);
      cpu.reg64(destination + 8, value);
    }
  }
}

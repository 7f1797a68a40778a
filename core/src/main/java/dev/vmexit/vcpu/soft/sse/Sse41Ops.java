package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.vcpu.soft.x87.SoftFloat;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * SSE4.1, but for what works element by element in 64 bits (SDM Vol. 1, 12.9): a list of small
 * classes, one for each group of instructions.
 */
final class Sse41Ops {
  private static final long LOW = 0xFFFF_FFFFL;

  private Sse41Ops() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case PMOVSXBW, PMOVSXBD, PMOVSXBQ, PMOVSXWD, PMOVSXWQ, PMOVSXDQ -> extend(insn, true);
      case PMOVZXBW, PMOVZXBD, PMOVZXBQ, PMOVZXWD, PMOVZXWQ, PMOVZXDQ -> extend(insn, false);
      case BLENDPS, BLENDPD, PBLENDW, BLENDVPS, BLENDVPD, PBLENDVB -> new Blend(insn);
      case PTEST -> new Test(insn);
      case MPSADBW -> new Differences(insn);
      case PHMINPOSUW -> new Minimum(insn);
      case ROUNDPS, ROUNDPD, ROUNDSS, ROUNDSD -> new Round(insn);
      case DPPS, DPPD -> new DotProduct(insn);
      case PEXTRB, PEXTRD, PEXTRQ, EXTRACTPS -> new Extract(insn);
      case PINSRB, PINSRD, PINSRQ -> new Insert(insn);
      case INSERTPS -> new InsertFloat(insn);
      default -> null;
    };
  }

  private static Op extend(final Instruction insn, final boolean signed) {
    return switch (insn.mnemonic) {
      case PMOVSXBW, PMOVZXBW -> new Extend(insn, signed, 8, 16);
      case PMOVSXBD, PMOVZXBD -> new Extend(insn, signed, 8, 32);
      case PMOVSXBQ, PMOVZXBQ -> new Extend(insn, signed, 8, 64);
      case PMOVSXWD, PMOVZXWD -> new Extend(insn, signed, 16, 32);
      case PMOVSXWQ, PMOVZXWQ -> new Extend(insn, signed, 16, 64);
      default -> new Extend(insn, signed, 32, 64);
    };
  }

  /** PMOVSXxx, PMOVZXxx. */
  private static final class Extend extends SseOp {
    private final boolean signed;
    private final int from;
    private final int to;
    private final int bytes;

    Extend(final Instruction insn, final boolean signed, final int from, final int to) {
      super(insn);
      this.signed = signed;
      this.from = from;
      this.to = to;
      bytes = 16 * from / to;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long packed =
          source >= 0 ? cpu.reg64(source) : cpu.load(readAddress(cpu, bytes), bytes);
      cpu.reg64(destination, half(packed));
      cpu.reg64(destination + 8, half(packed >>> (bytes * 4)));
    }

    private long half(final long packed) {
      long result = 0;
      for (int i = 0; i < 64 / to; i++) {
        final long top = packed << (64 - from - i * from);
        final long value = signed ? top >> (64 - from) : top >>> (64 - from);
        result |= (value & -1L >>> (64 - to)) << (i * to);
      }
      return result;
    }
  }

  /** Elements of the source where the immediate's or XMM0's bits are set. */
  private static final class Blend extends SseOp {
    /** Bits of an element. */
    private final int bits;

    private final boolean byRegister;

    /** Offset of the register that picks: XMM0, but with a VEX prefix. */
    private final int mask;

    private final int picks;

    Blend(final Instruction insn) {
      super(insn);
      bits =
          switch (insn.mnemonic) {
            case PBLENDVB -> 8;
            case PBLENDW -> 16;
            case BLENDPS, BLENDVPS -> 32;
            default -> 64;
          };
      byRegister =
          insn.mnemonic == Mnemonic.PBLENDVB
              || insn.mnemonic == Mnemonic.BLENDVPS
              || insn.mnemonic == Mnemonic.BLENDVPD;
      mask = byRegister && insn.operandCount > 2 ? xmm(insn, 2) : StateLayout.XMM;
      picks = (int) insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final int count = 64 / bits;
      final long lowMask = byRegister ? signs(cpu.reg64(mask)) : chosen(picks & (1 << count) - 1);
      final long highMask = byRegister ? signs(cpu.reg64(mask + 8)) : chosen(picks >>> count);
      final long low = blend(HostMemory.getLong(to), HostMemory.getLong(from), lowMask);
      final long high = blend(HostMemory.getLong(to + 8), HostMemory.getLong(from + 8), highMask);
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }

    private static long blend(final long old, final long other, final long mask) {
      return old ^ ((old ^ other) & mask);
    }

    private long element(final int index) {
      return -1L >>> (64 - bits) << (index * bits);
    }

    private long signs(final long picker) {
      long result = 0;
      for (int i = 0; i < 64 / bits; i++) {
        result |= picker << (64 - bits - i * bits) < 0 ? element(i) : 0;
      }
      return result;
    }

    private long chosen(final int indexes) {
      long result = 0;
      for (int i = 0; i < 64 / bits; i++) {
        result |= (indexes >>> i & 1) != 0 ? element(i) : 0;
      }
      return result;
    }
  }

  private static final class Test extends SseOp {
    Test(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long low = HostMemory.getLong(from);
      final long high = HostMemory.getLong(from + 8);
      final long a = cpu.reg64(destination);
      final long b = cpu.reg64(destination + 8);
      cpu.setArithmeticFlags(
          (((low & a) | (high & b)) == 0 ? Flags.ZF : 0)
              | (((low & ~a) | (high & ~b)) == 0 ? Flags.CF : 0));
    }
  }

  /** MPSADBW: eight sums of four absolute differences. */
  private static final class Differences extends SseOp {
    private final int block;
    private final int start;

    Differences(final Instruction insn) {
      super(insn);
      block = ((int) insn.immediate & 3) * 4;
      start = ((int) insn.immediate >> 2 & 1) * 4;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int fixed = HostMemory.getInt(source16(cpu) + block);
      final long to = cpu.state + destination;
      final long low = sums(to, fixed, start);
      final long high = sums(to, fixed, start + 4);
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }

    private static long sums(final long at, final int fixed, final int first) {
      long result = 0;
      for (int i = 0; i < 4; i++) {
        final int sliding = HostMemory.getInt(at + first + i);
        final long sum = Lanes.sumOfAbsoluteDifferences(sliding & LOW, fixed & LOW);
        result |= sum << (i * 16);
      }
      return result;
    }
  }

  /** PHMINPOSUW: the smallest word and where it is. */
  private static final class Minimum extends SseOp {
    Minimum(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      int smallest = 0x10000;
      int index = 0;
      for (int i = 0; i < 8; i++) {
        final int word = HostMemory.getShort(from + i * 2L);
        if (word < smallest) {
          smallest = word;
          index = i;
        }
      }
      cpu.reg64(destination, smallest | index << 16);
      cpu.reg64(destination + 8, 0);
    }
  }

  private static final class Round extends SseOp {
    private static final int SUPPRESS_PRECISION = 8;
    private static final int MXCSR_ROUNDING = 4;

    private final int control;
    private final boolean doubles;
    private final boolean packed;

    Round(final Instruction insn) {
      super(insn);
      control = (int) insn.immediate;
      doubles = insn.mnemonic == Mnemonic.ROUNDPD || insn.mnemonic == Mnemonic.ROUNDSD;
      packed = insn.mnemonic == Mnemonic.ROUNDPD || insn.mnemonic == Mnemonic.ROUNDPS;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long low;
      final long high;
      if (packed) {
        final long from = source16(cpu);
        low = HostMemory.getLong(from);
        high = HostMemory.getLong(from + 8);
      } else {
        low = doubles ? source8(cpu) : source4(cpu);
        high = 0;
      }
      final SoftFloat f = Mxcsr.begin(cpu);
      if ((control & MXCSR_ROUNDING) == 0) {
        f.rounding = control & 3;
      }
      final long newLow =
          doubles
              ? SseConvert.roundToIntegral(f, low)
              : packed ? pair(f, low) : single(f, (int) low);
      final long newHigh =
          !packed ? 0 : doubles ? SseConvert.roundToIntegral(f, high) : pair(f, high);
      if ((control & SUPPRESS_PRECISION) != 0) {
        f.flags &= ~SoftFloat.PRECISION;
      }
      Mxcsr.finish(cpu, f);
      if (packed) {
        cpu.reg64(destination, newLow);
        cpu.reg64(destination + 8, newHigh);
      } else if (doubles) {
        cpu.reg64(destination, newLow);
      } else {
        HostMemory.putInt(cpu.state + destination, (int) newLow);
      }
    }

    private static long single(final SoftFloat f, final int value) {
      return SseConvert.roundToIntegral(f, value);
    }

    private static long pair(final SoftFloat f, final long values) {
      final long low = SseConvert.roundToIntegral(f, (int) values);
      final long high = SseConvert.roundToIntegral(f, (int) (values >>> 32));
      return (low & LOW) | high << 32;
    }
  }

  private static final class DotProduct extends SseOp {
    private final boolean doubles;
    private final int multiplies;
    private final int delivers;

    DotProduct(final Instruction insn) {
      super(insn);
      doubles = insn.mnemonic == Mnemonic.DPPD;
      multiplies = (int) insn.immediate >> 4 & 0xF;
      delivers = (int) insn.immediate & 0xF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final SoftFloat f = Mxcsr.begin(cpu);
      if (doubles) {
        final long first = product8(f, to, from, 0);
        final long second = product8(f, to, from, 1);
        Mxcsr.stop(cpu, f);
        final long sum = SseMath.compute(f, SseMath.ADD, first, second);
        Mxcsr.finish(cpu, f);
        HostMemory.putLong(to, (delivers & 1) != 0 ? sum : 0);
        HostMemory.putLong(to + 8, (delivers & 2) != 0 ? sum : 0);
        return;
      }
      final int a = product4(f, to, from, 0);
      final int b = product4(f, to, from, 1);
      final int c = product4(f, to, from, 2);
      final int d = product4(f, to, from, 3);
      Mxcsr.stop(cpu, f);
      final int low = SseMath.compute(f, SseMath.ADD, a, b);
      final int high = SseMath.compute(f, SseMath.ADD, c, d);
      Mxcsr.stop(cpu, f);
      final int sum = SseMath.compute(f, SseMath.ADD, low, high);
      Mxcsr.finish(cpu, f);
      for (int i = 0; i < 4; i++) {
        HostMemory.putInt(to + i * 4L, (delivers >>> i & 1) != 0 ? sum : 0);
      }
    }

    private long product8(final SoftFloat f, final long a, final long b, final int index) {
      return (multiplies >>> index & 1) == 0
          ? 0
          : SseMath.compute(
              f,
              SseMath.MULTIPLY,
              HostMemory.getLong(a + index * 8L),
              HostMemory.getLong(b + index * 8L));
    }

    private int product4(final SoftFloat f, final long a, final long b, final int index) {
      return (multiplies >>> index & 1) == 0
          ? 0
          : SseMath.compute(
              f,
              SseMath.MULTIPLY,
              HostMemory.getInt(a + index * 4L),
              HostMemory.getInt(b + index * 4L));
    }
  }

  /** PEXTRB, PEXTRD, PEXTRQ, EXTRACTPS. */
  private static final class Extract extends SseOp {
    private final int register;
    private final int size;
    private final int offset;

    Extract(final Instruction insn) {
      super(insn);
      size =
          switch (insn.mnemonic) {
            case PEXTRB -> 1;
            case PEXTRQ -> 8;
            default -> 4;
          };
      register =
          insn.operandKind[0] == Instruction.MEMORY ? -1 : StateLayout.gpr(insn.operandRegister[0]);
      offset = ((int) insn.immediate & 16 / size - 1) * size;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = HostMemory.get(cpu.state + source + offset, size);
      if (register >= 0) {
        cpu.reg64(register, value);
      } else {
        cpu.store(writeAddress(cpu, size), size, value);
      }
    }
  }

  /** PINSRB, PINSRD, PINSRQ. */
  private static final class Insert extends SseOp {
    private final int register;
    private final int size;
    private final int offset;

    Insert(final Instruction insn) {
      super(insn);
      size =
          switch (insn.mnemonic) {
            case PINSRB -> 1;
            case PINSRQ -> 8;
            default -> 4;
          };
      register =
          insn.operandKind[1] == Instruction.MEMORY ? -1 : StateLayout.gpr(insn.operandRegister[1]);
      offset = ((int) insn.immediate & 16 / size - 1) * size;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value =
          register >= 0 ? cpu.reg64(register) : cpu.load(readAddress(cpu, size), size);
      HostMemory.put(cpu.state + destination + offset, size, value);
    }
  }

  private static final class InsertFloat extends SseOp {
    private final int from;
    private final int to;
    private final int zeros;

    InsertFloat(final Instruction insn) {
      super(insn);
      from = ((int) insn.immediate >> 6 & 3) * 4;
      to = ((int) insn.immediate >> 4 & 3) * 4;
      zeros = (int) insn.immediate & 0xF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int value =
          source >= 0
              ? HostMemory.getInt(cpu.state + source + from)
              : cpu.load32(readAddress(cpu, 4));
      final long register = cpu.state + destination;
      HostMemory.putInt(register + to, value);
      for (int i = 0; i < 4; i++) {
        if ((zeros >>> i & 1) != 0) {
          HostMemory.putInt(register + i * 4L, 0);
        }
      }
    }
  }
}

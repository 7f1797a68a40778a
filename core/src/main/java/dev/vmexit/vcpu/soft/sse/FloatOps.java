package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.vcpu.soft.x87.SoftFloat;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * Floating-point arithmetic and comparisons of SSE and SSE2: a list of small classes, one for each
 * shape of operands, over {@link SseMath}.
 */
final class FloatOps {
  private FloatOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case ADDSD -> new AddDouble(insn);
      case SUBSD -> new SubtractDouble(insn);
      case MULSD -> new MultiplyDouble(insn);
      case DIVSD -> new DivideDouble(insn);
      case MINSD -> new ScalarDouble(insn, SseMath.MIN);
      case MAXSD -> new ScalarDouble(insn, SseMath.MAX);
      case SQRTSD -> new ScalarDouble(insn, SseMath.SQUARE_ROOT);
      case ADDSS -> new ScalarFloat(insn, SseMath.ADD);
      case SUBSS -> new ScalarFloat(insn, SseMath.SUBTRACT);
      case MULSS -> new ScalarFloat(insn, SseMath.MULTIPLY);
      case DIVSS -> new ScalarFloat(insn, SseMath.DIVIDE);
      case MINSS -> new ScalarFloat(insn, SseMath.MIN);
      case MAXSS -> new ScalarFloat(insn, SseMath.MAX);
      case SQRTSS -> new ScalarFloat(insn, SseMath.SQUARE_ROOT);
      case ADDPD -> new PackedDouble(insn, SseMath.ADD);
      case SUBPD -> new PackedDouble(insn, SseMath.SUBTRACT);
      case MULPD -> new PackedDouble(insn, SseMath.MULTIPLY);
      case DIVPD -> new PackedDouble(insn, SseMath.DIVIDE);
      case MINPD -> new PackedDouble(insn, SseMath.MIN);
      case MAXPD -> new PackedDouble(insn, SseMath.MAX);
      case SQRTPD -> new PackedDouble(insn, SseMath.SQUARE_ROOT);
      case ADDPS -> new PackedFloat(insn, SseMath.ADD);
      case SUBPS -> new PackedFloat(insn, SseMath.SUBTRACT);
      case MULPS -> new PackedFloat(insn, SseMath.MULTIPLY);
      case DIVPS -> new PackedFloat(insn, SseMath.DIVIDE);
      case MINPS -> new PackedFloat(insn, SseMath.MIN);
      case MAXPS -> new PackedFloat(insn, SseMath.MAX);
      case SQRTPS -> new PackedFloat(insn, SseMath.SQUARE_ROOT);
      case CMPSD -> new CompareMaskDouble(insn);
      case CMPSS -> new CompareMaskFloat(insn);
      case CMPPD -> new CompareMaskPackedDouble(insn);
      case CMPPS -> new CompareMaskPackedFloat(insn);
      case COMISD -> new CompareDouble(insn, false);
      case UCOMISD -> new CompareDouble(insn, true);
      case COMISS -> new CompareFloat(insn, false);
      case UCOMISS -> new CompareFloat(insn, true);
      case RCPSS, RSQRTSS -> new ApproximateScalar(insn);
      case RCPPS, RSQRTPS -> new ApproximatePacked(insn);
      default -> null;
    };
  }

  /**
   * Whether a double from Java's arithmetic needs no second look: normal, not the smallest normal
   * (it may be a tiny result rounded up), no infinity or NaN, from operands that are no denormals.
   */
  private static boolean isPlain(final long a, final long b, final long result) {
    final int exponent = (int) (result >>> 52) & 0x7FF;
    return exponent > 1 && exponent < 0x7FF && !SseMath.isDenormal(a) && !SseMath.isDenormal(b);
  }

  private static long exactly(final SoftCpu cpu, final int operation, final long a, final long b) {
    final SoftFloat f = Mxcsr.begin(cpu);
    final long result = SseMath.compute(f, operation, a, b);
    Mxcsr.finish(cpu, f);
    return result;
  }

  private static final class AddDouble extends SseOp {
    AddDouble(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = source8(cpu);
      final long a = cpu.reg64(destination);
      if (Mxcsr.isSimple(Mxcsr.get(cpu))) {
        final long result =
            Double.doubleToRawLongBits(Double.longBitsToDouble(a) + Double.longBitsToDouble(b));
        if (isPlain(a, b, result)) {
          cpu.reg64(destination, result);
          return;
        }
      }
      cpu.reg64(destination, exactly(cpu, SseMath.ADD, a, b));
    }
  }

  private static final class SubtractDouble extends SseOp {
    SubtractDouble(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = source8(cpu);
      final long a = cpu.reg64(destination);
      if (Mxcsr.isSimple(Mxcsr.get(cpu))) {
        final long result =
            Double.doubleToRawLongBits(Double.longBitsToDouble(a) - Double.longBitsToDouble(b));
        if (isPlain(a, b, result)) {
          cpu.reg64(destination, result);
          return;
        }
      }
      cpu.reg64(destination, exactly(cpu, SseMath.SUBTRACT, a, b));
    }
  }

  private static final class MultiplyDouble extends SseOp {
    MultiplyDouble(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = source8(cpu);
      final long a = cpu.reg64(destination);
      if (Mxcsr.isSimple(Mxcsr.get(cpu))) {
        final long result =
            Double.doubleToRawLongBits(Double.longBitsToDouble(a) * Double.longBitsToDouble(b));
        if (isPlain(a, b, result)) {
          cpu.reg64(destination, result);
          return;
        }
      }
      cpu.reg64(destination, exactly(cpu, SseMath.MULTIPLY, a, b));
    }
  }

  private static final class DivideDouble extends SseOp {
    DivideDouble(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = source8(cpu);
      final long a = cpu.reg64(destination);
      if (Mxcsr.isSimple(Mxcsr.get(cpu))) {
        final long result =
            Double.doubleToRawLongBits(Double.longBitsToDouble(a) / Double.longBitsToDouble(b));
        if (isPlain(a, b, result)) {
          cpu.reg64(destination, result);
          return;
        }
      }
      cpu.reg64(destination, exactly(cpu, SseMath.DIVIDE, a, b));
    }
  }

  private static final class ScalarDouble extends SseOp {
    private final int operation;

    ScalarDouble(final Instruction insn, final int operation) {
      super(insn);
      this.operation = operation;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = source8(cpu);
      cpu.reg64(destination, exactly(cpu, operation, cpu.reg64(destination), b));
    }
  }

  private static final class PackedDouble extends SseOp {
    private final int operation;

    PackedDouble(final Instruction insn, final int operation) {
      super(insn);
      this.operation = operation;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final SoftFloat f = Mxcsr.begin(cpu);
      final long low =
          SseMath.compute(f, operation, HostMemory.getLong(to), HostMemory.getLong(from));
      final long high =
          SseMath.compute(f, operation, HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      Mxcsr.finish(cpu, f);
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class ScalarFloat extends SseOp {
    private final int operation;

    ScalarFloat(final Instruction insn, final int operation) {
      super(insn);
      this.operation = operation;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int b = source4(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final int result = SseMath.compute(f, operation, cpu.reg32(destination), b);
      Mxcsr.finish(cpu, f);
      HostMemory.putInt(cpu.state + destination, result);
    }
  }

  private static final class PackedFloat extends SseOp {
    private final int operation;

    PackedFloat(final Instruction insn, final int operation) {
      super(insn);
      this.operation = operation;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final SoftFloat f = Mxcsr.begin(cpu);
      final long low = pair(f, HostMemory.getLong(to), HostMemory.getLong(from));
      final long high = pair(f, HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      Mxcsr.finish(cpu, f);
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }

    private long pair(final SoftFloat f, final long a, final long b) {
      return (SseMath.compute(f, operation, (int) a, (int) b) & 0xFFFF_FFFFL)
          | (long) SseMath.compute(f, operation, (int) (a >>> 32), (int) (b >>> 32)) << 32;
    }
  }

  /** VEX forms have 32 predicates. */
  private static int predicate(final Instruction insn) {
    return (int) insn.immediate & (insn.hasPrefix(Instruction.PREFIX_VEX) ? 31 : 7);
  }

  private static final class CompareMaskDouble extends SseOp {
    private final int predicate;

    CompareMaskDouble(final Instruction insn) {
      super(insn);
      predicate = predicate(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = source8(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final long result = SseCompare.compareMask(f, predicate, cpu.reg64(destination), b);
      Mxcsr.finish(cpu, f);
      cpu.reg64(destination, result);
    }
  }

  private static final class CompareMaskFloat extends SseOp {
    private final int predicate;

    CompareMaskFloat(final Instruction insn) {
      super(insn);
      predicate = predicate(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int b = source4(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final int result = SseCompare.compareMask(f, predicate, cpu.reg32(destination), b);
      Mxcsr.finish(cpu, f);
      HostMemory.putInt(cpu.state + destination, result);
    }
  }

  private static final class CompareMaskPackedDouble extends SseOp {
    private final int predicate;

    CompareMaskPackedDouble(final Instruction insn) {
      super(insn);
      predicate = predicate(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final SoftFloat f = Mxcsr.begin(cpu);
      final long low =
          SseCompare.compareMask(f, predicate, HostMemory.getLong(to), HostMemory.getLong(from));
      final long high =
          SseCompare.compareMask(
              f, predicate, HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      Mxcsr.finish(cpu, f);
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class CompareMaskPackedFloat extends SseOp {
    private final int predicate;

    CompareMaskPackedFloat(final Instruction insn) {
      super(insn);
      predicate = predicate(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final SoftFloat f = Mxcsr.begin(cpu);
      final long low = pair(f, HostMemory.getLong(to), HostMemory.getLong(from));
      final long high = pair(f, HostMemory.getLong(to + 8), HostMemory.getLong(from + 8));
      Mxcsr.finish(cpu, f);
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }

    private long pair(final SoftFloat f, final long a, final long b) {
      return (SseCompare.compareMask(f, predicate, (int) a, (int) b) & 0xFFFF_FFFFL)
          | (long) SseCompare.compareMask(f, predicate, (int) (a >>> 32), (int) (b >>> 32)) << 32;
    }
  }

  /** COMISD, UCOMISD: ZF, PF, CF; the others are cleared. */
  private static final class CompareDouble extends SseOp {
    private final boolean quiet;

    CompareDouble(final Instruction insn, final boolean quiet) {
      super(insn);
      this.quiet = quiet;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = source8(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final int order = SseCompare.compare(f, cpu.reg64(destination), b, quiet);
      Mxcsr.finish(cpu, f);
      cpu.setArithmeticFlags(flags(order));
    }
  }

  private static final class CompareFloat extends SseOp {
    private final boolean quiet;

    CompareFloat(final Instruction insn, final boolean quiet) {
      super(insn);
      this.quiet = quiet;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int b = source4(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final int order = SseCompare.compare(f, cpu.reg32(destination), b, quiet);
      Mxcsr.finish(cpu, f);
      cpu.setArithmeticFlags(flags(order));
    }
  }

  private static int flags(final int order) {
    return switch (order) {
      case SseCompare.LESS -> Flags.CF;
      case SseCompare.EQUAL -> Flags.ZF;
      case SseCompare.GREATER -> 0;
      default -> Flags.ZF | Flags.PF | Flags.CF;
    };
  }

  private static int approximate(final boolean root, final int a) {
    return root ? SseConvert.reciprocalRoot(a) : SseConvert.reciprocal(a);
  }

  private static final class ApproximateScalar extends SseOp {
    private final boolean root;

    ApproximateScalar(final Instruction insn) {
      super(insn);
      root = insn.mnemonic == Mnemonic.RSQRTSS;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      HostMemory.putInt(cpu.state + destination, approximate(root, source4(cpu)));
    }
  }

  private static final class ApproximatePacked extends SseOp {
    private final boolean root;

    ApproximatePacked(final Instruction insn) {
      super(insn);
      root = insn.mnemonic == Mnemonic.RSQRTPS;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      for (int i = 0; i < 16; i += 4) {
        HostMemory.putInt(to + i, approximate(root, HostMemory.getInt(from + i)));
      }
    }
  }
}

package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import java.util.function.LongBinaryOperator;

/**
 * Binds vector instructions with a VEX prefix. Those that SSE has too are done by SSE's own ops,
 * half by half, on registers that the guest does not see: the semantics stand in one place.
 */
final class VexOps {
  /** SSE's name of a VEX instruction. */
  private static final Map<Mnemonic, Mnemonic> SSE = new EnumMap<>(Mnemonic.class);

  static {
    final Map<String, Mnemonic> names = new HashMap<>();
    for (final Mnemonic mnemonic : Mnemonic.values()) {
      names.put(mnemonic.name(), mnemonic);
    }
    for (final Mnemonic mnemonic : Mnemonic.values()) {
      final String name = mnemonic.name();
      final Mnemonic sse =
          switch (mnemonic) {
            // Named alike, another operation.
            case VERR, VERW, VMOVNTDQA -> null;
            default -> name.charAt(0) == 'V' ? names.get(name.substring(1)) : null;
          };
      if (sse != null) {
        SSE.put(mnemonic, sse);
      }
    }
  }

  private static final int FIRST = 16;
  private static final int SECOND = 17;
  private static final int PICKER = 18;
  private static final int RESULT = 19;

  private VexOps() {}

  private static int scratch(final int number) {
    return StateLayout.XMM + number * StateLayout.XMM_SIZE;
  }

  static Op bind(final Instruction insn) {
    Op op = VexMoves.bind(insn);
    op = op != null ? op : VexPermutes.bind(insn);
    op = op != null ? op : VexFloatOps.bind(insn);
    op = op != null ? op : VexMasks.bind(insn);
    if (op != null) {
      return op;
    }
    final Mnemonic sse = SSE.get(insn.mnemonic);
    return sse == null ? null : bindAs(insn, sse);
  }

  private static Op bindAs(final Instruction insn, final Mnemonic sse) {
    final boolean wide = VexOp.isWide(insn);
    final boolean three = hasFirstSource(insn, sse);
    final LongBinaryOperator lane = LaneTable.lane(sse);
    if (lane != null) {
      return new Lanewise(insn, lane, three);
    }
    if (VexOp.register(insn, 0) < 0 || isCompare(sse) || !three && !wide) {
      final Op inner = SseOps.bindLegacy(renamed(insn, sse));
      return inner == null ? null : new Whole(insn, inner, cleared(insn, sse));
    }
    final Op low = SseOps.bindLegacy(half(insn, sse, three, wide, 0));
    if (low == null) {
      return null;
    }
    return wide
        ? new Halves(insn, sse, three, low, SseOps.bindLegacy(half(insn, sse, three, true, 1)))
        : new Merged(insn, low);
  }

  /** Whether operand 1 is the register that SSE takes from the destination. */
  private static boolean hasFirstSource(final Instruction insn, final Mnemonic sse) {
    return insn.operandCount >= 3
        && VexOp.register(insn, 1) >= 0
        && (insn.operandKind[2] != Instruction.IMMEDIATE || isShift(sse));
  }

  private static boolean isShift(final Mnemonic sse) {
    return sse == Mnemonic.PSLLDQ || sse == Mnemonic.PSRLDQ || LaneTable.shift(sse) != null;
  }

  /** Instructions whose operand 0 is a register that they read alone. */
  private static boolean isCompare(final Mnemonic sse) {
    return switch (sse) {
      case COMISS, COMISD, UCOMISS, UCOMISD -> true;
      case PCMPESTRI, PCMPISTRI, PCMPESTRM, PCMPISTRM, MASKMOVDQU, PTEST -> true;
      default -> false;
    };
  }

  /** Offset of the register whose upper half an instruction of 128 bits clears, or -1. */
  private static int cleared(final Instruction insn, final Mnemonic sse) {
    return switch (sse) {
      case PCMPESTRM, PCMPISTRM -> StateLayout.XMM;
      default -> isCompare(sse) ? -1 : VexOp.register(insn, 0);
    };
  }

  private static Instruction renamed(final Instruction insn, final Mnemonic sse) {
    final Instruction copy = copyOf(insn);
    copy.mnemonic = sse;
    return copy;
  }

  static Instruction copyOf(final Instruction insn) {
    final Instruction copy = new Instruction();
    copy.length = insn.length;
    copy.mnemonic = insn.mnemonic;
    copy.opcode = insn.opcode;
    copy.prefixes = insn.prefixes;
    copy.codeSize = insn.codeSize;
    copy.operandSize = insn.operandSize;
    copy.addressSize = insn.addressSize;
    copy.modrm = insn.modrm;
    copy.hasMemory = insn.hasMemory;
    copy.segment = insn.segment;
    copy.base = insn.base;
    copy.index = insn.index;
    copy.scaleShift = insn.scaleShift;
    copy.displacement = insn.displacement;
    copy.memorySize = insn.memorySize;
    copy.immediate = insn.immediate;
    copy.immediate2 = insn.immediate2;
    copy.operandCount = insn.operandCount;
    for (int i = 0; i < insn.operandCount; i++) {
      copy.operandKind[i] = insn.operandKind[i];
      copy.operandRegister[i] = insn.operandRegister[i];
      copy.operandSizes[i] = insn.operandSizes[i];
    }
    return copy;
  }

  /**
   * The SSE instruction that does one half: on the scratch registers, but for the second source of
   * an instruction that has one half only, which stays where it is.
   */
  private static Instruction half(
      final Instruction insn,
      final Mnemonic sse,
      final boolean three,
      final boolean wide,
      final int number) {
    final Instruction copy = renamed(insn, sse);
    final int from = three ? 2 : 1;
    for (int i = from; i < insn.operandCount; i++) {
      copy.operandKind[i - from + 1] = insn.operandKind[i];
      copy.operandRegister[i - from + 1] = insn.operandRegister[i];
      copy.operandSizes[i - from + 1] = insn.operandSizes[i];
    }
    copy.operandCount = insn.operandCount - from + 1;
    scratchOperand(copy, 0, FIRST);
    if (wide && copy.operandKind[1] != Instruction.IMMEDIATE) {
      scratchOperand(copy, 1, SECOND);
      copy.hasMemory = false;
    }
    if (wide && copy.operandCount > 2 && copy.operandKind[2] != Instruction.IMMEDIATE) {
      scratchOperand(copy, 2, PICKER);
    }
    if (number == 1) {
      copy.immediate =
          switch (sse) {
            case BLENDPS -> insn.immediate >>> 4;
            case BLENDPD, SHUFPD -> insn.immediate >>> 2;
            case MPSADBW -> insn.immediate >>> 3;
            default -> insn.immediate;
          };
    }
    return copy;
  }

  private static void scratchOperand(final Instruction insn, final int operand, final int number) {
    insn.operandKind[operand] = Instruction.XMM;
    insn.operandRegister[operand] = number;
    insn.operandSizes[operand] = 16;
  }

  /** An SSE instruction as it is, with the VEX checks before and a cleared upper half after it. */
  private static final class Whole extends VexOp {
    private final Op inner;
    private final int cleared;

    Whole(final Instruction insn, final Op inner, final int cleared) {
      super(insn);
      this.inner = containing(inner);
      this.cleared = cleared;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      inner.execute(cpu);
      if (cleared >= 0) {
        clearUpper(cpu, cleared);
      }
    }
  }

  /** One half, the destination apart from the first source. */
  private static final class Merged extends VexOp {
    private final Op inner;
    private final int first;

    Merged(final Instruction insn, final Op inner) {
      super(insn);
      this.inner = containing(inner);
      first = register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long result = cpu.state + scratch(FIRST);
      copy(cpu.state + first, result, 16);
      inner.execute(cpu);
      copy(result, cpu.state + destination, 16);
      clearUpper(cpu, destination);
    }
  }

  /** Two halves, each by an op of its own: immediates may have bits for either. */
  private static final class Halves extends VexOp {
    private final Op low;
    private final Op high;

    /** Offset of the first source, or -1 where there is none. */
    private final int first;

    /** Offset of the second, or -1: memory, or an immediate. */
    private final int second;

    private final int picker;
    private final boolean immediate;

    /** Bytes from the low half's source to the high half's. */
    private final int step;

    /** Bytes from the low half's result to the high half's. */
    private final int resultStep;

    Halves(
        final Instruction insn,
        final Mnemonic sse,
        final boolean three,
        final Op low,
        final Op high) {
      super(insn);
      this.low = low;
      this.high = high;
      final int source = three ? 2 : 1;
      first = three ? register(insn, 1) : -1;
      second = register(insn, source);
      picker = register(insn, source + 1);
      immediate = insn.operandKind[source] == Instruction.IMMEDIATE;
      step =
          switch (sse) {
            case PMOVSXBW, PMOVSXWD, PMOVSXDQ, PMOVZXBW, PMOVZXWD, PMOVZXDQ -> 8;
            case PMOVSXBD, PMOVSXWQ, PMOVZXBD, PMOVZXWQ -> 4;
            case PMOVSXBQ, PMOVZXBQ -> 2;
            case CVTPS2PD, CVTDQ2PD -> 8;
            default -> LaneTable.shift(sse) != null ? 0 : 16;
          };
      resultStep =
          switch (sse) {
            case CVTPD2PS, CVTPD2DQ, CVTTPD2DQ -> 8;
            default -> 16;
          };
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long from = immediate ? 0 : operand(cpu, second);
      final long result = cpu.state + scratch(RESULT);
      // A fault may have left it set.
      cpu.softFloat.carried = 0;
      cpu.softFloat.unfinished = true;
      half(cpu, low, from, 0, result);
      cpu.softFloat.unfinished = false;
      half(cpu, high, from + step, 16, result + resultStep);
      if (resultStep == 8) {
        HostMemory.putLong(result + 16, 0);
        HostMemory.putLong(result + 24, 0);
      }
      copy(result, cpu.state + destination, 32);
      cpu.softFloat.carried = 0;
    }

    private void half(
        final SoftCpu cpu, final Op op, final long from, final int offset, final long result) {
      final long s = cpu.state;
      if (first >= 0) {
        copy(s + first + offset, s + scratch(FIRST), 16);
      }
      if (!immediate) {
        copy(from, s + scratch(SECOND), 16);
      }
      if (picker >= 0) {
        copy(s + picker + offset, s + scratch(PICKER), 16);
      }
      op.execute(cpu);
      copy(s + scratch(FIRST), result, 16);
    }
  }

  /** Any instruction of {@link LaneTable#lane}. */
  private static final class Lanewise extends VexOp {
    private final LongBinaryOperator lane;
    private final int first;
    private final int second;

    Lanewise(final Instruction insn, final LongBinaryOperator lane, final boolean three) {
      super(insn);
      this.lane = lane;
      first = three ? register(insn, 1) : destination;
      second = register(insn, three ? 2 : 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long b = operand(cpu, second);
      final long a = cpu.state + first;
      final long to = cpu.state + destination;
      for (int i = 0; i < size; i += 8) {
        HostMemory.putLong(
            to + i, lane.applyAsLong(HostMemory.getLong(a + i), HostMemory.getLong(b + i)));
      }
      clearAbove(cpu);
    }
  }
}

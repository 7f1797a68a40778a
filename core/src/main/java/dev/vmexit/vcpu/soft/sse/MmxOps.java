package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.function.LongBinaryOperator;
import java.util.function.LongUnaryOperator;

/** MMX instructions, with those that SSE and SSE2 added to them. */
final class MmxOps {
  private MmxOps() {}

  /** Whether an MMX register is among the operands. */
  static boolean isMmx(final Instruction insn) {
    return (insn.operandCount > 0
            && (insn.operandKind[0] == Instruction.MMX
                || (insn.operandCount > 1 && insn.operandKind[1] == Instruction.MMX)))
        || insn.mnemonic == Mnemonic.EMMS;
  }

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case EMMS -> new Empty(insn);
      case MOVD, MOVQ, MOVNTQ -> move(insn);
      case MOVQ2DQ -> new ToXmm(insn);
      case MOVDQ2Q -> new FromXmm(insn);
      case PMOVMSKB -> new ByteSigns(insn);
      case PINSRW -> new InsertWord(insn);
      case PEXTRW -> new ExtractWord(insn);
      case PSHUFW -> new ShuffleWords(insn);
      case PALIGNR -> new AlignRight(insn);
      case MASKMOVQ -> new MaskedStore(insn);
      default -> arithmetic(insn);
    };
  }

  private static Op arithmetic(final Instruction insn) {
    final LongBinaryOperator lane = LaneTable.lane(insn.mnemonic);
    if (lane != null) {
      return new Binary(insn, lane);
    }
    final LongBinaryOperator shift = LaneTable.shift(insn.mnemonic);
    if (shift != null) {
      return insn.operandKind[1] == Instruction.IMMEDIATE
          ? new ImmediateShift(insn, shift)
          : new Binary(insn, shift);
    }
    final LongBinaryOperator mixing =
        switch (insn.mnemonic) {
          case PUNPCKLBW -> Lanes::interleaveLowBytes;
          case PUNPCKLWD -> Lanes::interleaveLowWords;
          case PUNPCKLDQ -> Lanes::interleaveLowDoublewords;
          case PUNPCKHBW -> Lanes::interleaveHighBytes;
          case PUNPCKHWD -> Lanes::interleaveHighWords;
          case PUNPCKHDQ -> Lanes::interleaveHighDoublewords;
          case PACKSSWB -> (a, b) -> Lanes.packSignedWords(a) | Lanes.packSignedWords(b) << 32;
          case PACKUSWB -> (a, b) -> Lanes.packUnsignedWords(a) | Lanes.packUnsignedWords(b) << 32;
          case PACKSSDW ->
              (a, b) -> Lanes.packSignedDoublewords(a) | Lanes.packSignedDoublewords(b) << 32;
          case PSHUFB -> (a, b) -> Lanes.shuffleBytes(a, a, b);
          default -> sums(insn.mnemonic);
        };
    return mixing == null ? null : new Binary(insn, mixing);
  }

  private static LongBinaryOperator sums(final Mnemonic mnemonic) {
    final LongUnaryOperator pairs = LaneTable.neighbours(mnemonic);
    return pairs == null ? null : (a, b) -> pairs.applyAsLong(a) | pairs.applyAsLong(b) << 32;
  }

  private static Op move(final Instruction insn) {
    if (insn.operandKind[0] == Instruction.MMX) {
      return insn.operandKind[1] == Instruction.GPR ? new FromGpr(insn) : new Load(insn);
    }
    return insn.operandKind[0] == Instruction.GPR ? new ToGpr(insn) : new Store(insn);
  }

  private static final class Binary extends MmxOp {
    private final LongBinaryOperator lane;

    Binary(final Instruction insn, final LongBinaryOperator lane) {
      super(insn);
      this.lane = lane;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = source8(cpu);
      enterMmx(cpu);
      write(cpu, destination, lane.applyAsLong(cpu.reg64(destination), b));
    }
  }

  private static final class ImmediateShift extends MmxOp {
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
      enterMmx(cpu);
      write(cpu, destination, shift.applyAsLong(cpu.reg64(destination), count));
    }
  }

  private static final class Load extends MmxOp {
    Load(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = source8(cpu);
      enterMmx(cpu);
      write(cpu, destination, value);
    }
  }

  private static final class Store extends MmxOp {
    private final int size;

    Store(final Instruction insn) {
      super(insn);
      size = insn.memorySize;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.store(writeAddress(cpu, size), size, cpu.reg64(source));
      enterMmx(cpu);
    }
  }

  private static final class FromGpr extends MmxOp {
    private final int register;
    private final long mask;

    FromGpr(final Instruction insn) {
      super(insn);
      register = StateLayout.gpr(insn.operandRegister[1]);
      mask = insn.operandSizes[1] == 8 ? -1L : 0xFFFF_FFFFL;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      enterMmx(cpu);
      write(cpu, destination, cpu.reg64(register) & mask);
    }
  }

  private static final class ToGpr extends MmxOp {
    private final int register;
    private final long mask;

    ToGpr(final Instruction insn) {
      super(insn);
      register = StateLayout.gpr(insn.operandRegister[0]);
      mask = insn.operandSizes[0] == 8 ? -1L : 0xFFFF_FFFFL;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      enterMmx(cpu);
      cpu.reg64(register, cpu.reg64(source) & mask);
    }
  }

  /** EMMS: the x87 registers are free again. */
  private static final class Empty extends MmxOp {
    Empty(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      enterMmx(cpu);
      HostMemory.putInt(cpu.state + StateLayout.FPU_TAGS, 0);
    }
  }

  private static final class ToXmm extends MmxOp {
    private final int xmm;

    ToXmm(final Instruction insn) {
      super(insn);
      xmm = SseOp.xmm(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      SseOp.check(cpu);
      check(cpu);
      enterMmx(cpu);
      cpu.reg64(xmm, cpu.reg64(source));
      cpu.reg64(xmm + 8, 0);
    }
  }

  private static final class FromXmm extends MmxOp {
    private final int xmm;

    FromXmm(final Instruction insn) {
      super(insn);
      xmm = SseOp.xmm(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      SseOp.check(cpu);
      check(cpu);
      enterMmx(cpu);
      write(cpu, destination, cpu.reg64(xmm));
    }
  }

  private static final class ByteSigns extends MmxOp {
    private final int register;

    ByteSigns(final Instruction insn) {
      super(insn);
      register = StateLayout.gpr(insn.operandRegister[0]);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      enterMmx(cpu);
      cpu.reg32(register, Lanes.byteSigns(cpu.reg64(source)));
    }
  }

  private static final class InsertWord extends MmxOp {
    private final int register;
    private final int shift;

    InsertWord(final Instruction insn) {
      super(insn);
      register =
          insn.operandKind[1] == Instruction.MEMORY ? -1 : StateLayout.gpr(insn.operandRegister[1]);
      shift = ((int) insn.immediate & 3) * 16;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = register >= 0 ? cpu.reg16(register) : cpu.load16(readAddress(cpu, 2));
      enterMmx(cpu);
      write(cpu, destination, (cpu.reg64(destination) & ~(0xFFFFL << shift)) | value << shift);
    }
  }

  private static final class ExtractWord extends MmxOp {
    private final int register;
    private final int index;

    ExtractWord(final Instruction insn) {
      super(insn);
      register = StateLayout.gpr(insn.operandRegister[0]);
      index = (int) insn.immediate & 3;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      enterMmx(cpu);
      cpu.reg32(register, cpu.reg16(source + index * 2));
    }
  }

  private static final class ShuffleWords extends MmxOp {
    private final int order;

    ShuffleWords(final Instruction insn) {
      super(insn);
      order = (int) insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = source8(cpu);
      enterMmx(cpu);
      write(cpu, destination, Lanes.shuffleWords(value, order));
    }
  }

  private static final class AlignRight extends MmxOp {
    private final int bits;

    AlignRight(final Instruction insn) {
      super(insn);
      bits = (int) (insn.immediate & 0xFF) * 8;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long low = source8(cpu);
      enterMmx(cpu);
      write(cpu, destination, Lanes.extract(low, cpu.reg64(destination), bits));
    }
  }

  /** MASKMOVQ. */
  private static final class MaskedStore extends MmxOp {
    private final int addressSize;
    private final int dataSegment;
    private final boolean legacyMode;

    MaskedStore(final Instruction insn) {
      super(insn);
      addressSize = insn.addressSize;
      dataSegment = insn.hasPrefix(Instruction.PREFIX_SEGMENT) ? insn.segment : Seg.DS;
      legacyMode = insn.codeSize != 8;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int mask = Lanes.byteSigns(cpu.reg64(source));
      if (mask != 0) {
        final long linear = MoveOps.maskedAddress(cpu, dataSegment, addressSize, 8, legacyMode);
        MoveOps.storeMasked(cpu, linear, mask, cpu.reg64(destination), 0);
      }
      enterMmx(cpu);
    }
  }
}

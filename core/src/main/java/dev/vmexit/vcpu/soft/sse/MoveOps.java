package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;

/**
 * Moves to, from and between XMM registers, whole or in part (SDM Vol. 1, 10.4.1 and 11.4.1.1): a
 * list of small classes, one for each form.
 */
final class MoveOps {
  private MoveOps() {}

  static Op bind(final Instruction insn) {
    final boolean toMemory = insn.operandKind[0] == Instruction.MEMORY;
    final boolean fromMemory = insn.operandKind[1] == Instruction.MEMORY;
    return switch (insn.mnemonic) {
      case MOVAPS, MOVAPD, MOVDQA, MOVNTDQ, MOVNTPS, MOVNTPD, MOVNTDQA -> whole(insn, true);
      case MOVUPS, MOVUPD, MOVDQU, LDDQU -> whole(insn, false);
      case MOVD, MOVQ -> scalarInteger(insn);
      case MOVSS -> toMemory ? new Store4(insn) : fromMemory ? new Load4(insn) : new Merge4(insn);
      case MOVSD -> toMemory ? new Store8(insn) : fromMemory ? new Load8(insn) : new MoveLow(insn);
      case MOVLPS, MOVLPD -> toMemory ? new Store8(insn) : new LoadLow(insn);
      case MOVHPS, MOVHPD -> toMemory ? new StoreHigh(insn) : new LoadHigh(insn);
      case MOVHLPS -> new HighToLow(insn);
      case MOVLHPS -> new LowToHigh(insn);
      case MOVMSKPS -> new FloatSigns(insn);
      case MOVMSKPD -> new DoubleSigns(insn);
      case PMOVMSKB -> new ByteSigns(insn);
      case MASKMOVDQU -> new MaskedStore(insn);
      default -> null;
    };
  }

  private static Op whole(final Instruction insn, final boolean aligned) {
    if (insn.operandKind[0] == Instruction.MEMORY) {
      return new Store16(insn, aligned);
    }
    return insn.operandKind[1] == Instruction.MEMORY ? new Load16(insn, aligned) : new Move16(insn);
  }

  /** MOVD and MOVQ between XMM and memory, general and XMM registers; else null. */
  private static Op scalarInteger(final Instruction insn) {
    if (insn.operandKind[0] == Instruction.XMM) {
      return switch (insn.operandKind[1]) {
        case Instruction.MEMORY -> insn.memorySize == 8 ? new Load8(insn) : new Load4(insn);
        case Instruction.GPR -> insn.operandSizes[1] == 8 ? new FromGpr8(insn) : new FromGpr4(insn);
        case Instruction.XMM -> new MoveLowZero(insn);
        default -> null;
      };
    }
    if (insn.operandKind[1] != Instruction.XMM) {
      return null;
    }
    return switch (insn.operandKind[0]) {
      case Instruction.MEMORY -> insn.memorySize == 8 ? new Store8(insn) : new Store4(insn);
      case Instruction.GPR -> insn.operandSizes[0] == 8 ? new ToGpr8(insn) : new ToGpr4(insn);
      default -> null;
    };
  }

  private static int gpr(final Instruction insn, final int operand) {
    return StateLayout.gpr(insn.operandRegister[operand]);
  }

  private static final class Load16 extends SseOp {
    Load16(final Instruction insn, final boolean aligned) {
      super(insn, aligned);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = memory16(cpu);
      final long to = cpu.state + destination;
      final long low = HostMemory.getLong(from);
      HostMemory.putLong(to + 8, HostMemory.getLong(from + 8));
      HostMemory.putLong(to, low);
    }
  }

  private static final class Store16 extends SseOp {
    Store16(final Instruction insn, final boolean aligned) {
      super(insn, aligned);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      store16(cpu, cpu.reg64(source), cpu.reg64(source + 8));
    }
  }

  private static final class Move16 extends SseOp {
    Move16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long low = cpu.reg64(source);
      final long high = cpu.reg64(source + 8);
      cpu.reg64(destination, low);
      cpu.reg64(destination + 8, high);
    }
  }

  /** MOVSS, MOVD from memory: the rest of the register becomes zero. */
  private static final class Load4 extends SseOp {
    Load4(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = cpu.load32(readAddress(cpu, 4)) & 0xFFFF_FFFFL;
      cpu.reg64(destination, value);
      cpu.reg64(destination + 8, 0);
    }
  }

  /** MOVSD, MOVQ from memory. */
  private static final class Load8 extends SseOp {
    Load8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = cpu.load64(readAddress(cpu, 8));
      cpu.reg64(destination, value);
      cpu.reg64(destination + 8, 0);
    }
  }

  private static final class Store4 extends SseOp {
    Store4(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.store32(writeAddress(cpu, 4), cpu.reg32(source));
    }
  }

  private static final class Store8 extends SseOp {
    Store8(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.store64(writeAddress(cpu, 8), cpu.reg64(source));
    }
  }

  /** MOVSS between registers. */
  private static final class Merge4 extends SseOp {
    Merge4(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      HostMemory.putInt(cpu.state + destination, cpu.reg32(source));
    }
  }

  /** MOVSD between registers. */
  private static final class MoveLow extends SseOp {
    MoveLow(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg64(destination, cpu.reg64(source));
    }
  }

  /** MOVLPS, MOVLPD: the high half stays. */
  private static final class LoadLow extends SseOp {
    LoadLow(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg64(destination, cpu.load64(readAddress(cpu, 8)));
    }
  }

  private static final class LoadHigh extends SseOp {
    LoadHigh(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg64(destination + 8, cpu.load64(readAddress(cpu, 8)));
    }
  }

  private static final class StoreHigh extends SseOp {
    StoreHigh(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.store64(writeAddress(cpu, 8), cpu.reg64(source + 8));
    }
  }

  private static final class HighToLow extends SseOp {
    HighToLow(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg64(destination, cpu.reg64(source + 8));
    }
  }

  private static final class LowToHigh extends SseOp {
    LowToHigh(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg64(destination + 8, cpu.reg64(source));
    }
  }

  /** MOVQ between XMM registers: the high half becomes zero. */
  private static final class MoveLowZero extends SseOp {
    MoveLowZero(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = cpu.reg64(source);
      cpu.reg64(destination, value);
      cpu.reg64(destination + 8, 0);
    }
  }

  private static final class FromGpr4 extends SseOp {
    private final int register;

    FromGpr4(final Instruction insn) {
      super(insn);
      register = gpr(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg64(destination, cpu.reg64(register) & 0xFFFF_FFFFL);
      cpu.reg64(destination + 8, 0);
    }
  }

  private static final class FromGpr8 extends SseOp {
    private final int register;

    FromGpr8(final Instruction insn) {
      super(insn);
      register = gpr(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg64(destination, cpu.reg64(register));
      cpu.reg64(destination + 8, 0);
    }
  }

  private static final class ToGpr4 extends SseOp {
    private final int register;

    ToGpr4(final Instruction insn) {
      super(insn);
      register = gpr(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg32(register, cpu.reg32(source));
    }
  }

  private static final class ToGpr8 extends SseOp {
    private final int register;

    ToGpr8(final Instruction insn) {
      super(insn);
      register = gpr(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg64(register, cpu.reg64(source));
    }
  }

  private static final class ByteSigns extends SseOp {
    private final int register;

    ByteSigns(final Instruction insn) {
      super(insn);
      register = gpr(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int low = Lanes.byteSigns(cpu.reg64(source));
      final int high = Lanes.byteSigns(cpu.reg64(source + 8));
      cpu.reg32(register, low | high << 8);
    }
  }

  private static final class FloatSigns extends SseOp {
    private final int register;

    FloatSigns(final Instruction insn) {
      super(insn);
      register = gpr(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long low = cpu.reg64(source);
      final long high = cpu.reg64(source + 8);
      cpu.reg32(
          register,
          (int) ((low >>> 31 & 1) | low >>> 63 << 1 | (high >>> 31 & 1) << 2 | high >>> 63 << 3));
    }
  }

  private static final class DoubleSigns extends SseOp {
    private final int register;

    DoubleSigns(final Instruction insn) {
      super(insn);
      register = gpr(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg32(register, (int) (cpu.reg64(source) >>> 63 | cpu.reg64(source + 8) >>> 63 << 1));
    }
  }

  /** MASKMOVDQU: stores the bytes whose mask byte has its top bit set, to DS:rDI. */
  private static final class MaskedStore extends SseOp {
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
      final long low = cpu.reg64(destination);
      final long high = cpu.reg64(destination + 8);
      final int mask =
          Lanes.byteSigns(cpu.reg64(source)) | Lanes.byteSigns(cpu.reg64(source + 8)) << 8;
      if (mask != 0) {
        final long linear = maskedAddress(cpu, dataSegment, addressSize, 16, legacyMode);
        storeMasked(cpu, linear, mask, low, high);
      }
    }
  }

  /** Linear address that MASKMOVDQU and MASKMOVQ store to. */
  static long maskedAddress(
      final SoftCpu cpu,
      final int segment,
      final int addressSize,
      final int size,
      final boolean legacy) {
    final long rdi = cpu.reg64(StateLayout.gpr(Gpr.RDI));
    final long offset =
        addressSize == 8 ? rdi : addressSize == 4 ? rdi & 0xFFFF_FFFFL : rdi & 0xFFFF;
    return cpu.stringAddress(segment, offset, size, true, legacy);
  }

  /** Stores the bytes that the mask names, all or none. */
  static void storeMasked(
      final SoftCpu cpu, final long linear, final int mask, final long low, final long high) {
    for (int i = 0; i < 16; i++) {
      if ((mask >>> i & 1) != 0) {
        cpu.probeWrite(linear + i, 1);
      }
    }
    for (int i = 0; i < 16; i++) {
      if ((mask >>> i & 1) != 0) {
        cpu.store8(linear + i, (int) ((i < 8 ? low >>> (i * 8) : high >>> (i * 8 - 64)) & 0xFF));
      }
    }
  }
}

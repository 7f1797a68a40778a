package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** Whole vectors in and out, VZEROUPPER, and what makes a number or flags of a vector. */
final class VexMoves {
  private VexMoves() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case VMOVAPS, VMOVAPD, VMOVDQA, VMOVNTDQ, VMOVNTPS, VMOVNTPD, VMOVNTDQA -> whole(insn, true);
      case VMOVUPS, VMOVUPD, VMOVDQU, VLDDQU -> whole(insn, false);
      case VZEROUPPER -> new Zero(insn, 16);
      case VZEROALL -> new Zero(insn, 0);
      case VPMOVMSKB, VMOVMSKPS, VMOVMSKPD -> new Signs(insn);
      case VPTEST, VTESTPS, VTESTPD -> new Test(insn);
      default -> null;
    };
  }

  private static Op whole(final Instruction insn, final boolean aligned) {
    if (insn.operandKind[0] == Instruction.MEMORY) {
      return new Store(insn, aligned);
    }
    return insn.operandKind[1] == Instruction.MEMORY ? new Load(insn, aligned) : new Move(insn);
  }

  private static final class Load extends VexOp {
    private final int mask;

    Load(final Instruction insn, final boolean aligned) {
      super(insn);
      mask = aligned ? size - 1 : 0;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      if (mask != 0 && (readAddress(cpu, size) & mask) != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      copy(memory(cpu, size), cpu.state + destination, size);
      clearAbove(cpu);
    }
  }

  private static final class Store extends VexOp {
    private final int source;
    private final int mask;

    Store(final Instruction insn, final boolean aligned) {
      super(insn);
      source = register(insn, 1);
      mask = aligned ? size - 1 : 0;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long linear = writeAddress(cpu, size);
      if ((linear & mask) != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      store(cpu, linear, source, size);
    }
  }

  private static final class Move extends VexOp {
    private final int source;

    Move(final Instruction insn) {
      super(insn);
      source = register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      copy(cpu.state + source, cpu.state + destination, size);
      clearAbove(cpu);
    }
  }

  /** VZEROUPPER, VZEROALL: of the registers that the mode shows. */
  private static final class Zero extends VexOp {
    private final int from;
    private final int registers;

    Zero(final Instruction insn, final int from) {
      super(insn);
      this.from = from;
      registers = insn.codeSize == 8 ? 16 : 8;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      for (int i = 0; i < registers; i++) {
        final long at = cpu.state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE;
        for (int j = from; j < StateLayout.XMM_SIZE; j += 8) {
          HostMemory.putLong(at + j, 0);
        }
      }
    }
  }

  /** VPMOVMSKB, VMOVMSKPS, VMOVMSKPD. */
  private static final class Signs extends VexOp {
    private final int source;
    private final int register;
    private final int element;

    Signs(final Instruction insn) {
      super(insn);
      source = register(insn, 1);
      register = StateLayout.gpr(insn.operandRegister[0]);
      element =
          switch (insn.mnemonic) {
            case VPMOVMSKB -> 1;
            case VMOVMSKPS -> 4;
            default -> 8;
          };
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      int result = 0;
      for (int i = size - 8; i >= 0; i -= 8) {
        final long value = cpu.reg64(source + i);
        result =
            switch (element) {
              case 1 -> result << 8 | Lanes.byteSigns(value);
              case 4 -> result << 2 | (int) (value >>> 63 << 1 | value >>> 31 & 1);
              default -> result << 1 | (int) (value >>> 63);
            };
      }
      cpu.reg32(register, result);
    }
  }

  /** VPTEST; VTESTPS and VTESTPD look at sign bits alone. */
  private static final class Test extends VexOp {
    private final int source;
    private final long mask;

    Test(final Instruction insn) {
      super(insn);
      source = register(insn, 1);
      mask =
          insn.mnemonic == Mnemonic.VPTEST
              ? -1
              : insn.mnemonic == Mnemonic.VTESTPS ? 0x8000_0000_8000_0000L : Long.MIN_VALUE;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long from = operand(cpu, source);
      long both = 0;
      long other = 0;
      for (int i = 0; i < size; i += 8) {
        final long b = HostMemory.getLong(from + i) & mask;
        final long a = cpu.reg64(destination + i);
        both |= a & b;
        other |= ~a & b;
      }
      cpu.setArithmeticFlags((both == 0 ? Flags.ZF : 0) | (other == 0 ? Flags.CF : 0));
    }
  }
}

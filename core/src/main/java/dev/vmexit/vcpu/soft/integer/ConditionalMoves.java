package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/**
 * CMOVcc: a class per condition for 32- and 64-bit registers, one for all else.
 *
 * <p>The source is read, and a 32-bit destination's upper half cleared, whatever the condition says
 * (SDM Vol. 2, CMOVcc).
 */
final class ConditionalMoves {
  private ConditionalMoves() {}

  static Op bind(final Instruction insn) {
    final int size = insn.operandSizes[0];
    if (Forms.isMemory(insn, 1) || size == 2) {
      return new General(insn);
    }
    return size == 4 ? bind32(insn) : bind64(insn);
  }

  private static Op bind32(final Instruction insn) {
    return switch (insn.condition()) {
      case 0 -> new O32(insn);
      case 1 -> new No32(insn);
      case 2 -> new B32(insn);
      case 3 -> new Ae32(insn);
      case 4 -> new E32(insn);
      case 5 -> new Ne32(insn);
      case 6 -> new Be32(insn);
      case 7 -> new A32(insn);
      case 8 -> new S32(insn);
      case 9 -> new Ns32(insn);
      case 10 -> new P32(insn);
      case 11 -> new Np32(insn);
      case 12 -> new L32(insn);
      case 13 -> new Ge32(insn);
      case 14 -> new Le32(insn);
      default -> new G32(insn);
    };
  }

  private static Op bind64(final Instruction insn) {
    return switch (insn.condition()) {
      case 0 -> new O64(insn);
      case 1 -> new No64(insn);
      case 2 -> new B64(insn);
      case 3 -> new Ae64(insn);
      case 4 -> new E64(insn);
      case 5 -> new Ne64(insn);
      case 6 -> new Be64(insn);
      case 7 -> new A64(insn);
      case 8 -> new S64(insn);
      case 9 -> new Ns64(insn);
      case 10 -> new P64(insn);
      case 11 -> new Np64(insn);
      case 12 -> new L64(insn);
      case 13 -> new Ge64(insn);
      case 14 -> new Le64(insn);
      default -> new G64(insn);
    };
  }

  static final class General extends Op {
    private final int condition;
    private final int size;
    private final int dst;

    /** Offset of the source register, or -1: memory. */
    private final int src;

    General(final Instruction insn) {
      super(insn);
      condition = insn.condition();
      size = insn.operandSizes[0];
      dst = Forms.register(insn, 0);
      src = Forms.isMemory(insn, 1) ? -1 : Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long value =
          src < 0 ? cpu.load(readAddress(cpu, size), size) : Registers.read(cpu, src, size);
      Registers.write(
          cpu, dst, size, cpu.condition(condition) ? value : Registers.read(cpu, dst, size));
    }
  }

  static final class O32 extends Forms.RegReg {
    O32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(Conditions.overflow(cpu) ? src : dst));
    }
  }

  static final class No32 extends Forms.RegReg {
    No32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(!Conditions.overflow(cpu) ? src : dst));
    }
  }

  static final class B32 extends Forms.RegReg {
    B32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(Conditions.below(cpu) ? src : dst));
    }
  }

  static final class Ae32 extends Forms.RegReg {
    Ae32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(!Conditions.below(cpu) ? src : dst));
    }
  }

  static final class E32 extends Forms.RegReg {
    E32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(Conditions.equal(cpu) ? src : dst));
    }
  }

  static final class Ne32 extends Forms.RegReg {
    Ne32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(!Conditions.equal(cpu) ? src : dst));
    }
  }

  static final class Be32 extends Forms.RegReg {
    Be32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(Conditions.belowOrEqual(cpu) ? src : dst));
    }
  }

  static final class A32 extends Forms.RegReg {
    A32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(!Conditions.belowOrEqual(cpu) ? src : dst));
    }
  }

  static final class S32 extends Forms.RegReg {
    S32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(Conditions.sign(cpu) ? src : dst));
    }
  }

  static final class Ns32 extends Forms.RegReg {
    Ns32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(!Conditions.sign(cpu) ? src : dst));
    }
  }

  static final class P32 extends Forms.RegReg {
    P32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(Conditions.parity(cpu) ? src : dst));
    }
  }

  static final class Np32 extends Forms.RegReg {
    Np32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(!Conditions.parity(cpu) ? src : dst));
    }
  }

  static final class L32 extends Forms.RegReg {
    L32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(Conditions.less(cpu) ? src : dst));
    }
  }

  static final class Ge32 extends Forms.RegReg {
    Ge32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(!Conditions.less(cpu) ? src : dst));
    }
  }

  static final class Le32 extends Forms.RegReg {
    Le32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(Conditions.lessOrEqual(cpu) ? src : dst));
    }
  }

  static final class G32 extends Forms.RegReg {
    G32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, cpu.reg32(!Conditions.lessOrEqual(cpu) ? src : dst));
    }
  }

  static final class O64 extends Forms.RegReg {
    O64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(Conditions.overflow(cpu) ? src : dst));
    }
  }

  static final class No64 extends Forms.RegReg {
    No64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(!Conditions.overflow(cpu) ? src : dst));
    }
  }

  static final class B64 extends Forms.RegReg {
    B64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(Conditions.below(cpu) ? src : dst));
    }
  }

  static final class Ae64 extends Forms.RegReg {
    Ae64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(!Conditions.below(cpu) ? src : dst));
    }
  }

  static final class E64 extends Forms.RegReg {
    E64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(Conditions.equal(cpu) ? src : dst));
    }
  }

  static final class Ne64 extends Forms.RegReg {
    Ne64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(!Conditions.equal(cpu) ? src : dst));
    }
  }

  static final class Be64 extends Forms.RegReg {
    Be64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(Conditions.belowOrEqual(cpu) ? src : dst));
    }
  }

  static final class A64 extends Forms.RegReg {
    A64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(!Conditions.belowOrEqual(cpu) ? src : dst));
    }
  }

  static final class S64 extends Forms.RegReg {
    S64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(Conditions.sign(cpu) ? src : dst));
    }
  }

  static final class Ns64 extends Forms.RegReg {
    Ns64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(!Conditions.sign(cpu) ? src : dst));
    }
  }

  static final class P64 extends Forms.RegReg {
    P64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(Conditions.parity(cpu) ? src : dst));
    }
  }

  static final class Np64 extends Forms.RegReg {
    Np64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(!Conditions.parity(cpu) ? src : dst));
    }
  }

  static final class L64 extends Forms.RegReg {
    L64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(Conditions.less(cpu) ? src : dst));
    }
  }

  static final class Ge64 extends Forms.RegReg {
    Ge64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(!Conditions.less(cpu) ? src : dst));
    }
  }

  static final class Le64 extends Forms.RegReg {
    Le64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(Conditions.lessOrEqual(cpu) ? src : dst));
    }
  }

  static final class G64 extends Forms.RegReg {
    G64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, cpu.reg64(!Conditions.lessOrEqual(cpu) ? src : dst));
    }
  }
}

package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;

/** Jcc: a class per condition, so that each tests just the flags it needs. */
final class ConditionalJumps {
  private ConditionalJumps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.condition()) {
      case 0 -> new Jo(insn);
      case 1 -> new Jno(insn);
      case 2 -> new Jb(insn);
      case 3 -> new Jae(insn);
      case 4 -> new Je(insn);
      case 5 -> new Jne(insn);
      case 6 -> new Jbe(insn);
      case 7 -> new Ja(insn);
      case 8 -> new Js(insn);
      case 9 -> new Jns(insn);
      case 10 -> new Jp(insn);
      case 11 -> new Jnp(insn);
      case 12 -> new Jl(insn);
      case 13 -> new Jge(insn);
      case 14 -> new Jle(insn);
      default -> new Jg(insn);
    };
  }

  static final class Jo extends Branches.Relative {
    Jo(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (Conditions.overflow(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jno extends Branches.Relative {
    Jno(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (!Conditions.overflow(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jb extends Branches.Relative {
    Jb(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (Conditions.below(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jae extends Branches.Relative {
    Jae(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (!Conditions.below(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Je extends Branches.Relative {
    Je(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (Conditions.equal(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jne extends Branches.Relative {
    Jne(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (!Conditions.equal(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jbe extends Branches.Relative {
    Jbe(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (Conditions.belowOrEqual(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Ja extends Branches.Relative {
    Ja(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (!Conditions.belowOrEqual(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Js extends Branches.Relative {
    Js(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (Conditions.sign(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jns extends Branches.Relative {
    Jns(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (!Conditions.sign(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jp extends Branches.Relative {
    Jp(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (Conditions.parity(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jnp extends Branches.Relative {
    Jnp(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (!Conditions.parity(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jl extends Branches.Relative {
    Jl(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (Conditions.less(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jge extends Branches.Relative {
    Jge(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (!Conditions.less(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jle extends Branches.Relative {
    Jle(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (Conditions.lessOrEqual(cpu)) {
        jump(cpu);
      }
    }
  }

  static final class Jg extends Branches.Relative {
    Jg(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (!Conditions.lessOrEqual(cpu)) {
        jump(cpu);
      }
    }
  }
}

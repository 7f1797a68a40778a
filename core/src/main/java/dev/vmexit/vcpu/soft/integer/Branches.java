package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;

/**
 * Near control transfer: JMP, CALL, RET, LOOPcc, JRCXZ, and what Jcc builds on.
 *
 * <p>rip already stands on the next instruction. A branch whose target is bad faults on the branch
 * itself, so targets are checked before the stack or a counter changes.
 */
final class Branches {
  /** Lowest of the bits that are all alike in a canonical address of 48 bits. */
  private static final int CANONICAL_SHIFT = 47;

  private static final int CS_LIMIT = StateLayout.segment(Seg.CS) + StateLayout.SEG_LIMIT;

  private Branches() {}

  static Op bindJump(final Instruction insn) {
    return switch (insn.operandKind[0]) {
      case Instruction.RELATIVE -> new Jump(insn);
      case Instruction.GPR -> new JumpRegister(insn);
      case Instruction.MEMORY -> new JumpMemory(insn);
      default -> null;
    };
  }

  static Op bindCall(final Instruction insn) {
    return switch (insn.operandKind[0]) {
      case Instruction.RELATIVE -> new Call(insn);
      case Instruction.GPR -> new CallRegister(insn);
      case Instruction.MEMORY -> new CallMemory(insn);
      default -> null;
    };
  }

  /**
   * Operand size of a near branch: always 8 in 64-bit mode, where Intel's processors ignore the 66
   * prefix on them (SDM Vol. 2, Jcc, CALL, RET: forced 64-bit).
   */
  static int operandSize(final Instruction insn) {
    return insn.codeSize == 8 ? 8 : insn.operandSize;
  }

  /** Sets rip, checking the target. */
  static void go(final SoftCpu cpu, final long target, final int size) {
    if (size == 8 && (target << 16) >> 16 == target) {
      HostMemory.putLong(cpu.state + StateLayout.RIP, target);
    } else {
      cpu.branch(target, size);
    }
  }

  /** Pushes the address of the next instruction and branches; a fault of either undoes both. */
  static void call(final SoftCpu cpu, final long target, final int size) {
    final long rip = cpu.state + StateLayout.RIP;
    final long next = HostMemory.getLong(rip);
    if (size == 8 && (target << 16) >> 16 == target) {
      Stack.push64(cpu, next);
      HostMemory.putLong(rip, target);
    } else {
      cpu.branch(target, size);
      final long checked = HostMemory.getLong(rip);
      // Should the push fault, rip must stand where it does during any other terminator.
      HostMemory.putLong(rip, next);
      cpu.push(next, size);
      HostMemory.putLong(rip, checked);
    }
  }

  /** A branch by a displacement. */
  abstract static class Relative extends Op {
    private final long displacement;
    private final long mask;
    private final int size;

    Relative(final Instruction insn) {
      super(insn);
      displacement = insn.immediate;
      size = operandSize(insn);
      mask = size == 8 ? -1 : size == 4 ? 0xFFFF_FFFFL : 0xFFFF;
    }

    @Override
    public final boolean isTerminator() {
      return true;
    }

    final int size() {
      return size;
    }

    final long target(final SoftCpu cpu) {
      return (HostMemory.getLong(cpu.state + StateLayout.RIP) + displacement) & mask;
    }

    final void jump(final SoftCpu cpu) {
      final long rip = cpu.state + StateLayout.RIP;
      final long next = HostMemory.getLong(rip);
      final long target = (next + displacement) & mask;
      // 64 bits: rip is canonical, and so is what shares its upper bits. Else: the limit of CS.
      if (size == 8
          ? (next ^ target) >>> CANONICAL_SHIFT == 0
          : target <= HostMemory.getLong(cpu.state + CS_LIMIT)) {
        HostMemory.putLong(rip, target);
      } else {
        cpu.branch(target, size);
      }
    }
  }

  static final class Jump extends Relative {
    Jump(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      jump(cpu);
    }
  }

  static final class Call extends Relative {
    Call(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      call(cpu, target(cpu), size());
    }
  }

  /** An indirect branch, or RET. */
  abstract static class Indirect extends Op {
    final int size;

    Indirect(final Instruction insn) {
      super(insn);
      size = operandSize(insn);
    }

    @Override
    public final boolean isTerminator() {
      return true;
    }

    /** Reads the target from the memory operand. */
    final long loadTarget(final SoftCpu cpu) {
      final long linear = readAddress(cpu, size);
      return size == 8 ? cpu.load64(linear) : cpu.load(linear, size);
    }
  }

  static final class JumpRegister extends Indirect {
    private final int src;

    JumpRegister(final Instruction insn) {
      super(insn);
      src = Forms.register(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      go(cpu, cpu.reg64(src), size);
    }
  }

  static final class JumpMemory extends Indirect {
    JumpMemory(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      go(cpu, loadTarget(cpu), size);
    }
  }

  static final class CallRegister extends Indirect {
    private final int src;

    CallRegister(final Instruction insn) {
      super(insn);
      src = Forms.register(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      call(cpu, cpu.reg64(src), size);
    }
  }

  static final class CallMemory extends Indirect {
    CallMemory(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      call(cpu, loadTarget(cpu), size);
    }
  }

  /** RET, and RET that releases parameters. */
  static final class Return extends Indirect {
    private final int release;

    Return(final Instruction insn) {
      super(insn);
      release = insn.operandCount == 0 ? 0 : (int) insn.immediate & 0xFFFF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (size == 8) {
        final long target = Stack.peek64(cpu);
        go(cpu, target, 8);
        Stack.release64(cpu, 8 + release);
      } else {
        cpu.branch(cpu.peekStack(size), size);
        cpu.addStackPointer(size + release);
      }
    }
  }

  /** LOOP, LOOPE, LOOPNE: counts rCX, by address size, down and branches unless it is 0. */
  static final class Loop extends Relative {
    /** Branches whatever ZF is. */
    static final int ALWAYS = 0;

    static final int WHILE_EQUAL = 1;
    static final int WHILE_NOT_EQUAL = 2;

    private final int kind;
    private final int addressSize;

    Loop(final Instruction insn, final int kind) {
      super(insn);
      this.kind = kind;
      addressSize = insn.addressSize;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long count = cpu.counter(addressSize) - 1;
      if (count != 0 && (kind == ALWAYS || cpu.zf() == (kind == WHILE_EQUAL))) {
        jump(cpu);
      }
      cpu.counter(addressSize, count);
    }
  }

  static final class JumpCounterZero extends Relative {
    private final int addressSize;

    JumpCounterZero(final Instruction insn) {
      super(insn);
      addressSize = insn.addressSize;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (cpu.counter(addressSize) == 0) {
        jump(cpu);
      }
    }
  }
}

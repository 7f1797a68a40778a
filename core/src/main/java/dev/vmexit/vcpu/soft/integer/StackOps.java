package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;

/** PUSH, POP, PUSHA, POPA, ENTER and LEAVE. */
final class StackOps {
  private static final int RSP = StateLayout.gpr(Gpr.RSP);
  private static final int RBP = StateLayout.gpr(Gpr.RBP);

  private StackOps() {}

  /** Null for segment registers. */
  static Op bindPush(final Instruction insn) {
    final boolean wide = insn.codeSize == 8 && insn.operandSize != 2;
    return switch (insn.operandKind[0]) {
      case Instruction.GPR -> wide ? new PushRegister64(insn) : new PushRegister(insn);
      case Instruction.IMMEDIATE -> new PushImmediate(insn);
      case Instruction.MEMORY -> new PushMemory(insn);
      default -> null;
    };
  }

  /** Null for segment registers. */
  static Op bindPop(final Instruction insn) {
    final boolean wide = insn.codeSize == 8 && insn.operandSize != 2;
    return switch (insn.operandKind[0]) {
      case Instruction.GPR -> wide ? new PopRegister64(insn) : new PopRegister(insn);
      case Instruction.MEMORY -> new PopMemory(insn);
      default -> null;
    };
  }

  /** There are no 4-byte stack operands in 64-bit mode. */
  private static int operandSize(final Instruction insn) {
    return insn.codeSize == 8 && insn.operandSize != 2 ? 8 : insn.operandSize;
  }

  static final class PushRegister64 extends Op {
    private final int src;

    PushRegister64(final Instruction insn) {
      super(insn);
      src = StateLayout.gpr(insn.operandRegister[0]);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      Stack.push64(cpu, cpu.reg64(src));
    }
  }

  static final class PopRegister64 extends Op {
    private final int dst;

    PopRegister64(final Instruction insn) {
      super(insn);
      dst = StateLayout.gpr(insn.operandRegister[0]);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, Stack.pop64(cpu));
    }
  }

  static final class PushRegister extends Op {
    private final int src;
    private final int size;

    PushRegister(final Instruction insn) {
      super(insn);
      src = StateLayout.gpr(insn.operandRegister[0]);
      size = operandSize(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.push(cpu.reg64(src), size);
    }
  }

  static final class PopRegister extends Op {
    private final int dst;
    private final int size;

    PopRegister(final Instruction insn) {
      super(insn);
      dst = StateLayout.gpr(insn.operandRegister[0]);
      size = operandSize(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      Registers.write(cpu, dst, size, cpu.pop(size));
    }
  }

  static final class PushImmediate extends Op {
    private final long imm;
    private final int size;

    PushImmediate(final Instruction insn) {
      super(insn);
      imm = insn.immediate;
      size = operandSize(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      if (size == 8) {
        Stack.push64(cpu, imm);
      } else {
        cpu.push(imm, size);
      }
    }
  }

  static final class PushMemory extends Op {
    private final int size;

    PushMemory(final Instruction insn) {
      super(insn);
      size = operandSize(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long value = cpu.load(readAddress(cpu, size), size);
      if (size == 8) {
        Stack.push64(cpu, value);
      } else {
        cpu.push(value, size);
      }
    }
  }

  /** POP to memory: a base of rSP counts as after the pop (SDM Vol. 2, POP). */
  static final class PopMemory extends Op {
    private final int size;
    private final boolean basedOnStack;

    PopMemory(final Instruction insn) {
      super(insn);
      size = operandSize(insn);
      basedOnStack = insn.base == Gpr.RSP;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long value = cpu.peekStack(size);
      long delta = 0;
      if (basedOnStack) {
        final long sp = cpu.reg64(RSP);
        delta = size;
        if (cpu.stackSize() == 2) {
          // SP wraps at 64 KiB below the upper half of ESP, which stays.
          delta = ((sp + size) & 0xFFFF) - (sp & 0xFFFF);
        }
      }
      cpu.store(displacedAddress(cpu, delta, size, true), size, value);
      cpu.addStackPointer(size);
    }
  }

  /** PUSHA and PUSHAD: eAX, eCX, eDX, eBX, the former eSP, eBP, eSI, eDI. */
  static final class PushAll extends Op {
    private final int size;

    PushAll(final Instruction insn) {
      super(insn);
      size = insn.operandSize;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      for (int i = 1; i <= 8; i++) {
        cpu.probeWrite(cpu.stackAddress(-(long) i * size, size, true), size);
      }
      for (int i = 1; i <= 8; i++) {
        final long value = cpu.reg64(StateLayout.gpr(i - 1));
        cpu.store(cpu.stackAddress(-(long) i * size, size, true), size, value);
      }
      cpu.addStackPointer(-8L * size);
    }
  }

  /** POPA and POPAD: the reverse of {@link PushAll}, eSP's slot being skipped. */
  static final class PopAll extends Op {
    private final int size;

    PopAll(final Instruction insn) {
      super(insn);
      size = insn.operandSize;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      for (int i = 0; i < 8; i++) {
        cpu.probeRead(cpu.stackAddress((long) i * size, size, false), size);
      }
      for (int i = 0; i < 8; i++) {
        final int register = Gpr.RDI - i;
        if (register != Gpr.RSP) {
          final long value = cpu.load(cpu.stackAddress((long) i * size, size, false), size);
          Registers.write(cpu, StateLayout.gpr(register), size, value);
        }
      }
      cpu.addStackPointer(8L * size);
    }
  }

  /** LEAVE: rSP takes rBP by the stack's width, then rBP is popped. */
  static final class Leave extends Op {
    private final int size;

    Leave(final Instruction insn) {
      super(insn);
      size = operandSize(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long frame = cpu.reg64(RBP);
      if (size == 8) {
        final long host = cpu.hostRead(frame, 8);
        if (host != 0) {
          cpu.reg64(RSP, frame + 8);
          cpu.reg64(RBP, HostMemory.getLong(host));
          return;
        }
      }
      final long delta = frame - cpu.reg64(RSP);
      final long value = cpu.load(cpu.stackAddress(delta, size, false), size);
      cpu.addStackPointer(delta + size);
      Registers.write(cpu, RBP, size, value);
    }
  }

  /** ENTER (SDM Vol. 2): pushes rBP, copies the outer frames' pointers, makes room. */
  static final class Enter extends Op {
    private final int size;
    private final int room;
    private final int level;

    Enter(final Instruction insn) {
      super(insn);
      size = operandSize(insn);
      room = (int) insn.immediate & 0xFFFF;
      level = (int) insn.immediate2 & 31;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final int stackSize = cpu.stackSize();
      final long sp = cpu.reg64(RSP);
      final long bp = cpu.reg64(RBP);
      // All distances are from the rSP that stands until the end.
      final long outer = bp - sp;
      final int pushes = level == 0 ? 1 : level + 1;
      final long end = -(long) pushes * size - room;
      for (int i = 1; i <= pushes; i++) {
        cpu.probeWrite(cpu.stackAddress(-(long) i * size, size, true), size);
      }
      for (int i = 1; i < level; i++) {
        cpu.probeRead(cpu.stackAddress(outer - (long) i * size, size, false), size);
      }
      // The processor also checks that the new top of the stack can be written.
      cpu.probeWrite(cpu.stackAddress(end, 1, true), 1);

      cpu.store(cpu.stackAddress(-size, size, true), size, bp);
      for (int i = 1; i < level; i++) {
        final long pointer = cpu.load(cpu.stackAddress(outer - (long) i * size, size, false), size);
        cpu.store(cpu.stackAddress(-(long) (i + 1) * size, size, true), size, pointer);
      }
      final long frame = stackSize == 2 ? (sp & ~0xFFFFL) | ((sp - size) & 0xFFFF) : sp - size;
      if (level > 0) {
        cpu.store(cpu.stackAddress(-(long) pushes * size, size, true), size, frame);
      }
      Registers.write(cpu, RBP, size, frame);
      cpu.addStackPointer(end);
    }
  }
}

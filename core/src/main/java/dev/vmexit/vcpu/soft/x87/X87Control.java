package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** Control instructions (SDM Vol. 1, 8.3.11); they leave the last-instruction pointers alone. */
final class X87Control extends X87Op {
  private static final int AX = StateLayout.gpr(Gpr.RAX);
  private static final long WAIT_FAULTS = ControlRegisters.CR0_MP | ControlRegisters.CR0_TS;
  private static final int EXCEPTION_BITS =
      SoftFloat.ALL | X87State.STACK_FAULT | X87State.ERROR_SUMMARY | X87State.BUSY;

  private final Mnemonic mnemonic;
  private final int index;
  private final boolean toMemory;

  X87Control(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
    index = insn.modrm & 7;
    toMemory = insn.hasMemory;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    switch (mnemonic) {
      case FNINIT -> {
        checkUsable(cpu);
        X87State.initialize(cpu);
      }
      case FNCLEX -> {
        checkUsable(cpu);
        X87State.setStatus(cpu, X87State.statusWord(cpu) & ~EXCEPTION_BITS);
      }
      case FNSTCW -> {
        checkUsable(cpu);
        cpu.store16(writeAddress(cpu, 2), (int) X87State.control(cpu));
      }
      case FNSTSW -> {
        checkUsable(cpu);
        if (toMemory) {
          cpu.store16(writeAddress(cpu, 2), X87State.statusWord(cpu));
        } else {
          cpu.reg16(AX, X87State.statusWord(cpu));
        }
      }
      case FLDCW -> {
        check(cpu);
        X87State.setControl(cpu, cpu.load16(readAddress(cpu, 2)));
        X87State.summarize(cpu);
      }
      case FWAIT -> {
        if ((cpu.reg64(StateLayout.CR0) & WAIT_FAULTS) == WAIT_FAULTS) {
          throw cpu.raise(Vector.NM);
        }
        if ((X87State.statusWord(cpu) & X87State.ERROR_SUMMARY) != 0) {
          throw cpu.raise(Vector.MF);
        }
      }
      // Of the 8087 and the 287: do nothing, and wait for nothing.
      case FNENI, FNDISI, FNSETPM -> checkUsable(cpu);
      default -> stackOperation(cpu);
    }
  }

  private void stackOperation(final SoftCpu cpu) {
    check(cpu);
    switch (mnemonic) {
      case FDECSTP -> rotate(cpu, -1);
      case FINCSTP -> rotate(cpu, 1);
      case FFREE -> {
        X87State.free(cpu, index);
        rotate(cpu, 0);
      }
      case FFREEP -> {
        X87State.free(cpu, index);
        X87State.pop(cpu);
        rotate(cpu, 0);
      }
      default -> {
        // FNOP.
      }
    }
  }

  /** Moves TOP and clears C1. */
  private static void rotate(final SoftCpu cpu, final int by) {
    X87State.moveTop(cpu, by);
    X87State.setStatus(cpu, X87State.statusWord(cpu) & ~X87State.C1);
  }
}

package dev.vmexit.vcpu.kvm;

import dev.vmexit.exit.ExitEvent;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.mmu.Mmu;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.Vcpu;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * Executes the one instruction that KVM's emulator does not know: the vCPU's whole state goes to
 * the interpreter, which may make exits of its own before it is through, and what it came to goes
 * back.
 */
final class InstructionFinisher {
  private final KvmRegisters registers;
  private final InstructionLocator locator;
  private final Vcpu interpreter;
  private final long state;
  private final VcpuExit exit;
  private final Mmu mmu;
  private final FinishedInstruction finished = new FinishedInstruction();
  private boolean unblocksNmi;

  /** Makes one for a vCPU whose state block and exit are the interpreter's. */
  InstructionFinisher(
      final KvmRegisters registers,
      final InstructionLocator locator,
      final Vcpu interpreter,
      final Mmu mmu) {
    this.mmu = mmu;
    this.registers = registers;
    this.locator = locator;
    this.interpreter = interpreter;
    this.state = interpreter.state();
    this.exit = interpreter.exit();
  }

  /** Executes the instruction on rip; the interpreter's reason to leave. */
  int begin() {
    registers.loadAll();
    exit.clear(VcpuExit.FINISHED, HostMemory.getLong(state + StateLayout.RIP));
    final Instruction insn = locator.current(GuestMode.codeSize(state), exit);
    finished.keep(exit);
    unblocksNmi = insn != null && insn.mnemonic == Mnemonic.IRET;
    // The guest may have written the code, its tables and its registers since the last time.
    mmu.setContext(
        HostMemory.getLong(state + StateLayout.CR0),
        HostMemory.getLong(state + StateLayout.CR3),
        HostMemory.getLong(state + StateLayout.CR4),
        HostMemory.getLong(state + StateLayout.EFER));
    interpreter.stateChanged();
    return interpreter.enter(1);
  }

  /** Goes on with the answer to the exit that the instruction made. */
  int resume() {
    return interpreter.enter(1);
  }

  /**
   * Hands the state over, after the instruction or in front of it; the exit that there is to tell.
   */
  int conclude(final int reason) {
    HostMemory.putLong(state + StateLayout.RFLAGS, interpreter.rflags());
    HostMemory.putLong(state + StateLayout.RETIRED, 0);
    final long events = registers.events();
    HostMemory.putByte(
        events + KvmEvents.INTERRUPT_SHADOW,
        (interpreter.interruptState() & ExitEvent.INTERRUPT_SHADOW) != 0 ? 1 : 0);
    if (unblocksNmi) {
      HostMemory.putByte(events + KvmEvents.NMI_MASKED, 0);
    }
    registers.eventsChanged();
    if (reason != VcpuExit.LIMIT) {
      return reason;
    }
    exit.clear(VcpuExit.FINISHED, HostMemory.getLong(state + StateLayout.RIP));
    finished.tell(exit);
    return VcpuExit.FINISHED;
  }
}

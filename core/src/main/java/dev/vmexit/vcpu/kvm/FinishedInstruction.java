package dev.vmexit.vcpu.kvm;

import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.decode.Instruction;

/** The instruction that is being finished, while the interpreter may make exits of its own. */
final class FinishedInstruction {
  private final byte[] bytes = new byte[Instruction.MAX_LENGTH];
  private long rip;
  private int length;

  /** Keeps what an exit says. */
  void keep(final VcpuExit exit) {
    rip = exit.rip;
    length = exit.instructionLength;
    System.arraycopy(exit.instruction, 0, bytes, 0, length);
  }

  /** Says it again. */
  void tell(final VcpuExit exit) {
    exit.rip = rip;
    exit.address = rip;
    exit.instructionLength = length;
    System.arraycopy(bytes, 0, exit.instruction, 0, length);
  }
}

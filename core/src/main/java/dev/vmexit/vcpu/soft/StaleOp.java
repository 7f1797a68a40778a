package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.decode.Instruction;

/** Stands in for the ops of a block whose bytes were written: sends the vCPU to decode anew. */
final class StaleOp extends Op {
  static final StaleOp INSTANCE = new StaleOp();

  private StaleOp() {
    super(new Instruction());
  }

  @Override
  public void execute(final SoftCpu cpu) {
    throw Unwind.STALE;
  }
}

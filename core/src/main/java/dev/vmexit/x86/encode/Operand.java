package dev.vmexit.x86.encode;

/** What an instruction works on, besides immediates and branch targets: a register or memory. */
public sealed interface Operand permits Register, Memory {
  /** Size in bytes; 0 for memory whose size another operand or the instruction gives. */
  int size();
}

package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.x86.decode.Instruction;

/**
 * Binds MMX, SSE to SSE4.2, AVX, AES and SHA instructions, the state-saving ones and the cache
 * hints to their semantics.
 */
public final class SseOps {
  private SseOps() {}

  /** Gives an instruction's op, or null where it is not one of these. */
  public static Op bind(final Instruction insn) {
    return insn.hasPrefix(Instruction.PREFIX_VEX) ? VexOps.bind(insn) : bindLegacy(insn);
  }

  /** As {@link #bind}, by the mnemonic: also the SSE part of a VEX form. */
  static Op bindLegacy(final Instruction insn) {
    Op op = MmxOps.isMmx(insn) ? MmxOps.bind(insn) : null;
    op = op != null ? op : MoveOps.bind(insn);
    op = op != null ? op : IntegerOps.bind(insn);
    op = op != null ? op : ShuffleOps.bind(insn);
    op = op != null ? op : FloatOps.bind(insn);
    op = op != null ? op : ConvertOps.bind(insn);
    op = op != null ? op : HorizontalOps.bind(insn);
    op = op != null ? op : ByteShuffleOps.bind(insn);
    op = op != null ? op : Sse41Ops.bind(insn);
    op = op != null ? op : StringOps.bind(insn);
    op = op != null ? op : AesOps.bind(insn);
    op = op != null ? op : ShaOps.bind(insn);
    op = op != null ? op : HintOps.bind(insn);
    return op != null ? op : StateOps.bind(insn);
  }
}

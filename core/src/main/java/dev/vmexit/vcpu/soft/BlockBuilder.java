package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.soft.integer.IntegerOps;
import dev.vmexit.vcpu.soft.sse.SseOps;
import dev.vmexit.vcpu.soft.x87.X87Ops;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import java.util.Arrays;

/** Decodes a block from guest memory and binds its instructions. */
final class BlockBuilder {
  /** Long enough for straight code, short enough to look at attention often. */
  private static final int MAX_OPS = 48;

  private static final int PAGE = 4096;

  /** No block is longer. */
  static final int MAX_BYTES = MAX_OPS * Instruction.MAX_LENGTH;

  private final SoftVcpu cpu;
  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();
  private final byte[] bytes = new byte[MAX_BYTES];
  private final Op[] ops = new Op[MAX_OPS];

  BlockBuilder(final SoftVcpu cpu) {
    this.cpu = cpu;
  }

  /**
   * Builds the block at a linear address whose first byte lies at {@code host}. A block stays on
   * its page; an instruction that crosses to the next one makes a block of its own. May raise the
   * fault of fetching that next page.
   */
  Block build(final long linear, final long host, final int codeSize) {
    final int available = (int) Math.min(MAX_BYTES, PAGE - (host & PAGE - 1));
    HostMemory.copyOut(host, bytes, 0, available);
    int at = 0;
    int count = 0;
    while (count < MAX_OPS) {
      final int status = decoder.decode(bytes, at, available - at, codeSize, insn);
      if (status == Decoder.STATUS_TRUNCATED) {
        if (count == 0) {
          return crossing(linear, host, available, codeSize);
        }
        break;
      }
      final Op op = bind(status);
      ops[count++] = op;
      at += op.length;
      if (op.isTerminator() || at >= available) {
        break;
      }
    }
    return new Block(host, 0, codeSize, Arrays.copyOf(ops, count));
  }

  private Block crossing(
      final long linear, final long host, final int available, final int codeSize) {
    final long next = cpu.fetchHost(cpu.nextPage(linear));
    int total = available;
    if (next != 0) {
      HostMemory.copyOut(next, bytes, available, Instruction.MAX_LENGTH);
      total += Instruction.MAX_LENGTH;
    }
    final int status = decoder.decode(bytes, 0, total, codeSize, insn);
    final Op op = bind(status);
    final Block block = new Block(host, next, codeSize, new Op[] {op});
    if (next == 0) {
      // Nothing tells when a slot appears there, or another page.
      block.disown();
    }
    return block;
  }

  private Op bind(final int status) {
    if (status != Decoder.STATUS_OK) {
      insn.hasMemory = false;
      insn.length = Math.clamp(insn.length, 1, Instruction.MAX_LENGTH);
      return status == Decoder.STATUS_TOO_LONG
          ? SystemOps.protectionFault(insn)
          : SystemOps.undefined(insn);
    }
    if (!cpu.model().knows(insn)) {
      return SystemOps.undefined(insn);
    }
    Op op = IntegerOps.bind(insn);
    if (op == null) {
      op = SystemOps.bind(insn);
    }
    if (op == null) {
      op = SseOps.bind(insn);
    }
    if (op == null) {
      op = X87Ops.bind(insn);
    }
    return op == null ? SystemOps.undefined(insn) : op;
  }
}

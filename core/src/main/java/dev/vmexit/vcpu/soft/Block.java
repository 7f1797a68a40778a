package dev.vmexit.vcpu.soft;

import java.util.Arrays;

/**
 * A run of instructions with one entry and one way out at its end, decoded from guest-physical
 * memory and independent of the linear address that it runs at.
 */
final class Block {
  /** Host address of the first byte: slots do not overlap, so it stands for the gpa. */
  final long host;

  /** Host address of the second page's start, for a single instruction that crosses; else 0. */
  final long crossHost;

  final int codeSize;
  final int length;
  final Op[] ops;

  /** Offset of each op: kept apart, as {@link #invalidate} overwrites the ops. */
  final int[] offsets;

  /** Next in the hash chain of {@link BlockCache}. */
  Block chain;

  private boolean valid = true;

  Block(final long host, final long crossHost, final int codeSize, final Op[] ops) {
    this.host = host;
    this.crossHost = crossHost;
    this.codeSize = codeSize;
    this.ops = ops;
    offsets = new int[ops.length];
    int at = 0;
    for (int i = 0; i < ops.length; i++) {
      offsets[i] = at;
      ops[i].place(at);
      at += ops[i].length;
    }
    length = at;
  }

  boolean isValid() {
    return valid;
  }

  /**
   * Makes the block unusable at once, also for a pass that is in the middle of it: each op that has
   * not yet run becomes one that leaves.
   */
  void invalidate() {
    valid = false;
    Arrays.fill(ops, StaleOp.INSTANCE);
  }
}

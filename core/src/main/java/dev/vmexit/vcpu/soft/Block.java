package dev.vmexit.vcpu.soft;

import java.util.Arrays;

/**
 * A run of instructions with one entry and one way out at its end, decoded from guest-physical
 * memory and independent of the linear address that it runs at.
 */
final class Block {
  /** Equals no tag. */
  static final long NO_TAG = -1L;

  /** Stands where there is no block: has no tag and, unlike all others, no successors. */
  static final Block NONE = new Block(0, 1, 0, new Op[0]);

  /** Host address of the first byte: slots do not overlap, so it stands for the gpa. */
  final long host;

  /**
   * Host address of the second page's start, for a single instruction whose decoding needed bytes
   * of it; else 0.
   */
  final long crossHost;

  final int codeSize;
  final int length;
  final Op[] ops;

  /** Offset of each op: kept apart, as {@link #invalidate} overwrites the ops. */
  final int[] offsets;

  /** Next in the hash chain of {@link BlockCache}. */
  Block chain;

  /**
   * Where blocks were found to go on from here, for a quick guess; {@link #tag} decides. Null in
   * {@link #NONE} alone.
   */
  Block successor;

  Block otherSuccessor;

  /** {@link #tag(long, int)} of this block; {@link #NO_TAG} once invalid or where it crosses. */
  long tag;

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
    tag = crossHost == 0 ? tag(host, codeSize) : NO_TAG;
    successor = NONE;
    otherSuccessor = NONE;
  }

  /** Host address of the first byte, which is below 2^56, and the code size. */
  static long tag(final long host, final int codeSize) {
    return host | (long) codeSize << 56;
  }

  boolean isValid() {
    return valid;
  }

  /** Makes the block good for one pass only: what it was decoded from cannot be watched. */
  void disown() {
    valid = false;
    tag = NO_TAG;
  }

  /**
   * Makes the block unusable at once, also for a pass that is in the middle of it: each op that has
   * not yet run becomes one that leaves.
   */
  void invalidate() {
    valid = false;
    tag = NO_TAG;
    successor = NONE;
    otherSuccessor = NONE;
    Arrays.fill(ops, StaleOp.INSTANCE);
  }
}

package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Vector;
import java.util.Arrays;

/** Finds the block to run next, or has it built; in the loop's hot path. */
final class BlockLookup {
  private static final int JUMP_CACHE_SIZE = 1 << 14;

  private final SoftVcpu cpu;
  private final BlockBuilder builder;
  private final Block[] jumpBlocks = new Block[JUMP_CACHE_SIZE];

  BlockLookup(final SoftVcpu cpu) {
    this.cpu = cpu;
    builder = new BlockBuilder(cpu);
    Arrays.fill(jumpBlocks, Block.NONE);
  }

  private static int jumpIndex(final long host) {
    return (int) (host ^ host >>> 14) & JUMP_CACHE_SIZE - 1;
  }

  /**
   * The block at rip: a known successor of the last one, else from the jump cache, else found or
   * built. Host address and code size say all that a block depends on, so one comparison with
   * {@link Block#tag} is enough wherever the candidate comes from; that the address is mapped and
   * executable is seen in the TLB each time.
   */
  Block lookup(final long rip, final Block last) {
    final long linear;
    if (cpu.codeSize == 8) {
      linear = rip;
    } else {
      if (rip > cpu.codeLimit - BlockBuilder.MAX_BYTES) {
        return lookupNearLimit(rip);
      }
      linear = cpu.codeBase + rip & 0xFFFF_FFFFL;
    }
    final long entry =
        cpu.tlb + (linear >>> 12 & StateLayout.TLB_ENTRIES - 1) * StateLayout.TLB_ENTRY_SIZE;
    if (HostMemory.getLong(entry + StateLayout.TLB_FETCH) == (linear & -4096L)) {
      final long host = linear + HostMemory.getLong(entry + StateLayout.TLB_ADDEND);
      final long tag = Block.tag(host, cpu.codeSize);
      if (last != null) {
        Block next = last.successor;
        if (next.tag == tag) {
          return next;
        }
        next = last.otherSuccessor;
        if (next.tag == tag) {
          return next;
        }
      }
      final int index = jumpIndex(host);
      Block next = jumpBlocks[index];
      if (next.tag != tag) {
        next = find(linear);
        jumpBlocks[index] = next;
      }
      if (last != null && last.isValid()) {
        last.otherSuccessor = last.successor;
        last.successor = next;
      }
      return next;
    }
    return find(linear);
  }

  /** Where a block may reach beyond the limit of CS, its instructions run one by one. */
  private Block lookupNearLimit(final long rip) {
    if (rip > cpu.codeLimit) {
      throw cpu.raise(Vector.GP, 0);
    }
    final Block block = find(cpu.codeBase + rip & 0xFFFF_FFFFL);
    if (rip + block.length - 1 > cpu.codeLimit) {
      final int first = block.offsets.length > 1 ? block.offsets[1] : block.length;
      if (rip + first - 1 > cpu.codeLimit) {
        throw cpu.raise(Vector.GP, 0);
      }
      if (!cpu.attention.has(Attention.ALONE)) {
        cpu.attention.set(Attention.ONCE);
        throw Unwind.STALE;
      }
    }
    return block;
  }

  private Block find(final long linear) {
    final long host = cpu.fetchHost(linear);
    if (host == 0) {
      // Nothing answers on the bus: all ones, FF FF, is #UD.
      throw cpu.undefined();
    }
    final Block cached = cpu.code.find(host, cpu.codeSize);
    if (cached != null) {
      if (cached.crossHost == 0 || cpu.fetchHost(cpu.nextPage(linear)) == cached.crossHost) {
        return cached;
      }
      cpu.code.remove(cached);
    }
    final Block built = builder.build(linear, host, cpu.codeSize);
    if (built.isValid() && cpu.code.add(built)) {
      cpu.dropWriteMappings(host & -4096L);
      if (built.crossHost != 0) {
        cpu.dropWriteMappings(built.crossHost);
      }
    }
    return built;
  }
}

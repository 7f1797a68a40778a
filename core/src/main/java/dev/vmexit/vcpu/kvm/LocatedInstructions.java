package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Instructions that were found at or before some rip, with what all bytes around it were then: a
 * loop's exits come from the same few places. A place is forgotten when another takes its slot.
 *
 * <p>A place says what the instruction accesses, where that is simple; else {@link #instruction} is
 * to be asked. A hypervisor has just had the processor's caches: mostly one line of 64 bytes is all
 * that is looked at.
 *
 * <pre>
 *   0     rip
 *   1     byte 0 code size, 1 how far before rip it begins, 2 its length, 3 whether what lies
 *         further back had a say in it; 0: no place
 *   2     byte 0 its bytes accessed, 1 flags, 2 base, 3 index, 4 scale, 5 segment,
 *         6 address size; port in bytes 2 and 3
 *   3     displacement, with rip's part of it
 *   4..7  16 bytes before rip, in which an instruction begins that ends there, and 15 from it on;
 *         the last word overlaps the one before it
 *   8..13 the 48 bytes before those
 * </pre>
 */
final class LocatedInstructions {
  private static final int SLOTS = 256;
  private static final int HASH_SHIFT = 56;
  private static final long HASH = 0x9E37_79B9_7F4A_7C15L;
  private static final int PAGE_OFFSET = 0xFFF;

  private static final int PLACE = 128;
  private static final int WHERE = 8;
  private static final int ACCESS = 16;
  private static final int DISPLACEMENT = 24;
  private static final int NEAR = 32;
  private static final int FAR = 64;
  private static final int BEFORE = InstructionLocator.BEFORE;
  private static final int FAR_BEFORE = InstructionLocator.FAR_BEFORE;
  private static final int LAST = InstructionLocator.MAX - 8;

  // Flags of an access.
  private static final int PORT = 1;
  private static final int MEMORY = 1 << 1;

  /** Of a port: it is an OUT. Of memory: it may be a store. */
  private static final int WRITES = 1 << 2;

  /** The port is named by the instruction, not by DX. */
  private static final int FIXED = 1 << 3;

  private static final int NO_REGISTER = 0xFF;

  /** Lives as long as this; all zero at first. */
  private final MemorySegment room = Arena.ofAuto().allocate((long) SLOTS * PLACE, PLACE);

  private final long places = room.address();
  private final Instruction[] instructions = new Instruction[SLOTS];

  private static int slot(final long rip) {
    return (int) (rip * HASH >>> HASH_SHIFT);
  }

  /**
   * The place that was found there before, or -1. Where it {@link #isFurther} the bytes further
   * back are still to be compared.
   *
   * @param here where the byte on rip is in this process, and those around it
   */
  int find(final long rip, final int codeSize, final long here) {
    final int place = slot(rip);
    final long p = at(place);
    final long difference =
        HostMemory.getLong(p + NEAR) ^ HostMemory.getLong(here - BEFORE)
            | HostMemory.getLong(p + NEAR + 8) ^ HostMemory.getLong(here - BEFORE + 8)
            | HostMemory.getLong(p + NEAR + 16) ^ HostMemory.getLong(here)
            | HostMemory.getLong(p + NEAR + 24) ^ HostMemory.getLong(here + LAST)
            | HostMemory.getLong(p) ^ rip
            | HostMemory.getByte(p + WHERE) ^ codeSize;
    return difference == 0 ? place : -1;
  }

  /** Whether the bytes further back had a say in it. */
  boolean isFurther(final int place) {
    return HostMemory.getByte(at(place) + WHERE + 3) != 0;
  }

  /** Whether the bytes further back are those of then. */
  boolean isSame(final int place, final long here) {
    long difference = 0;
    for (int i = 0; i < FAR_BEFORE - BEFORE; i += 8) {
      difference |=
          HostMemory.getLong(at(place) + FAR + i) ^ HostMemory.getLong(here - FAR_BEFORE + i);
    }
    return difference == 0;
  }

  private long at(final int place) {
    return places + (long) place * PLACE;
  }

  /** How far before rip its instruction begins. */
  int behind(final int place) {
    return HostMemory.getByte(at(place) + WHERE + 1);
  }

  /** Its instruction's length. */
  int length(final int place) {
    return HostMemory.getByte(at(place) + WHERE + 2);
  }

  /** Its instruction. */
  Instruction instruction(final int place) {
    return instructions[place];
  }

  /** Whether it is an access to this port; false, too, where that is not simple to say. */
  boolean isPort(final int place, final VcpuExit exit, final long state) {
    final int access = HostMemory.getInt(at(place) + ACCESS);
    final int port =
        (access >>> 8 & FIXED) != 0
            ? access >>> 16
            : HostMemory.getShort(state + StateLayout.gpr(Gpr.RDX));
    return (access >>> 8 & (PORT | WRITES)) == (exit.write ? PORT | WRITES : PORT)
        && (access & 0xFF) == exit.size
        && port == exit.address;
  }

  /**
   * Whether its memory operand lies at this address, as far as the page offset tells; false, too,
   * where that is not simple to say.
   */
  boolean touches(final int place, final VcpuExit exit, final long state) {
    final long access = HostMemory.getLong(at(place) + ACCESS);
    final int flags = (int) (access >>> 8) & 0xFF;
    if ((flags & MEMORY) == 0
        || (int) access << 24 >>> 24 != exit.size
        || exit.write && (flags & WRITES) == 0) {
      return false;
    }
    long address = HostMemory.getLong(at(place) + DISPLACEMENT);
    final int base = (int) (access >>> 16) & 0xFF;
    if (base != NO_REGISTER) {
      address += HostMemory.getLong(state + StateLayout.gpr(base));
    }
    final int index = (int) (access >>> 24) & 0xFF;
    if (index != NO_REGISTER) {
      address +=
          HostMemory.getLong(state + StateLayout.gpr(index)) << ((int) (access >>> 32) & 0xFF);
    }
    final int addressSize = (int) (access >>> 48) & 0xFF;
    if (addressSize != 8) {
      address &= (1L << addressSize * 8) - 1;
    }
    final int segment = (int) (access >>> 40) & 0xFF;
    if (segment != NO_REGISTER) {
      address += HostMemory.getLong(state + StateLayout.segment(segment) + StateLayout.SEG_BASE);
    }
    return ((address ^ exit.address) & PAGE_OFFSET) == 0;
  }

  /** The instruction to be filled in before {@link #add}; allocates for a slot never used. */
  Instruction room(final long rip) {
    final int slot = slot(rip);
    if (instructions[slot] == null) {
      instructions[slot] = new Instruction();
    }
    return instructions[slot];
  }

  /**
   * Keeps a place, whose instruction is filled in.
   *
   * @param here where the byte on rip is in this process, and those around it
   * @param further whether the bytes further back had a say in it
   */
  void add(
      final long rip,
      final int codeSize,
      final long here,
      final int behind,
      final boolean further) {
    final int place = slot(rip);
    final Instruction insn = instruction(place);
    final long p = at(place);
    HostMemory.putLong(p, rip);
    HostMemory.putLong(
        p + WHERE, codeSize | behind << 8 | insn.length << 16 | (further ? 1 << 24 : 0));
    HostMemory.putLong(p + ACCESS, access(insn));
    HostMemory.putLong(
        p + DISPLACEMENT,
        insn.base == Gpr.RIP ? insn.displacement + rip - behind + insn.length : insn.displacement);
    // Safe, both: inside the place, from bytes that the caller vouches for.
    HostMemory.copy(here - BEFORE, p + NEAR, BEFORE + 8);
    HostMemory.putLong(p + NEAR + BEFORE + 8, HostMemory.getLong(here + LAST));
    if (further) {
      HostMemory.copy(here - FAR_BEFORE, p + FAR, FAR_BEFORE - BEFORE);
    }
  }

  private static long access(final Instruction insn) {
    return switch (insn.mnemonic) {
      case IN -> port(insn.operandSizes[0], PORT, insn, 1);
      case OUT -> port(insn.operandSizes[1], PORT | WRITES, insn, 0);
      case INS -> insn.operandSizes[0] | PORT << 8;
      case OUTS -> insn.operandSizes[0] | (PORT | WRITES) << 8;
      default -> memory(insn);
    };
  }

  private static long port(
      final int size, final int flags, final Instruction insn, final int operand) {
    return insn.operandKind[operand] == Instruction.IMMEDIATE
        ? size | (flags | FIXED) << 8 | (insn.immediate & 0xFF) << 16
        : size | flags << 8;
  }

  private static long memory(final Instruction insn) {
    for (int i = 0; i < insn.operandCount; i++) {
      if (insn.operandKind[i] == Instruction.MEMORY) {
        final boolean writes = i == 0 || insn.mnemonic == Mnemonic.XCHG;
        final boolean flat = insn.codeSize == 8 && insn.segment != Seg.FS && insn.segment != Seg.GS;
        return Math.min(insn.memorySize, 8)
            | (writes ? MEMORY | WRITES : MEMORY) << 8
            | register(insn.base == Gpr.RIP ? -1 : insn.base) << 16
            | register(insn.index) << 24
            | (long) insn.scaleShift << 32
            | register(flat ? -1 : insn.segment) << 40
            | (long) insn.addressSize << 48;
      }
    }
    return 0;
  }

  private static long register(final int number) {
    return number < 0 ? NO_REGISTER : number;
  }
}

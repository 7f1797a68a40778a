package dev.vmexit.vcpu.kvm;

import dev.vmexit.memory.GuestMemory;
import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * Finds the instruction of an exit. KVM leaves rip on the instruction or behind it, as processor,
 * kind of exit and KVM's own emulator would have it, and does not say which; a record names the
 * instruction's own rip. So the bytes around rip are read through the guest's tables and decoded:
 * an instruction that does what the exit says, on rip or ending there, is it. Where none fits, rip
 * stays as KVM gave it and the record has no bytes.
 */
final class InstructionLocator {
  static final int MAX = Instruction.MAX_LENGTH;

  /** Bytes before rip in which an instruction begins that ends there. */
  static final int BEFORE = 16;

  /** How far back decoding begins where several would fit. */
  static final int FAR_BEFORE = 64;

  /** Place of rip in the window. */
  private static final int HERE = FAR_BEFORE;

  /** Bytes that are looked at. */
  private static final int WINDOW = HERE + MAX;

  private static final int PAGE_OFFSET = 0xFFF;
  private static final int HLT_OPCODE = 0xF4;

  private final CodeMemory code;
  private final long state;
  private final Decoder decoder = new Decoder();
  private final Instruction decoded = new Instruction();

  /** The instruction that is looked at: what was decoded last, or one known from before. */
  private Instruction insn = decoded;

  /** Bytes from rip - 64 to rip + 15; which of them could be read. */
  private final byte[] window = new byte[WINDOW];

  /** The same where it had to be put together; lives as long as this. */
  private final MemorySegment gathered = Arena.ofAuto().allocate(WINDOW);

  private final int[] reached = new int[MAX + 1];

  /** {@link #mostReached} had a say. */
  private boolean voted;

  private int first;
  private int end;

  private final LocatedInstructions located = new LocatedInstructions();

  InstructionLocator(final GuestMemory memory, final long state) {
    this.code = new CodeMemory(memory, state);
    this.state = state;
  }

  /** The instruction on rip, decoded; null where it cannot be read. */
  Instruction current(final int codeSize, final VcpuExit exit) {
    final long rip = HostMemory.getLong(state + StateLayout.RIP);
    read(rip, codeSize);
    return take(exit, rip, codeSize, HERE) ? insn : null;
  }

  /** Fills in rip and bytes of a port access. */
  void port(final int codeSize, final VcpuExit exit) {
    access(codeSize, exit, true);
  }

  private void access(final int codeSize, final VcpuExit exit, final boolean port) {
    final long rip = HostMemory.getLong(state + StateLayout.RIP);
    long here = around(rip, codeSize, BEFORE);
    if (here != 0) {
      final int place = located.find(rip, codeSize, here);
      if (place >= 0) {
        if (located.isFurther(place)) {
          here = around(rip, codeSize, FAR_BEFORE);
        }
        if (here != 0
            && (!located.isFurther(place) || located.isSame(place, here))
            && known(place, here, rip, exit, port)) {
          return;
        }
      }
    }
    read(rip, codeSize);
    voted = false;
    if (exit.write) {
      // Behind the instruction in KVM's emulator; on it where hardware told of the access.
      takeBehind(exit, rip, codeSize, port);
    } else if (decode(HERE, codeSize) && fits(exit, port)) {
      take(exit, rip, codeSize, HERE);
    }
    here = around(rip, codeSize, voted ? FAR_BEFORE : BEFORE);
    if (here != 0 && exit.instructionLength > 0) {
      decoder.decode(exit.instruction, 0, exit.instructionLength, codeSize, located.room(rip));
      located.add(rip, codeSize, here, (int) (rip - exit.rip), voted);
    }
  }

  /** Whether the exit is of the instruction that this place had before. */
  private boolean known(
      final int place, final long here, final long rip, final VcpuExit exit, final boolean port) {
    final int behind = located.behind(place);
    if (!exit.write && behind > 0) {
      return false;
    }
    final boolean fits =
        port ? located.isPort(place, exit, state) : located.touches(place, exit, state);
    if (!fits && !fitsAnyway(place, rip - behind, exit, port)) {
      return false;
    }
    exit.rip = rip - behind;
    // Safe: inside the window, as the bytes that are read begin on rip or before it.
    exit.instruction(here - behind, located.length(place));
    return true;
  }

  /** The same of an instruction that is not simple: a string instruction, or across pages. */
  private boolean fitsAnyway(
      final int place, final long rip, final VcpuExit exit, final boolean port) {
    insn = located.instruction(place);
    ripOfDecoded = rip;
    final boolean fits = fits(exit, port);
    insn = decoded;
    return fits;
  }

  private boolean fits(final VcpuExit exit, final boolean port) {
    return port ? isPort(exit) : touches(exit);
  }

  private boolean isPort(final VcpuExit exit) {
    final boolean write;
    final int size;
    int operand = -1;
    switch (insn.mnemonic) {
      case IN -> {
        write = false;
        size = insn.operandSizes[0];
        operand = 1;
      }
      case OUT -> {
        write = true;
        size = insn.operandSizes[1];
        operand = 0;
      }
      case INS, OUTS -> {
        write = insn.mnemonic == Mnemonic.OUTS;
        size = insn.operandSizes[0];
      }
      default -> {
        return false;
      }
    }
    final long port =
        operand >= 0 && insn.operandKind[operand] == Instruction.IMMEDIATE
            ? insn.immediate & 0xFF
            : HostMemory.getShort(state + StateLayout.gpr(Gpr.RDX));
    return write == exit.write && size == exit.size && port == exit.address;
  }

  /** Fills in rip and bytes of an access to a guest-physical address. */
  void memory(final int codeSize, final VcpuExit exit) {
    access(codeSize, exit, false);
  }

  /**
   * Takes the instruction that ends at rip and fits the exit, or the one on rip. Where several
   * lengths fit, as prefixes and the bytes before may look like each other, the one that decoding
   * from further back runs into most often is right: x86 code falls into step soon.
   */
  private void takeBehind(
      final VcpuExit exit, final long rip, final int codeSize, final boolean port) {
    int found = 0;
    int fits = 0;
    for (int length = 1; length <= MAX; length++) {
      if (decode(HERE - length, codeSize) && insn.length == length && fits(exit, port)) {
        found |= 1 << length;
        fits++;
      }
    }
    if (fits == 0) {
      if (decode(HERE, codeSize) && fits(exit, port)) {
        take(exit, rip, codeSize, HERE);
      }
      return;
    }
    final int length =
        fits == 1 ? Integer.numberOfTrailingZeros(found) : mostReached(found, codeSize);
    take(exit, rip - length, codeSize, HERE - length);
  }

  /** Which of some lengths, a bit each, most chains of instructions from further back end with. */
  private int mostReached(final int lengths, final int codeSize) {
    voted = true;
    final int[] votes = reached;
    Arrays.fill(votes, 0);
    for (int from = first; from < HERE; from++) {
      int at = from;
      int last = at;
      while (at < HERE && decode(at, codeSize)) {
        last = at;
        at += insn.length;
      }
      if (at == HERE && HERE - last <= MAX) {
        votes[HERE - last]++;
      }
    }
    int best = Integer.numberOfTrailingZeros(lengths);
    for (int length = best + 1; length <= MAX; length++) {
      if ((lengths >> length & 1) != 0 && votes[length] > votes[best]) {
        best = length;
      }
    }
    return best;
  }

  /** Whether the memory operand lies at the exit's address, as far as the page offset tells. */
  private boolean touches(final VcpuExit exit) {
    for (int i = 0; i < insn.operandCount; i++) {
      final int kind = insn.operandKind[i];
      final long at;
      int moved = 0;
      switch (kind) {
        case Instruction.MEMORY -> at = effectiveAddress();
        case Instruction.STRING_SOURCE -> at = register(Gpr.RSI) + segmentBase(insn.segment);
        case Instruction.STRING_DESTINATION -> {
          at = register(Gpr.RDI) + segmentBase(Seg.ES);
          // A store has moved it already.
          moved = exit.write ? insn.operandSizes[i] : 0;
        }
        default -> {
          continue;
        }
      }
      final int size = kind == Instruction.MEMORY ? insn.memorySize : insn.operandSizes[i];
      final boolean down = (HostMemory.getLong(state + StateLayout.RFLAGS) & 0x400) != 0;
      final long start = down ? at + moved : at - moved;
      final int skipped = (int) (exit.address - start) & PAGE_OFFSET;
      final boolean whole = skipped == 0 && exit.size == Math.min(size, 8);
      final boolean crossing = (start & PAGE_OFFSET) + size > PAGE_OFFSET + 1;
      final boolean piece =
          skipped + exit.size <= size
              && (crossing || size > 8 && exit.size == Math.min(8, size - skipped));
      if ((whole || piece) && (!exit.write || i == 0 || insn.mnemonic == Mnemonic.XCHG)) {
        return true;
      }
    }
    return false;
  }

  private long register(final int number) {
    final long value = HostMemory.getLong(state + StateLayout.gpr(number));
    return switch (insn.addressSize) {
      case 2 -> value & 0xFFFF;
      case 4 -> value & 0xFFFF_FFFFL;
      default -> value;
    };
  }

  private long segmentBase(final int segment) {
    if (insn.codeSize == 8 && segment != Seg.FS && segment != Seg.GS) {
      return 0;
    }
    return HostMemory.getLong(state + StateLayout.segment(segment) + StateLayout.SEG_BASE);
  }

  private long effectiveAddress() {
    long address = insn.displacement;
    if (insn.base == Gpr.RIP) {
      address += ripOfDecoded + insn.length;
    } else if (insn.base >= 0) {
      address += HostMemory.getLong(state + StateLayout.gpr(insn.base));
    }
    if (insn.index >= 0) {
      address += HostMemory.getLong(state + StateLayout.gpr(insn.index)) << insn.scaleShift;
    }
    if (insn.addressSize != 8) {
      address &= (1L << insn.addressSize * 8) - 1;
    }
    return address + segmentBase(insn.segment);
  }

  /** Fills in rip and bytes of a HLT that has just been executed. */
  void halt(final int codeSize, final VcpuExit exit) {
    final long rip = HostMemory.getLong(state + StateLayout.RIP);
    final long here = around(rip, codeSize, BEFORE);
    if (here != 0) {
      if (HostMemory.getByte(here - 1) == HLT_OPCODE) {
        exit.rip = rip - 1;
        exit.instructionLength = 1;
        exit.instruction[0] = (byte) HLT_OPCODE;
      }
      return;
    }
    read(rip, codeSize);
    if (first <= HERE - 1 && (window[HERE - 1] & 0xFF) == HLT_OPCODE) {
      take(exit, rip - 1, codeSize, HERE - 1);
    }
  }

  private long ripOfWindow;
  private long ripOfDecoded;

  private boolean decode(final int at, final int codeSize) {
    if (at < first || at >= end) {
      return false;
    }
    ripOfDecoded = ripOfWindow + at;
    return decoder.decode(window, at, end - at, codeSize, insn) == Decoder.STATUS_OK;
  }

  private boolean take(final VcpuExit exit, final long rip, final int codeSize, final int at) {
    if (!decode(at, codeSize)) {
      return false;
    }
    exit.rip = rip;
    exit.instructionLength = insn.length;
    System.arraycopy(window, at, exit.instruction, 0, insn.length);
    return true;
  }

  /**
   * Where the byte on rip lies in this process, with those before and {@link #MAX} from it on: in
   * guest memory, or put together where they cross a page's end; 0 where not all can be read.
   */
  private long around(final long rip, final int codeSize, final int before) {
    final long linear =
        codeSize == 8
            ? rip
            : rip + HostMemory.getLong(state + StateLayout.segment(Seg.CS) + StateLayout.SEG_BASE)
                & 0xFFFF_FFFFL;
    final int offset = (int) linear & PAGE_OFFSET;
    code.begin();
    if (offset < before || offset + MAX > PAGE_OFFSET + 1) {
      return gather(linear, before, codeSize == 8);
    }
    final long host = code.host(linear & ~(long) PAGE_OFFSET);
    return host == 0 ? 0 : host + offset;
  }

  private long gather(final long linear, final int before, final boolean wide) {
    final long start = linear - before;
    final long second = linear + MAX & ~(long) PAGE_OFFSET;
    if (!wide && (start < 0 || second > 0xFFFF_FFFFL)) {
      return 0;
    }
    final long firstHost = code.host(start & ~(long) PAGE_OFFSET);
    final long secondHost = code.host(second);
    if (firstHost == 0 || secondHost == 0) {
      return 0;
    }
    final int inFirst = (int) (second - start);
    // Safe: both pages are mapped, and the pieces are as long as the room for them.
    HostMemory.copy(firstHost + (start & PAGE_OFFSET), gathered.address(), inFirst);
    HostMemory.copy(secondHost, gathered.address() + inFirst, before + MAX - inFirst);
    return gathered.address() + before;
  }

  /** Reads the bytes around rip: all up to it, if its page and the one before can be read. */
  private void read(final long rip, final int codeSize) {
    ripOfWindow = rip - HERE;
    final boolean wide = codeSize == 8;
    final long base =
        wide ? 0 : HostMemory.getLong(state + StateLayout.segment(Seg.CS) + StateLayout.SEG_BASE);
    code.begin();
    long page = -1;
    long host = 0;
    first = HERE;
    end = HERE;
    for (int i = HERE - 1; i >= 0; i--) {
      final long linear = wide ? base + ripOfWindow + i : base + ripOfWindow + i & 0xFFFF_FFFFL;
      if (page != (linear & ~(long) PAGE_OFFSET)) {
        page = linear & ~(long) PAGE_OFFSET;
        host = code.host(page);
      }
      if (host == 0) {
        break;
      }
      window[i] = (byte) HostMemory.getByte(host + (linear & PAGE_OFFSET));
      first = i;
    }
    page = -1;
    for (int i = HERE; i < HERE + MAX; i++) {
      final long linear = wide ? base + ripOfWindow + i : base + ripOfWindow + i & 0xFFFF_FFFFL;
      if (page != (linear & ~(long) PAGE_OFFSET)) {
        page = linear & ~(long) PAGE_OFFSET;
        host = code.host(page);
      }
      if (host == 0) {
        break;
      }
      window[i] = (byte) HostMemory.getByte(host + (linear & PAGE_OFFSET));
      end = i + 1;
    }
  }
}

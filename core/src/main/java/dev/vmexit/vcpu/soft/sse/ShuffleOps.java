package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** Instructions on XMM registers that move elements between the two halves of 64 bits. */
final class ShuffleOps {
  private ShuffleOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case PSHUFD -> new ShuffleDoublewords(insn);
      case PUNPCKLQDQ, UNPCKLPD -> new LowQuadwords(insn);
      case PUNPCKLBW -> new InterleaveLowBytes(insn);
      case PUNPCKLWD -> new InterleaveLowWords(insn);
      case PUNPCKLDQ,
          UNPCKLPS,
          PUNPCKHBW,
          PUNPCKHWD,
          PUNPCKHDQ,
          UNPCKHPS,
          PUNPCKHQDQ,
          UNPCKHPD,
          PACKSSWB,
          PACKUSWB,
          PACKSSDW,
          PACKUSDW,
          PSHUFHW,
          PSHUFLW,
          SHUFPS,
          SHUFPD ->
          new Shuffle(insn);
      case PINSRW -> new InsertWord(insn);
      case PEXTRW -> new ExtractWord(insn);
      default -> null;
    };
  }

  private static final class ShuffleDoublewords extends SseOp {
    private final int first;
    private final int second;
    private final int third;
    private final int fourth;

    ShuffleDoublewords(final Instruction insn) {
      super(insn);
      final int order = (int) insn.immediate;
      first = (order & 3) * 4;
      second = (order >> 2 & 3) * 4;
      third = (order >> 4 & 3) * 4;
      fourth = (order >> 6 & 3) * 4;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long low =
          HostMemory.getUnsignedInt(from + first) | (long) HostMemory.getInt(from + second) << 32;
      final long high =
          HostMemory.getUnsignedInt(from + third) | (long) HostMemory.getInt(from + fourth) << 32;
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class LowQuadwords extends SseOp {
    LowQuadwords(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.reg64(destination + 8, HostMemory.getLong(source16(cpu)));
    }
  }

  private static final class InterleaveLowBytes extends SseOp {
    InterleaveLowBytes(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = HostMemory.getLong(source16(cpu));
      final long a = cpu.reg64(destination);
      cpu.reg64(destination, Lanes.interleaveLowBytes(a, b));
      cpu.reg64(destination + 8, Lanes.interleaveHighBytes(a, b));
    }
  }

  private static final class InterleaveLowWords extends SseOp {
    InterleaveLowWords(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = HostMemory.getLong(source16(cpu));
      final long a = cpu.reg64(destination);
      cpu.reg64(destination, Lanes.interleaveLowWords(a, b));
      cpu.reg64(destination + 8, Lanes.interleaveHighWords(a, b));
    }
  }

  /** All the others: two registers' halves and an immediate give two halves. */
  private static final class Shuffle extends SseOp {
    private final Mnemonic mnemonic;
    private final int order;

    Shuffle(final Instruction insn) {
      super(insn);
      mnemonic = insn.mnemonic;
      order = (int) insn.immediate & 0xFF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long to = cpu.state + destination;
      final long a = HostMemory.getLong(to);
      final long ah = HostMemory.getLong(to + 8);
      final long b = HostMemory.getLong(from);
      final long bh = HostMemory.getLong(from + 8);
      final long low;
      final long high;
      switch (mnemonic) {
        case PUNPCKLDQ, UNPCKLPS -> {
          low = Lanes.interleaveLowDoublewords(a, b);
          high = Lanes.interleaveHighDoublewords(a, b);
        }
        case PUNPCKHBW -> {
          low = Lanes.interleaveLowBytes(ah, bh);
          high = Lanes.interleaveHighBytes(ah, bh);
        }
        case PUNPCKHWD -> {
          low = Lanes.interleaveLowWords(ah, bh);
          high = Lanes.interleaveHighWords(ah, bh);
        }
        case PUNPCKHDQ, UNPCKHPS -> {
          low = Lanes.interleaveLowDoublewords(ah, bh);
          high = Lanes.interleaveHighDoublewords(ah, bh);
        }
        case PUNPCKHQDQ, UNPCKHPD -> {
          low = ah;
          high = bh;
        }
        case PACKSSWB -> {
          low = Lanes.packSignedWords(a) | Lanes.packSignedWords(ah) << 32;
          high = Lanes.packSignedWords(b) | Lanes.packSignedWords(bh) << 32;
        }
        case PACKUSWB -> {
          low = Lanes.packUnsignedWords(a) | Lanes.packUnsignedWords(ah) << 32;
          high = Lanes.packUnsignedWords(b) | Lanes.packUnsignedWords(bh) << 32;
        }
        case PACKSSDW -> {
          low = Lanes.packSignedDoublewords(a) | Lanes.packSignedDoublewords(ah) << 32;
          high = Lanes.packSignedDoublewords(b) | Lanes.packSignedDoublewords(bh) << 32;
        }
        case PACKUSDW -> {
          low = Lanes.packUnsignedDoublewords(a) | Lanes.packUnsignedDoublewords(ah) << 32;
          high = Lanes.packUnsignedDoublewords(b) | Lanes.packUnsignedDoublewords(bh) << 32;
        }
        case PSHUFLW -> {
          low = Lanes.shuffleWords(b, order);
          high = bh;
        }
        case PSHUFHW -> {
          low = b;
          high = Lanes.shuffleWords(bh, order);
        }
        case SHUFPS -> {
          low = Lanes.doubleword(a, ah, order & 3) | Lanes.doubleword(a, ah, order >> 2 & 3) << 32;
          high =
              Lanes.doubleword(b, bh, order >> 4 & 3)
                  | Lanes.doubleword(b, bh, order >> 6 & 3) << 32;
        }
        default -> {
          low = (order & 1) == 0 ? a : ah;
          high = (order & 2) == 0 ? b : bh;
        }
      }
      HostMemory.putLong(to, low);
      HostMemory.putLong(to + 8, high);
    }
  }

  private static final class InsertWord extends SseOp {
    private final int register;
    private final int index;

    InsertWord(final Instruction insn) {
      super(insn);
      register =
          insn.operandKind[1] == Instruction.MEMORY ? -1 : StateLayout.gpr(insn.operandRegister[1]);
      index = (int) insn.immediate & 7;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int value = register >= 0 ? cpu.reg16(register) : cpu.load16(readAddress(cpu, 2));
      HostMemory.putShort(cpu.state + destination + index * 2L, value);
    }
  }

  /** PEXTRW to a general register (zero-extended), or by SSE4.1's form to memory. */
  private static final class ExtractWord extends SseOp {
    private final int register;
    private final int index;

    ExtractWord(final Instruction insn) {
      super(insn);
      register =
          insn.operandKind[0] == Instruction.MEMORY ? -1 : StateLayout.gpr(insn.operandRegister[0]);
      index = (int) insn.immediate & 7;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int value = cpu.reg16(source + index * 2);
      if (register >= 0) {
        cpu.reg32(register, value);
      } else {
        cpu.store16(writeAddress(cpu, 2), value);
      }
    }
  }
}

package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * What AVX and AVX2 have and SSE has not: permutations, broadcasts, inserted halves, shifts by a
 * count for each element (SDM Vol. 1, 14.1 and 14.6).
 */
final class VexPermutes {
  private static final int RESULT = StateLayout.XMM_SCRATCH + 3 * StateLayout.XMM_SIZE;

  private VexPermutes() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case VBROADCASTSS, VPBROADCASTD -> new Broadcast(insn, 4);
      case VBROADCASTSD, VPBROADCASTQ -> new Broadcast(insn, 8);
      case VBROADCASTF128, VBROADCASTI128 -> new Broadcast(insn, 16);
      case VPBROADCASTB -> new Broadcast(insn, 1);
      case VPBROADCASTW -> new Broadcast(insn, 2);
      case VINSERTF128, VINSERTI128 -> new Insert(insn);
      case VEXTRACTF128, VEXTRACTI128 -> new Extract(insn);
      case VPERM2F128, VPERM2I128 -> new Halves(insn);
      case VPERMILPS -> new InLane(insn, 4);
      case VPERMILPD -> new InLane(insn, 8);
      case VPERMD, VPERMPS -> new Across(insn);
      case VPERMQ, VPERMPD -> new Quadwords(insn);
      case VPBLENDD -> new Blend(insn);
      case VPSLLVD, VPSRLVD, VPSRAVD -> new ShiftEach(insn, 4);
      case VPSLLVQ, VPSRLVQ -> new ShiftEach(insn, 8);
      default -> null;
    };
  }

  private static final class Broadcast extends VexOp {
    private final int element;
    private final int source;

    Broadcast(final Instruction insn, final int element) {
      super(insn);
      this.element = element;
      source = register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long from = operand(cpu, source);
      long low = HostMemory.get(from, Math.min(element, 8));
      long high = element == 16 ? HostMemory.getLong(from + 8) : 0;
      if (element < 16) {
        for (int bits = element * 8; bits < 64; bits *= 2) {
          low = (low & (1L << bits) - 1) * (1 | 1L << bits);
        }
        high = low;
      }
      for (int i = 0; i < size; i += 16) {
        cpu.reg64(destination + i, low);
        cpu.reg64(destination + i + 8, high);
      }
      clearAbove(cpu);
    }
  }

  private static final class Insert extends VexOp {
    private final int first;
    private final int source;
    private final int half;

    Insert(final Instruction insn) {
      super(insn);
      first = register(insn, 1);
      source = register(insn, 2);
      half = ((int) insn.immediate & 1) * 16;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long from = operand(cpu, source);
      final long result = cpu.state + RESULT;
      copy(cpu.state + first, result, 32);
      copy(from, result + half, 16);
      copy(result, cpu.state + destination, 32);
    }
  }

  private static final class Extract extends VexOp {
    private final int from;

    Extract(final Instruction insn) {
      super(insn);
      from = register(insn, 1) + ((int) insn.immediate & 1) * 16;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      if (destination < 0) {
        store(cpu, writeAddress(cpu, 16), from, 16);
      } else {
        copy(cpu.state + from, cpu.state + destination, 16);
        clearUpper(cpu, destination);
      }
    }
  }

  /** VPERM2F128, VPERM2I128: each half one of four, or zero. */
  private static final class Halves extends VexOp {
    private final int first;
    private final int second;
    private final int control;

    Halves(final Instruction insn) {
      super(insn);
      first = register(insn, 1);
      second = register(insn, 2);
      control = (int) insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long a = cpu.state + first;
      final long b = operand(cpu, second);
      final long result = cpu.state + RESULT;
      for (int i = 0; i < 2; i++) {
        final int field = control >> (4 * i) & 0xF;
        if ((field & 8) != 0) {
          HostMemory.fill(result + 16L * i, 16, 0);
        } else {
          copy(((field & 2) != 0 ? b : a) + (field & 1) * 16L, result + 16L * i, 16);
        }
      }
      copy(result, cpu.state + destination, 32);
    }
  }

  /** VPERMILPS, VPERMILPD: within each 128 bits, by an immediate or a vector. */
  private static final class InLane extends VexOp {
    private final int element;
    private final int data;

    /** Offset of the vector of indexes; or -1: memory. */
    private final int indexes;

    private final boolean byImmediate;
    private final int order;

    InLane(final Instruction insn, final int element) {
      super(insn);
      this.element = element;
      byImmediate = insn.operandKind[2] == Instruction.IMMEDIATE;
      data = register(insn, 1);
      indexes = byImmediate ? -1 : register(insn, 2);
      order = (int) insn.immediate & 0xFF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long from = byImmediate ? operand(cpu, data) : cpu.state + data;
      final long by = byImmediate ? 0 : operand(cpu, indexes);
      final long result = cpu.state + RESULT;
      for (int i = 0; i < size; i += element) {
        final int index;
        if (byImmediate) {
          index = element == 4 ? order >> (i / 4 * 2 & 7) & 3 : order >> (i / 8) & 1;
        } else {
          final int field = HostMemory.getInt(by + i);
          index = element == 4 ? field & 3 : field >> 1 & 1;
        }
        HostMemory.put(
            result + i, element, HostMemory.get(from + (i & 16) + (long) index * element, element));
      }
      copy(result, cpu.state + destination, size);
      clearAbove(cpu);
    }
  }

  /** VPERMD, VPERMPS: any of eight, by a vector. */
  private static final class Across extends VexOp {
    private final int indexes;
    private final int data;

    Across(final Instruction insn) {
      super(insn);
      indexes = register(insn, 1);
      data = register(insn, 2);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long from = operand(cpu, data);
      final long result = cpu.state + RESULT;
      for (int i = 0; i < 32; i += 4) {
        final int index = cpu.reg32(indexes + i) & 7;
        HostMemory.putInt(result + i, HostMemory.getInt(from + index * 4L));
      }
      copy(result, cpu.state + destination, 32);
    }
  }

  /** VPERMQ, VPERMPD: any of four, by an immediate. */
  private static final class Quadwords extends VexOp {
    private final int data;
    private final int order;

    Quadwords(final Instruction insn) {
      super(insn);
      data = register(insn, 1);
      order = (int) insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long from = operand(cpu, data);
      final long result = cpu.state + RESULT;
      for (int i = 0; i < 4; i++) {
        HostMemory.putLong(result + i * 8L, HostMemory.getLong(from + (order >> (2 * i) & 3) * 8L));
      }
      copy(result, cpu.state + destination, 32);
    }
  }

  private static final class Blend extends VexOp {
    private final int first;
    private final int second;
    private final int picks;

    Blend(final Instruction insn) {
      super(insn);
      first = register(insn, 1);
      second = register(insn, 2);
      picks = (int) insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long b = operand(cpu, second);
      for (int i = 0; i < size; i += 4) {
        final long from = (picks >> (i / 4) & 1) != 0 ? b : cpu.state + first;
        HostMemory.putInt(cpu.state + destination + i, HostMemory.getInt(from + i));
      }
      clearAbove(cpu);
    }
  }

  /** Counts beyond the element shift everything out. */
  private static final class ShiftEach extends VexOp {
    private final Mnemonic mnemonic;
    private final int element;
    private final int first;
    private final int second;

    ShiftEach(final Instruction insn, final int element) {
      super(insn);
      mnemonic = insn.mnemonic;
      this.element = element;
      first = register(insn, 1);
      second = register(insn, 2);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long b = operand(cpu, second);
      final long a = cpu.state + first;
      for (int i = 0; i < size; i += element) {
        final long value = HostMemory.get(a + i, element);
        final long count = HostMemory.get(b + i, element);
        HostMemory.put(cpu.state + destination + i, element, shift(value, count));
      }
      clearAbove(cpu);
    }

    private long shift(final long value, final long count) {
      final boolean over = Long.compareUnsigned(count, element * 8L) >= 0;
      return switch (mnemonic) {
        case VPSLLVD, VPSLLVQ -> over ? 0 : value << count;
        case VPSRLVD, VPSRLVQ -> over ? 0 : value >>> count;
        default -> (int) value >> (over ? 31 : (int) count);
      };
    }
  }
}

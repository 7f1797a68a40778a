package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** SSE4.2's PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM Vol. 2B, 4.1). */
final class StringOps extends SseOp {
  // Aggregation, the immediate's bits 3:2.
  private static final int EQUAL_ANY = 0;
  private static final int RANGES = 1;
  private static final int EQUAL_EACH = 2;

  private final boolean explicit;
  private final boolean index;
  private final boolean wideLengths;
  private final boolean words;
  private final boolean signed;
  private final int aggregation;
  private final int polarity;
  private final boolean highSelect;
  private final int count;

  private StringOps(final Instruction insn) {
    super(insn, false);
    explicit = insn.mnemonic == Mnemonic.PCMPESTRI || insn.mnemonic == Mnemonic.PCMPESTRM;
    index = insn.mnemonic == Mnemonic.PCMPESTRI || insn.mnemonic == Mnemonic.PCMPISTRI;
    wideLengths = insn.hasPrefix(Instruction.PREFIX_REX_W);
    final int control = (int) insn.immediate;
    words = (control & 1) != 0;
    signed = (control & 2) != 0;
    aggregation = control >> 2 & 3;
    polarity = control >> 4 & 3;
    highSelect = (control & 0x40) != 0;
    count = words ? 8 : 16;
  }

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM -> new StringOps(insn);
      default -> null;
    };
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    final long second = source16(cpu);
    final long first = cpu.state + destination;
    final int firstLength = explicit ? length(cpu, Gpr.RAX) : implicitLength(first);
    final int secondLength = explicit ? length(cpu, Gpr.RDX) : implicitLength(second);
    int result = aggregate(first, firstLength, second, secondLength);
    final int all = (1 << count) - 1;
    if (polarity == 1) {
      result ^= all;
    } else if (polarity == 3) {
      result ^= (1 << secondLength) - 1;
    }
    if (index) {
      final int position =
          result == 0
              ? count
              : highSelect
                  ? 31 - Integer.numberOfLeadingZeros(result)
                  : Integer.numberOfTrailingZeros(result);
      cpu.reg32(StateLayout.gpr(Gpr.RCX), position);
    } else {
      mask(cpu, result);
    }
    cpu.setArithmeticFlags(
        (result != 0 ? Flags.CF : 0)
            | (secondLength < count ? Flags.ZF : 0)
            | (firstLength < count ? Flags.SF : 0)
            | ((result & 1) != 0 ? Flags.OF : 0));
  }

  private void mask(final SoftCpu cpu, final int result) {
    if (!highSelect) {
      cpu.reg64(StateLayout.XMM, result);
      cpu.reg64(StateLayout.XMM + 8, 0);
      return;
    }
    final int size = words ? 2 : 1;
    for (int i = 0; i < count; i++) {
      HostMemory.put(
          cpu.state + StateLayout.XMM + (long) i * size, size, (result >>> i & 1) != 0 ? -1 : 0);
    }
  }

  private int length(final SoftCpu cpu, final int register) {
    final long value = cpu.reg64(StateLayout.gpr(register));
    final long sized = wideLengths ? value : (int) value;
    // The magnitude of the smallest number is beyond any limit too.
    return sized == Long.MIN_VALUE ? count : (int) Math.min(Math.abs(sized), count);
  }

  private int element(final long at, final int i) {
    if (words) {
      final int word = HostMemory.getShort(at + i * 2L);
      return signed ? (short) word : word;
    }
    final int value = HostMemory.getByte(at + i);
    return signed ? (byte) value : value;
  }

  private int implicitLength(final long at) {
    for (int i = 0; i < count; i++) {
      if (element(at, i) == 0) {
        return i;
      }
    }
    return count;
  }

  private int aggregate(
      final long first, final int firstLength, final long second, final int secondLength) {
    int result = 0;
    for (int j = 0; j < count; j++) {
      final boolean bit =
          switch (aggregation) {
            case EQUAL_ANY -> j < secondLength && isAny(first, firstLength, element(second, j));
            case RANGES -> j < secondLength && isInRange(first, firstLength, element(second, j));
            case EQUAL_EACH ->
                (j < firstLength && j < secondLength)
                    ? element(first, j) == element(second, j)
                    : j >= firstLength && j >= secondLength;
            default -> isOrdered(first, firstLength, second, secondLength, j);
          };
      result |= bit ? 1 << j : 0;
    }
    return result;
  }

  private boolean isAny(final long set, final int length, final int value) {
    for (int i = 0; i < length; i++) {
      if (element(set, i) == value) {
        return true;
      }
    }
    return false;
  }

  private boolean isInRange(final long ranges, final int length, final int value) {
    for (int i = 0; i + 1 < length; i += 2) {
      if (value >= element(ranges, i) && value <= element(ranges, i + 1)) {
        return true;
      }
    }
    return false;
  }

  /** Whether the first string stands in the second at a position, as far as that is seen. */
  private boolean isOrdered(
      final long first,
      final int firstLength,
      final long second,
      final int secondLength,
      final int position) {
    for (int i = 0; i < firstLength && position + i < count; i++) {
      if (position + i >= secondLength || element(first, i) != element(second, position + i)) {
        return false;
      }
    }
    return true;
  }
}

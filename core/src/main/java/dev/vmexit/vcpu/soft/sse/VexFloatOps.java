package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.vcpu.soft.x87.SoftFloat;
import dev.vmexit.x86.decode.Instruction;

/** FMA and F16C (SDM Vol. 1, 14.4 and 14.5). */
final class VexFloatOps {
  private static final int RESULT = StateLayout.XMM_SCRATCH + 3 * StateLayout.XMM_SIZE;

  private VexFloatOps() {}

  static Op bind(final Instruction insn) {
    final String name = insn.mnemonic.name();
    if (name.startsWith("VFM") || name.startsWith("VFNM")) {
      return new MultiplyAdd(insn, name);
    }
    return switch (insn.mnemonic) {
      case VCVTPH2PS -> new FromHalf(insn);
      case VCVTPS2PH -> new ToHalf(insn);
      default -> null;
    };
  }

  /** All of VF(N)MADD, VF(N)MSUB, VFMADDSUB, VFMSUBADD. */
  private static final class MultiplyAdd extends VexOp {
    /** Whether the product is negated. */
    private final boolean negated;

    private final boolean subtractsEven;
    private final boolean subtractsOdd;
    private final int element;

    /** Bytes that are computed: one element where scalar. */
    private final int width;

    private final int second;
    private final int third;

    /** Which operand, from 0 on, is multiplied first, second, and added. */
    private final int multiplicand;

    private final int multiplier;
    private final int addend;

    MultiplyAdd(final Instruction insn, final String name) {
      super(insn);
      negated = name.startsWith("VFN");
      final boolean alternates = name.contains("ADDSUB") || name.contains("SUBADD");
      final boolean subtracts = name.startsWith("SUB", negated ? 4 : 3);
      // ADDSUB subtracts in the even elements and adds in the odd ones, SUBADD the other way.
      subtractsEven = alternates != subtracts;
      subtractsOdd = subtracts;
      element = name.endsWith("D") ? 8 : 4;
      final boolean scalar = name.charAt(name.length() - 2) == 'S';
      width = scalar ? element : size;
      final String order = name.substring(name.length() - 5, name.length() - 2);
      multiplicand = order.charAt(0) - '1';
      multiplier = order.charAt(1) - '1';
      addend = order.charAt(2) - '1';
      second = register(insn, 1);
      third = register(insn, 2);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long two = cpu.state + second;
      final long three = operand(cpu, third);
      final long one = cpu.state + destination;
      final long a = pick(multiplicand, one, two, three);
      final long b = pick(multiplier, one, two, three);
      final long c = pick(addend, one, two, three);
      final long result = cpu.state + RESULT;
      final SoftFloat f = Mxcsr.begin(cpu);
      for (int i = 0; i < width; i += element) {
        final boolean odd = (i / element & 1) != 0;
        final boolean subtracts = odd ? subtractsOdd : subtractsEven;
        if (element == 8) {
          HostMemory.putLong(
              result + i,
              FusedMath.multiplyAdd(
                  f,
                  HostMemory.getLong(a + i),
                  HostMemory.getLong(b + i),
                  HostMemory.getLong(c + i),
                  negated,
                  subtracts));
        } else {
          HostMemory.putInt(
              result + i,
              FusedMath.multiplyAdd(
                  f,
                  HostMemory.getInt(a + i),
                  HostMemory.getInt(b + i),
                  HostMemory.getInt(c + i),
                  negated,
                  subtracts));
        }
      }
      Mxcsr.finish(cpu, f);
      HostMemory.copy(result, one, width);
      if (width < 32) {
        clearUpper(cpu, destination);
      }
    }

    private static long pick(final int which, final long one, final long two, final long three) {
      return which == 0 ? one : which == 1 ? two : three;
    }
  }

  private static final class FromHalf extends VexOp {
    private final int source;

    FromHalf(final Instruction insn) {
      super(insn);
      source = register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long from = operand(cpu, source);
      final long result = cpu.state + RESULT;
      final SoftFloat f = Mxcsr.begin(cpu);
      for (int i = 0; i < size / 4; i++) {
        HostMemory.putInt(
            result + i * 4L, FusedMath.fromHalf(f, HostMemory.getShort(from + i * 2L)));
      }
      Mxcsr.finish(cpu, f);
      copy(result, cpu.state + destination, size);
      clearAbove(cpu);
    }
  }

  private static final class ToHalf extends VexOp {
    private static final int MXCSR_ROUNDING = 4;

    private final int source;
    private final int control;

    ToHalf(final Instruction insn) {
      super(insn);
      source = register(insn, 1);
      control = (int) insn.immediate;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkAvx(cpu);
      final long result = cpu.state + RESULT;
      HostMemory.fill(result, StateLayout.XMM_SIZE, 0);
      final long linear = destination < 0 ? writeAddress(cpu, size / 2) : 0;
      final SoftFloat f = Mxcsr.begin(cpu);
      f.flushToZero = false;
      if ((control & MXCSR_ROUNDING) == 0) {
        f.rounding = control & 3;
      }
      for (int i = 0; i < size / 4; i++) {
        HostMemory.putShort(result + i * 2L, FusedMath.toHalf(f, cpu.reg32(source + i * 4)));
      }
      if (destination < 0) {
        // The exception comes before the store, the store's fault before MXCSR changes.
        cpu.probeWrite(linear, size / 2);
        Mxcsr.finish(cpu, f);
        for (int i = 0; i < size / 2; i += 8) {
          cpu.store64(linear + i, HostMemory.getLong(result + i));
        }
        return;
      }
      Mxcsr.finish(cpu, f);
      copy(result, cpu.state + destination, 32);
    }
  }
}

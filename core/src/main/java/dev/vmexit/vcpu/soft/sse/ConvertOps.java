package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.vcpu.soft.x87.SoftFloat;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/** Conversions of SSE and SSE2 (SDM Vol. 1, 11.4.1.6 and 11.6.7). */
final class ConvertOps {
  private static final long LOW = 0xFFFF_FFFFL;

  private ConvertOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case CVTSI2SD -> new IntegerToDouble(insn);
      case CVTSI2SS -> new IntegerToFloat(insn);
      case CVTTSD2SI -> new DoubleToInteger(insn, true);
      case CVTSD2SI -> new DoubleToInteger(insn, false);
      case CVTTSS2SI -> new FloatToInteger(insn, true);
      case CVTSS2SI -> new FloatToInteger(insn, false);
      case CVTSS2SD -> new FloatToDouble(insn);
      case CVTSD2SS -> new DoubleToFloat(insn);
      case CVTDQ2PD, CVTPS2PD -> new Widen(insn);
      case CVTPD2DQ, CVTTPD2DQ, CVTPD2PS -> new Narrow(insn);
      case CVTDQ2PS, CVTPS2DQ, CVTTPS2DQ -> new SameSize(insn);
      case CVTPI2PS, CVTPI2PD -> new FromMmx(insn);
      case CVTPS2PI, CVTTPS2PI, CVTPD2PI, CVTTPD2PI -> new ToMmx(insn);
      default -> null;
    };
  }

  /** The integer source of CVTSI2SD and CVTSI2SS, sign-extended. */
  private abstract static class FromInteger extends SseOp {
    private final int register;
    private final int size;

    FromInteger(final Instruction insn) {
      super(insn);
      final boolean memory = insn.operandKind[1] == Instruction.MEMORY;
      register = memory ? -1 : StateLayout.gpr(insn.operandRegister[1]);
      size = memory ? insn.memorySize : insn.operandSizes[1];
    }

    final long integer(final SoftCpu cpu) {
      if (size == 8) {
        return register >= 0 ? cpu.reg64(register) : cpu.load64(readAddress(cpu, 8));
      }
      return register >= 0 ? cpu.reg32(register) : cpu.load32(readAddress(cpu, 4));
    }
  }

  private static final class IntegerToDouble extends FromInteger {
    IntegerToDouble(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = integer(cpu);
      if ((int) value == value) {
        cpu.reg64(destination, Double.doubleToRawLongBits((double) value));
        return;
      }
      final SoftFloat f = Mxcsr.begin(cpu);
      final long result = SseConvert.doubleFromInteger(f, value);
      Mxcsr.finish(cpu, f);
      cpu.reg64(destination, result);
    }
  }

  private static final class IntegerToFloat extends FromInteger {
    IntegerToFloat(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long value = integer(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final int result = SseConvert.floatFromInteger(f, value);
      Mxcsr.finish(cpu, f);
      HostMemory.putInt(cpu.state + destination, result);
    }
  }

  /** To a general register of 4 or 8 bytes. */
  private abstract static class ToInteger extends SseOp {
    private final int register;
    final int size;
    final boolean truncate;

    ToInteger(final Instruction insn, final boolean truncate) {
      super(insn);
      register = StateLayout.gpr(insn.operandRegister[0]);
      size = insn.operandSizes[0];
      this.truncate = truncate;
    }

    final void result(final SoftCpu cpu, final long value) {
      cpu.reg64(register, size == 8 ? value : value & LOW);
    }
  }

  private static final class DoubleToInteger extends ToInteger {
    DoubleToInteger(final Instruction insn, final boolean truncate) {
      super(insn, truncate);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long bits = source8(cpu);
      if (truncate && Mxcsr.isSimple(Mxcsr.get(cpu))) {
        final double value = Double.longBitsToDouble(bits);
        // Inside these bounds nothing but the precision flag, already set, can come of it.
        if (value > -2147483648.0 && value < 2147483647.0) {
          result(cpu, (long) value);
          return;
        }
      }
      final SoftFloat f = Mxcsr.begin(cpu);
      final long value = SseConvert.toInteger(f, bits, size, truncate);
      Mxcsr.finish(cpu, f);
      result(cpu, value);
    }
  }

  private static final class FloatToInteger extends ToInteger {
    FloatToInteger(final Instruction insn, final boolean truncate) {
      super(insn, truncate);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int bits = source4(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final long value = SseConvert.toInteger(f, bits, size, truncate);
      Mxcsr.finish(cpu, f);
      result(cpu, value);
    }
  }

  private static final class FloatToDouble extends SseOp {
    FloatToDouble(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final int bits = source4(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final long result = SseConvert.widen(f, bits);
      Mxcsr.finish(cpu, f);
      cpu.reg64(destination, result);
    }
  }

  private static final class DoubleToFloat extends SseOp {
    DoubleToFloat(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long bits = source8(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final int result = SseConvert.narrow(f, bits);
      Mxcsr.finish(cpu, f);
      HostMemory.putInt(cpu.state + destination, result);
    }
  }

  /** Two elements of 4 bytes to two of 8. */
  private static final class Widen extends SseOp {
    private final boolean floats;

    Widen(final Instruction insn) {
      super(insn);
      floats = insn.mnemonic == Mnemonic.CVTPS2PD;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long pair = source8(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final long low = element(f, (int) pair);
      final long high = element(f, (int) (pair >>> 32));
      Mxcsr.finish(cpu, f);
      cpu.reg64(destination, low);
      cpu.reg64(destination + 8, high);
    }

    private long element(final SoftFloat f, final int value) {
      return floats ? SseConvert.widen(f, value) : SseConvert.doubleFromInteger(f, value);
    }
  }

  /** Two elements of 8 bytes to two of 4; the high half becomes zero. */
  private static final class Narrow extends SseOp {
    private final boolean floats;
    private final boolean truncate;

    Narrow(final Instruction insn) {
      super(insn);
      floats = insn.mnemonic == Mnemonic.CVTPD2PS;
      truncate = insn.mnemonic == Mnemonic.CVTTPD2DQ;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final long low = element(f, HostMemory.getLong(from));
      final long high = element(f, HostMemory.getLong(from + 8));
      Mxcsr.finish(cpu, f);
      cpu.reg64(destination, (low & LOW) | high << 32);
      cpu.reg64(destination + 8, 0);
    }

    private long element(final SoftFloat f, final long value) {
      return floats ? SseConvert.narrow(f, value) : SseConvert.toInteger(f, value, 4, truncate);
    }
  }

  /** Between four floats and four integers. */
  private static final class SameSize extends SseOp {
    private final boolean toFloats;
    private final boolean truncate;

    SameSize(final Instruction insn) {
      super(insn);
      toFloats = insn.mnemonic == Mnemonic.CVTDQ2PS;
      truncate = insn.mnemonic == Mnemonic.CVTTPS2DQ;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final SoftFloat f = Mxcsr.begin(cpu);
      final long low = pair(f, HostMemory.getLong(from));
      final long high = pair(f, HostMemory.getLong(from + 8));
      Mxcsr.finish(cpu, f);
      cpu.reg64(destination, low);
      cpu.reg64(destination + 8, high);
    }

    private long pair(final SoftFloat f, final long values) {
      final long low = element(f, (int) values);
      return (low & LOW) | element(f, (int) (values >>> 32)) << 32;
    }

    private long element(final SoftFloat f, final int value) {
      return toFloats
          ? SseConvert.floatFromInteger(f, value)
          : SseConvert.toInteger(f, value, 4, truncate);
    }
  }

  /** CVTPI2PS, CVTPI2PD; from memory they leave the x87 state alone. */
  private static final class FromMmx extends MmxOp {
    private final boolean doubles;
    private final int xmm;

    FromMmx(final Instruction insn) {
      super(insn);
      doubles = insn.mnemonic == Mnemonic.CVTPI2PD;
      xmm = SseOp.xmm(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      SseOp.check(cpu);
      final boolean entersMmx = source >= 0;
      if (entersMmx) {
        check(cpu);
      }
      final long pair = source8(cpu);
      final int first = (int) pair;
      final int second = (int) (pair >>> 32);
      final SoftFloat f = Mxcsr.begin(cpu);
      if (doubles) {
        final long low = SseConvert.doubleFromInteger(f, first);
        final long high = SseConvert.doubleFromInteger(f, second);
        cpu.reg64(xmm, low);
        cpu.reg64(xmm + 8, high);
      } else {
        final long low = SseConvert.floatFromInteger(f, first);
        final long high = SseConvert.floatFromInteger(f, second);
        Mxcsr.finish(cpu, f);
        cpu.reg64(xmm, (low & LOW) | high << 32);
      }
      if (entersMmx) {
        enterMmx(cpu);
      }
    }
  }

  private static final class ToMmx extends SseOp {
    private final int mmx;
    private final boolean doubles;
    private final boolean truncate;

    ToMmx(final Instruction insn) {
      super(insn);
      mmx = MmxOp.mmx(insn, 0);
      doubles = insn.mnemonic == Mnemonic.CVTPD2PI || insn.mnemonic == Mnemonic.CVTTPD2PI;
      truncate = insn.mnemonic == Mnemonic.CVTTPS2PI || insn.mnemonic == Mnemonic.CVTTPD2PI;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      MmxOp.check(cpu);
      final long low;
      final long high;
      final SoftFloat f;
      if (doubles) {
        final long from = source16(cpu);
        f = Mxcsr.begin(cpu);
        low = SseConvert.toInteger(f, HostMemory.getLong(from), 4, truncate);
        high = SseConvert.toInteger(f, HostMemory.getLong(from + 8), 4, truncate);
      } else {
        final long pair = source8(cpu);
        f = Mxcsr.begin(cpu);
        low = SseConvert.toInteger(f, (int) pair, 4, truncate);
        high = SseConvert.toInteger(f, (int) (pair >>> 32), 4, truncate);
      }
      Mxcsr.finish(cpu, f);
      MmxOp.enterMmx(cpu);
      MmxOp.write(cpu, mmx, (low & LOW) | high << 32);
    }
  }
}

package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * FNSTENV, FLDENV, FNSAVE, FRSTOR: the environment of 14 or 28 bytes in its four formats (SDM Vol.
 * 1, figures 8-9 to 8-12), with the registers behind it for the last two.
 */
final class X87Environment extends X87Op {
  private static final int REGISTERS_SIZE = 80;
  private static final int TAG_EMPTY = 3;
  private static final int TAG_SPECIAL = 2;
  private static final int TAG_ZERO = 1;

  private final Mnemonic mnemonic;
  private final boolean wide;

  /** Bytes of the environment. */
  private final int size;

  X87Environment(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
    wide = insn.operandSize != 2;
    size = wide ? 28 : 14;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    final boolean registers = mnemonic == Mnemonic.FNSAVE || mnemonic == Mnemonic.FRSTOR;
    final int total = registers ? size + REGISTERS_SIZE : size;
    if (mnemonic == Mnemonic.FNSTENV || mnemonic == Mnemonic.FNSAVE) {
      checkUsable(cpu);
      final long area = writeAddress(cpu, total);
      cpu.probeWrite(area, total);
      storeEnvironment(cpu, area);
      if (registers) {
        for (int i = 0; i < 8; i++) {
          cpu.store64(area + size + i * 10L, X87State.mantissa(cpu, i));
          cpu.store16(area + size + i * 10L + 8, X87State.exponent(cpu, i));
        }
        X87State.initialize(cpu);
      } else {
        X87State.setControl(cpu, (int) X87State.control(cpu) | SoftFloat.ALL);
        X87State.summarize(cpu);
      }
    } else {
      check(cpu);
      final long area = readAddress(cpu, total);
      cpu.probeRead(area, total);
      loadEnvironment(cpu, area);
      if (registers) {
        for (int i = 0; i < 8; i++) {
          final int register = X87State.register(cpu, i);
          cpu.reg64(register, cpu.load64(area + size + i * 10L));
          cpu.reg64(register + 8, cpu.load16(area + size + i * 10L + 8));
        }
      }
    }
  }

  /** Real-address and virtual-8086 mode keep linear addresses. */
  private static boolean isReal(final SoftCpu cpu) {
    return (cpu.reg64(StateLayout.CR0) & ControlRegisters.CR0_PE) == 0
        || (cpu.systemFlags() & Flags.VM) != 0;
  }

  /** Stores a word; in the 32-bit formats with ones above it. */
  private void storeWord(final SoftCpu cpu, final long at, final long value) {
    if (wide) {
      cpu.store32(at, (int) value | 0xFFFF_0000);
    } else {
      cpu.store16(at, (int) value);
    }
  }

  private void storeEnvironment(final SoftCpu cpu, final long area) {
    final int step = wide ? 4 : 2;
    storeWord(cpu, area, X87State.control(cpu));
    storeWord(cpu, area + step, X87State.status(cpu));
    storeWord(cpu, area + 2L * step, fullTags(cpu));
    final long ip = cpu.reg64(StateLayout.FPU_IP);
    final long dp = cpu.reg64(StateLayout.FPU_DP);
    final int cs = cpu.reg16(StateLayout.FPU_CS);
    final int ds = cpu.reg16(StateLayout.FPU_DS);
    final int opcode = (int) X87State.opcode(cpu) & 0x7FF;
    if (isReal(cpu)) {
      final long linearIp = ip + ((long) cs << 4);
      final long linearDp = dp + ((long) ds << 4);
      if (wide) {
        cpu.store32(area + 12, (int) linearIp | 0xFFFF_0000);
        cpu.store32(area + 16, ((int) (linearIp >>> 16 << 12) & 0x0FFF_F000) | opcode);
        cpu.store32(area + 20, (int) linearDp | 0xFFFF_0000);
        cpu.store32(area + 24, (int) (linearDp >>> 16 << 12) & 0x0FFF_F000);
      } else {
        cpu.store16(area + 6, (int) linearIp);
        cpu.store16(area + 8, ((int) (linearIp >>> 4) & 0xF000) | opcode);
        cpu.store16(area + 10, (int) linearDp);
        cpu.store16(area + 12, (int) (linearDp >>> 4) & 0xF000);
      }
    } else if (wide) {
      cpu.store32(area + 12, (int) ip);
      cpu.store32(area + 16, cs | opcode << 16);
      cpu.store32(area + 20, (int) dp);
      cpu.store32(area + 24, ds | 0xFFFF_0000);
    } else {
      cpu.store16(area + 6, (int) ip);
      cpu.store16(area + 8, cs);
      cpu.store16(area + 10, (int) dp);
      cpu.store16(area + 12, ds);
    }
  }

  private void loadEnvironment(final SoftCpu cpu, final long area) {
    final int step = wide ? 4 : 2;
    final int control = cpu.load16(area);
    final int status = cpu.load16(area + step);
    final int tags = cpu.load16(area + 2L * step);
    final long first = wide ? cpu.load32(area + 12) & 0xFFFF_FFFFL : cpu.load16(area + 6);
    final int second = wide ? cpu.load32(area + 16) : cpu.load16(area + 8);
    final long third = wide ? cpu.load32(area + 20) & 0xFFFF_FFFFL : cpu.load16(area + 10);
    final int fourth = wide ? cpu.load32(area + 24) : cpu.load16(area + 12);
    X87State.restore(cpu, control, status);
    int used = 0;
    for (int i = 0; i < 8; i++) {
      if ((tags >>> (2 * i) & 3) != TAG_EMPTY) {
        used |= 1 << i;
      }
    }
    X87State.setTags(cpu, used);
    if (isReal(cpu)) {
      final long high = wide ? 0x0FFF_F000L : 0xF000L;
      cpu.reg64(StateLayout.FPU_IP, (first & 0xFFFF) | (second & high) << 4);
      cpu.reg64(StateLayout.FPU_DP, (third & 0xFFFF) | (fourth & high) << 4);
      cpu.reg64(StateLayout.FPU_CS, 0);
      X87State.setOpcode(cpu, second & 0x7FF);
    } else {
      cpu.reg64(StateLayout.FPU_IP, first);
      cpu.reg64(StateLayout.FPU_DP, third);
      cpu.reg64(StateLayout.FPU_CS, (second & 0xFFFFL) | (fourth & 0xFFFFL) << 32);
      if (wide) {
        X87State.setOpcode(cpu, second >>> 16 & 0x7FF);
      }
    }
  }

  /** The tag word of two bits a register, found from the contents. */
  private static int fullTags(final SoftCpu cpu) {
    int tags = 0;
    final int top = X87State.top(cpu);
    for (int physical = 0; physical < 8; physical++) {
      final int index = physical - top & 7;
      tags |= tagOf(cpu, index) << (2 * physical);
    }
    return tags;
  }

  private static int tagOf(final SoftCpu cpu, final int index) {
    if (X87State.isEmpty(cpu, index)) {
      return TAG_EMPTY;
    }
    final int exponent = X87State.exponent(cpu, index);
    final long mantissa = X87State.mantissa(cpu, index);
    if (Float80.isZero(exponent, mantissa)) {
      return TAG_ZERO;
    }
    return Float80.isSpecial(exponent, mantissa) || Float80.isDenormal(exponent, mantissa)
        ? TAG_SPECIAL
        : 0;
  }
}

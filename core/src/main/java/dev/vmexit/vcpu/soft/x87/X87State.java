package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.SoftCpu;

/** The x87's registers and control words in the vCPU's state (SDM Vol. 1, 8.1). */
public final class X87State {
  static final int STACK_FAULT = 1 << 6;
  static final int ERROR_SUMMARY = 1 << 7;
  static final int BUSY = 1 << 15;
  static final int C0 = 1 << 8;
  static final int C1 = 1 << 9;
  static final int C2 = 1 << 10;
  static final int C3 = 1 << 14;
  static final int TOP = 7 << 11;
  private static final int TOP_SHIFT = 11;

  /** Control word after FNINIT: nearest, 64 bits, all masked. */
  static final int INITIAL_CONTROL = 0x37F;

  /** Bits of the control word that can be set; bit 6 always is. */
  private static final int CONTROL_BITS = 0x1F3F;

  private static final int CONTROL_ONE = 1 << 6;

  private X87State() {}

  /** Control word, zero-extended. */
  public static long control(final SoftCpu cpu) {
    return HostMemory.getUnsignedInt(cpu.state + StateLayout.FPU_CONTROL);
  }

  static void setControl(final SoftCpu cpu, final int value) {
    HostMemory.putInt(cpu.state + StateLayout.FPU_CONTROL, (value & CONTROL_BITS) | CONTROL_ONE);
  }

  /** Status word with TOP, zero-extended. */
  public static long status(final SoftCpu cpu) {
    return HostMemory.getUnsignedInt(cpu.state + StateLayout.FPU_STATUS);
  }

  static int statusWord(final SoftCpu cpu) {
    return HostMemory.getInt(cpu.state + StateLayout.FPU_STATUS);
  }

  static void setStatus(final SoftCpu cpu, final int value) {
    HostMemory.putInt(cpu.state + StateLayout.FPU_STATUS, value);
  }

  /** Abridged tags, zero-extended: a set bit is a physical register in use. */
  public static long tags(final SoftCpu cpu) {
    return HostMemory.getUnsignedInt(cpu.state + StateLayout.FPU_TAGS);
  }

  static void setTags(final SoftCpu cpu, final int value) {
    HostMemory.putInt(cpu.state + StateLayout.FPU_TAGS, value);
  }

  /** Last opcode: the low three bits of the escape byte, and ModRM. */
  public static long opcode(final SoftCpu cpu) {
    return HostMemory.getUnsignedInt(cpu.state + StateLayout.FPU_OPCODE);
  }

  static void setOpcode(final SoftCpu cpu, final int value) {
    HostMemory.putInt(cpu.state + StateLayout.FPU_OPCODE, value);
  }

  /** Loads control and status; the summary bits follow from them. */
  public static void restore(final SoftCpu cpu, final int control, final int status) {
    setControl(cpu, control);
    setStatus(cpu, status);
    summarize(cpu);
  }

  /** Sets ES and B by whether an exception that stands is unmasked. */
  static void summarize(final SoftCpu cpu) {
    final int status = statusWord(cpu) & ~(ERROR_SUMMARY | BUSY);
    final boolean waits = (status & ~(int) control(cpu) & SoftFloat.ALL) != 0;
    setStatus(cpu, waits ? status | ERROR_SUMMARY | BUSY : status);
  }

  /** FNINIT: the registers keep their contents, but are empty. */
  public static void initialize(final SoftCpu cpu) {
    setControl(cpu, INITIAL_CONTROL);
    setStatus(cpu, 0);
    setTags(cpu, 0);
    setOpcode(cpu, 0);
    cpu.reg64(StateLayout.FPU_IP, 0);
    cpu.reg64(StateLayout.FPU_DP, 0);
    // FCS and FDS.
    cpu.reg64(StateLayout.FPU_CS, 0);
  }

  // ---- the register stack ----

  static int top(final SoftCpu cpu) {
    return statusWord(cpu) >>> TOP_SHIFT & 7;
  }

  /** Physical number of ST(i), i from -1. */
  private static int physical(final SoftCpu cpu, final int index) {
    return top(cpu) + index & 7;
  }

  /** Offset of ST(i) in {@link StateLayout}: mantissa, and sign and exponent 8 bytes on. */
  public static int register(final SoftCpu cpu, final int index) {
    return StateLayout.FPU_REGISTERS + physical(cpu, index) * StateLayout.FPU_REGISTER_SIZE;
  }

  static boolean isEmpty(final SoftCpu cpu, final int index) {
    return (tags(cpu) >>> physical(cpu, index) & 1) == 0;
  }

  static long mantissa(final SoftCpu cpu, final int index) {
    return HostMemory.getLong(cpu.state + register(cpu, index));
  }

  static int exponent(final SoftCpu cpu, final int index) {
    return HostMemory.getShort(cpu.state + register(cpu, index) + 8);
  }

  /** Writes ST(i), which is then in use. */
  static void write(final SoftCpu cpu, final int index, final int exponent, final long mantissa) {
    final int physical = physical(cpu, index);
    final long at =
        cpu.state + StateLayout.FPU_REGISTERS + (long) physical * StateLayout.FPU_REGISTER_SIZE;
    HostMemory.putLong(at, mantissa);
    HostMemory.putShort(at + 8, exponent);
    setTags(cpu, (int) tags(cpu) | 1 << physical);
  }

  /** Moves TOP: -1 before a push, 1 after a pop. */
  static void moveTop(final SoftCpu cpu, final int by) {
    final int status = statusWord(cpu);
    setStatus(cpu, (status & ~TOP) | ((status + (by << TOP_SHIFT)) & TOP));
  }

  static void free(final SoftCpu cpu, final int index) {
    setTags(cpu, (int) tags(cpu) & ~(1 << physical(cpu, index)));
  }

  static void pop(final SoftCpu cpu) {
    free(cpu, 0);
    moveTop(cpu, 1);
  }
}

package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.vcpu.soft.x87.SoftFloat;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Vector;

/** The SSE control and status register (SDM Vol. 1, 10.2.3). */
final class Mxcsr {
  static final int DAZ = 1 << 6;
  static final int MASK_SHIFT = 7;
  static final int ROUNDING_SHIFT = 13;
  static final int FTZ = 1 << 15;

  /** Bits that may be set; others raise #GP. Also what FXSAVE reports as MXCSR_MASK. */
  static final int WRITABLE = 0xFFFF;

  /** Value at reset: all exceptions masked. */
  static final int INITIAL = 0x1F80;

  private static final int SIMPLE_BITS =
      SoftFloat.ALL << MASK_SHIFT | 3 << ROUNDING_SHIFT | SoftFloat.PRECISION;
  private static final int SIMPLE = SoftFloat.ALL << MASK_SHIFT | SoftFloat.PRECISION;

  private Mxcsr() {}

  static int get(final SoftCpu cpu) {
    return HostMemory.getInt(cpu.state + StateLayout.MXCSR);
  }

  static void set(final SoftCpu cpu, final int value) {
    HostMemory.putInt(cpu.state + StateLayout.MXCSR, value);
  }

  /**
   * Whether Java's arithmetic gives the result and no flag is left to find out: to nearest, nothing
   * unmasked, and the sticky precision flag already set. That holds soon after a program's first
   * inexact operation.
   */
  static boolean isSimple(final int mxcsr) {
    return (mxcsr & SIMPLE_BITS) == SIMPLE;
  }

  /** Starts an exact operation under MXCSR's control. */
  static SoftFloat begin(final SoftCpu cpu) {
    final int mxcsr = get(cpu);
    final SoftFloat f = cpu.softFloat;
    f.begin(mxcsr >>> ROUNDING_SHIFT & 3, mxcsr >>> MASK_SHIFT & SoftFloat.ALL);
    f.flushToZero = (mxcsr & FTZ) != 0;
    f.denormalsAreZeros = (mxcsr & DAZ) != 0;
    f.flags = f.carried;
    return f;
  }

  /** Between two steps of an operation: ends it if the first raised an unmasked exception. */
  static void stop(final SoftCpu cpu, final SoftFloat f) {
    if ((f.flags & ~f.masks) != 0) {
      finish(cpu, f);
    }
  }

  /** Ends it: sets the flags, and raises #XM (#UD where the guest does not take it) if unmasked. */
  static void finish(final SoftCpu cpu, final SoftFloat f) {
    if (f.unfinished) {
      f.carried = f.flags;
      return;
    }
    f.carried = 0;
    if (f.flags == 0) {
      return;
    }
    final int mxcsr = get(cpu);
    int flags = f.flags;
    // The exceptions found before the computation prevent it, and so those found after.
    final int before = SoftFloat.INVALID | SoftFloat.DENORMAL | SoftFloat.ZERO_DIVIDE;
    if ((flags & before & ~f.masks) != 0) {
      flags &= before;
    }
    set(cpu, mxcsr | flags);
    if ((flags & ~f.masks) != 0) {
      throw (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_OSXMMEXCPT) != 0
          ? cpu.raise(Vector.XM)
          : cpu.undefined();
    }
  }
}

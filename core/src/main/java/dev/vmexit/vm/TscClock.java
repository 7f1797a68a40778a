package dev.vmexit.vm;

import dev.vmexit.memory.HostCode;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import org.agrona.concurrent.NanoClock;

/**
 * The host's time-stamp counter as a clock: what {@code System.nanoTime} is made of, without the
 * kernel's arithmetic and the call to it. The counter must be invariant (SDM volume 3, 18.17.1): it
 * runs at one rate in all P-, C- and T-states, and a kernel that takes it for its clock has checked
 * that the cores agree.
 *
 * <p>Its rate is measured once against another clock; from then on the two go apart by {@link
 * #errorPpm}, and by what the host's clock is steered meanwhile.
 */
public final class TscClock implements NanoClock {
  private static final int TRIES = 64;
  private static final int FRACTION = 32;

  private final long startTicks;
  private final long startNanos;

  /** Nanoseconds a tick, with {@link #FRACTION} bits behind the point. */
  private final long scale;

  private final double errorPpm;

  /** Both clocks at one moment: between two reads of the one the other was read. */
  private record Moment(long ticks, long nanos, long uncertainty) {
    static Moment of(final NanoClock reference) {
      Moment best = null;
      for (int i = 0; i < TRIES; i++) {
        final long before = reference.nanoTime();
        final long ticks = Stub.ticks();
        final long after = reference.nanoTime();
        if (best == null || after - before < best.uncertainty) {
          best = new Moment(ticks, before + (after - before) / 2, after - before);
        }
      }
      return best;
    }
  }

  private TscClock(final Moment first, final Moment second) {
    final long nanos = second.nanos - first.nanos;
    startTicks = first.ticks;
    startNanos = first.nanos;
    scale = Math.round((double) nanos / (second.ticks - first.ticks) * (1L << FRACTION));
    errorPpm = (first.uncertainty + second.uncertainty) / 2.0 / nanos * 1e6;
  }

  /** Whether this host has a counter that can be a clock. */
  public static boolean isAvailable() {
    return System.getProperty("os.arch").equals("amd64") && Stub.invariant();
  }

  /**
   * Begins to measure the rate.
   *
   * @param reference monotonic, in nanoseconds
   */
  public static Calibration begin(final NanoClock reference) {
    return new Calibration(reference);
  }

  /** A measurement: the longer it takes, the better is the clock. */
  public static final class Calibration {
    private final NanoClock reference;
    private final Moment first;

    private Calibration(final NanoClock reference) {
      this.reference = reference;
      first = Moment.of(reference);
    }

    /**
     * Ends it.
     *
     * @param nanos that it shall have taken at least; the rest of them is waited for
     */
    public TscClock end(final long nanos) {
      while (reference.nanoTime() - first.nanos < nanos) {
        Thread.onSpinWait();
      }
      return new TscClock(first, Moment.of(reference));
    }
  }

  /** The reference's time, as far as the counter tells it. */
  @Override
  public long nanoTime() {
    final long ticks = Stub.ticks() - startTicks;
    // 64 x 64 to 128 bits: the low 64 alone would be enough for seconds only.
    return startNanos + (Math.multiplyHigh(ticks, scale) << FRACTION | ticks * scale >>> FRACTION);
  }

  /** How well the rate is known, in millionths. */
  public double errorPpm() {
    return errorPpm;
  }

  /** Ticks a second, in MHz. */
  public double megahertz() {
    return 1e3 * (1L << FRACTION) / scale;
  }

  /** Two instructions that the JDK has no method for. */
  private static final class Stub {
    private static final int HIGHEST_LEAF = 0x8000_0000;
    private static final int POWER_LEAF = 0x8000_0007;
    private static final int INVARIANT_TSC = 1 << 8;

    /** {@code rdtsc; shl rdx, 32; or rax, rdx; ret}. */
    private static final MethodHandle TICKS =
        function(
            FunctionDescriptor.of(ValueLayout.JAVA_LONG),
            0x0F,
            0x31,
            0x48,
            0xC1,
            0xE2,
            0x20,
            0x48,
            0x09,
            0xD0,
            0xC3);

    /**
     * {@code push rbx; mov eax, edi; xor ecx, ecx; cpuid; shl rdx, 32; or rax, rdx; pop rbx; ret}.
     */
    private static final MethodHandle IDENTIFY =
        function(
            FunctionDescriptor.of(ValueLayout.JAVA_LONG, ValueLayout.JAVA_INT),
            0x53,
            0x89,
            0xF8,
            0x31,
            0xC9,
            0x0F,
            0xA2,
            0x48,
            0xC1,
            0xE2,
            0x20,
            0x48,
            0x09,
            0xD0,
            0x5B,
            0xC3);

    private Stub() {}

    private static MethodHandle function(final FunctionDescriptor type, final int... code) {
      final byte[] bytes = new byte[code.length];
      for (int i = 0; i < code.length; i++) {
        bytes[i] = (byte) code[i];
      }
      final MethodHandle function = HostCode.function(bytes, type);
      if (function == null) {
        throw new IllegalStateException("mprotect forbids code of ours");
      }
      return function;
    }

    static long ticks() {
      try {
        return (long) TICKS.invokeExact();
      } catch (final Throwable impossible) {
        throw new AssertionError("a downcall throws nothing", impossible);
      }
    }

    /** CPUID 80000007H EDX bit 8 (SDM volume 2, CPUID). */
    static boolean invariant() {
      try {
        final long highest = (long) IDENTIFY.invokeExact(HIGHEST_LEAF);
        return Integer.compareUnsigned((int) highest, POWER_LEAF) >= 0
            && ((long) IDENTIFY.invokeExact(POWER_LEAF) >>> 32 & INVARIANT_TSC) != 0;
      } catch (final Throwable impossible) {
        throw new AssertionError("a downcall throws nothing", impossible);
      }
    }
  }
}

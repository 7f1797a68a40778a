package dev.vmexit.vcpu.soft.x87;

import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X, FYL2XP1 (SDM Vol. 1, 8.3.6 to 8.3.10). The
 * numbers come from {@link Elementary}; what is not finite, or zero, is decided here.
 *
 * <p>Results are not bit for bit those of a given processor: they are at least as accurate.
 */
final class X87Transcendental extends X87Op {
  /** Biased exponent of 2^63, from where angles are not reduced. */
  private static final int ANGLE_LIMIT = 0x3FFF + 63;

  private static final int ONE_EXPONENT = 0x3FFF;
  private static final int PI_EXPONENT = 0x4000;
  private static final long PI_MANTISSA = 0xC90F_DAA2_2168_C234L;

  private final Mnemonic mnemonic;
  private final boolean pushes;
  private final boolean binary;

  X87Transcendental(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
    pushes = mnemonic == Mnemonic.FSINCOS || mnemonic == Mnemonic.FPTAN;
    binary =
        mnemonic == Mnemonic.FPATAN || mnemonic == Mnemonic.FYL2X || mnemonic == Mnemonic.FYL2XP1;
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    note(cpu);
    final SoftFloat f = begin(cpu);
    if (X87State.isEmpty(cpu, 0) || (binary && X87State.isEmpty(cpu, 1))) {
      underflow(f);
    } else if (pushes && !X87State.isEmpty(cpu, -1)) {
      overflow(f);
    }
    final boolean fault = f.flags != 0;
    if (binary) {
      if (!fault) {
        computeBinary(cpu, f);
      }
      finish(cpu, f, 1, 1);
    } else if (mnemonic == Mnemonic.F2XM1) {
      if (!fault) {
        exponential(f, X87State.exponent(cpu, 0), X87State.mantissa(cpu, 0));
      }
      finish(cpu, f, 0, 0);
    } else {
      trigonometric(cpu, f, fault);
    }
  }

  // ---- angles ----

  private void trigonometric(final SoftCpu cpu, final SoftFloat f, final boolean fault) {
    final int exponent = X87State.exponent(cpu, 0);
    final long mantissa = X87State.mantissa(cpu, 0);
    final int c2 = X87State.statusWord(cpu) & ~X87State.C2;
    X87State.setStatus(cpu, c2);
    if (!fault && !Float80.isSpecial(exponent, mantissa) && (exponent & 0x7FFF) >= ANGLE_LIMIT) {
      // Out of range: ST(0) stays, and C2 says so.
      signal(cpu, f);
      X87State.setStatus(cpu, X87State.statusWord(cpu) | X87State.C2);
      return;
    }
    if (!fault) {
      angle(f, mnemonic == Mnemonic.FSINCOS ? Mnemonic.FSIN : mnemonic, exponent, mantissa);
    }
    if (!pushes) {
      finish(cpu, f, 0, 0);
      return;
    }
    final int firstExponent = f.packedExponent;
    final long firstMantissa = f.packedMantissa;
    final boolean up = f.roundedUp;
    if (!fault && (f.flags & SoftFloat.INVALID) == 0 && !Float80.isNan(exponent, mantissa)) {
      if (mnemonic == Mnemonic.FPTAN) {
        Float80.result(f, ONE_EXPONENT, Float80.INTEGER_BIT);
      } else {
        angle(f, Mnemonic.FCOS, exponent, mantissa);
        f.roundedUp = up;
      }
    }
    final int secondExponent = f.packedExponent;
    final long secondMantissa = f.packedMantissa;
    signal(cpu, f);
    if (!isPrevented(f)) {
      X87State.write(cpu, 0, firstExponent, firstMantissa);
      X87State.moveTop(cpu, -1);
      X87State.write(cpu, 0, secondExponent, secondMantissa);
    }
  }

  private static void angle(
      final SoftFloat f, final Mnemonic function, final int exponent, final long mantissa) {
    if (Float80.propagate(f, exponent, mantissa)) {
      return;
    }
    if (Float80.isInfinite(exponent, mantissa)) {
      Float80.invalid(f);
      return;
    }
    if (mantissa == 0) {
      if (function == Mnemonic.FCOS) {
        Float80.result(f, ONE_EXPONENT, Float80.INTEGER_BIT);
      } else {
        Float80.result(f, exponent, 0);
      }
      return;
    }
    Float80.denormal(f, exponent, mantissa);
    final Elementary e = f.elementary();
    switch (function) {
      case FSIN -> e.sine(exponent, mantissa);
      case FCOS -> e.cosine(exponent, mantissa);
      default -> e.tangent(exponent, mantissa);
    }
    e.deliver(f);
    f.packExtended();
  }

  // ---- exponential ----

  private static void exponential(final SoftFloat f, final int exponent, final long mantissa) {
    if (Float80.propagate(f, exponent, mantissa)) {
      return;
    }
    final boolean negative = (exponent & 0x8000) != 0;
    if (Float80.isInfinite(exponent, mantissa)) {
      Float80.result(f, negative ? 0x8000 | ONE_EXPONENT : exponent, mantissa);
      return;
    }
    if (mantissa == 0) {
      Float80.result(f, exponent, 0);
      return;
    }
    Float80.denormal(f, exponent, mantissa);
    final int magnitude = exponent & 0x7FFF;
    if (magnitude >= ONE_EXPONENT) {
      if (magnitude == ONE_EXPONENT && mantissa == Float80.INTEGER_BIT) {
        Float80.result(f, negative ? 0x8000 | ONE_EXPONENT - 1 : exponent, mantissa);
      } else {
        // Undefined beyond one: the argument stays, as on the processors at hand.
        Float80.result(f, exponent, mantissa);
      }
      return;
    }
    final Elementary e = f.elementary();
    e.exponential(exponent, mantissa);
    e.deliver(f);
    f.packExtended();
  }

  // ---- two operands: ST(1) is y, ST(0) is x ----

  private void computeBinary(final SoftCpu cpu, final SoftFloat f) {
    final int ex = X87State.exponent(cpu, 0);
    final long mx = X87State.mantissa(cpu, 0);
    final int ey = X87State.exponent(cpu, 1);
    final long my = X87State.mantissa(cpu, 1);
    if (Float80.propagate(f, ex, mx, ey, my)) {
      return;
    }
    switch (mnemonic) {
      case FPATAN -> arcTangent(f, ex, mx, ey, my);
      case FYL2X -> logarithm(f, ex, mx, ey, my);
      default -> logarithmOfSum(f, ex, mx, ey, my);
    }
  }

  private static void denormals(
      final SoftFloat f, final int ex, final long mx, final int ey, final long my) {
    Float80.denormal(f, ex, mx);
    Float80.denormal(f, ey, my);
  }

  private static void arcTangent(
      final SoftFloat f, final int ex, final long mx, final int ey, final long my) {
    final int sign = ey >>> 15 & 1;
    final boolean left = (ex & 0x8000) != 0;
    denormals(f, ex, mx, ey, my);
    if (Float80.isInfinite(ey, my)) {
      if (!Float80.isInfinite(ex, mx)) {
        multipleOfPi(f, sign, -1);
      } else if (left) {
        threeQuartersOfPi(f, sign);
      } else {
        multipleOfPi(f, sign, -2);
      }
      return;
    }
    if (Float80.isInfinite(ex, mx) || my == 0) {
      if (left) {
        multipleOfPi(f, sign, 0);
      } else {
        Float80.zero(f, sign);
      }
      return;
    }
    if (mx == 0) {
      multipleOfPi(f, sign, -1);
      return;
    }
    final Elementary e = f.elementary();
    e.arcTangent(ey, my, ex, mx);
    e.deliver(f);
    f.packExtended();
  }

  /** Pi times a power of two, rounded: the bits below are 1100 0100. */
  private static void multipleOfPi(final SoftFloat f, final int sign, final int power) {
    f.set(sign, PI_EXPONENT - SoftFloat.EXTENDED_BIAS + power, PI_MANTISSA);
    f.low = 0xC4C6_628B_80DC_1CD1L;
    f.packExtended();
  }

  private static void threeQuartersOfPi(final SoftFloat f, final int sign) {
    f.set(sign, 1, 0x96CB_E3F9_990E_91A7L);
    f.low = 0x9394_C9E8_A0A5_159DL;
    f.packExtended();
  }

  private static void logarithm(
      final SoftFloat f, final int ex, final long mx, final int ey, final long my) {
    final int sign = ey >>> 15 & 1;
    final boolean zeroX = Float80.isZero(ex, mx);
    if ((ex & 0x8000) != 0 && !zeroX) {
      Float80.invalid(f);
      return;
    }
    final boolean one = ex == ONE_EXPONENT && mx == Float80.INTEGER_BIT;
    final boolean zeroY = Float80.isZero(ey, my);
    final boolean infiniteY = Float80.isInfinite(ey, my);
    if (((zeroX || Float80.isInfinite(ex, mx)) && zeroY) || (one && infiniteY)) {
      Float80.invalid(f);
      return;
    }
    final int logSign = (ex & 0x7FFF) < ONE_EXPONENT ? 1 : 0;
    if (zeroX) {
      if (!infiniteY) {
        f.flags |= SoftFloat.ZERO_DIVIDE;
      }
      Float80.infinity(f, sign ^ 1);
      return;
    }
    denormals(f, ex, mx, ey, my);
    if (infiniteY || Float80.isInfinite(ex, mx)) {
      Float80.infinity(f, sign ^ logSign);
      return;
    }
    if (zeroY || one) {
      Float80.zero(f, sign ^ logSign);
      return;
    }
    final Elementary e = f.elementary();
    e.logarithm(ex, mx, ey, my);
    e.deliver(f);
    f.packExtended();
  }

  private static void logarithmOfSum(
      final SoftFloat f, final int ex, final long mx, final int ey, final long my) {
    final int sign = (ex ^ ey) >>> 15 & 1;
    final boolean infiniteX = Float80.isInfinite(ex, mx);
    final boolean infiniteY = Float80.isInfinite(ey, my);
    if ((infiniteX && ((ex & 0x8000) != 0 || Float80.isZero(ey, my)))
        || (infiniteY && Float80.isZero(ex, mx))) {
      Float80.invalid(f);
      return;
    }
    denormals(f, ex, mx, ey, my);
    if (infiniteX || infiniteY) {
      Float80.infinity(f, sign);
      return;
    }
    if (mx == 0 || my == 0) {
      Float80.zero(f, sign);
      return;
    }
    if ((ex & 0x8000) != 0 && (ex & 0x7FFF) >= ONE_EXPONENT) {
      // Undefined: there is no logarithm of a negative number.
      Float80.result(f, ex, mx);
      return;
    }
    final Elementary e = f.elementary();
    e.logarithmOfSum(ex, mx, ey, my);
    e.deliver(f);
    f.packExtended();
  }
}

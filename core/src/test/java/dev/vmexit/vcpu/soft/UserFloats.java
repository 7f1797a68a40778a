package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.decode.Instruction;
import java.util.Arrays;
import java.util.random.RandomGenerator;

/**
 * Floating-point and vector state for {@link UserCases}: exceptions masked and not, all roundings.
 */
final class UserFloats {
  private UserFloats() {}

  private static boolean chance(final RandomGenerator random, final int oneIn) {
    return random.nextInt(oneIn) == 0;
  }

  /** Whether an instruction may look at x87, MMX, SSE or AVX state. */
  static boolean touches(final Instruction insn) {
    final int map = insn.opcode >> 8;
    final int opcode = insn.opcode & 0xFF;
    if (insn.hasPrefix(Instruction.PREFIX_VEX) || map >= 2) {
      return true;
    }
    if (map == 0) {
      return opcode >= 0xD8 && opcode <= 0xDF || opcode == 0x9B;
    }
    return opcode >= 0x10 && opcode <= 0x17
        || opcode >= 0x28 && opcode <= 0x2F
        || opcode >= 0x50 && opcode <= 0x7F
        || opcode == 0xAE
        || opcode >= 0xC2 && opcode <= 0xC6
        || opcode >= 0xD0;
  }

  /** Random state of all of them, and numbers in memory. */
  static void fill(final RandomGenerator random, final UserContext c) {
    Arrays.fill(c.fx, (byte) 0);
    final int precision = chance(random, 2) ? 3 : new int[] {0, 2, 3}[random.nextInt(3)];
    final int rounding = chance(random, 2) ? 0 : random.nextInt(4);
    final int masks = chance(random, 8) ? random.nextInt(0x40) : 0x3F;
    FloatValues.put(c.fx, 0, 2, 0x40L | masks | precision << 8 | rounding << 10);
    int status =
        random.nextInt(8) << 11 | random.nextInt(8) << 8 | (chance(random, 2) ? 1 << 14 : 0);
    status |= chance(random, 2) ? 0 : random.nextInt(0x80);
    if ((status & ~masks & 0x3F) != 0) {
      if (chance(random, 2)) {
        status |= 0x8080;
      } else {
        status &= ~0x3F;
      }
    }
    FloatValues.put(c.fx, 2, 2, status);
    c.fx[4] = (byte) (chance(random, 2) ? 0xFF : chance(random, 4) ? 0 : random.nextInt(256));
    final int mxcsr =
        (chance(random, 8) ? random.nextInt(0x40) << 7 : 0x1F80)
            | (chance(random, 2) ? 0 : random.nextInt(0x40))
            | (chance(random, 2) ? 0 : random.nextInt(4) << 13)
            | (chance(random, 8) ? 0x8000 : 0)
            | (chance(random, 8) ? 0x40 : 0);
    FloatValues.put(c.fx, 24, 4, mxcsr);
    for (int i = 0; i < 8; i++) {
      FloatValues.extended(random, c.fx, 32 + 16 * i);
    }
    final int kind = random.nextInt(4);
    for (int i = 0; i < 16; i++) {
      lanes(random, kind, c.fx, 160 + 16 * i);
      lanes(random, kind, c.high, 16 * i);
    }
    for (int i = 0; i < UserContext.WINDOW; i += 16) {
      lanes(random, kind, c.memory, i);
    }
    if (chance(random, 3)) {
      // Small counts, so that shifts shift.
      FloatValues.put(c.fx, 160 + 16 * random.nextInt(16), 8, random.nextInt(70));
    }
  }

  private static void lanes(
      final RandomGenerator random, final int kind, final byte[] into, final int at) {
    switch (chance(random, 8) ? random.nextInt(4) : kind) {
      case 0 -> {
        for (int i = 0; i < 16; i += 4) {
          FloatValues.put(into, at + i, 4, FloatValues.single(random));
        }
      }
      case 1 -> {
        for (int i = 0; i < 16; i += 8) {
          FloatValues.put(into, at + i, 8, FloatValues.twice(random));
        }
      }
      case 2 -> {
        for (int i = 0; i < 16; i += 8) {
          FloatValues.put(into, at + i, 8, UserCases.value(random));
        }
      }
      default -> {
        for (int i = 0; i < 16; i += 8) {
          FloatValues.put(into, at + i, 8, random.nextLong());
        }
      }
    }
  }
}

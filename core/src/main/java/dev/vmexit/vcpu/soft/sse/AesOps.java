package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * AES rounds and the carry-less product (SDM Vol. 1, 12.13; the cipher: FIPS 197). Byte i of a
 * register is row i mod 4 of column i / 4.
 */
final class AesOps {
  private static final int POLYNOMIAL = 0x11B;
  private static final byte[] SUBSTITUTE = new byte[256];
  private static final byte[] INVERSE = new byte[256];

  static {
    for (int i = 0; i < 256; i++) {
      int inverse = 1;
      // The inverse in a field of 2^8 elements is the 254th power.
      for (int power = 0; power < 254; power++) {
        inverse = multiply(inverse, i);
      }
      int value = 0x63;
      for (int turn = 0; turn < 5; turn++) {
        value ^= inverse << turn | inverse >>> (8 - turn);
      }
      SUBSTITUTE[i] = (byte) value;
      INVERSE[value & 0xFF] = (byte) i;
    }
  }

  private AesOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case AESENC, AESENCLAST, AESDEC, AESDECLAST -> new Round(insn);
      case AESIMC -> new MixKey(insn);
      case AESKEYGENASSIST -> new KeyAssist(insn);
      case PCLMULQDQ -> new CarrylessProduct(insn);
      default -> null;
    };
  }

  /** Product in the cipher's field. */
  private static int multiply(final int a, final int b) {
    int result = 0;
    int power = a;
    for (int rest = b; rest != 0; rest >>>= 1) {
      result ^= (rest & 1) != 0 ? power : 0;
      power <<= 1;
      power ^= (power & 0x100) != 0 ? POLYNOMIAL : 0;
    }
    return result;
  }

  private static int substitute(final byte[] table, final long word, final int at) {
    return table[(int) (word >>> (at * 8)) & 0xFF] & 0xFF;
  }

  private static int substituteWord(final int word) {
    return substitute(SUBSTITUTE, word, 0)
        | substitute(SUBSTITUTE, word, 1) << 8
        | substitute(SUBSTITUTE, word, 2) << 16
        | substitute(SUBSTITUTE, word, 3) << 24;
  }

  /** Doubles the four bytes of a column in the field. */
  private static int twice(final int column) {
    return (column & 0x7F7F_7F7F) << 1 ^ (column >>> 7 & 0x0101_0101) * (POLYNOMIAL & 0xFF);
  }

  private static int mix(final int column) {
    final int twice = twice(column);
    return twice
        ^ Integer.rotateRight(column ^ twice, 8)
        ^ Integer.rotateRight(column, 16)
        ^ Integer.rotateRight(column, 24);
  }

  private static int unmix(final int column) {
    final int four = twice(twice(column ^ Integer.rotateRight(column, 16)));
    return mix(column ^ four);
  }

  /** One column after the rows were shifted and the bytes substituted. */
  private static int column(
      final byte[] table, final long low, final long high, final int number, final int step) {
    int result = 0;
    for (int row = 0; row < 4; row++) {
      final int from = (number + row * step & 3) * 4 + row;
      result |= substitute(table, from < 8 ? low : high, from & 7) << (row * 8);
    }
    return result;
  }

  private static final class Round extends SseOp {
    private final boolean decrypts;
    private final boolean last;

    Round(final Instruction insn) {
      super(insn);
      decrypts = insn.mnemonic == Mnemonic.AESDEC || insn.mnemonic == Mnemonic.AESDECLAST;
      last = insn.mnemonic == Mnemonic.AESENCLAST || insn.mnemonic == Mnemonic.AESDECLAST;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long key = source16(cpu);
      final long keyLow = HostMemory.getLong(key);
      final long keyHigh = HostMemory.getLong(key + 8);
      final long low = cpu.reg64(destination);
      final long high = cpu.reg64(destination + 8);
      cpu.reg64(destination, keyLow ^ (half(low, high, 0) | half(low, high, 1) << 32));
      cpu.reg64(destination + 8, keyHigh ^ (half(low, high, 2) | half(low, high, 3) << 32));
    }

    private long half(final long low, final long high, final int number) {
      final int column =
          decrypts
              ? column(INVERSE, low, high, number, 3)
              : column(SUBSTITUTE, low, high, number, 1);
      return Integer.toUnsignedLong(last ? column : decrypts ? unmix(column) : mix(column));
    }
  }

  /** AESIMC. */
  private static final class MixKey extends SseOp {
    MixKey(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long low = pair(HostMemory.getLong(from));
      final long high = pair(HostMemory.getLong(from + 8));
      cpu.reg64(destination, low);
      cpu.reg64(destination + 8, high);
    }

    private static long pair(final long columns) {
      return Integer.toUnsignedLong(unmix((int) columns))
          | (long) unmix((int) (columns >>> 32)) << 32;
    }
  }

  /** AESKEYGENASSIST. */
  private static final class KeyAssist extends SseOp {
    private final int constant;

    KeyAssist(final Instruction insn) {
      super(insn);
      constant = (int) insn.immediate & 0xFF;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long from = source16(cpu);
      final long low = pair(HostMemory.getInt(from + 4));
      final long high = pair(HostMemory.getInt(from + 12));
      cpu.reg64(destination, low);
      cpu.reg64(destination + 8, high);
    }

    private long pair(final int word) {
      final int substituted = substituteWord(word);
      return Integer.toUnsignedLong(substituted)
          | (long) (Integer.rotateRight(substituted, 8) ^ constant) << 32;
    }
  }

  /** PCLMULQDQ: of one half of each operand. */
  private static final class CarrylessProduct extends SseOp {
    private final int first;
    private final int second;

    CarrylessProduct(final Instruction insn) {
      super(insn);
      first = ((int) insn.immediate & 1) * 8;
      second = ((int) insn.immediate >> 4 & 1) * 8;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      final long b = HostMemory.getLong(source16(cpu) + second);
      final long a = cpu.reg64(destination + first);
      long low = 0;
      long high = 0;
      for (int i = 0; i < Long.SIZE; i++) {
        if ((b >>> i & 1) != 0) {
          low ^= a << i;
          high ^= i == 0 ? 0 : a >>> (64 - i);
        }
      }
      cpu.reg64(destination, low);
      cpu.reg64(destination + 8, high);
    }
  }
}

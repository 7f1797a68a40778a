package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;

/**
 * SHA-1 and SHA-256 (SDM Vol. 2, each instruction's operation; the hashes: FIPS 180-4). Words are
 * numbered from the register's low end; the manual numbers messages from the high one for SHA-1.
 */
final class ShaOps extends SseOp {
  private static final int[] CONSTANTS = {0x5A82_7999, 0x6ED9_EBA1, 0x8F1B_BCDC, 0xCA62_C1D6};

  private final Mnemonic mnemonic;
  private final int function;

  private ShaOps(final Instruction insn) {
    super(insn);
    mnemonic = insn.mnemonic;
    function = (int) insn.immediate & 3;
  }

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case SHA1NEXTE, SHA1MSG1, SHA1MSG2, SHA1RNDS4, SHA256RNDS2, SHA256MSG1, SHA256MSG2 ->
          new ShaOps(insn);
      default -> null;
    };
  }

  @Override
  public void execute(final SoftCpu cpu) {
    check(cpu);
    final long from = source16(cpu);
    final long to = cpu.state + destination;
    switch (mnemonic) {
      case SHA1NEXTE -> {
        final int e = Integer.rotateLeft(word(to, 3), 30);
        put(to, word(from, 0), word(from, 1), word(from, 2), word(from, 3) + e);
      }
      case SHA1MSG1 ->
          put(
              to,
              word(from, 2) ^ word(to, 0),
              word(from, 3) ^ word(to, 1),
              word(to, 0) ^ word(to, 2),
              word(to, 1) ^ word(to, 3));
      case SHA1MSG2 -> {
        final int w16 = Integer.rotateLeft(word(to, 3) ^ word(from, 2), 1);
        final int w17 = Integer.rotateLeft(word(to, 2) ^ word(from, 1), 1);
        final int w18 = Integer.rotateLeft(word(to, 1) ^ word(from, 0), 1);
        final int w19 = Integer.rotateLeft(word(to, 0) ^ w16, 1);
        put(to, w19, w18, w17, w16);
      }
      case SHA1RNDS4 -> fourRounds(to, from);
      case SHA256RNDS2 -> twoRounds(cpu, to, from);
      case SHA256MSG1 ->
          put(
              to,
              word(to, 0) + small0(word(to, 1)),
              word(to, 1) + small0(word(to, 2)),
              word(to, 2) + small0(word(to, 3)),
              word(to, 3) + small0(word(from, 0)));
      default -> {
        final int w16 = word(to, 0) + small1(word(from, 2));
        final int w17 = word(to, 1) + small1(word(from, 3));
        put(to, w16, w17, word(to, 2) + small1(w16), word(to, 3) + small1(w17));
      }
    }
  }

  private static int word(final long at, final int index) {
    return HostMemory.getInt(at + index * 4L);
  }

  private static void put(final long at, final int a, final int b, final int c, final int d) {
    HostMemory.putInt(at, a);
    HostMemory.putInt(at + 4, b);
    HostMemory.putInt(at + 8, c);
    HostMemory.putInt(at + 12, d);
  }

  private static int small0(final int w) {
    return Integer.rotateRight(w, 7) ^ Integer.rotateRight(w, 18) ^ w >>> 3;
  }

  private static int small1(final int w) {
    return Integer.rotateRight(w, 17) ^ Integer.rotateRight(w, 19) ^ w >>> 10;
  }

  private static int choose(final int x, final int y, final int z) {
    return (x & y) ^ (~x & z);
  }

  private static int majority(final int x, final int y, final int z) {
    return (x & y) ^ (x & z) ^ (y & z);
  }

  private void fourRounds(final long to, final long from) {
    int a = word(to, 3);
    int b = word(to, 2);
    int c = word(to, 1);
    int d = word(to, 0);
    // The first message word brings E with it.
    int e = 0;
    for (int i = 3; i >= 0; i--) {
      final int f =
          switch (function) {
            case 0 -> choose(b, c, d);
            case 2 -> majority(b, c, d);
            default -> b ^ c ^ d;
          };
      final int next = f + Integer.rotateLeft(a, 5) + word(from, i) + e + CONSTANTS[function];
      e = d;
      d = c;
      c = Integer.rotateLeft(b, 30);
      b = a;
      a = next;
    }
    put(to, d, c, b, a);
  }

  private static void twoRounds(final SoftCpu cpu, final long to, final long from) {
    int a = word(from, 3);
    int b = word(from, 2);
    int c = word(to, 3);
    int d = word(to, 2);
    int e = word(from, 1);
    int f = word(from, 0);
    int g = word(to, 1);
    int h = word(to, 0);
    final int first = cpu.reg32(StateLayout.XMM);
    final int second = cpu.reg32(StateLayout.XMM + 4);
    for (int i = 0; i < 2; i++) {
      final int sum1 =
          Integer.rotateRight(e, 6) ^ Integer.rotateRight(e, 11) ^ Integer.rotateRight(e, 25);
      final int sum0 =
          Integer.rotateRight(a, 2) ^ Integer.rotateRight(a, 13) ^ Integer.rotateRight(a, 22);
      final int t = choose(e, f, g) + sum1 + (i == 0 ? first : second) + h;
      h = g;
      g = f;
      f = e;
      e = t + d;
      d = c;
      c = b;
      b = a;
      a = t + majority(b, c, d) + sum0;
    }
    put(to, f, e, b, a);
  }
}

package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Mnemonic;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Every x87 instruction with one exact result, against the host's processor. */
final class X87HostTest {
  private static final int ROUNDS = Integer.getInteger("vmexit.test.x87.rounds", 150);
  private static final int MEMORY = 256;
  private static final byte[] LOAD_CONTROL = {(byte) 0xD9, 0x6F, (byte) 0xF0}; // fldcw [rdi-16]

  private static final int X87_C0 = 0x100;
  private static final int X87_C1 = 0x200;
  private static final int X87_C3 = 0x4000;

  private final SplittableRandom random = new SplittableRandom(1980);
  private final FpuOperands operands = new FpuOperands(random);
  private HostProcessor host;
  private FpuTestCpu cpu;

  @BeforeEach
  void open() {
    assumeTrue(HostProcessor.isSupported(), "SKIPPED: the host is not x86-64 Linux");
    host = new HostProcessor();
    cpu = new FpuTestCpu(host.memoryAddress(), 4096);
  }

  @AfterEach
  void close() {
    if (host != null) {
      host.close();
      cpu.close();
    }
  }

  private static boolean isTranscendental(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS, FSINCOS -> true;
      default -> false;
    };
  }

  private List<byte[]> instructions() {
    final List<byte[]> codes = new ArrayList<>();
    for (int escape = 0xD8; escape <= 0xDF; escape++) {
      for (int modrm = 0; modrm < 256; modrm++) {
        if (modrm < 0xC0 && (modrm & 0xC7) != 7) {
          continue;
        }
        final byte[] code = {(byte) escape, (byte) modrm};
        if (cpu.bind(code) != null && !isTranscendental(cpu.decoded().mnemonic)) {
          codes.add(code);
        }
      }
    }
    codes.add(new byte[] {(byte) 0x9B});
    codes.add(new byte[] {0x66, (byte) 0xD9, 0x37}); // fnstenv of 14 bytes
    codes.add(new byte[] {0x66, (byte) 0xD9, 0x27}); // fldenv
    codes.add(new byte[] {0x66, (byte) 0xDD, 0x37}); // fnsave of 94 bytes
    codes.add(new byte[] {0x66, (byte) 0xDD, 0x27}); // frstor
    return codes;
  }

  @Test
  void shouldDoAsTheHostWhenRegistersAndMemoryAreRandom() {
    final List<String> differences = new ArrayList<>();
    final Set<Mnemonic> seen = EnumSet.noneOf(Mnemonic.class);
    for (final byte[] code : instructions()) {
      cpu.bind(code);
      final Mnemonic mnemonic = cpu.decoded().mnemonic;
      seen.add(mnemonic);
      int different = 0;
      for (int i = 0; i < ROUNDS && different < 2; i++) {
        final String difference = compare(mnemonic, code);
        if (difference != null) {
          different++;
          differences.add(difference);
        }
      }
    }
    assertTrue(seen.size() > 75, "only " + seen.size() + " instructions were reached");
    assertTrue(
        differences.isEmpty(),
        () -> differences.size() + " differences:\n" + String.join("\n", differences));
  }

  @Test
  void shouldBeWithinTwoUnitsOfTheHostWhenFunctionIsTranscendental() {
    final List<String> differences = new ArrayList<>();
    for (int modrm = 0xF0; modrm <= 0xFF; modrm++) {
      final byte[] code = {(byte) 0xD9, (byte) modrm};
      cpu.bind(code);
      final Mnemonic mnemonic = cpu.decoded().mnemonic;
      if (!isTranscendental(mnemonic)) {
        continue;
      }
      int different = 0;
      for (int i = 0; i < ROUNDS && different < 3; i++) {
        final String difference = compareFunction(mnemonic, code);
        if (difference != null) {
          different++;
          differences.add(difference);
        }
      }
    }
    assertTrue(
        differences.isEmpty(),
        () -> differences.size() + " differences:\n" + String.join("\n", differences));
  }

  /** An argument in the function's domain, or now and then a special number. */
  private void argument(final Mnemonic mnemonic, final ByteBuffer fx) {
    int exponent = operands.extendedExponent();
    long mantissa = operands.extendedMantissa(exponent);
    if (random.nextInt(4) != 0) {
      mantissa = random.nextLong() | Long.MIN_VALUE;
      exponent =
          (exponent & 0x8000)
              | switch (mnemonic) {
                case F2XM1 -> 0x3FFE - random.nextInt(random.nextBoolean() ? 4 : 70);
                case FYL2XP1 -> 0x3FFC - random.nextInt(random.nextBoolean() ? 4 : 70);
                case FYL2X -> 0x3FFE + random.nextInt(3);
                // Near multiples of pi/2 processors differ by how many bits of pi they use.
                default -> 0x3FFE - random.nextInt(random.nextBoolean() ? 4 : 70);
              };
    }
    final boolean special =
        (exponent & 0x7FFF) == 0x7FFF || (exponent & 0x7FFF) == 0 || mantissa >= 0;
    if (!special) {
      final int magnitude = exponent & 0x7FFF;
      exponent =
          switch (mnemonic) {
            case F2XM1 -> (exponent & 0x8000) | Math.min(magnitude, 0x3FFE);
            case FYL2XP1 -> (exponent & 0x8000) | Math.min(magnitude, 0x3FFC);
            case FYL2X, FPATAN -> exponent;
            default ->
                (exponent & 0x8000) | (magnitude > 0x3FFF ? 0x403E + magnitude % 9 : magnitude);
          };
    }
    fx.putLong(32, mantissa);
    fx.putShort(40, (short) exponent);
  }

  private String compareFunction(final Mnemonic mnemonic, final byte[] code) {
    final byte[] image = new byte[HostProcessor.FX_SIZE];
    final ByteBuffer fx = ByteBuffer.wrap(image).order(ByteOrder.LITTLE_ENDIAN);
    fx.putShort(0, (short) 0x37F);
    final int status = random.nextInt() & 0x7F7F;
    fx.putShort(2, (short) status);
    fx.put(4, (byte) (0xFF & ~(1 << ((status >>> 11) - 1 & 7))));
    fx.putInt(24, 0x1F80);
    for (int i = 0; i < 8; i++) {
      final int exponent = operands.extendedExponent();
      fx.putLong(32 + 16 * i, operands.extendedMantissa(exponent));
      fx.putShort(40 + 16 * i, (short) exponent);
    }
    argument(mnemonic, fx);
    cpu.loadImage(image);
    final byte[] before = image.clone();
    cpu.run(code);
    final byte[] ours = image.clone();
    host.run(code, new long[Gpr.COUNT], 0, image, new byte[0]);
    cpu.storeImage(ours);
    final ByteBuffer our = ByteBuffer.wrap(ours).order(ByteOrder.LITTLE_ENDIAN);
    // C1 says how the last rounding went, which is not specified here; C0 and C3 are undefined.
    final int statusMask = 0xFFFF & ~(X87_C0 | X87_C1 | X87_C3);
    boolean same =
        (fx.getShort(2) & statusMask) == (our.getShort(2) & statusMask) && fx.get(4) == our.get(4);
    for (int i = 0; i < 8; i++) {
      same &= isNear(fx, our, 32 + 16 * i);
    }
    if (same) {
      return null;
    }
    return mnemonic
        + " before "
        + hex(before, 0)
        + "\n  host   "
        + hex(image, 0)
        + "\n  ours   "
        + hex(ours, 0)
        + "\n  st0    "
        + hex(before, 32)
        + "\n  st1    "
        + hex(before, 48)
        + "\n  host   "
        + hex(image, 32)
        + ' '
        + hex(image, 48)
        + "\n  ours   "
        + hex(ours, 32)
        + ' '
        + hex(ours, 48);
  }

  private static boolean isNear(final ByteBuffer a, final ByteBuffer b, final int at) {
    final int exponentA = a.getShort(at + 8);
    final int exponentB = b.getShort(at + 8);
    final long difference = a.getLong(at) - b.getLong(at);
    return exponentA == exponentB
        ? Math.abs(difference) <= 2
        // The next power of two, from below.
        : Math.abs(exponentA - exponentB) == 1
            && Math.abs(a.getLong(at)) - Long.MAX_VALUE + Math.abs(b.getLong(at)) < 3;
  }

  private String compare(final Mnemonic mnemonic, final byte[] instruction) {
    final boolean unmasked = random.nextInt(3) == 0;
    final byte[] image = new byte[HostProcessor.FX_SIZE];
    final ByteBuffer fx = ByteBuffer.wrap(image).order(ByteOrder.LITTLE_ENDIAN);
    final int control = 0x7F | random.nextInt(16) << 8;
    fx.putShort(0, (short) control);
    int status = random.nextInt() & 0x7F7F;
    if (unmasked) {
      status &= ~0x7F;
    }
    fx.putShort(2, (short) status);
    fx.put(4, (byte) (random.nextInt(8) == 0 ? random.nextInt(256) : tags(mnemonic, status)));
    fx.putInt(24, 0x1F80);
    for (int i = 0; i < 8; i++) {
      final int exponent = operands.extendedExponent();
      fx.putLong(32 + 16 * i, operands.extendedMantissa(exponent));
      fx.putShort(40 + 16 * i, (short) exponent);
    }
    if (random.nextInt(4) == 0) {
      // Two operands close to each other.
      fx.putLong(48, fx.getLong(32) + random.nextInt(5) - 2);
      final int near = random.nextInt(random.nextBoolean() ? 70 : 3);
      fx.putShort(56, (short) (fx.getShort(40) - near ^ (random.nextInt() & 0x8000)));
    }
    final byte[] memory = new byte[MEMORY];
    final ByteBuffer words = ByteBuffer.wrap(memory).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < MEMORY; i += 8) {
      words.putLong(i, operands.packed());
    }
    operand(mnemonic, instruction, words);
    words.putShort(48, (short) (control & ~(random.nextInt() & 0x3F)));
    final long[] gprs = new long[Gpr.COUNT];
    gprs[Gpr.RDI] = host.memoryAddress() + 64;
    for (int i = 0; i < Gpr.COUNT; i++) {
      cpu.gpr(i, gprs[i]);
    }
    final int flags = random.nextInt() & Flags.ARITHMETIC;
    cpu.setArithmeticFlags(flags);
    cpu.loadImage(image);
    cpu.memory(memory);
    cpu.useTlb(random.nextBoolean());
    final ByteArrayOutputStream program = new ByteArrayOutputStream();
    if (unmasked) {
      program.writeBytes(LOAD_CONTROL);
    }
    program.writeBytes(instruction);
    final byte[] code = program.toByteArray();
    final byte[] before = image.clone();
    final byte[] memoryBefore = memory.clone();

    cpu.run(code);
    final byte[] ours = image.clone();
    final long hostFlags = host.run(code, gprs, flags, image, memory);
    // The last-instruction pointers: AMD's processors save them only when an exception waits.
    System.arraycopy(image, 5, ours, 5, 19);
    System.arraycopy(image, 28, ours, 28, 4);
    cpu.storeImage(ours);
    final byte[] ourMemory = cpu.memory(MEMORY);
    if (mnemonic == Mnemonic.FNSTENV || mnemonic == Mnemonic.FNSAVE) {
      final boolean wide = instruction.length == 2;
      final int from = wide ? 64 + 12 : 64 + 6;
      final int to = wide ? 64 + 28 : 64 + 14;
      System.arraycopy(memory, from, ourMemory, from, to - from);
    }

    final StringBuilder text = new StringBuilder();
    if (cpu.vector >= 0) {
      text.append(" fault ").append(cpu.vector);
    }
    for (int i = 0; i < 160; i += 16) {
      if (i != 16 && !Arrays.equals(image, i, i + 16, ours, i, i + 16)) {
        text.append(
            String.format(
                Locale.ROOT, "%n  fx+%d: host %s ours %s", i, hex(image, i), hex(ours, i)));
      }
    }
    if (gprs[Gpr.RAX] != cpu.gpr(Gpr.RAX)) {
      text.append(
          String.format(Locale.ROOT, "%n  rax: host %x ours %x", gprs[Gpr.RAX], cpu.gpr(Gpr.RAX)));
    }
    if ((hostFlags & Flags.ARITHMETIC) != cpu.arithmeticFlags()) {
      text.append(
          String.format(
              Locale.ROOT, "%n  flags: host %x ours %x", hostFlags, cpu.arithmeticFlags()));
    }
    if (!Arrays.equals(memory, ourMemory)) {
      text.append(
          String.format(
              Locale.ROOT,
              "%n  memory: host %s%n          ours %s",
              HexFormat.of().formatHex(memory, 64, 176),
              HexFormat.of().formatHex(ourMemory, 64, 176)));
    }
    if (text.isEmpty()) {
      return null;
    }
    return mnemonic
        + " "
        + HexFormat.of().formatHex(code)
        + String.format(Locale.ROOT, " control %04x", words.getShort(48))
        + (unmasked ? "" : " (not loaded)")
        + text
        + "\n  before "
        + hex(before, 0)
        + "\n  st0 "
        + hex(before, 32)
        + "\n  st1 "
        + hex(before, 48)
        + "\n  sti "
        + hex(before, 32 + 16 * (code[code.length - 1] & 7))
        + "\n  mem "
        + hex(memoryBefore, 64);
  }

  /** Tags under which the instruction finds what it needs. */
  private static int tags(final Mnemonic mnemonic, final int status) {
    final int top = status >>> 11 & 7;
    return switch (mnemonic) {
      case FLD, FILD, FBLD, FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ, FXTRACT ->
          0xFF & ~(1 << (top - 1 & 7));
      default -> 0xFF;
    };
  }

  private void operand(final Mnemonic mnemonic, final byte[] instruction, final ByteBuffer words) {
    final int escape = instruction[0] & 0xFF;
    switch (escape) {
      case 0xD8, 0xD9 -> words.putInt(64, operands.floatBits());
      case 0xDC, 0xDD -> words.putLong(64, operands.doubleBits());
      default -> {
        // Random integers do.
      }
    }
    if (mnemonic == Mnemonic.FBLD) {
      // Digits above 9 are undefined.
      for (int i = 64; i < 73; i++) {
        words.put(i, (byte) (random.nextInt(10) << 4 | random.nextInt(10)));
      }
    } else if (mnemonic == Mnemonic.FLD && escape == 0xDB) {
      final int exponent = operands.extendedExponent();
      words.putLong(64, operands.extendedMantissa(exponent));
      words.putShort(72, (short) exponent);
    }
  }

  private static String hex(final byte[] bytes, final int at) {
    final ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    return String.format(Locale.ROOT, "%016x:%016x", buffer.getLong(at + 8), buffer.getLong(at));
  }
}

package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * Every instruction with a VEX prefix that is bound, and ADCX and ADOX, against the host's
 * processor: found by trying all opcodes, so that none is forgotten.
 *
 * <p>{@code -Dvmexit.test.vex.rounds=N} and {@code -Dvmexit.oracle.seed=N} make longer and other
 * runs; {@code -Dvmexit.oracle.report=true} prints the cases of each feature.
 */
final class VexHostTest {
  private static final int ROUNDS = Integer.getInteger("vmexit.test.vex.rounds", 100);
  private static final long SEED = Long.getLong("vmexit.oracle.seed", 2026);
  private static final int MEMORY = 192;
  private static final int OPERAND = 64;
  private static final int DIFFERENCES_OF_AN_OPCODE = 2;

  private final SplittableRandom random = new SplittableRandom(SEED);
  private final FpuOperands operands = new FpuOperands(random);
  private final Map<CpuFeature, Long> cases = new EnumMap<>(CpuFeature.class);
  private final Set<Mnemonic> seen = EnumSet.noneOf(Mnemonic.class);
  private final List<String> differences = new ArrayList<>();

  /** Register that holds indexes, all of them from 0 to 7; or -1. */
  private int gatherIndex = -1;

  private HostProcessor host;
  private FpuTestCpu cpu;

  @BeforeEach
  void open() {
    assumeTrue(HostProcessor.isSupported(), "SKIPPED: the host is not x86-64 Linux");
    assumeTrue(
        HostProcessor.hasFlags("avx2", "bmi1", "bmi2", "fma", "f16c", "adx", "aes", "pclmulqdq"),
        "SKIPPED: the host's processor is below x86-64-v3, or has no ADX or AES");
    host = new HostProcessor();
    cpu = new FpuTestCpu(host.memoryAddress(), 4096);
    cpu.enableAvx();
  }

  @AfterEach
  void close() {
    if (host != null) {
      host.close();
      cpu.close();
    }
  }

  /** What is not a function of registers and memory alone, or not of one exact result. */
  private static boolean isLeftOut(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case VRCPSS, VRCPPS, VRSQRTSS, VRSQRTPS, VLDMXCSR -> true;
      default -> false;
    };
  }

  private boolean isLeftOut(final Instruction insn) {
    for (int i = 0; i < insn.operandCount; i++) {
      if (insn.operandKind[i] == Instruction.GPR && insn.operandRegister[i] == Gpr.RSP) {
        return true;
      }
    }
    final CpuFeature feature = CpuFeature.of(insn);
    return isLeftOut(insn.mnemonic)
        || isGather(insn)
        || feature == CpuFeature.VAES && !HostProcessor.hasFlags("vaes")
        || feature == CpuFeature.VPCLMULQDQ && !HostProcessor.hasFlags("vpclmulqdq");
  }

  private static boolean isGather(final Instruction insn) {
    return insn.mnemonic.name().startsWith("VGATHER")
        || insn.mnemonic.name().startsWith("VPGATHER");
  }

  /** A VEX instruction with random registers; memory, if it has any, at rDI. */
  private byte[] vex(final int map, final int selector, final int opcode) {
    final ByteBuffer code = ByteBuffer.allocate(15);
    final boolean memory = random.nextBoolean();
    final int inverted = memory ? 0xE0 & (random.nextInt() | 0x60) : random.nextInt() & 0xE0;
    final int vvvv = random.nextInt(3) == 0 ? 0x78 : random.nextInt(16) << 3;
    code.put((byte) 0xC4).put((byte) (inverted | map));
    // Selector: W, L and the two bits of the mandatory prefix.
    code.put((byte) ((selector & 8) << 4 | vvvv | selector & 7)).put((byte) opcode);
    final int register = random.nextInt(8) << 3;
    code.put((byte) (memory ? register | 7 : 0xC0 | register | random.nextInt(8)));
    return Arrays.copyOf(code.array(), code.position());
  }

  /** Appends the immediate byte where the instruction has one; null where it is not bound. */
  private byte[] bound(final byte[] code) {
    if (cpu.bind(code) != null) {
      return isLeftOut(cpu.decoded()) ? null : code;
    }
    final byte[] longer = Arrays.copyOf(code, code.length + 1);
    longer[code.length] = (byte) random.nextInt(random.nextBoolean() ? 256 : 32);
    return cpu.bind(longer) == null || isLeftOut(cpu.decoded()) ? null : longer;
  }

  private byte[] draw(final int map, final int selector, final int opcode) {
    for (int attempt = 0; attempt < 40; attempt++) {
      final byte[] code = bound(vex(map, selector, opcode));
      if (code != null) {
        return code;
      }
    }
    return null;
  }

  @Test
  void shouldDoAsTheHostWhenRegistersAndMemoryAreRandom() {
    for (int map = 1; map < 4; map++) {
      for (int opcode = 0; opcode < 256; opcode++) {
        for (int selector = 0; selector < 16; selector++) {
          int different = 0;
          for (int i = 0; i < ROUNDS && different < DIFFERENCES_OF_AN_OPCODE; i++) {
            final byte[] code = draw(map, selector, opcode);
            if (code == null) {
              break;
            }
            different += run(code) ? 0 : 1;
          }
        }
      }
    }
    for (final int prefix : new int[] {0x66, 0xF3}) {
      for (int i = 0; i < ROUNDS * 4; i++) {
        final int rex = 0x40 | random.nextInt(16) & (random.nextBoolean() ? 0xF : 0xE);
        final byte[] code = {
          (byte) prefix, (byte) rex, 0x0F, 0x38, (byte) 0xF6, (byte) (0xC0 | random.nextInt(64))
        };
        if (bound(code) != null) {
          run(code);
        }
      }
    }
    finish(340);
  }

  /** With indexes that stay within the memory, whichever size they are taken for. */
  @Test
  void shouldGatherAsTheHostWhenMaskIsRandom() {
    final int[] opcodes = {0x90, 0x91, 0x92, 0x93};
    for (int i = 0; i < ROUNDS * 40; i++) {
      final int selector = random.nextInt(2) << 2 | random.nextInt(2) << 3 | 1;
      final int to = random.nextInt(16);
      final int mask = random.nextInt(16);
      final int index = random.nextInt(16);
      final int scale = random.nextInt(3);
      final byte[] code = {
        (byte) 0xC4,
        (byte) ((to < 8 ? 0x80 : 0) | (index < 8 ? 0x40 : 0) | 0x22),
        (byte) ((selector & 8) << 4 | (~mask & 15) << 3 | selector & 7),
        (byte) opcodes[random.nextInt(4)],
        (byte) ((to & 7) << 3 | 4),
        (byte) (scale << 6 | (index & 7) << 3 | 7)
      };
      if (cpu.bind(code) != null) {
        gatherIndex = index;
        run(code);
      }
    }
    gatherIndex = -1;
    finish(8);
  }

  private void finish(final int fewest) {
    if (Boolean.getBoolean("vmexit.oracle.report")) {
      System.out.println(seen.size() + " instructions, cases " + cases);
    }
    assertTrue(seen.size() >= fewest, "only " + seen.size() + " instructions were reached");
    assertEquals("", String.join("\n", differences));
  }

  /** Whether both did the same. */
  private boolean run(final byte[] code) {
    cpu.bind(code);
    seen.add(cpu.decoded().mnemonic);
    cases.merge(CpuFeature.of(cpu.decoded()), 1L, Long::sum);
    final String difference = compare(code);
    if (difference != null) {
      differences.add(difference);
    }
    return difference == null;
  }

  /** Bits of RFLAGS that the manual leaves undefined. */
  static int undefined(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case ANDN, BLSI, BLSMSK, BLSR, BZHI -> Flags.AF | Flags.PF;
      case BEXTR -> Flags.AF | Flags.SF | Flags.PF;
      default -> 0;
    };
  }

  /** Runs one instruction on both; null when they agree. */
  private String compare(final byte[] code) {
    final byte[] image = new byte[HostProcessor.FX_SIZE];
    final byte[] high = new byte[HostProcessor.HIGH_SIZE];
    final ByteBuffer fx = ByteBuffer.wrap(image).order(ByteOrder.LITTLE_ENDIAN);
    final ByteBuffer upper = ByteBuffer.wrap(high).order(ByteOrder.LITTLE_ENDIAN);
    fx.putShort(0, (short) 0x37F);
    int mxcsr = 0x1F80 | random.nextInt(4) << 13;
    if (random.nextInt(4) == 0) {
      mxcsr |= random.nextInt() & 0x8040;
    }
    if (random.nextBoolean()) {
      mxcsr = (mxcsr & ~0x6000) | (random.nextInt() & 0x3F);
    }
    fx.putInt(24, mxcsr);
    final int kind = random.nextInt(5);
    for (int i = 0; i < 32; i++) {
      fx.putLong(160 + 8 * i, operand(kind));
      upper.putLong(8 * i, operand(kind));
    }
    final byte[] memory = new byte[MEMORY];
    final ByteBuffer words = ByteBuffer.wrap(memory).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < MEMORY; i += 8) {
      words.putLong(i, operand(kind));
    }
    // Small counts now and then, so that shifts shift.
    if (random.nextInt(3) == 0) {
      fx.putLong(160 + 16 * random.nextInt(16), random.nextInt(70));
      words.putLong(OPERAND, random.nextInt(70));
    }
    for (int i = 0; gatherIndex >= 0 && i < 16; i += 8) {
      fx.putLong(160 + 16 * gatherIndex + i, index());
      upper.putLong(16 * gatherIndex + i, index());
    }
    final long[] gprs = new long[Gpr.COUNT];
    for (int i = 0; i < Gpr.COUNT; i++) {
      gprs[i] = random.nextInt(3) == 0 ? random.nextInt(0x4100) : operands.packed();
    }
    if (random.nextBoolean()) {
      gprs[Gpr.RAX] = random.nextInt(40) - 20L; // lengths of strings
      gprs[Gpr.RDX] = random.nextInt(40) - 20L;
    }
    gprs[Gpr.RDI] = host.memoryAddress() + OPERAND;
    gprs[Gpr.RSP] = 0;
    for (int i = 0; i < Gpr.COUNT; i++) {
      cpu.gpr(i, gprs[i]);
    }
    final int flags = random.nextInt() & Flags.ARITHMETIC;
    cpu.setArithmeticFlags(flags);
    cpu.loadImage(image);
    for (int i = 0; i < 16; i++) {
      HostMemory.copyIn(high, 16 * i, cpu.state + upperHalf(i), 16);
    }
    cpu.memory(memory);
    cpu.useTlb(random.nextBoolean());
    final byte[] before = image.clone();
    final byte[] highBefore = high.clone();
    final byte[] memoryBefore = memory.clone();
    final long[] gprsBefore = gprs.clone();

    cpu.run(code);
    final long hostFlags = host.run(code, gprs, flags, image, high, memory);

    final StringBuilder text = new StringBuilder();
    final Instruction insn = cpu.decoded();
    final int undefined = undefined(insn.mnemonic);
    if (cpu.vector >= 0) {
      text.append(" fault ").append(cpu.vector);
    }
    if (fx.getInt(24) != cpu.reg32(StateLayout.MXCSR)) {
      text.append(
          String.format(
              Locale.ROOT,
              "%n  mxcsr: host %x ours %x",
              fx.getInt(24),
              cpu.reg32(StateLayout.MXCSR)));
    }
    for (int i = 0; i < 16; i++) {
      if (fx.getLong(160 + 16 * i) != cpu.reg64(upperHalf(i) - 16)
          || fx.getLong(168 + 16 * i) != cpu.reg64(upperHalf(i) - 8)
          || upper.getLong(16 * i) != cpu.reg64(upperHalf(i))
          || upper.getLong(16 * i + 8) != cpu.reg64(upperHalf(i) + 8)) {
        text.append("\n  ymm").append(i).append(": host ");
        text.append(hex(high, 16 * i)).append(':').append(hex(image, 160 + 16 * i));
        text.append(" ours ").append(ours(i));
      }
    }
    for (int i = 0; i < Gpr.COUNT; i++) {
      if (gprs[i] != cpu.gpr(i)) {
        text.append(
            String.format(
                Locale.ROOT,
                "%n  gpr%d: host %016x ours %016x before %016x",
                i,
                gprs[i],
                cpu.gpr(i),
                gprsBefore[i]));
      }
    }
    if (((hostFlags ^ cpu.arithmeticFlags()) & Flags.ARITHMETIC & ~undefined) != 0) {
      text.append(
          String.format(
              Locale.ROOT, "%n  flags: host %x ours %x", hostFlags, cpu.arithmeticFlags()));
    }
    final byte[] ourMemory = cpu.memory(MEMORY);
    if (!Arrays.equals(memory, ourMemory)) {
      text.append(
          String.format(
              Locale.ROOT,
              "%n  memory: host %s%n          ours %s",
              HexFormat.of().formatHex(memory),
              HexFormat.of().formatHex(ourMemory)));
    }
    if (text.isEmpty()) {
      return null;
    }
    return insn.mnemonic
        + " "
        + HexFormat.of().formatHex(code)
        + String.format(Locale.ROOT, " mxcsr %04x", mxcsr)
        + text
        + registers(insn, before, highBefore, gprsBefore, memoryBefore);
  }

  /** Small as a quadword and as two doublewords. */
  private long index() {
    return random.nextInt(8);
  }

  private static int upperHalf(final int register) {
    return StateLayout.XMM + register * StateLayout.XMM_SIZE + 16;
  }

  private static String registers(
      final Instruction insn,
      final byte[] before,
      final byte[] high,
      final long[] gprs,
      final byte[] memory) {
    final StringBuilder text = new StringBuilder();
    for (int i = 0; i < insn.operandCount; i++) {
      final int number = insn.operandRegister[i];
      text.append("\n  operand ").append(i).append(' ');
      switch (insn.operandKind[i]) {
        case Instruction.XMM, Instruction.YMM ->
            text.append(hex(high, 16 * number)).append(':').append(hex(before, 160 + 16 * number));
        case Instruction.MEMORY ->
            text.append(hex(memory, OPERAND + 16)).append(':').append(hex(memory, OPERAND));
        case Instruction.GPR -> text.append(Long.toHexString(gprs[number]));
        default -> text.append(Long.toHexString(insn.immediate));
      }
    }
    return text.toString();
  }

  private String ours(final int register) {
    final StringBuilder text = new StringBuilder();
    for (int i = 8; i >= -16; i -= 8) {
      text.append(i == 8 ? "" : ":");
      text.append(String.format(Locale.ROOT, "%016x", cpu.reg64(upperHalf(register) + i)));
    }
    return text.toString();
  }

  /** Sixteen bytes as two words, the high one first. */
  private static String hex(final byte[] bytes, final int at) {
    final ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    return String.format(Locale.ROOT, "%016x:%016x", buffer.getLong(at + 8), buffer.getLong(at));
  }

  private long operand(final int kind) {
    return switch (kind) {
      case 0 -> operands.doubleBits();
      case 1 -> (operands.floatBits() & 0xFFFF_FFFFL) | (long) operands.floatBits() << 32;
      case 2 -> operands.letters();
      case 3 -> halves();
      default -> operands.packed();
    };
  }

  /** Four half-precision numbers, or the same value twice: products that cancel. */
  private long halves() {
    final long value = random.nextLong();
    return random.nextBoolean() ? value & 0x83FF_FC01_8001_7C00L : value;
  }
}

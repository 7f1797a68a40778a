package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Every MMX and SSE instruction that is bound, against the host's processor. */
final class SseHostTest {
  private static final int ROUNDS = Integer.getInteger("vmexit.test.sse.rounds", 150);
  private static final int MEMORY = 128;
  private static final int[] MANDATORY = {0, 0x66, 0xF3, 0xF2};

  private final SplittableRandom random = new SplittableRandom(2026);
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

  /** What is not a function of registers and memory alone, or not of one exact result. */
  private static boolean isLeftOut(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case RCPSS, RCPPS, RSQRTSS, RSQRTPS -> true;
      case FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC, XRSTOR, XGETBV, XSETBV, LDMXCSR, CLFLUSH ->
          true;
      default -> false;
    };
  }

  private static boolean namesStackPointer(final Instruction insn) {
    for (int i = 0; i < insn.operandCount; i++) {
      if (insn.operandKind[i] == Instruction.GPR && insn.operandRegister[i] == Gpr.RSP) {
        return true;
      }
    }
    return false;
  }

  /** Encodings of one opcode: with registers and with memory at rDI. */
  private List<byte[]> encodings(final int prefix, final int[] opcode) {
    final List<byte[]> codes = new ArrayList<>();
    for (final boolean wide : new boolean[] {false, true}) {
      for (int modrm = 0; modrm < 256; modrm++) {
        final boolean register = modrm >= 0xC0;
        if (!register && (modrm & 0xC7) != 7) {
          continue;
        }
        for (final boolean immediate : new boolean[] {false, true}) {
          final ByteBuffer code = ByteBuffer.allocate(15);
          if (prefix != 0) {
            code.put((byte) prefix);
          }
          if (wide) {
            code.put((byte) 0x48);
          }
          code.put((byte) 0x0F);
          for (final int b : opcode) {
            code.put((byte) b);
          }
          code.put((byte) modrm);
          if (immediate) {
            code.put((byte) 0x1B);
          }
          final byte[] bytes = Arrays.copyOf(code.array(), code.position());
          if (cpu.bind(bytes) != null
              && !isLeftOut(cpu.decoded().mnemonic)
              && !namesStackPointer(cpu.decoded())) {
            codes.add(bytes);
          }
        }
      }
    }
    return codes;
  }

  @Test
  void shouldDoAsTheHostWhenRegistersAndMemoryAreRandom() {
    final List<String> differences = new ArrayList<>();
    final List<Mnemonic> seen = new ArrayList<>();
    for (final int prefix : MANDATORY) {
      for (int opcode = 0; opcode < 0x300; opcode++) {
        if (opcode == 0x38 || opcode == 0x3A) {
          continue; // the escapes to the other two maps
        }
        final int[] bytes =
            switch (opcode >> 8) {
              case 0 -> new int[] {opcode};
              case 1 -> new int[] {0x38, opcode & 0xFF};
              default -> new int[] {0x3A, opcode & 0xFF};
            };
        final List<byte[]> codes = encodings(prefix, bytes);
        if (codes.isEmpty()) {
          continue;
        }
        int different = 0;
        for (int i = 0; i < ROUNDS && different < 2; i++) {
          final byte[] code = codes.get(random.nextInt(codes.size())).clone();
          final Instruction insn = decode(code);
          if (!seen.contains(insn.mnemonic)) {
            seen.add(insn.mnemonic);
          }
          if (insn.operandCount > 0
              && insn.operandKind[insn.operandCount - 1] == Instruction.IMMEDIATE) {
            code[code.length - 1] = (byte) immediate(insn.mnemonic);
          }
          final String difference = compare(code);
          if (difference != null) {
            different++;
            differences.add(difference);
          }
        }
      }
    }
    assertTrue(seen.size() > 240, "only " + seen.size() + " instructions were reached");
    assertTrue(
        differences.isEmpty(),
        () -> differences.size() + " differences:\n" + String.join("\n", differences));
  }

  private Instruction decode(final byte[] code) {
    cpu.bind(code);
    return cpu.decoded();
  }

  private int immediate(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      // Bits 7:3 are reserved.
      case CMPPS, CMPPD, CMPSS, CMPSD -> random.nextInt(8);
      default -> random.nextInt(random.nextBoolean() ? 256 : 32);
    };
  }

  /** Runs one instruction on both; null when they agree. */
  private String compare(final byte[] code) {
    final byte[] image = new byte[HostProcessor.FX_SIZE];
    final ByteBuffer fx = ByteBuffer.wrap(image).order(ByteOrder.LITTLE_ENDIAN);
    fx.putShort(0, (short) 0x37F);
    fx.putShort(2, (short) (random.nextInt(8) << 11));
    fx.put(4, (byte) random.nextInt(256));
    int mxcsr = 0x1F80 | random.nextInt(4) << 13;
    if (random.nextInt(4) == 0) {
      mxcsr |= random.nextInt() & 0x8040;
    }
    if (random.nextBoolean()) {
      mxcsr = (mxcsr & ~0x6000) | (random.nextInt() & 0x3F);
    }
    fx.putInt(24, mxcsr);
    for (int i = 0; i < 8; i++) {
      fx.putLong(32 + 16 * i, operands.packed());
      fx.putShort(40 + 16 * i, (short) random.nextInt());
    }
    final int kind = random.nextInt(4);
    for (int i = 0; i < 32; i++) {
      fx.putLong(160 + 8 * i, operand(kind));
    }
    final byte[] memory = new byte[MEMORY];
    final ByteBuffer words = ByteBuffer.wrap(memory).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < MEMORY; i += 8) {
      words.putLong(i, operand(kind));
    }
    // Small counts now and then, so that shifts shift.
    if (random.nextInt(3) == 0) {
      fx.putLong(160 + 16 * random.nextInt(16), random.nextInt(70));
      words.putLong(64, random.nextInt(70));
    }
    final long[] gprs = new long[Gpr.COUNT];
    for (int i = 0; i < Gpr.COUNT; i++) {
      gprs[i] = operands.packed();
    }
    if (random.nextBoolean()) {
      gprs[Gpr.RAX] = random.nextInt(40) - 20L; // lengths of strings
      gprs[Gpr.RDX] = random.nextInt(40) - 20L;
    }
    for (int i = 0; i < Gpr.COUNT; i++) {
      cpu.gpr(i, gprs[i]);
    }
    gprs[Gpr.RDI] = host.memoryAddress() + 64;
    cpu.gpr(Gpr.RDI, gprs[Gpr.RDI]);
    gprs[Gpr.RSP] = 0;
    cpu.gpr(Gpr.RSP, 0);
    final int flags = random.nextInt() & Flags.ARITHMETIC;
    cpu.setArithmeticFlags(flags);
    cpu.loadImage(image);
    cpu.memory(memory);
    cpu.useTlb(random.nextBoolean());
    final byte[] before = image.clone();
    final byte[] memoryBefore = memory.clone();
    final long[] gprsBefore = gprs.clone();

    cpu.run(code);
    final byte[] ours = image.clone();
    final long hostFlags = host.run(code, gprs, flags, image, memory);
    System.arraycopy(image, 5, ours, 5, 19);
    System.arraycopy(image, 28, ours, 28, 4);
    cpu.storeImage(ours);

    final StringBuilder text = new StringBuilder();
    if (cpu.vector >= 0) {
      text.append(" fault ").append(cpu.vector);
    }
    difference(text, "mxcsr", mxcsr, fx.getInt(24), ByteBuffer.wrap(ours), 24);
    for (int i = 0; i < HostProcessor.FX_SIZE; i += 16) {
      if (i != 16 && !Arrays.equals(image, i, i + 16, ours, i, i + 16)) {
        text.append(
            String.format(
                Locale.ROOT,
                "%n  fx+%d: host %s ours %s before %s",
                i,
                hex(image, i),
                hex(ours, i),
                hex(before, i)));
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
    if ((hostFlags & Flags.ARITHMETIC) != cpu.arithmeticFlags()) {
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
    final Instruction insn = decode(code);
    return insn.mnemonic
        + " "
        + HexFormat.of().formatHex(code)
        + String.format(Locale.ROOT, " mxcsr %04x", mxcsr)
        + text
        + registers(insn, before, memoryBefore);
  }

  private static String registers(
      final Instruction insn, final byte[] before, final byte[] memory) {
    final StringBuilder text = new StringBuilder();
    for (int i = 0; i < insn.operandCount; i++) {
      if (insn.operandKind[i] == Instruction.XMM) {
        text.append("\n  operand ").append(i).append(' ');
        text.append(hex(before, 160 + 16 * insn.operandRegister[i]));
      } else if (insn.operandKind[i] == Instruction.MEMORY) {
        text.append("\n  operand ").append(i).append(' ').append(hex(memory, 64));
      }
    }
    return text.toString();
  }

  private static void difference(
      final StringBuilder text,
      final String name,
      final int before,
      final int expected,
      final ByteBuffer ours,
      final int at) {
    final int actual = ours.order(ByteOrder.LITTLE_ENDIAN).getInt(at);
    if (expected != actual) {
      text.append(
          String.format(
              Locale.ROOT, "%n  %s: host %x ours %x before %x", name, expected, actual, before));
    }
  }

  /** Sixteen bytes as two words, the high one first. */
  private static String hex(final byte[] bytes, final int at) {
    final ByteBuffer buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    return String.format(Locale.ROOT, "%016x:%016x", buffer.getLong(at + 8), buffer.getLong(at));
  }

  private long operand(final int kind) {
    return switch (kind) {
      case 0 -> operands.doubleBits();
      case 2 -> operands.letters();
      case 1 -> (operands.floatBits() & 0xFFFF_FFFFL) | (long) operands.floatBits() << 32;
      default -> operands.packed();
    };
  }
}

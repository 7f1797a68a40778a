package dev.vmexit.vcpu.soft;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.vmexit.vcpu.soft.integer.IntegerOps;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Locale;
import java.util.SplittableRandom;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Integer operations against the host's own processor: random operands, prefixes, registers and
 * flags for every opcode that runs in 64-bit user code; registers, flags and memory must agree.
 *
 * <p>What the SDM leaves undefined is compared only with {@code -Dvmexit.test.undefined=true},
 * which holds on AMD's Zen 4.
 */
class IntegerHostTest {
  private static final boolean UNDEFINED_TOO = Boolean.getBoolean("vmexit.test.undefined");

  /** Cases of each line of opcodes. */
  private static final int CASES = Integer.getInteger("vmexit.test.cases", 400);

  private static final int RFLAGS = Flags.ARITHMETIC | Flags.DF;

  private static final long[] EDGES = {
    0,
    1,
    2,
    -1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000L,
    0xFFFF_FFFFL,
    Long.MAX_VALUE,
    Long.MIN_VALUE,
    0x1_0000_0000L
  };

  private static HostProcessor host;
  private static FlatCpu cpu;

  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();
  private SplittableRandom random;

  @BeforeAll
  static void open() {
    assumeTrue(HostProcessor.isSupported(), "the host's processor is no x86-64 under Linux");
    host = new HostProcessor();
    cpu = new FlatCpu(host.memoryAddress(), HostProcessor.MEMORY_SIZE, 8);
  }

  @AfterAll
  static void close() {
    if (host != null) {
      host.close();
      cpu.close();
    }
  }

  /**
   * Opcodes, then how operands are made: {@code r} ModRM with any operands, {@code m} memory alone,
   * {@code /n} a fixed ModRM.reg, {@code b z v} an immediate of that size.
   */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "00 r",
        "01 r",
        "02 r",
        "03 r",
        "04 b",
        "05 z",
        "08 r",
        "09 r",
        "0A r",
        "0B r",
        "0C b",
        "0D z",
        "10 r",
        "11 r",
        "12 r",
        "13 r",
        "14 b",
        "15 z",
        "18 r",
        "19 r",
        "1A r",
        "1B r",
        "1C b",
        "1D z",
        "20 r",
        "21 r",
        "22 r",
        "23 r",
        "24 b",
        "25 z",
        "28 r",
        "29 r",
        "2A r",
        "2B r",
        "2C b",
        "2D z",
        "30 r",
        "31 r",
        "32 r",
        "33 r",
        "34 b",
        "35 z",
        "38 r",
        "39 r",
        "3A r",
        "3B r",
        "3C b",
        "3D z",
        "63 r",
        "69 r z",
        "6B r b",
        "80 /0 b",
        "80 /1 b",
        "80 /2 b",
        "80 /3 b",
        "80 /4 b",
        "80 /5 b",
        "80 /6 b",
        "80 /7 b",
        "81 /0 z",
        "81 /1 z",
        "81 /2 z",
        "81 /3 z",
        "81 /4 z",
        "81 /5 z",
        "81 /6 z",
        "81 /7 z",
        "83 /0 b",
        "83 /1 b",
        "83 /2 b",
        "83 /3 b",
        "83 /4 b",
        "83 /5 b",
        "83 /6 b",
        "83 /7 b",
        "84 r",
        "85 r",
        "86 r",
        "87 r",
        "88 r",
        "89 r",
        "8A r",
        "8B r",
        "8D m",
        "90",
        "91",
        "93",
        "97",
        "98",
        "99",
        "9E",
        "9F",
        "A4",
        "A5",
        "A6",
        "A7",
        "A8 b",
        "A9 z",
        "AA",
        "AB",
        "AC",
        "AD",
        "AE",
        "AF",
        "B0 b",
        "B3 b",
        "B5 b",
        "B8 v",
        "BE v",
        "C0 /0 b",
        "C0 /1 b",
        "C0 /2 b",
        "C0 /3 b",
        "C0 /4 b",
        "C0 /5 b",
        "C0 /6 b",
        "C0 /7 b",
        "C1 /0 b",
        "C1 /1 b",
        "C1 /2 b",
        "C1 /3 b",
        "C1 /4 b",
        "C1 /5 b",
        "C1 /7 b",
        "C6 /0 b",
        "C7 /0 z",
        "D0 /0",
        "D0 /1",
        "D0 /2",
        "D0 /3",
        "D0 /4",
        "D0 /5",
        "D0 /7",
        "D1 /0",
        "D1 /1",
        "D1 /2",
        "D1 /3",
        "D1 /4",
        "D1 /5",
        "D1 /7",
        "D2 /0",
        "D2 /1",
        "D2 /2",
        "D2 /3",
        "D2 /4",
        "D2 /5",
        "D2 /7",
        "D3 /0",
        "D3 /1",
        "D3 /2",
        "D3 /3",
        "D3 /4",
        "D3 /5",
        "D3 /7",
        "F5",
        "F6 /0 b",
        "F6 /2",
        "F6 /3",
        "F6 /4",
        "F6 /5",
        "F6 /6",
        "F6 /7",
        "F7 /0 z",
        "F7 /2",
        "F7 /3",
        "F7 /4",
        "F7 /5",
        "F7 /6",
        "F7 /7",
        "F8",
        "F9",
        "FC",
        "FD",
        "FE /0",
        "FE /1",
        "FF /0",
        "FF /1",
        "0F 1F r",
        "0F 40 r",
        "0F 41 r",
        "0F 42 r",
        "0F 43 r",
        "0F 44 r",
        "0F 45 r",
        "0F 46 r",
        "0F 47 r",
        "0F 48 r",
        "0F 49 r",
        "0F 4A r",
        "0F 4B r",
        "0F 4C r",
        "0F 4D r",
        "0F 4E r",
        "0F 4F r",
        "0F 90 r",
        "0F 91 r",
        "0F 92 r",
        "0F 93 r",
        "0F 94 r",
        "0F 95 r",
        "0F 96 r",
        "0F 97 r",
        "0F 98 r",
        "0F 99 r",
        "0F 9A r",
        "0F 9B r",
        "0F 9C r",
        "0F 9D r",
        "0F 9E r",
        "0F 9F r",
        "0F A3 r",
        "0F A4 r b",
        "0F A5 r",
        "0F AB r",
        "0F AC r b",
        "0F AD r",
        "0F AF r",
        "0F B0 r",
        "0F B1 r",
        "0F B3 r",
        "0F B6 r",
        "0F B7 r",
        "F3 0F B8 r",
        "0F BA /4 b",
        "0F BA /5 b",
        "0F BA /6 b",
        "0F BA /7 b",
        "0F BB r",
        "0F BC r",
        "0F BD r",
        "F3 0F BC r",
        "F3 0F BD r",
        "0F BE r",
        "0F BF r",
        "0F C0 r",
        "0F C1 r",
        "0F C3 m",
        "0F C7 /1",
        "0F C8",
        "0F CB",
        "0F CF",
        "0F 38 F0 m",
        "0F 38 F1 m",
        "F2 0F 38 F0 r",
        "F2 0F 38 F1 r"
      })
  void shouldAgreeWithTheHost(final String line) {
    random = new SplittableRandom(line.hashCode());
    final String[] parts = line.split(" ");
    int compared = 0;
    for (int i = 0; i < CASES; i++) {
      compared += runCase(line, parts) ? 1 : 0;
    }
    if (compared < CASES / 20) {
      throw new AssertionError(line + ": only " + compared + " cases of " + CASES + " could run");
    }
  }

  private final long[] gprs = new long[Gpr.COUNT];

  private boolean runCase(final String line, final String[] parts) {
    randomRegisters();
    final byte[] code = encode(parts);
    if (decoder.decode(code, 0, code.length, 8, insn) != Decoder.STATUS_OK
        || insn.length != code.length) {
      return false;
    }
    final Mnemonic mnemonic = insn.mnemonic;
    prepare();
    if (!UNDEFINED_TOO && resultIsUndefined()) {
      return false;
    }
    final int undefined = UNDEFINED_TOO ? 0 : undefinedFlags();
    final byte[] memory = new byte[HostProcessor.MEMORY_SIZE];
    random.nextBytes(memory);
    if (random.nextInt(4) == 0) {
      makeRuns(memory);
    }
    final long flags = random.nextLong() & (isString(mnemonic) ? RFLAGS : Flags.ARITHMETIC);

    final byte[] hostMemory = memory.clone();
    final long[] before = gprs.clone();
    for (int i = 0; i < Gpr.COUNT; i++) {
      cpu.gpr(i, gprs[i]);
    }
    cpu.setRflags(flags | Flags.RESERVED_1);
    cpu.fillMemory(memory);
    cpu.rip(host.codeAddress());
    cpu.mapped = random.nextInt(4) != 0;
    if (!cpu.mapped) {
      cpu.forgetMappings();
    }
    try {
      cpu.step(code, 0, IntegerOps::bind);
    } catch (final FlatCpu.Raised e) {
      return false;
    }
    final long hostFlags = host.run(code, gprs, flags, null, hostMemory);
    final String what =
        String.format(
            Locale.ROOT,
            "%s: %s %s, flags %x, registers %s",
            line,
            mnemonic,
            HexFormat.of().formatHex(code),
            flags,
            hex(before));
    for (int i = 0; i < Gpr.COUNT; i++) {
      if (i != Gpr.RSP && gprs[i] != cpu.gpr(i)) {
        assertEquals(
            Long.toHexString(gprs[i]), Long.toHexString(cpu.gpr(i)), what + ", register " + i);
      }
    }
    final int compare = RFLAGS & ~undefined;
    if ((hostFlags & compare) != (cpu.rflags() & compare)) {
      assertEquals(
          Long.toHexString(hostFlags & compare), Long.toHexString(cpu.rflags() & compare), what);
    }
    final int difference = Arrays.mismatch(hostMemory, cpu.memory());
    if (difference >= 0) {
      throw new AssertionError(what + ", memory differs at " + difference);
    }
    return true;
  }

  private static String hex(final long[] values) {
    final StringBuilder text = new StringBuilder();
    for (final long value : values) {
      text.append(Long.toHexString(value)).append(' ');
    }
    return text.toString();
  }

  private long randomValue() {
    return switch (random.nextInt(4)) {
      case 0 -> EDGES[random.nextInt(EDGES.length)];
      case 1 -> random.nextInt(-70, 70);
      default -> random.nextLong();
    };
  }

  private void randomRegisters() {
    for (int i = 0; i < Gpr.COUNT; i++) {
      gprs[i] = randomValue();
    }
    gprs[Gpr.RSP] = 0;
  }

  /** Long stretches of equal bytes: repeated comparisons get somewhere. */
  private void makeRuns(final byte[] memory) {
    Arrays.fill(memory, (byte) random.nextInt(2));
    for (int i = 0; i < 20; i++) {
      memory[random.nextInt(memory.length)] ^= 1;
    }
  }

  private static boolean isString(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case MOVS, CMPS, STOS, LODS, SCAS, CLD, STD -> true;
      default -> false;
    };
  }

  /** Registers that the instruction, now decoded, needs in bounds. */
  private void prepare() {
    switch (insn.mnemonic) {
      case MOVS, CMPS, STOS, LODS, SCAS -> {
        gprs[Gpr.RSI] = host.memoryAddress() + random.nextInt(0x400, 0x1C00);
        gprs[Gpr.RDI] =
            random.nextBoolean()
                ? host.memoryAddress() + random.nextInt(0x400, 0x1C00)
                : Math.min(
                    host.memoryAddress() + 0x1B00, gprs[Gpr.RSI] + random.nextInt(-0x40, 0x80));
        gprs[Gpr.RCX] = random.nextInt(100);
        if (random.nextInt(3) == 0) {
          // What the scan looks for is there.
          gprs[Gpr.RAX] = random.nextInt(2) * 0x0101_0101_0101_0101L;
        }
      }
      case BT, BTS, BTR, BTC -> {
        if (insn.hasMemory && insn.operandKind[1] == Instruction.GPR) {
          final int source = insn.operandRegister[1];
          if (source != insn.base && source != insn.index) {
            gprs[source] = random.nextInt(-0x3000, 0x3000);
          }
        }
      }
      case CMPXCHG -> {
        if (random.nextBoolean() && !insn.hasMemory && insn.operandRegister[0] < Gpr.COUNT) {
          gprs[Gpr.RAX] = gprs[insn.operandRegister[0]];
        }
      }
      case DIV, IDIV -> {
        if (random.nextBoolean()) {
          gprs[Gpr.RDX] = random.nextInt(-1, 2);
        }
      }
      default -> {}
    }
  }

  private boolean resultIsUndefined() {
    return switch (insn.mnemonic) {
      case SHLD, SHRD ->
          insn.operandSizes[0] == 2
              && ((insn.operandKind[2] == Instruction.IMMEDIATE ? insn.immediate : gprs[Gpr.RCX])
                      & 31)
                  > 16;
      case BSWAP -> insn.operandSizes[0] == 2;
      default -> false;
    };
  }

  /** Flags that the SDM leaves undefined. */
  private int undefinedFlags() {
    final boolean byOne = insn.operandCount > 1 && insn.immediate == 1;
    return switch (insn.mnemonic) {
      case AND, OR, XOR, TEST -> Flags.AF;
      case SHL, SHR, SAR, SHLD, SHRD -> Flags.AF | (byOne ? 0 : Flags.OF) | shiftCarry();
      case ROL, ROR, RCL, RCR -> byOne ? 0 : Flags.OF;
      case MUL, IMUL -> Flags.SF | Flags.ZF | Flags.AF | Flags.PF;
      case DIV, IDIV -> Flags.ARITHMETIC;
      case BT, BTS, BTR, BTC -> Flags.OF | Flags.SF | Flags.AF | Flags.PF;
      case BSF, BSR -> Flags.ARITHMETIC & ~Flags.ZF;
      case LZCNT, TZCNT -> Flags.OF | Flags.SF | Flags.AF | Flags.PF;
      default -> 0;
    };
  }

  /** CF is undefined when SHL or SHR move everything out and more. */
  private int shiftCarry() {
    return insn.operandSizes[0] < 4 && insn.mnemonic != Mnemonic.SAR ? Flags.CF : 0;
  }

  private byte[] encode(final String[] parts) {
    final byte[] code = new byte[24];
    int n = 0;
    int at = 0;
    final boolean string = parts[0].matches("A[4-7A-F]") && parts.length == 1;
    if (string) {
      switch (random.nextInt(4)) {
        case 0 -> code[n++] = (byte) 0xF2;
        case 1, 2 -> code[n++] = (byte) 0xF3;
        default -> {}
      }
      if (random.nextInt(4) == 0) {
        code[n++] = 0x67;
      }
    }
    if (random.nextInt(5) == 0 && !"0F C7".equals(parts[0] + " " + parts[1 % parts.length])) {
      code[n++] = 0x66;
    }
    if (parts[at].equals("F2") || parts[at].equals("F3")) {
      code[n++] = (byte) Integer.parseInt(parts[at++], 16);
    }

    final int base = new int[] {3, 6, 7, 5, 8, 13, 12, 10}[random.nextInt(8)];
    final boolean indexed = random.nextInt(3) == 0;
    boolean wide = random.nextInt(3) == 0;
    int rex = 0;
    if (random.nextInt(2) == 0 || base >= 8 || indexed || wide) {
      rex = 0x40 | (random.nextInt(16) & 5);
    }
    final boolean memory =
        random.nextInt(2) == 0
            || line(parts, "m")
            || (parts[0].equals("0F") && parts[1].equals("C7"));
    if (rex != 0) {
      if (wide) {
        rex |= 8;
      }
      if (memory) {
        rex = (rex & ~3) | base >> 3 | (indexed ? 2 : 0);
      }
      code[n++] = (byte) rex;
    }
    final boolean mod =
        (parts.length > 1 && !parts[parts.length - 1].matches("[bzv]{1}"))
            || Arrays.stream(parts).anyMatch(p -> p.matches("r|m|/\\d"));
    while (at < parts.length && parts[at].matches("[0-9A-F]{2}")) {
      code[n++] = (byte) Integer.parseInt(parts[at++], 16);
    }
    if (mod && at < parts.length) {
      final String kind = parts[at++];
      int reg = kind.startsWith("/") ? kind.charAt(1) - '0' : random.nextInt(8);
      if (!kind.startsWith("/") && reg == 4 && (rex & 4) == 0) {
        reg = 1;
      }
      if (memory) {
        final int scale = random.nextInt(4);
        code[n++] = (byte) (0x80 | reg << 3 | 4);
        code[n++] = (byte) (scale << 6 | (indexed ? 1 : 4) << 3 | (base & 7));
        final int displacement = random.nextInt(-64, 64);
        code[n++] = (byte) displacement;
        code[n++] = (byte) (displacement >> 8);
        code[n++] = (byte) (displacement >> 16);
        code[n++] = (byte) (displacement >> 24);
        gprs[base] = host.memoryAddress() + random.nextInt(0xF00, 0x1100);
        if (parts[0].equals("0F") && parts[1].equals("C7")) {
          gprs[base] = (host.memoryAddress() + 0x1000) - displacement;
        }
        if (indexed) {
          gprs[9] = random.nextInt(16);
          if (parts[0].equals("0F") && parts[1].equals("C7")) {
            gprs[9] = 0;
          }
        }
      } else {
        int rm = random.nextInt(8);
        if (rm == 4 && (rex & 1) == 0) {
          rm = 2;
        }
        code[n++] = (byte) (0xC0 | reg << 3 | rm);
      }
    }
    final boolean short16 = contains(code, n, 0x66) && !((rex & 8) != 0);
    for (; at < parts.length; at++) {
      final int bytes =
          switch (parts[at]) {
            case "b" -> 1;
            case "z" -> short16 ? 2 : 4;
            default -> short16 ? 2 : (rex & 8) != 0 ? 8 : 4;
          };
      final long value = randomValue();
      for (int i = 0; i < bytes; i++) {
        code[n++] = (byte) (value >> (8 * i));
      }
    }
    return Arrays.copyOf(code, n);
  }

  private static boolean line(final String[] parts, final String what) {
    return Arrays.asList(parts).contains(what);
  }

  private static boolean contains(final byte[] code, final int length, final int prefix) {
    for (int i = 0; i < length && i < 4; i++) {
      if ((code[i] & 0xFF) == prefix) {
        return true;
      }
      if ((code[i] & 0xFF) != 0xF2 && (code[i] & 0xFF) != 0xF3 && code[i] != 0x67) {
        return false;
      }
    }
    return false;
  }
}

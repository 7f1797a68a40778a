package dev.vmexit.x86.decode;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Generated instructions, decoded here and by Capstone: validity, length and name must agree. Where
 * they differ objdump is asked; where it too differs, one of the documented {@link Excuse}s must
 * hold, or the test fails. The number of sequences a mode is the system property {@code
 * vmexit.decoder.oracle.count}, one million by default; {@code vmexit.decoder.oracle.seed} chooses
 * others.
 */
final class DecoderOracleTest {
  private static final int COUNT = Integer.getInteger("vmexit.decoder.oracle.count", 1_000_000);
  private static final long SEED = Long.getLong("vmexit.decoder.oracle.seed", 20_061_020L);

  /** Sequences of a mode whose operands are compared with objdump's. */
  private static final int OPERAND_COUNT = 60_000;

  /** Excused sequences must stay below this share. */
  private static final double EXCUSED_LIMIT = 0.03;

  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();

  @TempDir Path folder;

  @ParameterizedTest
  @ValueSource(ints = {2, 4, 8})
  void shouldAgreeWithCapstoneOrObjdumpWhenCodeIsGenerated(final int codeSize)
      throws IOException, InterruptedException {
    final Optional<Capstone> library = Capstone.open(codeSize);
    assumeTrue(library.isPresent(), "SKIPPED: libcapstone.so.4 is absent (Debian: libcapstone4)");
    assumeTrue(Objdump.available(), "SKIPPED: objdump is absent (Debian: binutils)");

    final List<byte[]> disputed = new ArrayList<>();
    final Map<Excuse, Integer> excused = new EnumMap<>(Excuse.class);
    final List<String> failures = new ArrayList<>();
    int valid = 0;
    int arbitrated = 0;
    try (Capstone capstone = library.get()) {
      final CodeGenerator generator = new CodeGenerator(SEED, codeSize);
      final byte[] bytes = new byte[CodeGenerator.LENGTH];
      for (int i = 0; i < COUNT; i++) {
        generator.next(bytes);
        if (!agrees(capstone, bytes, codeSize)) {
          disputed.add(bytes.clone());
        }
        valid += insn.mnemonic == Mnemonic.INVALID ? 0 : 1;
      }
      final Objdump.Answer[] answers = Objdump.disassemble(disputed, codeSize, folder);
      for (int i = 0; i < answers.length; i++) {
        final byte[] sequence = disputed.get(i);
        if (agrees(answers[i], sequence, codeSize)) {
          arbitrated++;
          continue;
        }
        final Excuse excuse = excuse(capstone, answers[i], sequence, codeSize);
        if (excuse != null) {
          excused.merge(excuse, 1, Integer::sum);
        } else {
          failures.add(describe(capstone, answers[i], sequence, codeSize));
        }
      }
    }
    final int excusedTotal = excused.values().stream().mapToInt(Integer::intValue).sum();
    System.out.printf(
        Locale.ROOT,
        "decoder oracle, %d-bit: %d compared (%d valid), %d agree with capstone, %d with objdump,"
            + " %d excused %s%n",
        codeSize * 8,
        COUNT,
        valid,
        COUNT - disputed.size(),
        arbitrated,
        excusedTotal,
        excused);
    assertEquals(
        List.of(), failures.subList(0, Math.min(40, failures.size())), failures.size() + " differ");
    assertTrue(valid > COUNT / 2, "valid=" + valid);
    assertTrue(excusedTotal < COUNT * EXCUSED_LIMIT, "excused=" + excusedTotal);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 4, 8})
  void shouldNameTheSameOperandsAsObjdumpWhenCodeIsGenerated(final int codeSize)
      throws IOException, InterruptedException {
    assumeTrue(Objdump.available(), "SKIPPED: objdump is absent (Debian: binutils)");
    final CodeGenerator generator = new CodeGenerator(SEED + 1, codeSize);
    final List<byte[]> sequences = new ArrayList<>();
    for (int i = 0; i < OPERAND_COUNT; i++) {
      final byte[] bytes = new byte[CodeGenerator.LENGTH];
      generator.next(bytes);
      sequences.add(bytes);
    }
    final Objdump.Answer[] answers = Objdump.disassemble(sequences, codeSize, folder);
    final List<String> failures = new ArrayList<>();
    int compared = 0;
    for (int i = 0; i < answers.length; i++) {
      final byte[] bytes = sequences.get(i);
      if (!agrees(answers[i], bytes, codeSize)
          || insn.mnemonic == Mnemonic.INVALID
          || writesOperandsOtherwise()) {
        continue;
      }
      final StringBuilder text = new StringBuilder();
      Disassembler.format(insn, (long) i * Objdump.STRIDE, text);
      final String ours = operands(text.toString());
      final String theirs = operands(answers[i].text());
      compared++;
      if (!ours.equals(theirs)) {
        failures.add(HexFormat.of().formatHex(bytes) + " | " + text + " | " + answers[i].text());
      }
    }
    System.out.printf(
        Locale.ROOT, "decoder oracle, %d-bit: operands of %d compared%n", codeSize * 8, compared);
    assertEquals(
        List.of(), failures.subList(0, Math.min(40, failures.size())), failures.size() + " differ");
    assertTrue(compared > OPERAND_COUNT / 2, "compared=" + compared);
  }

  /** Where objdump shows another size than the access has, or a target in another way. */
  private boolean writesOperandsOtherwise() {
    if (insn.operandKind[0] == Instruction.RELATIVE) {
      return true;
    }
    if (insn.addressSize != 2
        && insn.hasMemory
        && insn.base < 0
        && insn.index < 0
        && (insn.modrm & 7) == 4) {
      return true; // an absolute address by SIB: objdump writes [riz*1+disp]
    }
    if (insn.opcode == 0x10F && insn.hasPrefix(Instruction.PREFIX_OPERAND_SIZE)) {
      return true; // 3DNow!: binutils takes 66 for a mandatory prefix
    }
    return switch (insn.mnemonic) {
      case MOV ->
          insn.operandKind[0] == Instruction.SEGMENT
              || insn.operandKind[1] == Instruction.SEGMENT
              || insn.opcode >= 0xA0 && insn.opcode <= 0xA3;
      case LAR, LSL, MOVSXD, LFS, LGS, LSS, LGDT, LIDT, SGDT, SIDT, INVLPG, LDDQU, PEXTRW -> true;
      // The comparison's predicate is in objdump's name of it.
      case CMPPS, CMPPD, CMPSS, CMPSD, VCMPPS, VCMPPD, VCMPSS, VCMPSD, PCLMULQDQ, VPCLMULQDQ ->
          true;
      // 66 (see NEAR_BRANCH), and 3E, which is "notrack" there.
      case JMP, CALL ->
          insn.hasPrefix(Instruction.PREFIX_OPERAND_SIZE | Instruction.PREFIX_SEGMENT);
      case JMPF, CALLF -> insn.hasPrefix(Instruction.PREFIX_REX_W);
      case INVPCID, INVEPT, INVVPID, VLDDQU, CMPXCHG16B -> true;
      // Sizes left off, "(8087 only)", xmm for a register that is mm, ymm for xmm (binutils 2.40).
      case VMOVSS, VMOVSD, WRSS, WRUSS, FNENI, FNDISI, FNSETPM, MOVQ2DQ, MOVDQ2Q, EVEX -> true;
      default -> false;
    };
  }

  /** Operands alone, without what shows an index register that is not there. */
  private static String operands(final String text) {
    final String stripped = Objdump.stripPrefixes(text).replaceAll(" +# .*", "");
    final int space = stripped.indexOf(' ');
    return space < 0
        ? ""
        : stripped
            .substring(space + 1)
            .replaceAll("\\+[er]iz\\*[1248]", "")
            .replaceAll("[er]iz\\*[1248][+]?", "")
            .replaceAll("[-+]0x0\\]", "]")
            // Negative displacements from rip are written as the offset's 64 bits.
            .replaceAll("\\[([er]ip)[-+]0x[0-9a-f]+\\]", "[$1]");
  }

  private boolean agrees(final Capstone capstone, final byte[] bytes, final int codeSize) {
    final int status = decoder.decode(bytes, 0, bytes.length, codeSize, insn);
    final int length = capstone.disassemble(bytes, bytes.length);
    if (status != Decoder.STATUS_OK) {
      return length == 0;
    }
    return length == insn.length
        && CapstoneNames.stripPrefixes(capstone.mnemonic()).equals(CapstoneNames.expected(insn));
  }

  private boolean agrees(final Objdump.Answer answer, final byte[] bytes, final int codeSize) {
    final int status = decoder.decode(bytes, 0, bytes.length, codeSize, insn);
    if (status != Decoder.STATUS_OK) {
      return answer.bad();
    }
    if (answer.bad() || answer.length() != insn.length) {
      return false;
    }
    final StringBuilder text = new StringBuilder();
    Disassembler.format(insn, 0, text);
    final String ours = Objdump.mnemonic(text.toString());
    final String theirs = Objdump.mnemonic(answer.text());
    // objdump marks an unusual operand size by a letter: pushw, callw, wrssd.
    return theirs.equals(ours)
        || theirs.equals("movabs") && ours.equals("mov")
        || theirs.equals("jecxz") && ours.equals("jrcxz")
        || theirs.equals("jcxz") && ours.equals("jrcxz")
        || theirs.length() == ours.length() + 1
            && theirs.startsWith(ours)
            && "wdql".indexOf(theirs.charAt(ours.length())) >= 0;
  }

  /**
   * Why both disassemblers may be contradicted. Each is a class of the manuals, checked on the
   * sequence itself.
   */
  private enum Excuse {
    /** LOCK on what cannot be locked is #UD (SDM Vol. 2A, LOCK); disassemblers do not look. */
    LOCK,

    /** 66 does not shorten near branches in 64-bit mode on Intel (SDM Vol. 1, 6.3.7). */
    NEAR_BRANCH,

    /** 66, F2, F3 where the manual says NP, or before VEX (2.3.2): #UD; disassemblers pass it. */
    PREFIX,

    /** MOV to CS is #UD (SDM Vol. 2B, MOV). */
    MOV_CS,

    /** CR1, CR5 to CR7, CR9 and up, DR8 and up do not exist: #UD (SDM Vol. 2B, MOV). */
    NO_SUCH_REGISTER,

    /** LFENCE, MFENCE, SFENCE ignore ModRM.rm (SDM Vol. 2A, LFENCE). */
    FENCE,

    /** 0F 0D with a register is a NOP on Intel, as 0F 18 to 0F 1F are without MPX and CET. */
    HINT,

    /** Aliases that processors execute and the manual leaves out: D9 D8+i FSTP and so on. */
    X87_ALIAS,

    /** A REX prefix counts only right before the opcode (2.2.1); objdump takes it for a line. */
    DEAD_REX,

    /** AMD's FMA4 and XOP, VIA's PadLock, Key Locker: not decoded. */
    FOREIGN,

    /** F3 with REX.B and 90 is XCHG with R8, as processors do it; disassemblers see PAUSE. */
    XCHG_R8,

    /** EXTRQ's two-immediate form is /0 alone (AMD manual Vol. 4); disassemblers do not look. */
    EXTRQ,

    /** VEX.W is ignored outside 64-bit mode (SDM Vol. 2B, MOVD; PINSRD): no MOVQ there. */
    VEX_W,

    /** VEX.B is ignored with a mask register, as processors do it; disassemblers reject it. */
    MASK_REGISTER,

    /** EVEX is decoded for its length; which opcodes exist is not looked at. */
    EVEX,

    /** SWAPGS outside 64-bit mode is #UD (SDM Vol. 2B, SWAPGS); disassemblers do not look. */
    SWAPGS,
  }

  private Excuse excuse(
      final Capstone capstone,
      final Objdump.Answer answer,
      final byte[] bytes,
      final int codeSize) {
    final int opcode = opcodeOffset(bytes, codeSize);
    final int first = bytes[opcode] & 0xFF;
    final int second = bytes[opcode + 1] & 0xFF;
    final int third = bytes[opcode + 2] & 0xFF;
    final int status = decoder.decode(bytes, 0, bytes.length, codeSize, insn);
    if (status == Decoder.STATUS_OK) {
      switch (insn.mnemonic) {
        case EVEX:
          return Excuse.EVEX;
        case NOP:
          if (first == 0x0F && (second == 0x0D || second >= 0x18 && second <= 0x1F)) {
            return Excuse.HINT;
          }
          break;
        case LFENCE, MFENCE, SFENCE:
          if ((third & 7) != 0) {
            return Excuse.FENCE;
          }
          break;
        case FSTP, FXCH, FCOM, FCOMP:
          if (second >= 0xC0) {
            return Excuse.X87_ALIAS;
          }
          break;
        case XCHG:
          if (codeSize == 8 && first == 0x90 && insn.hasPrefix(Instruction.PREFIX_REP)) {
            return Excuse.XCHG_R8;
          }
          break;
        case VMOVD, VPINSRD, VPEXTRD:
          if (codeSize != 8 && insn.hasPrefix(Instruction.PREFIX_REX_W)) {
            return Excuse.VEX_W;
          }
          break;
        default:
          break;
      }
      for (int i = 0; i < insn.operandCount; i++) {
        if (insn.operandKind[i] == Instruction.MASK && first == 0xC4 && (second & 0x20) == 0) {
          return Excuse.MASK_REGISTER;
        }
      }
      if (insn.operandCount == 1
          && codeSize == 8
          && insn.operandSize == 8
          && insn.hasPrefix(Instruction.PREFIX_OPERAND_SIZE)
          && insn.operandKind[0] == Instruction.RELATIVE
          && agrees(capstone, replace(bytes, opcode, 0x66), codeSize)) {
        return Excuse.NEAR_BRANCH;
      }
      if (codeSize == 8 && hasDeadRex(bytes, opcode)) {
        return Excuse.DEAD_REX;
      }
      return null;
    }
    if (first == 0x8E && (second >> 3 & 7) == 1) {
      return Excuse.MOV_CS;
    }
    if (first == 0x0F && second == 0x78 && (third & 0x38) != 0 && third >= 0xC0) {
      return Excuse.EXTRQ;
    }
    if (first == 0x0F && second >= 0x20 && second <= 0x23) {
      return Excuse.NO_SUCH_REGISTER;
    }
    if (codeSize != 8 && first == 0x0F && second == 0x01 && third == 0xF8) {
      return Excuse.SWAPGS;
    }
    if (first == 0x8F || first == 0x0F && (second == 0xA6 || second == 0xA7)) {
      return Excuse.FOREIGN;
    }
    if (first == 0x0F && second == 0x38 && third >= 0xD8 && third <= 0xDF) {
      return Excuse.FOREIGN;
    }
    if (first == 0xC4 && (second & 0x1F) == 3 && isFma4(bytes[opcode + 3] & 0xFF)) {
      return Excuse.FOREIGN;
    }
    byte[] plain = replace(bytes, opcode, 0xF0);
    if (plain != null
        && (agrees(capstone, plain, codeSize)
            || excuse(capstone, answer, plain, codeSize) != null)) {
      return Excuse.LOCK;
    }
    plain = bytes;
    for (final int prefix : new int[] {0x66, 0xF2, 0xF3}) {
      final byte[] without = replace(plain, opcode, prefix);
      plain = without == null ? plain : without;
    }
    if (!Arrays.equals(plain, bytes)
        && (agrees(capstone, plain, codeSize)
            || excuse(capstone, answer, plain, codeSize) != null)) {
      return Excuse.PREFIX;
    }
    return null;
  }

  private static boolean isFma4(final int opcode) {
    return switch (opcode >> 2) {
      case 0x48 >> 2, 0x5C >> 2, 0x68 >> 2, 0x6C >> 2, 0x78 >> 2, 0x7C >> 2 -> true;
      default -> false;
    };
  }

  /** Offset of the first byte that is neither a legacy prefix nor REX. */
  private static int opcodeOffset(final byte[] bytes, final int codeSize) {
    int i = 0;
    while (i < bytes.length - 4) {
      switch (bytes[i] & 0xFF) {
        case 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3:
          break;
        default:
          if (codeSize != 8 || (bytes[i] & 0xF0) != 0x40) {
            return i;
          }
          break;
      }
      i++;
    }
    return i;
  }

  private static boolean hasDeadRex(final byte[] bytes, final int opcode) {
    for (int i = 0; i < opcode - 1; i++) {
      if ((bytes[i] & 0xF0) == 0x40) {
        return true;
      }
    }
    return false;
  }

  /** The sequence with one prefix made a DS override, which changes no validity; null if absent. */
  private static byte[] replace(final byte[] bytes, final int opcode, final int prefix) {
    byte[] result = null;
    for (int i = 0; i < opcode; i++) {
      if ((bytes[i] & 0xFF) == prefix) {
        result = result == null ? bytes.clone() : result;
        result[i] = 0x3E;
      }
    }
    return result;
  }

  private String describe(
      final Capstone capstone,
      final Objdump.Answer answer,
      final byte[] bytes,
      final int codeSize) {
    final StringBuilder text =
        new StringBuilder(HexFormat.of().withDelimiter(" ").formatHex(bytes));
    final int length = capstone.disassemble(bytes, bytes.length);
    final int status = decoder.decode(bytes, 0, bytes.length, codeSize, insn);
    text.append(" | status=").append(status).append(' ').append(insn.length).append(' ');
    Disassembler.format(insn, 0, text);
    text.append(" | capstone ").append(length).append(' ');
    if (length != 0) {
      text.append(capstone.mnemonic()).append(' ').append(capstone.operands());
    }
    text.append(" | objdump ").append(answer.length()).append(' ').append(answer.text());
    return text.append('\n').toString();
  }
}

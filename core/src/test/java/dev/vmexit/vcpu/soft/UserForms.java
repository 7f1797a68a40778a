package dev.vmexit.vcpu.soft;

import dev.vmexit.vcpu.soft.integer.IntegerOps;
import dev.vmexit.vcpu.soft.sse.SseOps;
import dev.vmexit.vcpu.soft.x87.X87Ops;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Every instruction form that the decoder knows and a processor model offers, found by decoding all
 * opcodes with all mandatory prefixes, operand sizes and ModRM bytes.
 */
final class UserForms {
  private static final int MEMORY_MODRM = 1;
  private static final int SIB_MODRM = 4;
  private static final int REGISTERS = 0xC0;
  private static final int PADDING = 12;

  private final CpuModel model;
  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();
  private final Map<String, UserForm> forms = new LinkedHashMap<>();

  private UserForms(final CpuModel model) {
    this.model = model;
  }

  static List<UserForm> of(final CpuModel model, final int codeSize) {
    final UserForms table = new UserForms(model);
    table.legacy(codeSize);
    table.vex(codeSize);
    return new ArrayList<>(table.forms.values());
  }

  private void legacy(final int codeSize) {
    final int[][] prefixes = {
      {},
      {0x66},
      {0xF3},
      {0xF2},
      {0x66, 0xF2},
      {0x66, 0xF3},
      {0x48},
      {0xF3, 0x48},
      {0xF2, 0x48},
      {0x66, 0x48}
    };
    final int[][] escapes = {{}, {0x0F}, {0x0F, 0x38}, {0x0F, 0x3A}};
    for (final int[] escape : escapes) {
      for (final int[] prefix : prefixes) {
        if (codeSize != 8 && prefix.length > 0 && prefix[prefix.length - 1] == 0x48) {
          continue;
        }
        for (int opcode = 0; opcode < 256; opcode++) {
          final byte[] head = new byte[prefix.length + escape.length + 1];
          int at = 0;
          for (final int value : prefix) {
            head[at++] = (byte) value;
          }
          for (final int value : escape) {
            head[at++] = (byte) value;
          }
          head[at] = (byte) opcode;
          all(codeSize, head, false);
        }
      }
    }
  }

  private void vex(final int codeSize) {
    for (int map = 1; map < 4; map++) {
      for (int selector = 0; selector < 16; selector++) {
        for (int opcode = 0; opcode < 256; opcode++) {
          final int payload = (selector & 8) << 4 | 0xF << 3 | selector & 7;
          final byte[] head = {(byte) 0xC4, (byte) (0xE0 | map), (byte) payload, (byte) opcode};
          all(codeSize, head, true);
        }
      }
    }
  }

  private void all(final int codeSize, final byte[] head, final boolean vex) {
    final byte[] bytes = Arrays.copyOf(head, head.length + PADDING);
    for (int reg = 0; reg < 8; reg++) {
      one(codeSize, head, bytes, reg << 3 | MEMORY_MODRM, vex);
    }
    if (vex && codeSize != 2) {
      // Gathers must have a SIB byte, and registers that differ: index 4, mask 1.
      bytes[2] = (byte) (bytes[2] & 0x87 | 0xE << 3);
      bytes[head.length + 1] = 0x20;
      one(codeSize, head, bytes, 2 << 3 | SIB_MODRM, true);
      bytes[head.length + 1] = 0;
      bytes[2] = head[2];
    }
    for (int modrm = REGISTERS; modrm < 256; modrm++) {
      one(codeSize, head, bytes, modrm, vex);
    }
  }

  private void one(
      final int codeSize,
      final byte[] head,
      final byte[] bytes,
      final int modrm,
      final boolean vex) {
    bytes[head.length] = (byte) modrm;
    if (!decodes(bytes, codeSize)) {
      // VEX.vvvv that names nothing must be all ones, one that names an operand may be; a gather
      // wants its three registers to be different.
      return;
    }
    final int opcodeAt = head.length - 1;
    if (insn.length <= opcodeAt || !sameOpcode(head, opcodeAt)) {
      return;
    }
    final boolean hasModrm = insn.modrm >= 0;
    final boolean memory = hasModrm && modrm < REGISTERS && insn.hasMemory;
    final boolean vectorIndex = modrm == (2 << 3 | SIB_MODRM) && memory;
    if (vectorIndex && !insn.mnemonic.name().contains("GATHER")) {
      return;
    }
    final int immediates = insn.length - head.length - (hasModrm ? 1 : 0) - (vectorIndex ? 1 : 0);
    final Mnemonic mnemonic = insn.mnemonic;
    final StringBuilder key = new StringBuilder(mnemonic.name());
    key.append(String.format(Locale.ROOT, " %s%x", vex ? "v" : "", insn.opcode));
    for (int i = 0; i < insn.operandCount; i++) {
      key.append(i == 0 ? ' ' : ',').append(operand(i));
    }
    if (insn.operandCount == 0 && !vex) {
      key.append(" o").append(insn.operandSize);
    }
    if (insn.hasPrefix(Instruction.PREFIX_REP) && repeats(mnemonic)) {
      key.append(" rep");
    } else if (insn.hasPrefix(Instruction.PREFIX_REPNE) && repeats(mnemonic)) {
      key.append(" repne");
    }
    final String name = key.toString();
    if (!isBound()) {
      return;
    }
    final UserForm form =
        forms.computeIfAbsent(
            name,
            k ->
                new UserForm(
                    name,
                    mnemonic,
                    codeSize,
                    group(head, vex),
                    head,
                    vex,
                    hasModrm,
                    memory,
                    immediates));
    if (Arrays.equals(form.head, head)) {
      form.modrms.set(modrm);
      if (vectorIndex) {
        form.modrms.set(SIB_MODRM, 0x40);
      }
    }
  }

  private boolean decodes(final byte[] bytes, final int codeSize) {
    return decoder.decode(bytes, 0, bytes.length, codeSize, insn) == Decoder.STATUS_OK
        && insn.mnemonic != Mnemonic.EVEX;
  }

  /** A head whose last byte is not the opcode is a prefix, or another map's escape. */
  private boolean sameOpcode(final byte[] head, final int at) {
    return (insn.opcode & 0xFF) == (head[at] & 0xFF);
  }

  private String operand(final int i) {
    final String kind =
        switch (insn.operandKind[i]) {
          case Instruction.GPR -> "r";
          case Instruction.MEMORY -> "m";
          case Instruction.IMMEDIATE -> "i";
          case Instruction.RELATIVE -> "rel";
          case Instruction.SEGMENT -> "sreg";
          case Instruction.CONTROL -> "cr";
          case Instruction.DEBUG -> "dr";
          case Instruction.ST -> "st";
          case Instruction.MMX -> "mm";
          case Instruction.XMM -> "xmm";
          case Instruction.YMM -> "ymm";
          case Instruction.FAR_POINTER -> "far";
          case Instruction.STRING_SOURCE -> "src";
          case Instruction.STRING_DESTINATION -> "dst";
          default -> "k";
        };
    return kind + insn.operandSizes[i] * 8;
  }

  private static boolean repeats(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS -> true;
      default -> false;
    };
  }

  /**
   * Whether the model has it: what it does not know is #UD. Decodes anew, as binding may rename.
   */
  private boolean isBound() {
    return model.knows(insn)
        && (IntegerOps.bind(insn) != null
            || SystemOps.bind(insn) != null
            || SseOps.bind(insn) != null
            || X87Ops.bind(insn) != null);
  }

  private String group(final byte[] head, final boolean vex) {
    final int map = insn.opcode >> 8;
    final int opcode = insn.opcode & 0xFF;
    if (vex) {
      final boolean general = insn.operandKind[0] == Instruction.GPR && map >= 2;
      return general && insn.mnemonic.name().charAt(0) != 'V' ? "bmi" : "avx";
    }
    if (map == 0 && (opcode >= 0xD8 && opcode <= 0xDF || opcode == 0x9B)) {
      return "x87";
    }
    for (int i = 0; i < insn.operandCount; i++) {
      if (insn.operandKind[i] == Instruction.MMX) {
        return "mmx";
      }
      if (insn.operandKind[i] == Instruction.XMM) {
        return "sse";
      }
    }
    if (head.length > 0 && IntegerOps.bind(insn) != null) {
      return repeats(insn.mnemonic) ? "string" : "integer";
    }
    return SystemOps.bind(insn) != null ? "system" : "state";
  }
}

package dev.vmexit.vcpu.soft;

import dev.vmexit.vcpu.soft.integer.IntegerOps;
import dev.vmexit.vcpu.soft.sse.SseOps;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * VEX instructions with an operand in memory, wherever it lies: those with registers alone are
 * {@link VexHostTest}'s. Left out are the gathers, which it has too, and what {@link SseForms}
 * leaves out.
 */
final class VexForms {
  private static final int LOWEST_OFFSET = 32;
  private static final int OFFSETS = 128;

  private final Decoder decoder = new Decoder();
  private final Instruction insn = new Instruction();

  private VexForms() {}

  static List<OracleForm> all() {
    final VexForms table = new VexForms();
    final List<OracleForm> forms = new ArrayList<>();
    for (int map = 1; map < 4; map++) {
      for (int opcode = 0; opcode < 256; opcode++) {
        for (int selector = 0; selector < 16; selector++) {
          for (int extension = 0; extension < 8; extension++) {
            table.add(forms, map, opcode, selector, extension);
          }
        }
      }
    }
    return List.copyOf(forms);
  }

  /** Adds the form if it is bound; one of all eight where ModRM.reg is a register. */
  private void add(
      final List<OracleForm> forms,
      final int map,
      final int opcode,
      final int selector,
      final int extension) {
    final byte[] code = code(map, opcode, selector, extension << 3 | 7, 0xF, 0xE0);
    final int length = bound(code);
    if (length == 0) {
      return;
    }
    final boolean group = map == 2 && opcode == 0xF3;
    if (!group && extension != 0) {
      return;
    }
    final Mnemonic mnemonic = insn.mnemonic;
    final boolean immediate = length > 5;
    forms.add(
        new OracleForm(
            String.format(Locale.ROOT, "%s %d.%02x.%x", mnemonic, map, opcode, selector),
            c -> generate(c, map, opcode, selector, group ? extension : -1, immediate)));
  }

  /** With a memory operand at a register and room for an immediate. */
  private static byte[] code(
      final int map,
      final int opcode,
      final int selector,
      final int modrm,
      final int vvvv,
      final int inverted) {
    return new byte[] {
      (byte) 0xC4,
      (byte) (inverted | map),
      (byte) ((selector & 8) << 4 | vvvv << 3 | selector & 7),
      (byte) opcode,
      (byte) modrm,
      0
    };
  }

  /** Bytes of the instruction, or 0 where it is not one of these. */
  private int bound(final byte[] code) {
    if (decoder.decode(code, 0, code.length, 8, insn) != Decoder.STATUS_OK
        || !insn.hasMemory
        || insn.base != Gpr.RDI && insn.index < 0) {
      return 0;
    }
    final int length = insn.length;
    final boolean left =
        switch (insn.mnemonic) {
          case VRCPSS, VRCPPS, VRSQRTSS, VRSQRTPS, VLDMXCSR -> true;
          default -> insn.index >= 0;
        };
    return left || SseOps.bind(insn) == null && IntegerOps.bind(insn) == null ? 0 : length;
  }

  private boolean generate(
      final OracleCase c,
      final int map,
      final int opcode,
      final int selector,
      final int extension,
      final boolean immediate) {
    SseForms.state(c);
    c.high = new byte[HostProcessor.HIGH_SIZE];
    c.random.nextBytes(c.high);
    final int register = extension >= 0 ? extension << 3 : c.below(8) << 3;
    // A register other than rSP for the base: the eighth, by B clear or set, is rDI or r15.
    final int inverted = c.below(8) << 5;
    final boolean aligned = c.chance(2);
    final byte[] code = code(map, opcode, selector, register | 7, 0xF, inverted);
    code[2] = (byte) (code[2] & 0x87 | (c.chance(3) ? 0xF : c.below(16)) << 3);
    if (decoder.decode(code, 0, code.length, 8, insn) != Decoder.STATUS_OK) {
      // VEX.vvvv names nothing here: it must be all ones.
      code[2] |= 0x78;
      if (decoder.decode(code, 0, code.length, 8, insn) != Decoder.STATUS_OK) {
        return false;
      }
    }
    for (int i = 0; i < insn.operandCount; i++) {
      if (insn.operandKind[i] == Instruction.GPR && insn.operandRegister[i] == Gpr.RSP) {
        return false;
      }
    }
    c.undefinedFlags = VexHostTest.undefined(insn.mnemonic);
    final int offset = LOWEST_OFFSET + c.below(OFFSETS);
    c.gprs[insn.base] =
        c.memoryAddress + (aligned || needsAlignment(insn.mnemonic) ? offset & -32 : offset);
    code[5] = (byte) c.below(c.chance(2) ? 32 : 256);
    for (final byte b : Arrays.copyOf(code, immediate ? 6 : 5)) {
      c.a.db(b);
    }
    return true;
  }

  private static boolean needsAlignment(final Mnemonic mnemonic) {
    return switch (mnemonic) {
      case VMOVAPS, VMOVAPD, VMOVDQA, VMOVNTPS, VMOVNTPD, VMOVNTDQ, VMOVNTDQA -> true;
      default -> false;
    };
  }
}

package dev.vmexit.x86.decode;

import dev.vmexit.x86.Gpr;
import java.util.Locale;

/**
 * Writes instructions as text in Intel syntax, in the manner of {@code objdump -M intel}: {@code
 * mov eax,DWORD PTR [rbx+rcx*4-0x10]}. Meant for people; what an instruction does is in its {@link
 * Instruction}, not here.
 */
public final class Disassembler {
  private static final String[] NAMES = names();
  private static final String[] GPR_64 = {
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15"
  };
  private static final String[] GPR_32 = {
    "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "r8d", "r9d", "r10d", "r11d", "r12d",
    "r13d", "r14d", "r15d"
  };
  private static final String[] GPR_16 = {
    "ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "r8w", "r9w", "r10w", "r11w", "r12w", "r13w",
    "r14w", "r15w"
  };
  private static final String[] GPR_8 = {
    "al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", "r8b", "r9b", "r10b", "r11b", "r12b",
    "r13b", "r14b", "r15b"
  };
  private static final String[] HIGH_8 = {"ah", "ch", "dh", "bh"};
  private static final String[] SEGMENTS = {"es", "cs", "ss", "ds", "fs", "gs"};

  private Disassembler() {}

  private static String[] names() {
    final Mnemonic[] values = Mnemonic.values();
    final String[] names = new String[values.length];
    for (int i = 0; i < names.length; i++) {
      names[i] = values[i].name().toLowerCase(Locale.ROOT);
    }
    names[Mnemonic.INVALID.ordinal()] = "(bad)";
    names[Mnemonic.JMPF.ordinal()] = "jmp";
    names[Mnemonic.CALLF.ordinal()] = "call";
    names[Mnemonic.EVEX.ordinal()] = "{evex}";
    return names;
  }

  /**
   * Appends one decoded instruction.
   *
   * @param address of its first byte, for the targets of branches and of RIP-relative operands
   */
  public static void format(final Instruction insn, final long address, final StringBuilder out) {
    appendPrefixes(insn, out);
    out.append(NAMES[insn.mnemonic.ordinal()]);
    appendSuffix(insn, out);
    if (insn.mnemonic == Mnemonic.INVALID) {
      return;
    }
    if (insn.mnemonic == Mnemonic.OUTS) {
      out.append(" dx,");
      appendOperand(insn, 0, address, out);
      return;
    }
    if (insn.mnemonic == Mnemonic.LODS || insn.mnemonic == Mnemonic.SCAS) {
      out.append(' ');
      appendGpr(Gpr.RAX, insn.operandSize, out);
      out.append(',');
      appendOperand(insn, 0, address, out);
      return;
    }
    for (int i = 0; i < insn.operandCount; i++) {
      out.append(i == 0 ? ' ' : ',');
      appendOperand(insn, i, address, out);
    }
    switch (insn.mnemonic) {
      case INS -> out.append(",dx");
      case STOS -> {
        out.append(',');
        appendGpr(Gpr.RAX, insn.operandSize, out);
      }
      case XLAT -> {
        out.append(" BYTE PTR ").append(SEGMENTS[insn.segment]).append(":[");
        appendGpr(Gpr.RBX, insn.addressSize, out);
        out.append(']');
      }
      case SHA256RNDS2, PBLENDVB, BLENDVPS, BLENDVPD -> out.append(",xmm0");
      default -> {}
    }
    if (insn.mnemonic == Mnemonic.EVEX && insn.hasMemory) {
      out.append(insn.operandCount == 0 ? ' ' : ',');
      appendMemory(insn, out);
    }
    if (insn.hasMemory && insn.base == Gpr.RIP) {
      out.append("        # ");
      appendHex(truncate(address + insn.length + insn.displacement, insn.addressSize), out);
    }
  }

  private static void appendPrefixes(final Instruction insn, final StringBuilder out) {
    if (insn.hasPrefix(Instruction.PREFIX_LOCK)) {
      out.append("lock ");
    }
    switch (insn.mnemonic) {
      case CMPS, SCAS -> {
        if (insn.hasPrefix(Instruction.PREFIX_REP)) {
          out.append("repz ");
        } else if (insn.hasPrefix(Instruction.PREFIX_REPNE)) {
          out.append("repnz ");
        }
      }
      case MOVS, STOS, LODS, INS, OUTS -> {
        if (insn.hasPrefix(Instruction.PREFIX_REP)) {
          out.append("rep ");
        } else if (insn.hasPrefix(Instruction.PREFIX_REPNE)) {
          out.append("repnz ");
        }
      }
      default -> {}
    }
  }

  /** Size letters of what has no operand to show its size by. */
  private static void appendSuffix(final Instruction insn, final StringBuilder out) {
    final int normal = insn.codeSize;
    switch (insn.mnemonic) {
      case PUSHF, POPF, PUSHA, POPA, LEAVE, ENTER, RET -> {
        if (insn.operandSize != normal) {
          out.append(insn.operandSize == 2 ? "w" : "d");
        }
      }
      case IRET, RETF, SYSRET, SYSEXIT -> {
        final int plain = normal == 2 ? 2 : 4;
        if (insn.operandSize != plain) {
          out.append(insn.operandSize == 2 ? "w" : insn.operandSize == 4 ? "d" : "q");
        }
      }
      case FXSAVE, FXRSTOR, XSAVE, XSAVEC, XSAVEOPT, XSAVES, XRSTOR, XRSTORS -> {
        if (insn.operandSize == 8) {
          out.append("64");
        }
      }
      default -> {}
    }
  }

  private static void appendOperand(
      final Instruction insn, final int i, final long address, final StringBuilder out) {
    final int register = insn.operandRegister[i];
    final int size = insn.operandSizes[i];
    switch (insn.operandKind[i]) {
      case Instruction.GPR -> appendGpr(register, size, out);
      case Instruction.MEMORY -> {
        appendSize(size, out);
        appendMemory(insn, out);
      }
      case Instruction.IMMEDIATE -> appendImmediate(insn, i, out);
      case Instruction.RELATIVE ->
          appendHex(truncate(address + insn.length + insn.immediate, insn.operandSize), out);
      case Instruction.SEGMENT -> out.append(SEGMENTS[register]);
      case Instruction.CONTROL -> out.append("cr").append(register);
      case Instruction.DEBUG -> out.append("dr").append(register);
      case Instruction.ST -> {
        // ST(0), where the form names it and does not encode it, is plain "st".
        final boolean second = insn.opcode == 0xDC || insn.opcode == 0xDE;
        if (insn.operandCount == 2 && second == (i == 1)) {
          out.append("st");
        } else {
          out.append("st(").append(register).append(')');
        }
      }
      case Instruction.MMX -> out.append("mm").append(register);
      case Instruction.XMM -> out.append("xmm").append(register);
      case Instruction.YMM -> out.append("ymm").append(register);
      case Instruction.MASK -> out.append('k').append(register);
      case Instruction.FAR_POINTER -> {
        appendHex(insn.immediate2, out);
        out.append(':');
        appendHex(insn.immediate, out);
      }
      case Instruction.STRING_SOURCE -> {
        appendSize(size, out);
        out.append(SEGMENTS[insn.segment]).append(":[");
        appendGpr(Gpr.RSI, insn.addressSize, out);
        out.append(']');
      }
      case Instruction.STRING_DESTINATION -> {
        appendSize(size, out);
        out.append("es:[");
        appendGpr(Gpr.RDI, insn.addressSize, out);
        out.append(']');
      }
      default -> out.append('?');
    }
  }

  private static void appendImmediate(
      final Instruction insn, final int i, final StringBuilder out) {
    // ENTER, EXTRQ, INSERTQ have two; the second one follows the first.
    final boolean second = i > 0 && insn.operandKind[i - 1] == Instruction.IMMEDIATE;
    final long value = second ? insn.immediate2 : insn.immediate;
    if (insn.opcode >= 0xD0 && insn.opcode <= 0xD3) {
      out.append('1');
      return;
    }
    appendHex(truncate(value, insn.operandSizes[i]), out);
  }

  private static void appendGpr(final int register, final int size, final StringBuilder out) {
    if ((register & Gpr.HIGH_BYTE) != 0) {
      out.append(HIGH_8[register & 3]);
      return;
    }
    out.append(
        switch (size) {
          case 1 -> GPR_8[register];
          case 2 -> GPR_16[register];
          case 4 -> GPR_32[register];
          default -> GPR_64[register];
        });
  }

  private static void appendSize(final int size, final StringBuilder out) {
    out.append(
        switch (size) {
          case 1 -> "BYTE PTR ";
          case 2 -> "WORD PTR ";
          case 4 -> "DWORD PTR ";
          case 6 -> "FWORD PTR ";
          case 8 -> "QWORD PTR ";
          case 10 -> "TBYTE PTR ";
          case 16 -> "XMMWORD PTR ";
          case 32 -> "YMMWORD PTR ";
          default -> "";
        });
  }

  private static void appendMemory(final Instruction insn, final StringBuilder out) {
    final boolean absolute = insn.base < 0 && insn.index < 0;
    if (insn.hasPrefix(Instruction.PREFIX_SEGMENT) || absolute) {
      out.append(SEGMENTS[insn.segment]).append(':');
    }
    if (absolute) {
      appendHex(truncate(insn.displacement, insn.addressSize), out);
      return;
    }
    out.append('[');
    if (insn.base == Gpr.RIP) {
      out.append(insn.addressSize == 8 ? "rip" : "eip");
    } else if (insn.base >= 0) {
      appendGpr(insn.base, insn.addressSize, out);
    }
    if (insn.index >= 0) {
      if (insn.base >= 0) {
        out.append('+');
      }
      if (insn.mnemonic.name().contains("GATHER")) {
        appendVectorIndex(insn, out);
      } else {
        appendGpr(insn.index, insn.addressSize, out);
      }
      if (insn.addressSize != 2) {
        out.append('*').append(1 << insn.scaleShift);
      }
    }
    final long displacement = insn.displacement;
    if (displacement != 0) {
      out.append(displacement < 0 ? '-' : '+');
      appendHex(Math.abs(displacement), out);
    }
    out.append(']');
  }

  /** As many indexes as there are elements: of half a vector where elements are the longer. */
  private static void appendVectorIndex(final Instruction insn, final StringBuilder out) {
    final String name = insn.mnemonic.name();
    final char indexSize = name.charAt(name.indexOf("GATHER") + 6);
    final boolean half = indexSize == 'D' && insn.memorySize == 8;
    final boolean wide = insn.hasPrefix(Instruction.PREFIX_VEX_L) && !half;
    out.append(wide ? "ymm" : "xmm").append(insn.index);
  }

  private static long truncate(final long value, final int size) {
    return size >= 8 || size == 0 ? value : value & (1L << size * 8) - 1;
  }

  private static void appendHex(final long value, final StringBuilder out) {
    out.append("0x");
    int shift = (63 - Long.numberOfLeadingZeros(value | 1)) & ~3;
    for (; shift >= 0; shift -= 4) {
      out.append(Character.forDigit((int) (value >>> shift) & 0xF, 16));
    }
  }
}

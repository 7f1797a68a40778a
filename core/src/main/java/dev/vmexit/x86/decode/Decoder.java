package dev.vmexit.x86.decode;

import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * Turns bytes into an {@link Instruction} in 16-, 32- and 64-bit code (SDM Vol. 2A, chapter 2).
 *
 * <p>It says what the bytes are, whatever the processor model: whether an instruction exists on a
 * model, or in real mode, or at a privilege level, is the executor's business. Where Intel and AMD
 * differ it follows Intel: 66 does not shorten near branches in 64-bit mode. What raises #UD by its
 * form alone (LOCK on what cannot be locked, a register where only memory will do, CR5) is {@link
 * #STATUS_INVALID}. EVEX instructions get their length and memory operand, the displacement not
 * scaled.
 *
 * <p>Allocates nothing. Not thread-safe: one per thread.
 */
public final class Decoder {
  /** Decoded. */
  public static final int STATUS_OK = 0;

  /** No instruction: #UD. */
  public static final int STATUS_INVALID = 1;

  /** More than 15 bytes: #GP(0). */
  public static final int STATUS_TOO_LONG = 2;

  /** The available bytes end before the instruction does. */
  public static final int STATUS_TRUNCATED = 3;

  private static final VarHandle SHORT =
      MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle INT =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private static final OpcodeTables[] TABLES = OpcodeTables.build();
  private static final OpcodeTables LEGACY = TABLES[OpcodeTables.LEGACY];
  private static final OpcodeTables LONG_MODE = TABLES[OpcodeTables.LONG_MODE];
  private static final Form[] LEGACY_ONE_BYTE = LEGACY.maps[0];
  private static final Form[] LONG_ONE_BYTE = LONG_MODE.maps[0];
  private static final Form EVEX_FORM =
      new Form(Mnemonic.EVEX, Form.HAS_MODRM | Form.USES_VVVV, Form.SIZE_NORMAL, new int[0]);
  private static final Form EVEX_IMMEDIATE_FORM =
      new Form(
          Mnemonic.EVEX,
          Form.HAS_MODRM | Form.USES_VVVV,
          Form.SIZE_NORMAL,
          new int[] {Operands.parse("ub")});

  /** log2(operand size) - 1: {@code [sizing << 3 | 64-bit << 2 | the same before the rules]}. */
  private static final byte[] SIZING = {
    0, 1, 2, 0, 0, 1, 2, 0, // normal
    0, 1, 2, 0, 0, 2, 2, 0, // default 64
    0, 1, 2, 0, 2, 2, 2, 0, // force 64
    1, 1, 1, 0, 2, 2, 2, 0, // mode
    0, 1, 1, 0, 0, 1, 1, 0, // at most 32
    0, 1, 2, 0, 0, 1, 2, 0, // byte
  };

  private static final byte[] BASE_16 = {
    Gpr.RBX, Gpr.RBX, Gpr.RBP, Gpr.RBP, Gpr.RSI, Gpr.RDI, Gpr.RBP, Gpr.RBX
  };
  private static final byte[] INDEX_16 = {Gpr.RSI, Gpr.RDI, Gpr.RSI, Gpr.RDI, -1, -1, -1, -1};

  /** CR0, CR2, CR3, CR4, CR8. */
  private static final int CONTROL_REGISTERS = 0b1_0001_1101;

  private static final int REX_B = 1;
  private static final int REX_X = 2;
  private static final int REX_R = 4;
  private static final int REX_W = 8;

  private byte[] code;
  private int start;
  private int limit;
  private int cursor;

  // Of the instruction in hand, for the operands.
  private int rex;
  private int vvvv;
  private boolean byteRegisters;
  private int sizeIndex;

  /** Creates a decoder; the tables are shared. */
  public Decoder() {}

  /**
   * Decodes one instruction.
   *
   * @param code holds the bytes
   * @param offset of the first byte
   * @param available bytes that may be looked at from there; more than 15 is as good as 15
   * @param codeSize 2, 4 or 8: default address size of the code segment
   * @param out filled; after a failure only {@code length}, {@code mnemonic} (INVALID) and {@code
   *     prefixes} mean anything
   * @return a {@code STATUS_} constant
   */
  public int decode(
      final byte[] code,
      final int offset,
      final int available,
      final int codeSize,
      final Instruction out) {
    this.code = code;
    start = offset;
    limit = offset + Math.min(available, Instruction.MAX_LENGTH);
    final boolean mode64 = codeSize == 8;
    final Form[] oneByte = mode64 ? LONG_ONE_BYTE : LEGACY_ONE_BYTE;
    out.codeSize = codeSize;
    int pos = offset;
    int prefixes = 0;
    int mandatory = 0;
    int rexBits = 0;
    int override = -1;
    int opcode;
    Form form;
    while (true) {
      if (pos >= limit) {
        return outOfBytes(out, prefixes);
      }
      opcode = code[pos++] & 0xFF;
      form = oneByte[opcode];
      if (form.kind < Form.ESCAPE) {
        break;
      }
      if (form.kind == Form.REX) {
        rexBits = opcode;
        continue;
      }
      if (form.kind == Form.ESCAPE) {
        if (pos >= limit) {
          return outOfBytes(out, prefixes);
        }
        final OpcodeTables tables = mode64 ? LONG_MODE : LEGACY;
        int map = 1;
        int low = code[pos++] & 0xFF;
        form = tables.maps[1][low];
        if (form.kind == Form.ESCAPE) {
          if (pos >= limit) {
            return outOfBytes(out, prefixes);
          }
          map = form.flags;
          low = code[pos++] & 0xFF;
          form = tables.maps[map][low];
        }
        opcode = map << 8 | low;
        break;
      }
      if (form.kind >= Form.VEX2) {
        if (!mode64) {
          if (pos >= limit) {
            return outOfBytes(out, prefixes);
          }
          if ((code[pos] & 0xC0) != 0xC0) {
            form = form.sub[0];
            break;
          }
        }
        cursor = pos;
        if (rexBits != 0 || mandatory != 0 || (prefixes & Instruction.PREFIX_LOCK) != 0) {
          return invalid(out, prefixes);
        }
        return decodeVex(form.kind, prefixes, override, out);
      }
      // A prefix after REX takes its force away (SDM Vol. 2A, 2.2.1).
      rexBits = 0;
      switch (form.kind) {
        case Form.OPERAND_SIZE -> {
          prefixes |= Instruction.PREFIX_OPERAND_SIZE;
          mandatory = mandatory == 0 ? 1 : mandatory;
        }
        case Form.ADDRESS_SIZE -> prefixes |= Instruction.PREFIX_ADDRESS_SIZE;
        case Form.LOCK -> prefixes |= Instruction.PREFIX_LOCK;
        case Form.REPEAT -> {
          // Of F2 and F3 the last one counts.
          prefixes = prefixes & ~Instruction.PREFIX_REPNE | Instruction.PREFIX_REP;
          mandatory = 2;
        }
        case Form.REPEAT_NE -> {
          prefixes = prefixes & ~Instruction.PREFIX_REP | Instruction.PREFIX_REPNE;
          mandatory = 3;
        }
        default -> {
          if (!mode64 || form.flags >= Seg.FS) {
            override = form.flags;
            prefixes |= Instruction.PREFIX_SEGMENT;
          }
        }
      }
    }
    cursor = pos;
    if (rexBits != 0) {
      prefixes |= Instruction.PREFIX_REX;
      if ((rexBits & REX_W) != 0) {
        prefixes |= Instruction.PREFIX_REX_W;
      }
    }
    rex = rexBits;
    byteRegisters = rexBits != 0;
    vvvv = 0;
    return finish(form, opcode, prefixes, mandatory, 0, override, out);
  }

  /** VEX and EVEX: {@link #cursor} is on the byte after the C5, C4 or 62. */
  private int decodeVex(
      final int kind, final int prefixes, final int override, final Instruction out) {
    final boolean mode64 = out.codeSize == 8;
    final int bytes = kind == Form.VEX2 ? 2 : kind == Form.VEX3 ? 3 : 4;
    if (cursor + bytes > limit) {
      return outOfBytes(out, prefixes);
    }
    final int first = code[cursor] & 0xFF;
    final int map;
    final int last;
    int bits = (first & 0x80) != 0 ? 0 : REX_R;
    if (kind == Form.VEX2) {
      map = 1;
      last = first & 0x7F;
    } else {
      bits |= (first & 0x40) != 0 ? 0 : REX_X;
      bits |= (first & 0x20) != 0 ? 0 : REX_B;
      last = code[cursor + 1] & 0xFF;
      bits |= (last & 0x80) != 0 ? REX_W : 0;
      map = first & (kind == Form.VEX3 ? 0x1F : 0xF);
    }
    final int opcode = code[cursor + bytes - 1] & 0xFF;
    cursor += bytes;
    vvvv = ~last >> 3 & 0xF;
    if (!mode64) {
      bits &= REX_W;
    }
    rex = bits;
    byteRegisters = true;
    int seen = prefixes | Instruction.PREFIX_VEX;
    if ((bits & REX_W) != 0) {
      seen |= Instruction.PREFIX_REX_W;
    }
    final int slot = map << 8 | opcode;
    if (kind == Form.EVEX) {
      if (map == 0 || map == 4 || map > 6 || (last & 4) == 0) {
        return invalid(out, seen);
      }
      final boolean immediate =
          map == 3
              || map == 1
                  && (opcode >= 0x70 && opcode <= 0x73
                      || opcode == 0xC2
                      || opcode >= 0xC4 && opcode <= 0xC6);
      return finish(
          immediate ? EVEX_IMMEDIATE_FORM : EVEX_FORM, slot, seen, last & 3, 0, override, out);
    }
    if (map == 0 || map > 3) {
      return invalid(out, seen);
    }
    if ((last & 4) != 0) {
      seen |= Instruction.PREFIX_VEX_L;
    }
    final Form form = (mode64 ? LONG_MODE : LEGACY).vexMaps[map][opcode];
    return finish(form, slot, seen, last & 3, last >> 2 & 1, override, out);
  }

  /** From the opcode on: {@link #cursor} is on the byte after it. */
  private int finish(
      final Form opcodeForm,
      final int opcode,
      final int prefixes,
      final int mandatory,
      final int vectorLength,
      final int override,
      final Instruction out) {
    final int codeSize = out.codeSize;
    final boolean mode64 = codeSize == 8;
    final boolean wide = (rex & REX_W) != 0;
    final boolean short16 = (prefixes & Instruction.PREFIX_OPERAND_SIZE) != 0 != (codeSize == 2);
    final int plainSize = wide && mode64 ? 2 : short16 ? 0 : 1;

    Form form = opcodeForm;
    int modrm = -1;
    while (form.kind != Form.LEAF) {
      final int choice;
      switch (form.kind) {
        case Form.BY_REG, Form.BY_MOD, Form.BY_RM -> {
          if (modrm < 0) {
            if (cursor >= limit) {
              return outOfBytes(out, prefixes);
            }
            modrm = code[cursor++] & 0xFF;
          }
          choice =
              form.kind == Form.BY_REG
                  ? modrm >> 3 & 7
                  : form.kind == Form.BY_MOD ? modrm >= 0xC0 ? 1 : 0 : modrm & 7;
        }
        case Form.BY_PREFIX -> choice = mandatory;
        case Form.BY_SIZE -> choice = plainSize;
        case Form.BY_W -> choice = wide ? 1 : 0;
        case Form.BY_W64 -> choice = wide && mode64 ? 1 : 0;
        case Form.BY_L -> choice = vectorLength;
        default -> choice = rex & REX_B;
      }
      form = form.sub[choice];
    }
    if (form == Form.INVALID) {
      return invalid(out, prefixes);
    }
    final int flags = form.flags;
    if (modrm < 0 && (flags & Form.HAS_MODRM) != 0) {
      if (cursor >= limit) {
        return outOfBytes(out, prefixes);
      }
      modrm = code[cursor++] & 0xFF;
    }

    out.mnemonic = form.mnemonic;
    out.opcode = opcode;
    out.prefixes = prefixes;
    out.modrm = modrm;
    final int size = SIZING[form.sizing << 3 | (mode64 ? 4 : 0) | plainSize];
    out.operandSize = form.sizing == Form.SIZE_BYTE ? 1 : 2 << size;
    sizeIndex = size | (mode64 ? 4 : 0) | vectorLength << 3;
    out.addressSize =
        (prefixes & Instruction.PREFIX_ADDRESS_SIZE) == 0 ? codeSize : codeSize == 4 ? 2 : 4;
    out.immediate = 0;
    out.immediate2 = 0;
    out.hasMemory = false;
    out.segment = override >= 0 ? override : Seg.DS;
    out.base = -1;
    out.index = -1;
    out.scaleShift = 0;
    out.displacement = 0;
    out.memorySize = 0;

    if (modrm >= 0) {
      if (modrm < 0xC0 && (flags & Form.MOD_IGNORED) == 0) {
        if ((flags & Form.REGISTER_ONLY) != 0) {
          return invalid(out, prefixes);
        }
        if (!memory(modrm, override, (flags & Form.VECTOR_INDEX) != 0, out)) {
          return outOfBytes(out, prefixes);
        }
        if ((flags & Form.VECTOR_INDEX) != 0 && (out.addressSize == 2 || (modrm & 7) != 4)) {
          // A vector as index needs the SIB byte.
          return invalid(out, prefixes);
        }
      } else if ((flags & Form.MEMORY_ONLY) != 0) {
        return invalid(out, prefixes);
      }
    }
    if ((prefixes & Instruction.PREFIX_LOCK) != 0
        && !((flags & Form.LOCKABLE) != 0 && out.hasMemory)) {
      return invalid(out, prefixes);
    }
    if (vvvv != 0) {
      if ((flags & Form.USES_VVVV) == 0) {
        return invalid(out, prefixes);
      }
      // Outside 64-bit mode its top bit is ignored, but only where it names a register.
      vvvv &= mode64 ? 15 : 7;
    }

    final int count = form.count;
    out.operandCount = count;
    int status = STATUS_OK;
    if (count > 0) {
      status = operand(0, form.operand0, opcode, modrm, out);
      if (count > 1) {
        status |= operand(1, form.operand1, opcode, modrm, out);
        if (count > 2) {
          status |= operand(2, form.operand2, opcode, modrm, out);
          if (count > 3) {
            status |= operand(3, form.operand3, opcode, modrm, out);
          }
        }
      }
    }
    for (int i = count; i < 5; i++) {
      out.operandKind[i] = Instruction.NONE;
    }
    if ((flags & Form.SUFFIX_OPCODE) != 0) {
      status |= suffix(out);
    }
    if (status != STATUS_OK) {
      return (status & STATUS_TRUNCATED) == STATUS_TRUNCATED
          ? outOfBytes(out, prefixes)
          : invalid(out, prefixes);
    }
    out.length = cursor - start;
    return STATUS_OK;
  }

  /** 3DNow!: the byte after the operands says which. */
  private int suffix(final Instruction out) {
    if (cursor >= limit) {
      return STATUS_TRUNCATED;
    }
    out.mnemonic =
        switch (code[cursor++] & 0xFF) {
          case 0x0C -> Mnemonic.PI2FW;
          case 0x0D -> Mnemonic.PI2FD;
          case 0x1C -> Mnemonic.PF2IW;
          case 0x1D -> Mnemonic.PF2ID;
          case 0x8A -> Mnemonic.PFNACC;
          case 0x8E -> Mnemonic.PFPNACC;
          case 0x90 -> Mnemonic.PFCMPGE;
          case 0x94 -> Mnemonic.PFMIN;
          case 0x96 -> Mnemonic.PFRCP;
          case 0x97 -> Mnemonic.PFRSQRT;
          case 0x9A -> Mnemonic.PFSUB;
          case 0x9E -> Mnemonic.PFADD;
          case 0xA0 -> Mnemonic.PFCMPGT;
          case 0xA4 -> Mnemonic.PFMAX;
          case 0xA6 -> Mnemonic.PFRCPIT1;
          case 0xA7 -> Mnemonic.PFRSQIT1;
          case 0xAA -> Mnemonic.PFSUBR;
          case 0xAE -> Mnemonic.PFACC;
          case 0xB0 -> Mnemonic.PFCMPEQ;
          case 0xB4 -> Mnemonic.PFMUL;
          case 0xB6 -> Mnemonic.PFRCPIT2;
          case 0xB7 -> Mnemonic.PMULHRW;
          case 0xBB -> Mnemonic.PSWAPD;
          case 0xBF -> Mnemonic.PAVGUSB;
          default -> Mnemonic.INVALID;
        };
    return out.mnemonic == Mnemonic.INVALID ? STATUS_INVALID : STATUS_OK;
  }

  /** Address of a ModRM memory operand (SDM Vol. 2A, 2.1.5); false when the bytes ran out. */
  private boolean memory(
      final int modrm, final int override, final boolean vectorIndex, final Instruction out) {
    final byte[] bytes = code;
    int pos = cursor;
    final int mod = modrm >> 6;
    final int rm = modrm & 7;
    int base;
    int displacementSize;
    if (out.addressSize == 2) {
      base = BASE_16[rm];
      out.index = INDEX_16[rm];
      displacementSize = mod;
      if (mod == 0 && rm == 6) {
        base = -1;
        displacementSize = 2;
      }
    } else {
      displacementSize = mod == 2 ? 4 : mod;
      if (rm == 4) {
        if (pos >= limit) {
          return false;
        }
        final int sib = bytes[pos++];
        base = sib & 7;
        final int index = sib >> 3 & 7 | (rex & REX_X) << 2;
        if (index != Gpr.RSP || vectorIndex) {
          out.index = index;
          out.scaleShift = sib >> 6 & 3;
        }
        if (base == Gpr.RBP && mod == 0) {
          base = -1;
          displacementSize = 4;
        } else {
          base |= (rex & REX_B) << 3;
        }
      } else if (rm == 5 && mod == 0) {
        base = out.codeSize == 8 ? Gpr.RIP : -1;
        displacementSize = 4;
      } else {
        base = rm | (rex & REX_B) << 3;
      }
    }
    if (pos + displacementSize > limit) {
      return false;
    }
    if (displacementSize == 1) {
      out.displacement = bytes[pos];
    } else if (displacementSize == 4) {
      out.displacement = (int) INT.get(bytes, pos);
    } else if (displacementSize == 2) {
      out.displacement = (short) SHORT.get(bytes, pos);
    }
    cursor = pos + displacementSize;
    out.hasMemory = true;
    out.base = base;
    if ((base == Gpr.RSP || base == Gpr.RBP) && override < 0) {
      out.segment = Seg.SS;
    }
    return true;
  }

  /** Fills one operand, reading its immediate; a status that is not OK fails the decode. */
  private int operand(
      final int i, final int operand, final int opcode, final int modrm, final Instruction out) {
    int kind = Instruction.GPR;
    int register = 0;
    int size = Operands.SIZE[operand >> 4 & 0xFF0 | sizeIndex];
    switch (Operands.method(operand)) {
      case Operands.RM -> {
        if (out.hasMemory) {
          return memoryOperand(i, operand, out);
        }
        register = general(modrm & 7, REX_B, 3, size);
      }
      case Operands.MEM -> {
        return memoryOperand(i, operand, out);
      }
      case Operands.REG -> register = general(modrm >> 3 & 7, REX_R, 1, size);
      case Operands.OPCODE_REG -> register = general(opcode & 7, REX_B, 3, size);
      case Operands.FIXED -> register = operand >>> 24;
      case Operands.GPR_VVVV -> register = out.codeSize == 8 ? vvvv : vvvv & 7;
      case Operands.IMM8_SIGNED, Operands.REL8 -> {
        if (cursor >= limit) {
          return STATUS_TRUNCATED;
        }
        out.immediate = code[cursor++];
        kind =
            Operands.method(operand) == Operands.REL8
                ? Instruction.RELATIVE
                : Instruction.IMMEDIATE;
        size = out.operandSize;
      }
      case Operands.IMM8 -> {
        if (cursor >= limit) {
          return STATUS_TRUNCATED;
        }
        out.immediate = code[cursor++] & 0xFF;
        kind = Instruction.IMMEDIATE;
      }
      case Operands.IMM8_SECOND -> {
        if (cursor >= limit) {
          return STATUS_TRUNCATED;
        }
        out.immediate2 = code[cursor++] & 0xFF;
        kind = Instruction.IMMEDIATE;
      }
      case Operands.IMM16 -> {
        if (cursor + 2 > limit) {
          return STATUS_TRUNCATED;
        }
        out.immediate = (short) SHORT.get(code, cursor) & 0xFFFF;
        cursor += 2;
        kind = Instruction.IMMEDIATE;
      }
      case Operands.IMM_Z, Operands.REL_Z -> {
        if (out.operandSize == 2) {
          if (cursor + 2 > limit) {
            return STATUS_TRUNCATED;
          }
          out.immediate = (short) SHORT.get(code, cursor);
          cursor += 2;
        } else {
          if (cursor + 4 > limit) {
            return STATUS_TRUNCATED;
          }
          out.immediate = (int) INT.get(code, cursor);
          cursor += 4;
        }
        kind =
            Operands.method(operand) == Operands.REL_Z
                ? Instruction.RELATIVE
                : Instruction.IMMEDIATE;
      }
      case Operands.ONE -> {
        out.immediate = 1;
        kind = Instruction.IMMEDIATE;
      }
      case Operands.MMX_REG -> {
        kind = Instruction.MMX;
        register = modrm >> 3 & 7;
      }
      case Operands.MMX_RM -> {
        if (out.hasMemory) {
          return memoryOperand(i, operand, out);
        }
        kind = Instruction.MMX;
        register = modrm & 7;
      }
      case Operands.XMM_REG -> {
        kind = size == 32 ? Instruction.YMM : Instruction.XMM;
        register = modrm >> 3 & 7 | (rex & REX_R) << 1;
      }
      case Operands.XMM_RM -> {
        if (out.hasMemory) {
          return memoryOperand(i, operand, out);
        }
        kind = size == 32 ? Instruction.YMM : Instruction.XMM;
        register = modrm & 7 | (rex & REX_B) << 3;
      }
      case Operands.XMM_VVVV -> {
        kind = size == 32 ? Instruction.YMM : Instruction.XMM;
        // The fourth bit is ignored where there are eight registers (SDM Vol. 2A, 2.3.5.6).
        register = out.codeSize == 8 ? vvvv : vvvv & 7;
      }
      case Operands.ST_FIXED -> kind = Instruction.ST;
      case Operands.ST_RM -> {
        kind = Instruction.ST;
        register = modrm & 7;
      }
      case Operands.SOURCE -> kind = Instruction.STRING_SOURCE;
      case Operands.DESTINATION -> kind = Instruction.STRING_DESTINATION;
      default -> {
        return rareOperand(i, operand, size, modrm, out);
      }
    }
    out.operandKind[i] = kind;
    out.operandRegister[i] = register;
    out.operandSizes[i] = size == Operands.ADDRESS ? out.addressSize : size;
    return STATUS_OK;
  }

  private int rareOperand(
      final int i, final int operand, final int size, final int modrm, final Instruction out) {
    int kind = Instruction.IMMEDIATE;
    int register = 0;
    switch (Operands.method(operand)) {
      case Operands.IMM_V -> {
        final int bytes = out.operandSize;
        if (cursor + bytes > limit) {
          return STATUS_TRUNCATED;
        }
        out.immediate =
            bytes == 8
                ? (long) LONG.get(code, cursor)
                : bytes == 4 ? (int) INT.get(code, cursor) : (short) SHORT.get(code, cursor);
        cursor += bytes;
      }
      case Operands.MOFFS -> {
        final int bytes = out.addressSize;
        if (cursor + bytes > limit) {
          return STATUS_TRUNCATED;
        }
        out.displacement =
            bytes == 8
                ? (long) LONG.get(code, cursor)
                : bytes == 4
                    ? (int) INT.get(code, cursor) & 0xFFFF_FFFFL
                    : (short) SHORT.get(code, cursor) & 0xFFFF;
        cursor += bytes;
        out.hasMemory = true;
        return memoryOperand(i, operand, out);
      }
      case Operands.FAR -> {
        final int bytes = out.operandSize;
        if (cursor + bytes + 2 > limit) {
          return STATUS_TRUNCATED;
        }
        kind = Instruction.FAR_POINTER;
        out.immediate =
            bytes == 4
                ? (int) INT.get(code, cursor) & 0xFFFF_FFFFL
                : (short) SHORT.get(code, cursor) & 0xFFFF;
        out.immediate2 = (short) SHORT.get(code, cursor + bytes) & 0xFFFF;
        cursor += bytes + 2;
      }
      case Operands.SREG -> {
        kind = Instruction.SEGMENT;
        register = modrm >> 3 & 7;
      }
      case Operands.FIXED_SEGMENT -> {
        kind = Instruction.SEGMENT;
        register = operand >>> 24;
      }
      case Operands.CR -> {
        kind = Instruction.CONTROL;
        register = modrm >> 3 & 7 | (rex & REX_R) << 1;
        if ((CONTROL_REGISTERS >> register & 1) == 0) {
          return STATUS_INVALID;
        }
      }
      case Operands.DR -> {
        kind = Instruction.DEBUG;
        register = modrm >> 3 & 7;
        if ((rex & REX_R) != 0) {
          return STATUS_INVALID;
        }
      }
      case Operands.XMM_IMM -> {
        if (cursor >= limit) {
          return STATUS_TRUNCATED;
        }
        kind = size == 32 ? Instruction.YMM : Instruction.XMM;
        register = code[cursor++] >> 4 & (out.codeSize == 8 ? 15 : 7);
      }
      case Operands.MASK_REG -> {
        kind = Instruction.MASK;
        register = modrm >> 3 & 7;
        if ((rex & REX_R) != 0) {
          return STATUS_INVALID;
        }
      }
      case Operands.MASK_RM -> {
        if (out.hasMemory) {
          return memoryOperand(i, operand, out);
        }
        // VEX.B is ignored here.
        kind = Instruction.MASK;
        register = modrm & 7;
      }
      case Operands.MASK_VVVV -> {
        kind = Instruction.MASK;
        register = vvvv & 7;
        if (vvvv > 7) {
          return STATUS_INVALID;
        }
      }
      default -> throw new IllegalStateException("operand=" + operand);
    }
    out.operandKind[i] = kind;
    out.operandRegister[i] = register;
    out.operandSizes[i] = size;
    return STATUS_OK;
  }

  private int memoryOperand(final int i, final int operand, final Instruction out) {
    final int size = Operands.SIZE[operand >> 12 & 0xFF0 | sizeIndex];
    out.memorySize = size;
    out.operandKind[i] = Instruction.MEMORY;
    out.operandRegister[i] = 0;
    out.operandSizes[i] = size;
    return STATUS_OK;
  }

  /** Number of a general register, extended by a REX bit, or of AH to BH. */
  private int general(final int low, final int rexBit, final int shift, final int size) {
    return size == 1 && low >= 4 && !byteRegisters
        ? Gpr.HIGH_BYTE | low
        : low | (rex & rexBit) << shift;
  }

  private int invalid(final Instruction out, final int prefixes) {
    out.mnemonic = Mnemonic.INVALID;
    out.prefixes = prefixes;
    out.length = cursor - start;
    return STATUS_INVALID;
  }

  private int outOfBytes(final Instruction out, final int prefixes) {
    out.mnemonic = Mnemonic.INVALID;
    out.prefixes = prefixes;
    out.length = limit - start;
    return limit - start >= Instruction.MAX_LENGTH ? STATUS_TOO_LONG : STATUS_TRUNCATED;
  }
}

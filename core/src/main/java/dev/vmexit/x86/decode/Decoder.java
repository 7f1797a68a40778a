package dev.vmexit.x86.decode;

import dev.vmexit.x86.Seg;

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

  private final OperandReader in = new OperandReader();
  private int start;

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
    start = offset;
    final int limit = offset + Math.min(available, Instruction.MAX_LENGTH);
    in.code = code;
    in.limit = limit;
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
        in.cursor = pos;
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
    in.cursor = pos;
    if (rexBits != 0) {
      prefixes |= Instruction.PREFIX_REX;
      if ((rexBits & OperandReader.REX_W) != 0) {
        prefixes |= Instruction.PREFIX_REX_W;
      }
    }
    in.rex = rexBits;
    in.byteRegisters = rexBits != 0;
    in.vvvv = 0;
    return finish(form, opcode, prefixes, mandatory, 0, override, out);
  }

  /** VEX and EVEX: the cursor is on the byte after the C5, C4 or 62. */
  private int decodeVex(
      final int kind, final int prefixes, final int override, final Instruction out) {
    final boolean mode64 = out.codeSize == 8;
    final int bytes = kind == Form.VEX2 ? 2 : kind == Form.VEX3 ? 3 : 4;
    if (in.cursor + bytes > in.limit) {
      return outOfBytes(out, prefixes);
    }
    final int first = in.code[in.cursor] & 0xFF;
    final int map;
    final int last;
    int bits = (first & 0x80) != 0 ? 0 : OperandReader.REX_R;
    if (kind == Form.VEX2) {
      map = 1;
      last = first & 0x7F;
    } else {
      bits |= (first & 0x40) != 0 ? 0 : OperandReader.REX_X;
      bits |= (first & 0x20) != 0 ? 0 : OperandReader.REX_B;
      last = in.code[in.cursor + 1] & 0xFF;
      bits |= (last & 0x80) != 0 ? OperandReader.REX_W : 0;
      map = first & (kind == Form.VEX3 ? 0x1F : 0xF);
    }
    final int opcode = in.code[in.cursor + bytes - 1] & 0xFF;
    in.cursor += bytes;
    in.vvvv = ~last >> 3 & 0xF;
    if (!mode64) {
      bits &= OperandReader.REX_W;
    }
    in.rex = bits;
    in.byteRegisters = true;
    int seen = prefixes | Instruction.PREFIX_VEX;
    if ((bits & OperandReader.REX_W) != 0) {
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

  /** From the opcode on: the cursor is on the byte after it. */
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
    final boolean wide = (in.rex & OperandReader.REX_W) != 0;
    final boolean short16 = (prefixes & Instruction.PREFIX_OPERAND_SIZE) != 0 != (codeSize == 2);
    final int plainSize = wide && mode64 ? 2 : short16 ? 0 : 1;

    Form form = opcodeForm;
    int modrm = -1;
    while (form.kind != Form.LEAF) {
      final int choice;
      switch (form.kind) {
        case Form.BY_REG, Form.BY_MOD, Form.BY_RM -> {
          if (modrm < 0) {
            if (in.cursor >= in.limit) {
              return outOfBytes(out, prefixes);
            }
            modrm = in.code[in.cursor++] & 0xFF;
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
        default -> choice = in.rex & OperandReader.REX_B;
      }
      form = form.sub[choice];
    }
    if (form == Form.INVALID) {
      return invalid(out, prefixes);
    }
    final int flags = form.flags;
    if (modrm < 0 && (flags & Form.HAS_MODRM) != 0) {
      if (in.cursor >= in.limit) {
        return outOfBytes(out, prefixes);
      }
      modrm = in.code[in.cursor++] & 0xFF;
    }

    out.mnemonic = form.mnemonic;
    out.opcode = opcode;
    out.prefixes = prefixes;
    out.modrm = modrm;
    final int size = SIZING[form.sizing << 3 | (mode64 ? 4 : 0) | plainSize];
    out.operandSize = form.sizing == Form.SIZE_BYTE ? 1 : 2 << size;
    in.sizeIndex = size | (mode64 ? 4 : 0) | vectorLength << 3;
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
        if (!in.memory(modrm, override, (flags & Form.VECTOR_INDEX) != 0, out)) {
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
    if (in.vvvv != 0) {
      if ((flags & Form.USES_VVVV) == 0) {
        return invalid(out, prefixes);
      }
      // Outside 64-bit mode its top bit is ignored, but only where it names a register.
      in.vvvv &= mode64 ? 15 : 7;
    }

    final int count = form.count;
    out.operandCount = count;
    int status = STATUS_OK;
    if (count > 0) {
      status = in.operand(0, form.operand0, opcode, modrm, out);
      if (count > 1) {
        status |= in.operand(1, form.operand1, opcode, modrm, out);
        if (count > 2) {
          status |= in.operand(2, form.operand2, opcode, modrm, out);
          if (count > 3) {
            status |= in.operand(3, form.operand3, opcode, modrm, out);
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
    out.length = in.cursor - start;
    return STATUS_OK;
  }

  private int suffix(final Instruction out) {
    if (in.cursor >= in.limit) {
      return STATUS_TRUNCATED;
    }
    out.mnemonic = Suffix3dNow.of(in.code[in.cursor++] & 0xFF);
    return out.mnemonic == Mnemonic.INVALID ? STATUS_INVALID : STATUS_OK;
  }

  private int invalid(final Instruction out, final int prefixes) {
    out.mnemonic = Mnemonic.INVALID;
    out.prefixes = prefixes;
    out.length = in.cursor - start;
    return STATUS_INVALID;
  }

  private int outOfBytes(final Instruction out, final int prefixes) {
    out.mnemonic = Mnemonic.INVALID;
    out.prefixes = prefixes;
    out.length = in.limit - start;
    return in.limit - start >= Instruction.MAX_LENGTH ? STATUS_TOO_LONG : STATUS_TRUNCATED;
  }
}

package dev.vmexit.x86.decode;

import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * Reads what follows an opcode: the memory operand of a ModRM byte, displacement and immediates,
 * and fills the operands of an {@link Instruction} by their descriptions in {@link Operands}.
 */
final class OperandReader {
  private static final VarHandle SHORT =
      MethodHandles.byteArrayViewVarHandle(short[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle INT =
      MethodHandles.byteArrayViewVarHandle(int[].class, ByteOrder.LITTLE_ENDIAN);
  private static final VarHandle LONG =
      MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

  private static final byte[] BASE_16 = {
    Gpr.RBX, Gpr.RBX, Gpr.RBP, Gpr.RBP, Gpr.RSI, Gpr.RDI, Gpr.RBP, Gpr.RBX
  };
  private static final byte[] INDEX_16 = {Gpr.RSI, Gpr.RDI, Gpr.RSI, Gpr.RDI, -1, -1, -1, -1};

  /** CR0, CR2, CR3, CR4, CR8. */
  private static final int CONTROL_REGISTERS = 0b1_0001_1101;

  static final int REX_B = 1;
  static final int REX_X = 2;
  static final int REX_R = 4;
  static final int REX_W = 8;

  byte[] code;

  /** End of the bytes that may be looked at. */
  int limit;

  /** The next byte. */
  int cursor;

  /** REX or what VEX says of it, the bits REX_*; 0 for none. */
  int rex;

  int vvvv;

  /** SPL to DIL instead of AH to BH. */
  boolean byteRegisters;

  /** Operand size, mode and vector length as an index into {@link Operands#SIZE}. */
  int sizeIndex;

  /** Address of a ModRM memory operand (SDM Vol. 2A, 2.1.5); false when the bytes ran out. */
  boolean memory(
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
  int operand(
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
          return Decoder.STATUS_TRUNCATED;
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
          return Decoder.STATUS_TRUNCATED;
        }
        out.immediate = code[cursor++] & 0xFF;
        kind = Instruction.IMMEDIATE;
      }
      case Operands.IMM8_SECOND -> {
        if (cursor >= limit) {
          return Decoder.STATUS_TRUNCATED;
        }
        out.immediate2 = code[cursor++] & 0xFF;
        kind = Instruction.IMMEDIATE;
      }
      case Operands.IMM16 -> {
        if (cursor + 2 > limit) {
          return Decoder.STATUS_TRUNCATED;
        }
        out.immediate = (short) SHORT.get(code, cursor) & 0xFFFF;
        cursor += 2;
        kind = Instruction.IMMEDIATE;
      }
      case Operands.IMM_Z, Operands.REL_Z -> {
        if (out.operandSize == 2) {
          if (cursor + 2 > limit) {
            return Decoder.STATUS_TRUNCATED;
          }
          out.immediate = (short) SHORT.get(code, cursor);
          cursor += 2;
        } else {
          if (cursor + 4 > limit) {
            return Decoder.STATUS_TRUNCATED;
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
    return Decoder.STATUS_OK;
  }

  private int rareOperand(
      final int i, final int operand, final int size, final int modrm, final Instruction out) {
    int kind = Instruction.IMMEDIATE;
    int register = 0;
    switch (Operands.method(operand)) {
      case Operands.IMM_V -> {
        final int bytes = out.operandSize;
        if (cursor + bytes > limit) {
          return Decoder.STATUS_TRUNCATED;
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
          return Decoder.STATUS_TRUNCATED;
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
          return Decoder.STATUS_TRUNCATED;
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
          return Decoder.STATUS_INVALID;
        }
      }
      case Operands.DR -> {
        kind = Instruction.DEBUG;
        register = modrm >> 3 & 7;
        if ((rex & REX_R) != 0) {
          return Decoder.STATUS_INVALID;
        }
      }
      case Operands.XMM_IMM -> {
        if (cursor >= limit) {
          return Decoder.STATUS_TRUNCATED;
        }
        kind = size == 32 ? Instruction.YMM : Instruction.XMM;
        register = code[cursor++] >> 4 & (out.codeSize == 8 ? 15 : 7);
      }
      case Operands.MASK_REG -> {
        kind = Instruction.MASK;
        register = modrm >> 3 & 7;
        if ((rex & REX_R) != 0) {
          return Decoder.STATUS_INVALID;
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
          return Decoder.STATUS_INVALID;
        }
      }
      default -> throw new IllegalStateException("operand=" + operand);
    }
    out.operandKind[i] = kind;
    out.operandRegister[i] = register;
    out.operandSizes[i] = size;
    return Decoder.STATUS_OK;
  }

  private int memoryOperand(final int i, final int operand, final Instruction out) {
    final int size = Operands.SIZE[operand >> 12 & 0xFF0 | sizeIndex];
    out.memorySize = size;
    out.operandKind[i] = Instruction.MEMORY;
    out.operandRegister[i] = 0;
    out.operandSizes[i] = size;
    return Decoder.STATUS_OK;
  }

  /** Number of a general register, extended by a REX bit, or of AH to BH. */
  private int general(final int low, final int rexBit, final int shift, final int size) {
    return size == 1 && low >= 4 && !byteRegisters
        ? Gpr.HIGH_BYTE | low
        : low | (rex & rexBit) << shift;
  }
}

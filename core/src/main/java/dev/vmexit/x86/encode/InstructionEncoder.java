package dev.vmexit.x86.encode;

import dev.vmexit.x86.encode.CodeBuffer.Fill;
import java.util.Locale;

/**
 * From an opcode with its operands to bytes: prefixes, REX, ModRM, SIB, displacement (SDM Vol. 2A,
 * chapter 2). Knows no mnemonic.
 *
 * <p>Opcodes are written as they are read: {@code 0x89}, {@code 0x0FAF}, {@code 0x0F38F0}.
 */
final class InstructionEncoder {
  private static final int REX = 0x40;
  private static final int REX_W = 8;
  private static final int REX_R = 4;
  private static final int REX_X = 2;
  private static final int REX_B = 1;

  private static final int[] SEGMENT_PREFIX = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65};

  private final CodeBuffer buffer;
  private int codeSize;

  InstructionEncoder(final CodeBuffer buffer, final int codeSize) {
    this.buffer = buffer;
    codeSize(codeSize);
  }

  void codeSize(final int bytes) {
    if (bytes != 2 && bytes != 4 && bytes != 8) {
      throw new IllegalArgumentException("codeSize=" + bytes + ", allowed: 2, 4, 8");
    }
    codeSize = bytes;
  }

  int codeSize() {
    return codeSize;
  }

  /** Opcode alone, with the prefix that an operand size (0: none) needs. */
  void plain(final int operandSize, final int opcode) {
    operandSizePrefix(operandSize);
    if (operandSize == 8) {
      buffer.put(REX | REX_W);
    }
    opcode(opcode);
  }

  /** Register in the opcode's low three bits. */
  void opcodeRegister(final int operandSize, final int opcode, final Register register) {
    check(register);
    operandSizePrefix(operandSize);
    rex(
        (operandSize == 8 ? REX_W : 0) | (register.number() >= 8 ? REX_B : 0),
        register.needsRex(),
        register.kind() == Register.Kind.HIGH_BYTE);
    opcode(opcode | (register.number() & 7));
  }

  /** ModRM with an opcode extension. */
  void modrm(
      final int operandSize,
      final int opcode,
      final int extension,
      final Operand rm,
      final int immediateSize) {
    modrm(operandSize, 0, opcode, extension, null, rm, immediateSize);
  }

  /** ModRM with a register. */
  void modrm(
      final int operandSize,
      final int opcode,
      final Register register,
      final Operand rm,
      final int immediateSize) {
    modrm(operandSize, 0, opcode, register.number(), register, rm, immediateSize);
  }

  /** ModRM with a mandatory prefix (66, F3, F2 or 0). */
  void modrmPrefixed(
      final int mandatoryPrefix,
      final int operandSize,
      final int opcode,
      final Register register,
      final Operand rm,
      final int immediateSize) {
    modrm(operandSize, mandatoryPrefix, opcode, register.number(), register, rm, immediateSize);
  }

  private void modrm(
      final int operandSize,
      final int mandatoryPrefix,
      final int opcode,
      final int number,
      final Register register,
      final Operand rm,
      final int immediateSize) {
    int rexBits = (operandSize == 8 ? REX_W : 0) | (number >= 8 ? REX_R : 0);
    boolean rexNeeded = false;
    boolean rexForbidden = false;
    if (register != null) {
      check(register);
      rexNeeded = register.needsRex();
      rexForbidden = register.kind() == Register.Kind.HIGH_BYTE;
    }
    switch (rm) {
      case final Register direct -> {
        check(direct);
        rexNeeded |= direct.needsRex();
        rexForbidden |= direct.kind() == Register.Kind.HIGH_BYTE;
        rexBits |= direct.number() >= 8 ? REX_B : 0;
      }
      case final Memory memory -> {
        check(memory);
        rexBits |= memory.base() != null && memory.base().number() >= 8 ? REX_B : 0;
        rexBits |= memory.index() != null && memory.index().number() >= 8 ? REX_X : 0;
        if (memory.segment() != null) {
          buffer.put(SEGMENT_PREFIX[memory.segment().number()]);
        }
        if (addressSize(memory) != codeSize) {
          buffer.put(0x67);
        }
      }
    }
    operandSizePrefix(operandSize);
    if (mandatoryPrefix != 0) {
      buffer.put(mandatoryPrefix);
    }
    rex(rexBits, rexNeeded, rexForbidden);
    opcode(opcode);
    final int reg = (number & 7) << 3;
    switch (rm) {
      case final Register direct -> buffer.put(0xC0 | reg | (direct.number() & 7));
      case final Memory memory -> {
        if (addressSize(memory) == 2) {
          address16(reg, memory, immediateSize);
        } else {
          address(reg, memory, immediateSize);
        }
      }
    }
  }

  /** Immediate of a size, checked to be a signed or unsigned number of it. */
  void immediate(final long value, final int size) {
    if (size < 8) {
      final int bits = size * 8;
      final long high = value >> (bits - 1);
      if (high != 0 && high != -1 && value >>> bits != 0) {
        throw new IllegalArgumentException(
            String.format(Locale.ROOT, "immediate=0x%x does not fit into %d bytes", value, size));
      }
    }
    buffer.put(value, size);
  }

  /** 66 where the operand size is not the code's own (REX.W needs none). */
  void operandSizePrefix(final int operandSize) {
    if (operandSize == 8 && codeSize != 8) {
      throw new IllegalArgumentException("operand size of 8 bytes outside 64-bit code");
    }
    if ((operandSize == 2 && codeSize != 2) || (operandSize == 4 && codeSize == 2)) {
      buffer.put(0x66);
    }
  }

  private void rex(final int bits, final boolean needed, final boolean forbidden) {
    if (bits != 0 || needed) {
      if (codeSize != 8) {
        throw new IllegalArgumentException("REX prefix outside 64-bit code");
      }
      if (forbidden) {
        throw new IllegalArgumentException("AH, CH, DH, BH cannot stand beside a REX prefix");
      }
      buffer.put(REX | bits);
    }
  }

  private void opcode(final int opcode) {
    if (opcode > 0xFFFF) {
      buffer.put(opcode >> 16);
    }
    if (opcode > 0xFF) {
      buffer.put(opcode >> 8);
    }
    buffer.put(opcode);
  }

  private void check(final Register register) {
    if (codeSize != 8 && register.needs64BitCode()) {
      throw new IllegalArgumentException("register " + register + " outside 64-bit code");
    }
  }

  private void check(final Memory memory) {
    final int size = addressSize(memory);
    if (memory.base() != null) {
      checkAddressRegister(memory.base());
    }
    if (memory.index() != null) {
      checkAddressRegister(memory.index());
    }
    if ((codeSize == 8 && size == 2) || (codeSize != 8 && size == 8)) {
      throw new IllegalArgumentException(
          "address size of " + size + " bytes in code of " + codeSize + " bytes");
    }
    if (memory.ripRelative() && codeSize != 8) {
      throw new IllegalArgumentException("rip-relative operand outside 64-bit code");
    }
  }

  private void checkAddressRegister(final Register register) {
    // A 32-bit R8D to R15D is caught here; 64-bit registers have their own message.
    if (codeSize != 8 && register.number() >= 8) {
      throw new IllegalArgumentException("register " + register + " outside 64-bit code");
    }
  }

  private int addressSize(final Memory memory) {
    if (memory.base() != null) {
      return memory.base().size();
    }
    if (memory.index() != null) {
      return memory.index().size();
    }
    return memory.addressSize() != 0 ? memory.addressSize() : codeSize;
  }

  /** ModRM of 16-bit addressing (SDM Vol. 2A, table 2-1). */
  private void address16(final int reg, final Memory memory, final int immediateSize) {
    final long displacement = memory.displacement();
    if (displacement < -0x8000 || displacement > 0xFFFF) {
      throw displacementError(memory);
    }
    if (memory.base() == null && memory.index() == null) {
      buffer.put(reg | 6);
      displacement(memory, 2, immediateSize);
      return;
    }
    final int rm = registers16(memory);
    final short wrapped = (short) displacement;
    if (memory.label() != null) {
      buffer.put(0x80 | reg | rm);
      displacement(memory, 2, immediateSize);
    } else if (wrapped == 0 && rm != 6) {
      buffer.put(reg | rm);
    } else if (wrapped == (byte) wrapped) {
      buffer.put(0x40 | reg | rm);
      buffer.put(wrapped);
    } else {
      buffer.put(0x80 | reg | rm);
      buffer.put(wrapped, 2);
    }
  }

  private static int registers16(final Memory memory) {
    final int base = memory.base() == null ? -1 : memory.base().number();
    final int index = memory.index() == null ? -1 : memory.index().number();
    final int bx = Register.BX.number();
    final int bp = Register.BP.number();
    final int si = Register.SI.number();
    final int di = Register.DI.number();
    if (memory.scale() == 1) {
      if (base == bx && index == si) {
        return 0;
      } else if (base == bx && index == di) {
        return 1;
      } else if (base == bp && index == si) {
        return 2;
      } else if (base == bp && index == di) {
        return 3;
      } else if (base == si && index < 0) {
        return 4;
      } else if (base == di && index < 0) {
        return 5;
      } else if (base == bp && index < 0) {
        return 6;
      } else if (base == bx && index < 0) {
        return 7;
      }
    }
    throw new IllegalArgumentException(
        "base="
            + memory.base()
            + ", index="
            + memory.index()
            + ", scale="
            + memory.scale()
            + ": no such 16-bit address; allowed: bx or bp, si or di, their sums");
  }

  /** ModRM and SIB of 32- and 64-bit addressing (SDM Vol. 2A, tables 2-2 and 2-3). */
  private void address(final int reg, final Memory memory, final int immediateSize) {
    checkDisplacement(memory);
    final int displacement = (int) memory.displacement();
    if (memory.ripRelative()) {
      buffer.put(reg | 5);
      buffer.putHole(4, Fill.RELATIVE, immediateSize, displacement, memory.label());
      return;
    }
    final int base = memory.base() == null ? -1 : memory.base().number() & 7;
    if (base < 0) {
      if (memory.index() == null && codeSize != 8) {
        buffer.put(reg | 5);
      } else {
        buffer.put(reg | 4);
        buffer.put(sib(memory) | 5);
      }
      displacement(memory, 4, immediateSize);
      return;
    }
    // rBP and r13 as a base have no form without a displacement.
    final int mod =
        memory.label() != null
            ? 0x80
            : displacement == 0 && base != 5
                ? 0
                : displacement == (byte) displacement ? 0x40 : 0x80;
    if (memory.index() != null || base == 4) {
      buffer.put(mod | reg | 4);
      buffer.put(sib(memory) | base);
    } else {
      buffer.put(mod | reg | base);
    }
    if (mod == 0x40) {
      buffer.put(displacement);
    } else if (mod == 0x80) {
      displacement(memory, 4, immediateSize);
    }
  }

  private static int sib(final Memory memory) {
    final int index = memory.index() == null ? 4 : memory.index().number() & 7;
    return Integer.numberOfTrailingZeros(memory.scale()) << 6 | index << 3;
  }

  private void displacement(final Memory memory, final int size, final int immediateSize) {
    if (memory.label() == null) {
      buffer.put(memory.displacement(), size);
    } else {
      final boolean signed = addressSize(memory) == 8;
      buffer.putHole(
          size,
          signed ? Fill.ABSOLUTE_SIGNED : Fill.ABSOLUTE,
          immediateSize,
          memory.displacement(),
          memory.label());
    }
  }

  private void checkDisplacement(final Memory memory) {
    final long displacement = memory.displacement();
    final boolean fits =
        displacement == (int) displacement
            || (addressSize(memory) == 4 && displacement >>> 32 == 0);
    if (!fits) {
      throw displacementError(memory);
    }
  }

  private static IllegalArgumentException displacementError(final Memory memory) {
    return new IllegalArgumentException(
        String.format(
            Locale.ROOT, "displacement=0x%x does not fit into its field", memory.displacement()));
  }
}

package dev.vmexit.x86.encode;

import java.util.Objects;

/**
 * A memory operand: {@code segment:[base + index * scale + displacement]}.
 *
 * <p>Made by one of the factories and refined by the {@code as…}, {@link #in} and {@link
 * #addressedBy} methods, for example {@code Memory.at(RBX, RCX, 4, 0x10).asDword().in(FS)}. Whether
 * the code size can express it is checked when an instruction is assembled.
 *
 * @param size bytes accessed, 0 where another operand or the instruction gives it
 * @param base base register, or null
 * @param index index register, or null
 * @param scale 1, 2, 4 or 8
 * @param displacement added to the rest; alone, the address itself
 * @param label added to the displacement, or null
 * @param ripRelative whether the label is reached relative to RIP
 * @param segment segment override, or null for the default segment
 * @param addressSize 2, 4 or 8 bytes; 0: that of the registers, else that of the code
 */
public record Memory(
    int size,
    Register base,
    Register index,
    int scale,
    long displacement,
    Label label,
    boolean ripRelative,
    Register segment,
    int addressSize)
    implements Operand {

  /** Checks what holds in every mode. */
  public Memory {
    if (scale != 1 && scale != 2 && scale != 4 && scale != 8) {
      throw new IllegalArgumentException("scale=" + scale + ", allowed: 1, 2, 4, 8");
    }
    checkAddressRegister("base", base);
    checkAddressRegister("index", index);
    if (base != null && index != null && base.size() != index.size()) {
      throw new IllegalArgumentException(
          "base=" + base + ", index=" + index + ": address registers of different sizes");
    }
    if (index != null && index.number() == 4 && index.size() != 2) {
      throw new IllegalArgumentException(
          "index=" + index + ": the stack pointer cannot be an index");
    }
    if (segment != null && segment.kind() != Register.Kind.SEGMENT) {
      throw new IllegalArgumentException("segment=" + segment + ": not a segment register");
    }
    final int registerSize = base != null ? base.size() : index != null ? index.size() : 0;
    if (addressSize != 0 && registerSize != 0 && addressSize != registerSize) {
      throw new IllegalArgumentException(
          "addressSize=" + addressSize + ", but the address registers have " + registerSize);
    }
  }

  /** {@code [base]}. */
  public static Memory at(final Register base) {
    return at(base, 0);
  }

  /** {@code [base + displacement]}. */
  public static Memory at(final Register base, final long displacement) {
    return new Memory(0, Objects.requireNonNull(base), null, 1, displacement, null, false, null, 0);
  }

  /** {@code [base + index * scale + displacement]}. */
  public static Memory at(
      final Register base, final Register index, final int scale, final long displacement) {
    return new Memory(
        0,
        Objects.requireNonNull(base),
        Objects.requireNonNull(index),
        scale,
        displacement,
        null,
        false,
        null,
        0);
  }

  /** {@code [index * scale + displacement]}. */
  public static Memory indexed(final Register index, final int scale, final long displacement) {
    return new Memory(
        0, null, Objects.requireNonNull(index), scale, displacement, null, false, null, 0);
  }

  /** {@code [address]}: in 64-bit code an address that sign-extends from 32 bits. */
  public static Memory absolute(final long address) {
    return new Memory(0, null, null, 1, address, null, false, null, 0);
  }

  /** {@code [label]} by its absolute address. */
  public static Memory absolute(final Label label) {
    return new Memory(0, null, null, 1, 0, Objects.requireNonNull(label), false, null, 0);
  }

  /** {@code [rip + …]}, reaching a label; 64-bit code only. */
  public static Memory rip(final Label label) {
    return new Memory(0, null, null, 1, 0, Objects.requireNonNull(label), true, null, 0);
  }

  /** The same place, seen as some bytes. */
  public Memory as(final int bytes) {
    return new Memory(
        bytes, base, index, scale, displacement, label, ripRelative, segment, addressSize);
  }

  public Memory asByte() {
    return as(1);
  }

  public Memory asWord() {
    return as(2);
  }

  public Memory asDword() {
    return as(4);
  }

  public Memory asQword() {
    return as(8);
  }

  /** The same offset, in a segment given by a prefix. */
  public Memory in(final Register segmentRegister) {
    return new Memory(
        size, base, index, scale, displacement, label, ripRelative, segmentRegister, addressSize);
  }

  /** With an address size in bytes: for addresses without registers, else the registers tell. */
  public Memory addressedBy(final int bytes) {
    return new Memory(size, base, index, scale, displacement, label, ripRelative, segment, bytes);
  }

  private static void checkAddressRegister(final String role, final Register register) {
    if (register != null && (register.kind() != Register.Kind.GPR || register.size() == 1)) {
      throw new IllegalArgumentException(role + "=" + register + ": not an address register");
    }
  }
}

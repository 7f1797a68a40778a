package dev.vmexit.x86.encode;

import dev.vmexit.x86.encode.CodeBuffer.Fill;
import dev.vmexit.x86.encode.Register.Kind;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A small assembler: one method per mnemonic (SDM Vol. 2), operands destination first.
 *
 * <p>The code may switch its size in its midst ({@link #codeSize}), as a guest that goes from real
 * to long mode does. Labels may be used before they are bound. Jumps to labels are short where that
 * reaches and near elsewhere; calls are near; {@code jmpShort}, LOOP and JrCXZ are short or fail.
 *
 * <p>An operand size comes from a register, else from the memory operand ({@link Memory#as}). What
 * cannot be encoded throws {@link IllegalArgumentException} at the instruction, with the bytes of
 * it partly appended: such an assembler is to be dropped. What shows only in the layout (an unbound
 * label, a branch out of range) throws {@link IllegalStateException} in {@link #assemble}.
 *
 * <p>Not thread-safe. Longer than other classes because it is a table of instructions.
 */
public final class Assembler {
  private static final int LOCK = 0xF0;
  private static final int REPNE = 0xF2;
  private static final int REP = 0xF3;
  private static final int NOP = 0x90;

  private final CodeBuffer buffer;
  private final InstructionEncoder encoder;
  private final List<Label> labels = new ArrayList<>();

  /**
   * Starts empty code.
   *
   * @param codeSizeBytes 2, 4 or 8: for 16-, 32- or 64-bit code
   * @param origin address of the first byte
   */
  public Assembler(final int codeSizeBytes, final long origin) {
    buffer = new CodeBuffer(origin);
    encoder = new InstructionEncoder(buffer, codeSizeBytes);
  }

  // ---- layout, labels and data ----

  /** Switches to code of 2, 4 or 8 bytes from here on. */
  public void codeSize(final int bytes) {
    encoder.codeSize(bytes);
  }

  /** Makes a label to be bound later. */
  public Label label() {
    return label("L" + labels.size());
  }

  /** Makes a label with a name for error messages. */
  public Label label(final String name) {
    final Label label = new Label(name);
    labels.add(label);
    return label;
  }

  /** Makes a label bound to this place. */
  public Label here() {
    final Label label = label();
    bind(label);
    return label;
  }

  /** Makes a label at an address outside this code. */
  public Label labelAt(final long address) {
    final Label label = label();
    label.item = Label.FIXED;
    label.address = address;
    return label;
  }

  /** Places a label here. */
  public void bind(final Label label) {
    if (!labels.contains(label)) {
      throw new IllegalArgumentException("label " + label + " belongs to another assembler");
    }
    if (label.isBound()) {
      throw new IllegalArgumentException("label " + label + " is bound already");
    }
    buffer.bind(label);
  }

  /** Address of a bound label; valid after {@link #assemble}. */
  public long addressOf(final Label label) {
    if (!label.isBound()) {
      throw new IllegalStateException("label " + label + " is not bound");
    }
    return label.address;
  }

  /**
   * Lays out all that was written.
   *
   * @throws IllegalStateException an unbound label, a branch or an address out of range
   */
  public byte[] assemble() {
    return buffer.assemble(labels);
  }

  /** Fills with zeros up to an address. */
  public void org(final long address) {
    buffer.org(address, 0);
  }

  /** Fills with NOPs up to a multiple of a power of two. */
  public void align(final int boundary) {
    align(boundary, NOP);
  }

  /** Fills with a byte up to a multiple of a power of two. */
  public void align(final int boundary, final int filler) {
    if (Integer.bitCount(boundary) != 1) {
      throw new IllegalArgumentException("boundary=" + boundary + ", allowed: powers of two");
    }
    buffer.align(boundary, filler);
  }

  /** Bytes. */
  public void db(final int... values) {
    for (final int value : values) {
      encoder.immediate(value, 1);
    }
  }

  /** 16-bit words. */
  public void dw(final int... values) {
    for (final int value : values) {
      encoder.immediate(value, 2);
    }
  }

  /** 32-bit words. */
  public void dd(final long... values) {
    for (final long value : values) {
      encoder.immediate(value, 4);
    }
  }

  /** 64-bit words. */
  public void dq(final long... values) {
    for (final long value : values) {
      encoder.immediate(value, 8);
    }
  }

  /** Address of a label in 16 bits. */
  public void dw(final Label label) {
    buffer.putHole(2, Fill.ABSOLUTE, 0, 0, label);
  }

  /** Address of a label in 32 bits. */
  public void dd(final Label label) {
    buffer.putHole(4, Fill.ABSOLUTE, 0, 0, label);
  }

  /** Address of a label in 64 bits. */
  public void dq(final Label label) {
    buffer.putHole(8, Fill.ABSOLUTE, 0, 0, label);
  }

  /** Raw bytes. */
  public void bytes(final byte[] data) {
    for (final byte value : data) {
      buffer.put(value);
    }
  }

  /** A string in ASCII and a zero. */
  public void asciz(final String text) {
    bytes(text.getBytes(StandardCharsets.US_ASCII));
    buffer.put(0);
  }

  // ---- prefixes, written before the instruction ----

  public void lock() {
    buffer.put(LOCK);
  }

  public void rep() {
    buffer.put(REP);
  }

  public void repe() {
    buffer.put(REP);
  }

  public void repne() {
    buffer.put(REPNE);
  }

  // ---- any instruction with a ModRM byte ----

  /**
   * An instruction that has no method of its own.
   *
   * @param mandatoryPrefix 0x66, 0xF3, 0xF2, or 0
   * @param operandSize 2, 4 or 8 for the prefix that it needs, or 0
   * @param opcode as it is read: 0x0F58, 0x0F38F0
   * @param register goes into ModRM.reg
   * @param rm goes into ModRM.rm
   */
  public void modrm(
      final int mandatoryPrefix,
      final int operandSize,
      final int opcode,
      final Register register,
      final Operand rm) {
    encoder.modrmPrefixed(mandatoryPrefix, operandSize, opcode, register, rm, 0);
  }

  /** As above, followed by an immediate byte. */
  public void modrm(
      final int mandatoryPrefix,
      final int operandSize,
      final int opcode,
      final Register register,
      final Operand rm,
      final int immediate) {
    encoder.modrmPrefixed(mandatoryPrefix, operandSize, opcode, register, rm, 1);
    encoder.immediate(immediate, 1);
  }

  /** An instruction whose ModRM.reg extends the opcode: x87, groups. */
  public void modrmExtended(
      final int operandSize, final int opcode, final int extension, final Operand rm) {
    encoder.modrm(operandSize, opcode, extension, rm, 0);
  }

  // ---- moves ----

  /** Between general registers, memory, segment, control and debug registers. */
  public void mov(final Operand destination, final Operand source) {
    if (destination instanceof final Register to && !to.isGeneral()) {
      movToSpecial(to, source);
    } else if (source instanceof final Register from && !from.isGeneral()) {
      movFromSpecial(destination, from);
    } else {
      twoOperands(0x88, destination, source);
    }
  }

  private void movToSpecial(final Register to, final Operand source) {
    switch (to.kind()) {
      case SEGMENT -> encoder.modrm(0, 0x8E, to, source, 0);
      case CONTROL -> encoder.modrm(0, 0x0F22, to, wholeRegister(source), 0);
      case DEBUG -> encoder.modrm(0, 0x0F23, to, wholeRegister(source), 0);
      default -> throw noForm("mov", to, source);
    }
  }

  private void movFromSpecial(final Operand destination, final Register from) {
    switch (from.kind()) {
      case SEGMENT ->
          encoder.modrm(
              destination instanceof Register ? destination.size() : 0, 0x8C, from, destination, 0);
      case CONTROL -> encoder.modrm(0, 0x0F20, from, wholeRegister(destination), 0);
      case DEBUG -> encoder.modrm(0, 0x0F21, from, wholeRegister(destination), 0);
      default -> throw noForm("mov", destination, from);
    }
  }

  /** Immediate; the shortest form that sets the whole operand. */
  public void mov(final Operand destination, final long immediate) {
    final int size = sizeOf(destination);
    if (destination instanceof final Register to && (size != 8 || immediate != (int) immediate)) {
      encoder.opcodeRegister(size, size == 1 ? 0xB0 : 0xB8, general(to));
      encoder.immediate(immediate, size);
    } else {
      final int immediateSize = Math.min(size, 4);
      checkSignExtended(size, immediate);
      encoder.modrm(size, size == 1 ? 0xC6 : 0xC7, 0, destination, immediateSize);
      encoder.immediate(immediate, immediateSize);
    }
  }

  /** Address of a label as an immediate of the register's size. */
  public void mov(final Register destination, final Label label) {
    final int size = general(destination).size();
    if (size == 1) {
      throw new IllegalArgumentException("register " + destination + " cannot hold an address");
    }
    encoder.opcodeRegister(size, 0xB8, destination);
    buffer.putHole(size, Fill.ABSOLUTE, 0, 0, label);
  }

  /** MOVZX from the source's size, 1 or 2. */
  public void movzx(final Register destination, final Operand source) {
    encoder.modrm(destination.size(), byteOrWord(0x0FB6, source), general(destination), source, 0);
  }

  /** MOVSX from the source's size, 1 or 2. */
  public void movsx(final Register destination, final Operand source) {
    encoder.modrm(destination.size(), byteOrWord(0x0FBE, source), general(destination), source, 0);
  }

  /** Sign-extends 32 bits; 64-bit code. */
  public void movsxd(final Register destination, final Operand source) {
    need64BitCode("movsxd");
    encoder.modrm(destination.size(), 0x63, general(destination), source, 0);
  }

  public void lea(final Register destination, final Memory source) {
    encoder.modrm(destination.size(), 0x8D, general(destination), source, 0);
  }

  /** Reverses the bytes of a 32- or 64-bit register. */
  public void bswap(final Register register) {
    encoder.opcodeRegister(general(register).size(), 0x0FC8, register);
  }

  public void xchg(final Operand destination, final Operand source) {
    final Register register =
        source instanceof final Register from ? from : register("xchg", destination, source);
    final Operand other = source instanceof Register ? destination : source;
    final int size = sizeOf(other, register);
    if (size != 1
        && other instanceof final Register second
        && register.isAccumulator() != second.isAccumulator()) {
      encoder.opcodeRegister(size, 0x90, register.isAccumulator() ? second : register);
    } else {
      encoder.modrm(size, size == 1 ? 0x86 : 0x87, general(register), other, 0);
    }
  }

  public void cmpxchg(final Operand destination, final Register source) {
    final int size = sizeOf(destination, source);
    encoder.modrm(size, size == 1 ? 0x0FB0 : 0x0FB1, general(source), destination, 0);
  }

  public void xadd(final Operand destination, final Register source) {
    final int size = sizeOf(destination, source);
    encoder.modrm(size, size == 1 ? 0x0FC0 : 0x0FC1, general(source), destination, 0);
  }

  public void cmpxchg8b(final Memory destination) {
    encoder.modrm(0, 0x0FC7, 1, destination, 0);
  }

  public void cmpxchg16b(final Memory destination) {
    encoder.modrm(8, 0x0FC7, 1, destination, 0);
  }

  /** Loads a far pointer: LDS, LES outside 64-bit code, LSS, LFS, LGS everywhere. */
  public void loadFarPointer(
      final Register segment, final Register destination, final Memory source) {
    final int opcode =
        switch (segment) {
          case ES -> 0xC4;
          case DS -> 0xC5;
          case SS -> 0x0FB2;
          case FS -> 0x0FB4;
          case GS -> 0x0FB5;
          default -> throw noForm("load far pointer", segment, source);
        };
    if (opcode < 0x100) {
      needLegacyCode("lds, les");
    }
    encoder.modrm(destination.size(), opcode, general(destination), source, 0);
  }

  // ---- stack ----

  /** General register (2 bytes or the code's size), segment register, or memory. */
  public void push(final Operand source) {
    switch (source) {
      case final Register register when register.kind() == Kind.SEGMENT ->
          encoder.plain(0, segmentOpcode(register, 0x06, 0x0FA0));
      case final Register register -> encoder.opcodeRegister(stackSize(source), 0x50, register);
      case final Memory memory -> encoder.modrm(stackSize(memory), 0xFF, 6, memory, 0);
    }
  }

  /** Immediate, in the code's own operand size (8 bytes in 64-bit code). */
  public void push(final long immediate) {
    pushImmediate(0, immediate);
  }

  /** Immediate with an operand size of 2 or 4 bytes, or 8 in 64-bit code; 0: the code's own. */
  public void pushImmediate(final int operandSize, final long immediate) {
    if (operandSize == 8) {
      if (encoder.codeSize() != 8) {
        throw new IllegalArgumentException("operandSize=8, which 64-bit code alone has");
      }
      // What 64-bit code pushes without a prefix.
      pushImmediate(0, immediate);
      return;
    }
    final int size = operandSize == 0 ? Math.min(encoder.codeSize(), 4) : operandSize;
    encoder.operandSizePrefix(operandSize);
    if (immediate == (byte) immediate) {
      buffer.put(0x6A);
      buffer.put((int) immediate);
    } else {
      checkSignExtended(encoder.codeSize() == 8 && operandSize == 0 ? 8 : size, immediate);
      buffer.put(0x68);
      encoder.immediate(immediate, size);
    }
  }

  public void pop(final Operand destination) {
    switch (destination) {
      case Register.CS -> throw new IllegalArgumentException("pop cs does not exist");
      case final Register register when register.kind() == Kind.SEGMENT ->
          encoder.plain(0, segmentOpcode(register, 0x07, 0x0FA1));
      case final Register register ->
          encoder.opcodeRegister(stackSize(destination), 0x58, register);
      case final Memory memory -> encoder.modrm(stackSize(memory), 0x8F, 0, memory, 0);
    }
  }

  /** PUSHF, PUSHFD, PUSHFQ by operand size; 0: the code's own. */
  public void pushf(final int operandSize) {
    encoder.plain(operandSize == encoder.codeSize() ? 0 : operandSize, 0x9C);
  }

  public void pushf() {
    pushf(0);
  }

  /** POPF, POPFD, POPFQ by operand size; 0: the code's own. */
  public void popf(final int operandSize) {
    encoder.plain(operandSize == encoder.codeSize() ? 0 : operandSize, 0x9D);
  }

  public void popf() {
    popf(0);
  }

  /** PUSHA, PUSHAD by operand size 2 or 4. */
  public void pusha(final int operandSize) {
    needLegacyCode("pusha");
    encoder.plain(operandSize, 0x60);
  }

  public void popa(final int operandSize) {
    needLegacyCode("popa");
    encoder.plain(operandSize, 0x61);
  }

  public void enter(final int bytes, final int level) {
    encoder.plain(0, 0xC8);
    encoder.immediate(bytes, 2);
    encoder.immediate(level, 1);
  }

  public void leave() {
    encoder.plain(0, 0xC9);
  }

  // ---- arithmetic and logic ----

  public void add(final Operand destination, final Operand source) {
    twoOperands(0x00, destination, source);
  }

  public void add(final Operand destination, final long immediate) {
    arithmetic(0, destination, immediate);
  }

  public void or(final Operand destination, final Operand source) {
    twoOperands(0x08, destination, source);
  }

  public void or(final Operand destination, final long immediate) {
    arithmetic(1, destination, immediate);
  }

  public void adc(final Operand destination, final Operand source) {
    twoOperands(0x10, destination, source);
  }

  public void adc(final Operand destination, final long immediate) {
    arithmetic(2, destination, immediate);
  }

  public void sbb(final Operand destination, final Operand source) {
    twoOperands(0x18, destination, source);
  }

  public void sbb(final Operand destination, final long immediate) {
    arithmetic(3, destination, immediate);
  }

  public void and(final Operand destination, final Operand source) {
    twoOperands(0x20, destination, source);
  }

  public void and(final Operand destination, final long immediate) {
    arithmetic(4, destination, immediate);
  }

  public void sub(final Operand destination, final Operand source) {
    twoOperands(0x28, destination, source);
  }

  public void sub(final Operand destination, final long immediate) {
    arithmetic(5, destination, immediate);
  }

  public void xor(final Operand destination, final Operand source) {
    twoOperands(0x30, destination, source);
  }

  public void xor(final Operand destination, final long immediate) {
    arithmetic(6, destination, immediate);
  }

  public void cmp(final Operand destination, final Operand source) {
    twoOperands(0x38, destination, source);
  }

  public void cmp(final Operand destination, final long immediate) {
    arithmetic(7, destination, immediate);
  }

  public void test(final Operand destination, final Register source) {
    final int size = sizeOf(destination, source);
    encoder.modrm(size, size == 1 ? 0x84 : 0x85, general(source), destination, 0);
  }

  public void test(final Operand destination, final long immediate) {
    final int size = sizeOf(destination);
    final int immediateSize = Math.min(size, 4);
    checkSignExtended(size, immediate);
    if (destination instanceof final Register register && register.isAccumulator()) {
      encoder.plain(size, size == 1 ? 0xA8 : 0xA9);
    } else {
      encoder.modrm(size, size == 1 ? 0xF6 : 0xF7, 0, destination, immediateSize);
    }
    encoder.immediate(immediate, immediateSize);
  }

  public void inc(final Operand operand) {
    incrementOrDecrement(0, operand);
  }

  public void dec(final Operand operand) {
    incrementOrDecrement(1, operand);
  }

  public void not(final Operand operand) {
    unary(2, operand);
  }

  public void neg(final Operand operand) {
    unary(3, operand);
  }

  public void mul(final Operand operand) {
    unary(4, operand);
  }

  /** One operand: into AX, rDX:rAX. */
  public void imul(final Operand operand) {
    unary(5, operand);
  }

  public void div(final Operand operand) {
    unary(6, operand);
  }

  public void idiv(final Operand operand) {
    unary(7, operand);
  }

  public void imul(final Register destination, final Operand source) {
    encoder.modrm(sizeOf(source, destination), 0x0FAF, general(destination), source, 0);
  }

  public void imul(final Register destination, final Operand source, final long immediate) {
    final int size = sizeOf(source, destination);
    final boolean small = immediate == (byte) immediate;
    final int immediateSize = small ? 1 : Math.min(size, 4);
    checkSignExtended(size, immediate);
    encoder.modrm(size, small ? 0x6B : 0x69, general(destination), source, immediateSize);
    encoder.immediate(immediate, immediateSize);
  }

  public void rol(final Operand operand, final int count) {
    shift(0, operand, count);
  }

  public void rol(final Operand operand, final Register cl) {
    shift(0, operand, cl);
  }

  public void ror(final Operand operand, final int count) {
    shift(1, operand, count);
  }

  public void ror(final Operand operand, final Register cl) {
    shift(1, operand, cl);
  }

  public void rcl(final Operand operand, final int count) {
    shift(2, operand, count);
  }

  public void rcl(final Operand operand, final Register cl) {
    shift(2, operand, cl);
  }

  public void rcr(final Operand operand, final int count) {
    shift(3, operand, count);
  }

  public void rcr(final Operand operand, final Register cl) {
    shift(3, operand, cl);
  }

  public void shl(final Operand operand, final int count) {
    shift(4, operand, count);
  }

  public void shl(final Operand operand, final Register cl) {
    shift(4, operand, cl);
  }

  public void shr(final Operand operand, final int count) {
    shift(5, operand, count);
  }

  public void shr(final Operand operand, final Register cl) {
    shift(5, operand, cl);
  }

  public void sar(final Operand operand, final int count) {
    shift(7, operand, count);
  }

  public void sar(final Operand operand, final Register cl) {
    shift(7, operand, cl);
  }

  public void shld(final Operand destination, final Register source, final int count) {
    encoder.modrm(sizeOf(destination, source), 0x0Fa4, general(source), destination, 1);
    encoder.immediate(count, 1);
  }

  public void shld(final Operand destination, final Register source, final Register cl) {
    checkCl(cl);
    encoder.modrm(sizeOf(destination, source), 0x0Fa5, general(source), destination, 0);
  }

  public void shrd(final Operand destination, final Register source, final int count) {
    encoder.modrm(sizeOf(destination, source), 0x0Fac, general(source), destination, 1);
    encoder.immediate(count, 1);
  }

  public void shrd(final Operand destination, final Register source, final Register cl) {
    checkCl(cl);
    encoder.modrm(sizeOf(destination, source), 0x0Fad, general(source), destination, 0);
  }

  public void bt(final Operand destination, final Register bit) {
    encoder.modrm(sizeOf(destination, bit), 0x0FA3, general(bit), destination, 0);
  }

  public void bt(final Operand destination, final int bit) {
    bitTest(4, destination, bit);
  }

  public void bts(final Operand destination, final Register bit) {
    encoder.modrm(sizeOf(destination, bit), 0x0FAB, general(bit), destination, 0);
  }

  public void bts(final Operand destination, final int bit) {
    bitTest(5, destination, bit);
  }

  public void btr(final Operand destination, final Register bit) {
    encoder.modrm(sizeOf(destination, bit), 0x0FB3, general(bit), destination, 0);
  }

  public void btr(final Operand destination, final int bit) {
    bitTest(6, destination, bit);
  }

  public void btc(final Operand destination, final Register bit) {
    encoder.modrm(sizeOf(destination, bit), 0x0FBB, general(bit), destination, 0);
  }

  public void btc(final Operand destination, final int bit) {
    bitTest(7, destination, bit);
  }

  public void bsf(final Register destination, final Operand source) {
    encoder.modrm(sizeOf(source, destination), 0x0FBC, general(destination), source, 0);
  }

  public void bsr(final Register destination, final Operand source) {
    encoder.modrm(sizeOf(source, destination), 0x0FBD, general(destination), source, 0);
  }

  public void popcnt(final Register destination, final Operand source) {
    encoder.modrmPrefixed(
        REP, sizeOf(source, destination), 0x0FB8, general(destination), source, 0);
  }

  public void setcc(final Condition condition, final Operand destination) {
    encoder.modrm(0, 0x0F90 | condition.code(), 0, destination, 0);
  }

  public void cmovcc(final Condition condition, final Register destination, final Operand source) {
    encoder.modrm(
        sizeOf(source, destination), 0x0F40 | condition.code(), general(destination), source, 0);
  }

  // ---- control transfer ----

  /** Short or near, whichever reaches. */
  public void jmp(final Label target) {
    branch(new byte[] {(byte) 0xEB}, new byte[] {(byte) 0xE9}, target);
  }

  /** Short or near, whichever reaches. */
  public void jcc(final Condition condition, final Label target) {
    branch(
        new byte[] {(byte) (0x70 | condition.code())},
        new byte[] {0x0F, (byte) (0x80 | condition.code())},
        target);
  }

  public void jmpShort(final Label target) {
    shortBranch(0xEB, target);
  }

  public void jccShort(final Condition condition, final Label target) {
    shortBranch(0x70 | condition.code(), target);
  }

  /** Near even where short would reach: for code that is patched. */
  public void jmpNear(final Label target) {
    encoder.plain(0, 0xE9);
    nearDisplacement(target);
  }

  /** Near even where short would reach. */
  public void jccNear(final Condition condition, final Label target) {
    encoder.plain(0, 0x0F80 | condition.code());
    nearDisplacement(target);
  }

  public void call(final Label target) {
    encoder.plain(0, 0xE8);
    nearDisplacement(target);
  }

  /** Near, indirect. */
  public void jmp(final Operand target) {
    encoder.modrm(stackSize(target), 0xFF, 4, target, 0);
  }

  /** Near, indirect. */
  public void call(final Operand target) {
    encoder.modrm(stackSize(target), 0xFF, 2, target, 0);
  }

  /** Far, to a selector and an offset of 2 or 4 bytes; not in 64-bit code. */
  public void jmpFar(final int selector, final long offset, final int offsetSize) {
    farPointer(0xEA, selector, offset, offsetSize);
  }

  /** Far, to a selector and a label. */
  public void jmpFar(final int selector, final Label target, final int offsetSize) {
    farPointer(0xEA, selector, target, offsetSize);
  }

  /** Far, through memory of 4 (16:16), 6 (16:32) or 10 (16:64) bytes. */
  public void jmpFar(final Memory target) {
    encoder.modrm(farOffsetSize(target), 0xFF, 5, target, 0);
  }

  /** Far, to a selector and an offset of 2 or 4 bytes; not in 64-bit code. */
  public void callFar(final int selector, final long offset, final int offsetSize) {
    farPointer(0x9A, selector, offset, offsetSize);
  }

  /** Far, to a selector and a label. */
  public void callFar(final int selector, final Label target, final int offsetSize) {
    farPointer(0x9A, selector, target, offsetSize);
  }

  /** Far, through memory of 4 (16:16), 6 (16:32) or 10 (16:64) bytes. */
  public void callFar(final Memory target) {
    encoder.modrm(farOffsetSize(target), 0xFF, 3, target, 0);
  }

  public void ret() {
    encoder.plain(0, 0xC3);
  }

  /** Returns and drops some bytes of arguments. */
  public void ret(final int bytes) {
    encoder.plain(0, 0xC2);
    encoder.immediate(bytes, 2);
  }

  public void retf() {
    encoder.plain(0, 0xCB);
  }

  /** RETF with an operand size of 2, 4 or 8 bytes. */
  public void retf(final int operandSize) {
    encoder.plain(operandSize, 0xCB);
  }

  /** RETF with an operand size, dropping some bytes of arguments. */
  public void retf(final int operandSize, final int bytes) {
    encoder.plain(operandSize, 0xCA);
    encoder.immediate(bytes, 2);
  }

  /** IRET with an operand size of 2, 4 or 8 bytes. */
  public void iret(final int operandSize) {
    encoder.plain(operandSize, 0xCF);
  }

  public void iretd() {
    iret(4);
  }

  public void iretq() {
    iret(8);
  }

  /** INT n. */
  public void interrupt(final int vector) {
    encoder.plain(0, 0xCD);
    encoder.immediate(vector, 1);
  }

  public void loop(final Label target) {
    shortBranch(0xE2, target);
  }

  public void loope(final Label target) {
    shortBranch(0xE1, target);
  }

  public void loopne(final Label target) {
    shortBranch(0xE0, target);
  }

  /** JCXZ, JECXZ, JRCXZ by the size of the counter. */
  public void jrcxz(final int counterSize, final Label target) {
    addressSizePrefix(counterSize);
    shortBranch(0xE3, target);
  }

  // ---- strings; size of an element 1, 2, 4 or 8 ----

  public void movs(final int size) {
    string(0xA4, size);
  }

  public void cmps(final int size) {
    string(0xA6, size);
  }

  public void stos(final int size) {
    string(0xAA, size);
  }

  public void lods(final int size) {
    string(0xAC, size);
  }

  public void scas(final int size) {
    string(0xAE, size);
  }

  /** Elements of up to 4 bytes. */
  public void ins(final int size) {
    string(0x6C, size);
  }

  /** Elements of up to 4 bytes. */
  public void outs(final int size) {
    string(0x6E, size);
  }

  /** 67 where an address size is not the code's own: for strings, LOOP, JrCXZ. */
  public void addressSizePrefix(final int bytes) {
    if (bytes != encoder.codeSize()) {
      if ((bytes == 8) != (encoder.codeSize() == 8) && bytes != 4) {
        throw new IllegalArgumentException(
            "address size of " + bytes + " bytes in code of " + encoder.codeSize() + " bytes");
      }
      buffer.put(0x67);
    }
  }

  // ---- ports ----

  /** From a port given by an immediate byte into AL, AX, EAX. */
  public void in(final Register accumulator, final int port) {
    port(0xE4, accumulator);
    encoder.immediate(port, 1);
  }

  /** From the port in DX. */
  public void in(final Register accumulator, final Register dx) {
    checkDx(dx);
    port(0xEC, accumulator);
  }

  /** To a port given by an immediate byte from AL, AX, EAX. */
  public void out(final int port, final Register accumulator) {
    port(0xE6, accumulator);
    encoder.immediate(port, 1);
  }

  /** To the port in DX. */
  public void out(final Register dx, final Register accumulator) {
    checkDx(dx);
    port(0xEE, accumulator);
  }

  // ---- without operands ----

  public void nop() {
    encoder.plain(0, 0x90);
  }

  public void pause() {
    encoder.plain(0, 0xF390);
  }

  public void cbw() {
    encoder.plain(2, 0x98);
  }

  public void cwde() {
    encoder.plain(4, 0x98);
  }

  public void cdqe() {
    encoder.plain(8, 0x98);
  }

  public void cwd() {
    encoder.plain(2, 0x99);
  }

  public void cdq() {
    encoder.plain(4, 0x99);
  }

  public void cqo() {
    encoder.plain(8, 0x99);
  }

  public void hlt() {
    encoder.plain(0, 0xF4);
  }

  public void cmc() {
    encoder.plain(0, 0xF5);
  }

  public void clc() {
    encoder.plain(0, 0xF8);
  }

  public void stc() {
    encoder.plain(0, 0xF9);
  }

  public void cli() {
    encoder.plain(0, 0xFA);
  }

  public void sti() {
    encoder.plain(0, 0xFB);
  }

  public void cld() {
    encoder.plain(0, 0xFC);
  }

  public void std() {
    encoder.plain(0, 0xFD);
  }

  public void sahf() {
    encoder.plain(0, 0x9E);
  }

  public void lahf() {
    encoder.plain(0, 0x9F);
  }

  public void xlat() {
    encoder.plain(0, 0xD7);
  }

  public void daa() {
    needLegacyCode("daa");
    encoder.plain(0, 0x27);
  }

  public void das() {
    needLegacyCode("das");
    encoder.plain(0, 0x2F);
  }

  public void aaa() {
    needLegacyCode("aaa");
    encoder.plain(0, 0x37);
  }

  public void aas() {
    needLegacyCode("aas");
    encoder.plain(0, 0x3F);
  }

  public void into() {
    needLegacyCode("into");
    encoder.plain(0, 0xCE);
  }

  public void int3() {
    encoder.plain(0, 0xCC);
  }

  public void int1() {
    encoder.plain(0, 0xF1);
  }

  public void syscall() {
    encoder.plain(0, 0x0F05);
  }

  public void clts() {
    encoder.plain(0, 0x0F06);
  }

  public void sysret() {
    encoder.plain(0, 0x0F07);
  }

  public void sysretq() {
    encoder.plain(8, 0x0F07);
  }

  public void invd() {
    encoder.plain(0, 0x0F08);
  }

  public void wbinvd() {
    encoder.plain(0, 0x0F09);
  }

  public void ud2() {
    encoder.plain(0, 0x0F0B);
  }

  public void wrmsr() {
    encoder.plain(0, 0x0F30);
  }

  public void rdtsc() {
    encoder.plain(0, 0x0F31);
  }

  public void rdmsr() {
    encoder.plain(0, 0x0F32);
  }

  public void rdpmc() {
    encoder.plain(0, 0x0F33);
  }

  public void sysenter() {
    encoder.plain(0, 0x0F34);
  }

  public void sysexit() {
    encoder.plain(0, 0x0F35);
  }

  public void sysexitq() {
    encoder.plain(8, 0x0F35);
  }

  public void cpuid() {
    encoder.plain(0, 0x0FA2);
  }

  public void swapgs() {
    need64BitCode("swapgs");
    encoder.plain(0, 0x0F01F8);
  }

  public void rdtscp() {
    encoder.plain(0, 0x0F01F9);
  }

  public void lfence() {
    encoder.plain(0, 0x0FAEE8);
  }

  public void mfence() {
    encoder.plain(0, 0x0FAEF0);
  }

  public void sfence() {
    encoder.plain(0, 0x0FAEF8);
  }

  /** Adjusts after a multiplication in a base (10 by rights). */
  public void aam(final int base) {
    needLegacyCode("aam");
    encoder.plain(0, 0xD4);
    encoder.immediate(base, 1);
  }

  /** Adjusts before a division in a base (10 by rights). */
  public void aad(final int base) {
    needLegacyCode("aad");
    encoder.plain(0, 0xD5);
    encoder.immediate(base, 1);
  }

  // ---- system ----

  public void sldt(final Operand operand) {
    encoder.modrm(operand instanceof Register ? operand.size() : 0, 0x0F00, 0, operand, 0);
  }

  public void str(final Operand operand) {
    encoder.modrm(operand instanceof Register ? operand.size() : 0, 0x0F00, 1, operand, 0);
  }

  public void lldt(final Operand operand) {
    encoder.modrm(0, 0x0F00, 2, operand, 0);
  }

  public void ltr(final Operand operand) {
    encoder.modrm(0, 0x0F00, 3, operand, 0);
  }

  public void verr(final Operand operand) {
    encoder.modrm(0, 0x0F00, 4, operand, 0);
  }

  public void verw(final Operand operand) {
    encoder.modrm(0, 0x0F00, 5, operand, 0);
  }

  public void sgdt(final Memory operand) {
    encoder.modrm(0, 0x0F01, 0, operand, 0);
  }

  public void sidt(final Memory operand) {
    encoder.modrm(0, 0x0F01, 1, operand, 0);
  }

  /** In 16-bit code a {@code db(0x66)} before it makes it load all 32 bits of the base. */
  public void lgdt(final Memory operand) {
    encoder.modrm(0, 0x0F01, 2, operand, 0);
  }

  /** In 16-bit code a {@code db(0x66)} before it makes it load all 32 bits of the base. */
  public void lidt(final Memory operand) {
    encoder.modrm(0, 0x0F01, 3, operand, 0);
  }

  public void smsw(final Operand operand) {
    encoder.modrm(operand instanceof Register ? operand.size() : 0, 0x0F01, 4, operand, 0);
  }

  public void lmsw(final Operand operand) {
    encoder.modrm(0, 0x0F01, 6, operand, 0);
  }

  public void invlpg(final Memory operand) {
    encoder.modrm(0, 0x0F01, 7, operand, 0);
  }

  /** Access rights of a selector. */
  public void lar(final Register destination, final Operand selector) {
    encoder.modrm(destination.size(), 0x0F02, general(destination), selector, 0);
  }

  /** Segment limit of a selector. */
  public void lsl(final Register destination, final Operand selector) {
    encoder.modrm(destination.size(), 0x0F03, general(destination), selector, 0);
  }

  // ---- x87 and SSE, the basics; modrm and modrmExtended write the rest ----

  /** FXSAVE, with the 64-bit layout in 64-bit code. */
  public void fxsave(final Memory destination) {
    encoder.modrm(encoder.codeSize() == 8 ? 8 : 0, 0x0FAE, 0, destination, 0);
  }

  /** FXRSTOR, with the 64-bit layout in 64-bit code. */
  public void fxrstor(final Memory source) {
    encoder.modrm(encoder.codeSize() == 8 ? 8 : 0, 0x0FAE, 1, source, 0);
  }

  public void ldmxcsr(final Memory source) {
    encoder.modrm(0, 0x0FAE, 2, source, 0);
  }

  public void stmxcsr(final Memory destination) {
    encoder.modrm(0, 0x0FAE, 3, destination, 0);
  }

  public void fninit() {
    encoder.plain(0, 0xDBE3);
  }

  public void fnclex() {
    encoder.plain(0, 0xDBE2);
  }

  public void fld1() {
    encoder.plain(0, 0xD9E8);
  }

  public void fldz() {
    encoder.plain(0, 0xD9EE);
  }

  public void fldpi() {
    encoder.plain(0, 0xD9EB);
  }

  public void fldcw(final Memory source) {
    encoder.modrm(0, 0xD9, 5, source, 0);
  }

  public void fnstcw(final Memory destination) {
    encoder.modrm(0, 0xD9, 7, destination, 0);
  }

  public void fnstsw(final Memory destination) {
    encoder.modrm(0, 0xDD, 7, destination, 0);
  }

  /** Status word into AX. */
  public void fnstswAx() {
    encoder.plain(0, 0xDFE0);
  }

  /** From a stack register or memory of 4, 8 or 10 bytes. */
  public void fld(final Operand source) {
    floating("fld", source, 0, 5);
  }

  /** To a stack register or memory of 4 or 8 bytes. */
  public void fst(final Operand destination) {
    if (destination instanceof Register) {
      encoder.modrm(0, 0xDD, 2, stackRegister(destination), 0);
    } else {
      floating("fst", destination, 2, -1);
    }
  }

  /** To a stack register or memory of 4, 8 or 10 bytes, and pops. */
  public void fstp(final Operand destination) {
    if (destination instanceof Register) {
      encoder.modrm(0, 0xDD, 3, stackRegister(destination), 0);
    } else {
      floating("fstp", destination, 3, 7);
    }
  }

  /** From an integer of 2, 4 or 8 bytes. */
  public void fild(final Memory source) {
    switch (source.size()) {
      case 2 -> encoder.modrm(0, 0xDF, 0, source, 0);
      case 4 -> encoder.modrm(0, 0xDB, 0, source, 0);
      case 8 -> encoder.modrm(0, 0xDF, 5, source, 0);
      default -> throw noForm("fild", source, source);
    }
  }

  /** To an integer of 2, 4 or 8 bytes, and pops. */
  public void fistp(final Memory destination) {
    switch (destination.size()) {
      case 2 -> encoder.modrm(0, 0xDF, 3, destination, 0);
      case 4 -> encoder.modrm(0, 0xDB, 3, destination, 0);
      case 8 -> encoder.modrm(0, 0xDF, 7, destination, 0);
      default -> throw noForm("fistp", destination, destination);
    }
  }

  /** ST0 with a stack register or memory of 4 or 8 bytes. */
  public void fadd(final Operand source) {
    floatingArithmetic(0, source);
  }

  /** ST0 with a stack register or memory of 4 or 8 bytes. */
  public void fmul(final Operand source) {
    floatingArithmetic(1, source);
  }

  /** ST0 with a stack register or memory of 4 or 8 bytes. */
  public void fsub(final Operand source) {
    floatingArithmetic(4, source);
  }

  /** ST0 with a stack register or memory of 4 or 8 bytes. */
  public void fdiv(final Operand source) {
    floatingArithmetic(6, source);
  }

  /** Exchanges ST0 with another stack register. */
  public void fxch(final Register other) {
    encoder.modrm(0, 0xD9, 1, stackRegister(other), 0);
  }

  /** 32 bits (or 64 with a 64-bit register) between a general register or memory and XMM. */
  public void movd(final Operand destination, final Operand source) {
    if (destination instanceof final Register to && to.kind() == Kind.XMM) {
      encoder.modrmPrefixed(0x66, wide(source), 0x0F6E, to, source, 0);
    } else if (source instanceof final Register from && from.kind() == Kind.XMM) {
      encoder.modrmPrefixed(0x66, wide(destination), 0x0F7E, from, destination, 0);
    } else {
      throw noForm("movd", destination, source);
    }
  }

  /** Low 64 bits between XMM registers and memory. */
  public void movq(final Operand destination, final Operand source) {
    if (destination instanceof final Register to && to.kind() == Kind.XMM) {
      encoder.modrmPrefixed(0xF3, 0, 0x0F7E, to, source, 0);
    } else if (source instanceof final Register from && from.kind() == Kind.XMM) {
      encoder.modrmPrefixed(0x66, 0, 0x0FD6, from, destination, 0);
    } else {
      throw noForm("movq", destination, source);
    }
  }

  public void movdqa(final Operand destination, final Operand source) {
    vectorMove(0x66, 0x0F6F, 0x0F7F, destination, source);
  }

  public void movdqu(final Operand destination, final Operand source) {
    vectorMove(0xF3, 0x0F6F, 0x0F7F, destination, source);
  }

  public void movaps(final Operand destination, final Operand source) {
    vectorMove(0, 0x0F28, 0x0F29, destination, source);
  }

  public void movups(final Operand destination, final Operand source) {
    vectorMove(0, 0x0F10, 0x0F11, destination, source);
  }

  public void paddd(final Register destination, final Operand source) {
    encoder.modrmPrefixed(0x66, 0, 0x0FFE, destination, source, 0);
  }

  public void paddq(final Register destination, final Operand source) {
    encoder.modrmPrefixed(0x66, 0, 0x0FD4, destination, source, 0);
  }

  public void pxor(final Register destination, final Operand source) {
    encoder.modrmPrefixed(0x66, 0, 0x0FEF, destination, source, 0);
  }

  public void addps(final Register destination, final Operand source) {
    encoder.modrmPrefixed(0, 0, 0x0F58, destination, source, 0);
  }

  public void addpd(final Register destination, final Operand source) {
    encoder.modrmPrefixed(0x66, 0, 0x0F58, destination, source, 0);
  }

  public void addss(final Register destination, final Operand source) {
    encoder.modrmPrefixed(0xF3, 0, 0x0F58, destination, source, 0);
  }

  public void addsd(final Register destination, final Operand source) {
    encoder.modrmPrefixed(0xF2, 0, 0x0F58, destination, source, 0);
  }

  public void mulsd(final Register destination, final Operand source) {
    encoder.modrmPrefixed(0xF2, 0, 0x0F59, destination, source, 0);
  }

  // ---- how the forms share their encodings ----

  /** r/m with r, or r with r/m: opcodes 0 to 3 of a block of eight, or MOV's 88 to 8B. */
  private void twoOperands(final int opcode, final Operand destination, final Operand source) {
    if (source instanceof final Register from) {
      final int size = sizeOf(destination, from);
      encoder.modrm(size, opcode | (size == 1 ? 0 : 1), general(from), destination, 0);
    } else {
      final Register to = register("two operands", destination, source);
      final int size = sizeOf(source, to);
      encoder.modrm(size, opcode | (size == 1 ? 2 : 3), general(to), source, 0);
    }
  }

  private void arithmetic(final int extension, final Operand destination, final long immediate) {
    final int size = sizeOf(destination);
    checkSignExtended(size, immediate);
    if (size != 1 && immediate == (byte) immediate) {
      encoder.modrm(size, 0x83, extension, destination, 1);
      encoder.immediate(immediate, 1);
      return;
    }
    final int immediateSize = Math.min(size, 4);
    if (destination instanceof final Register register && register.isAccumulator()) {
      encoder.plain(size, extension << 3 | (size == 1 ? 4 : 5));
    } else {
      encoder.modrm(size, size == 1 ? 0x80 : 0x81, extension, destination, immediateSize);
    }
    encoder.immediate(immediate, immediateSize);
  }

  private void incrementOrDecrement(final int extension, final Operand operand) {
    final int size = sizeOf(operand);
    if (operand instanceof final Register register && size != 1 && encoder.codeSize() != 8) {
      encoder.opcodeRegister(size, 0x40 | extension << 3, general(register));
    } else {
      encoder.modrm(size, size == 1 ? 0xFE : 0xFF, extension, operand, 0);
    }
  }

  private void unary(final int extension, final Operand operand) {
    final int size = sizeOf(operand);
    encoder.modrm(size, size == 1 ? 0xF6 : 0xF7, extension, operand, 0);
  }

  private void shift(final int extension, final Operand operand, final int count) {
    final int size = sizeOf(operand);
    if (count == 1) {
      encoder.modrm(size, size == 1 ? 0xD0 : 0xD1, extension, operand, 0);
    } else {
      encoder.modrm(size, size == 1 ? 0xC0 : 0xC1, extension, operand, 1);
      encoder.immediate(count, 1);
    }
  }

  private void shift(final int extension, final Operand operand, final Register cl) {
    checkCl(cl);
    final int size = sizeOf(operand);
    encoder.modrm(size, size == 1 ? 0xD2 : 0xD3, extension, operand, 0);
  }

  private void bitTest(final int extension, final Operand destination, final int bit) {
    encoder.modrm(sizeOf(destination), 0x0FBA, extension, destination, 1);
    encoder.immediate(bit, 1);
  }

  private void branch(final byte[] shortOpcode, final byte[] nearOpcode, final Label target) {
    buffer.putBranch(shortOpcode, nearOpcode, Math.min(encoder.codeSize(), 4), target);
  }

  private void shortBranch(final int opcode, final Label target) {
    encoder.plain(0, opcode);
    buffer.putHole(1, Fill.RELATIVE, 0, 0, target);
  }

  private void nearDisplacement(final Label target) {
    buffer.putHole(Math.min(encoder.codeSize(), 4), Fill.RELATIVE, 0, 0, target);
  }

  private void farPointer(
      final int opcode, final int selector, final long offset, final int offsetSize) {
    farOpcode(opcode, offsetSize);
    encoder.immediate(offset, offsetSize);
    encoder.immediate(selector, 2);
  }

  private void farPointer(
      final int opcode, final int selector, final Label target, final int offsetSize) {
    farOpcode(opcode, offsetSize);
    buffer.putHole(offsetSize, Fill.ABSOLUTE, 2, 0, target);
    encoder.immediate(selector, 2);
  }

  private void farOpcode(final int opcode, final int offsetSize) {
    needLegacyCode("far pointer");
    if (offsetSize != 2 && offsetSize != 4) {
      throw new IllegalArgumentException("offsetSize=" + offsetSize + ", allowed: 2, 4");
    }
    encoder.plain(offsetSize, opcode);
  }

  private static int farOffsetSize(final Memory target) {
    return switch (target.size()) {
      case 4 -> 2;
      case 6 -> 4;
      case 10 -> 8;
      default ->
          throw new IllegalArgumentException(
              "far pointer in memory of " + target.size() + " bytes, allowed: 4, 6, 10");
    };
  }

  private void string(final int opcode, final int size) {
    if (size == 8 && opcode < 0x70) {
      throw new IllegalArgumentException("string I/O of 8 bytes does not exist");
    }
    checkElementSize(size);
    encoder.plain(size == 1 ? 0 : size, size == 1 ? opcode : opcode + 1);
  }

  private void port(final int opcode, final Register accumulator) {
    if (!accumulator.isAccumulator() || accumulator.size() == 8) {
      throw new IllegalArgumentException(
          "register " + accumulator + " in port I/O, allowed: AL, AX, EAX");
    }
    final int size = accumulator.size();
    encoder.plain(size == 1 ? 0 : size, size == 1 ? opcode : opcode + 1);
  }

  private void floating(
      final String name, final Operand operand, final int extension, final int extended) {
    if (operand instanceof Register) {
      encoder.modrm(0, 0xD9, extension, stackRegister(operand), 0);
    } else if (operand.size() == 10 && extended >= 0) {
      encoder.modrm(0, 0xDB, extended, operand, 0);
    } else if (operand.size() == 4 || operand.size() == 8) {
      encoder.modrm(0, operand.size() == 4 ? 0xD9 : 0xDD, extension, operand, 0);
    } else {
      throw noForm(name, operand, operand);
    }
  }

  private void floatingArithmetic(final int extension, final Operand source) {
    if (source instanceof Register) {
      encoder.modrm(0, 0xD8, extension, stackRegister(source), 0);
    } else if (source.size() == 4 || source.size() == 8) {
      encoder.modrm(0, source.size() == 4 ? 0xD8 : 0xDC, extension, source, 0);
    } else {
      throw noForm("x87 arithmetic", source, source);
    }
  }

  private void vectorMove(
      final int mandatoryPrefix,
      final int loadOpcode,
      final int storeOpcode,
      final Operand destination,
      final Operand source) {
    if (destination instanceof final Register to) {
      encoder.modrmPrefixed(mandatoryPrefix, 0, loadOpcode, to, source, 0);
    } else {
      final Register from = register("vector move", source, destination);
      encoder.modrmPrefixed(mandatoryPrefix, 0, storeOpcode, from, destination, 0);
    }
  }

  // ---- checks ----

  private static int sizeOf(final Operand operand) {
    if (operand instanceof final Register register) {
      return general(register).size();
    }
    checkElementSize(operand.size());
    return operand.size();
  }

  private static int sizeOf(final Operand other, final Register register) {
    final int size = general(register).size();
    if (other instanceof final Register second) {
      general(second);
    }
    if (other.size() != size && other.size() != 0) {
      throw new IllegalArgumentException("operands of different sizes: " + register + ", " + other);
    }
    return size;
  }

  /** Operand size of pushes, pops and near branches: 8 bytes need no REX.W in 64-bit code. */
  private int stackSize(final Operand operand) {
    final int size = operand.size() == 0 ? encoder.codeSize() : sizeOf(operand);
    if (encoder.codeSize() == 8) {
      if (size == 8) {
        return 0;
      }
      if (size != 2) {
        throw new IllegalArgumentException(
            "operand of " + size + " bytes in 64-bit code, allowed: 2, 8");
      }
    }
    if (size == 1) {
      throw new IllegalArgumentException("operand of 1 byte, allowed: 2, 4, 8");
    }
    return size;
  }

  private int segmentOpcode(final Register segment, final int legacy, final int fs) {
    if (segment == Register.FS || segment == Register.GS) {
      return segment == Register.FS ? fs : fs + 8;
    }
    needLegacyCode("push and pop of ES, CS, SS, DS");
    return legacy | segment.number() << 3;
  }

  private static int wide(final Operand operand) {
    if (operand.size() != 4 && operand.size() != 8) {
      throw new IllegalArgumentException("movd with " + operand + ", allowed: 4 or 8 bytes");
    }
    return operand.size() == 8 ? 8 : 0;
  }

  private static int byteOrWord(final int opcode, final Operand source) {
    if (source.size() != 1 && source.size() != 2) {
      throw new IllegalArgumentException("source of " + source.size() + " bytes, allowed: 1, 2");
    }
    return source.size() == 1 ? opcode : opcode + 1;
  }

  private Register wholeRegister(final Operand operand) {
    final int size = encoder.codeSize() == 8 ? 8 : 4;
    if (operand instanceof final Register register
        && register.kind() == Kind.GPR
        && register.size() == size) {
      return register;
    }
    throw new IllegalArgumentException(
        "operand "
            + operand
            + " with a control or debug register, allowed: a register of "
            + size
            + " bytes");
  }

  private static Register general(final Register register) {
    if (!register.isGeneral()) {
      throw new IllegalArgumentException("register " + register + ": not a general register");
    }
    return register;
  }

  private static Register stackRegister(final Operand operand) {
    if (operand instanceof final Register register && register.kind() == Kind.ST) {
      return register;
    }
    throw new IllegalArgumentException("operand " + operand + ": not an x87 stack register");
  }

  private static Register register(final String name, final Operand operand, final Operand other) {
    if (operand instanceof final Register register) {
      return register;
    }
    throw noForm(name, operand, other);
  }

  private static IllegalArgumentException noForm(
      final String name, final Operand first, final Operand second) {
    return new IllegalArgumentException("no form of " + name + " for " + first + ", " + second);
  }

  private static void checkElementSize(final int size) {
    if (size != 1 && size != 2 && size != 4 && size != 8) {
      throw new IllegalArgumentException(
          "operand size of " + size + " bytes, allowed: 1, 2, 4, 8 (say which with as…)");
    }
  }

  private static void checkSignExtended(final int size, final long immediate) {
    if (size == 8 && immediate != (int) immediate) {
      throw new IllegalArgumentException(
          "immediate=" + immediate + " does not sign-extend from 4 bytes");
    }
  }

  private static void checkCl(final Register register) {
    if (register != Register.CL) {
      throw new IllegalArgumentException("shift count in " + register + ", allowed: CL");
    }
  }

  private static void checkDx(final Register register) {
    if (register != Register.DX) {
      throw new IllegalArgumentException("port number in " + register + ", allowed: DX");
    }
  }

  private void needLegacyCode(final String name) {
    if (encoder.codeSize() == 8) {
      throw new IllegalArgumentException(name + " does not exist in 64-bit code");
    }
  }

  private void need64BitCode(final String name) {
    if (encoder.codeSize() != 8) {
      throw new IllegalArgumentException(name + " exists in 64-bit code only");
    }
  }
}

package dev.vmexit.vcpu.soft;

import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.decode.Decoder;
import dev.vmexit.x86.decode.Instruction;
import dev.vmexit.x86.decode.Mnemonic;
import java.util.Arrays;
import java.util.random.RandomGenerator;

/**
 * Draws cases of a form: its operands, prefixes that change nothing or everything, and a state in
 * which its memory operand lies in the window, across a page, beyond a limit, in an absent page or
 * at no address at all.
 */
final class UserCases {
  private static final int[] EDGES = {0, 1, 2, -1, -2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF};
  private static final int REX = 0x40;
  private static final int SIB = 4;
  private static final int MAX_STRING = 10;

  /** An operand whose place is not known. */
  private static final long NOWHERE = -1;

  /** Selectors that name something of each kind, or nothing. */
  private static final int[] SELECTORS = {
    0, 1, 3, 8, 0x10, 0x1B, 0x18, 0x23, 0x2B, 0x28, 0x2A, 0x33, 7, 0xF, 0xD, 0x17, 0x1F, 0x27, 0x2F,
    0x37, 0x3F, 0x47, 0x4F, 0x57, 0x5F, 0x7FFF, 0x80, 0xFFFB
  };

  private final RandomGenerator random;
  private final long base;
  private final Decoder decoder = new Decoder();
  private final byte[] bytes = new byte[24];

  /** Draws what the host cannot judge, too: for the software vCPU alone. */
  boolean everything;

  /** The instruction of the last case. */
  final Instruction insn = new Instruction();

  /** Whether its bytes are no instruction after all: LOCK where it may not be. */
  boolean invalid;

  private int length;
  private int pointerOffset;

  /** Where in its segment the memory operand was put. */
  long operandOffset;

  UserCases(final RandomGenerator random, final long base) {
    this.random = random;
    this.base = base;
  }

  private boolean chance(final int oneIn) {
    return random.nextInt(oneIn) == 0;
  }

  private long value() {
    return value(random);
  }

  /** A number, often one that is special to some size. */
  static long value(final RandomGenerator random) {
    return switch (random.nextInt(5)) {
      case 0 -> EDGES[random.nextInt(EDGES.length)];
      case 1 -> (1L << random.nextInt(64)) + random.nextInt(-1, 2);
      case 2 -> random.nextInt(-200, 200);
      case 3 -> random.nextInt();
      default -> random.nextLong();
    };
  }

  /** Fills a case; false where what was drawn cannot be used. */
  boolean draw(final UserForm form, final UserContext c) {
    c.codeSize = form.codeSize;
    state(c);
    if (!encode(form, c)) {
      return false;
    }
    if (UserFloats.touches(insn)) {
      UserFloats.fill(random, c);
    } else {
      c.cleanFpu();
    }
    if (!place(c)) {
      return false;
    }
    // The disassembly of the final bytes: displacements were patched.
    invalid =
        decoder.decode(bytes, 0, length, form.codeSize, insn) != Decoder.STATUS_OK
            || insn.length != length;
    c.code = Arrays.copyOf(bytes, length);
    if (length > 1 && chance(100) && !invalid) {
      // The fetch of its last bytes faults.
      c.codeOffset = UserContext.CODE + UserContext.PAGE - 1 - random.nextInt(length - 1);
      return !insn.hasMemory || insn.base != Gpr.RIP;
    }
    return true;
  }

  private void state(final UserContext c) {
    for (int i = 0; i < Gpr.COUNT; i++) {
      c.gprs[i] = c.codeSize == 8 ? value() : value() & 0xFFFF_FFFFL;
    }
    for (int i = 0; i < UserContext.WINDOW; i += 8) {
      FloatValues.put(c.memory, i, 8, chance(4) ? value() : random.nextLong());
    }
    c.windowOffset =
        switch (random.nextInt(4)) {
          case 0 -> UserContext.DATA;
          case 1 -> UserContext.DATA_END - UserContext.WINDOW;
          default -> UserContext.DATA + UserContext.PAGE - UserContext.WINDOW / 2;
        };
    c.codeOffset = UserContext.CODE + 0x800;
    c.flags =
        random.nextLong() & Flags.ARITHMETIC
            | (chance(2) ? Flags.DF : 0)
            | (chance(40) ? Flags.AC : 0)
            | (chance(60) ? Flags.TF : 0);
    final int flat = c.codeSize == 2 ? UserContext.DATA16 : UserContext.DATA32;
    c.ds = flat;
    c.es = flat;
    c.ss = flat;
    if (c.codeSize != 8 && chance(4)) {
      // Limits, read-only data, nothing at all.
      final int[] others = {0x17, 0x1F, 0x27, 0x2F, 0x57, 0xF, 0x2B, 0, 0x47 & 0x4F | 7};
      c.ds = others[random.nextInt(7)];
      c.es = others[random.nextInt(8)];
      if (chance(3)) {
        c.ss = new int[] {0x17, 0x1F, 0x27, 0xF, 0x57}[random.nextInt(5)];
      }
    }
    final long stack = c.windowOffset + 96 + random.nextInt(64);
    c.gprs[Gpr.RSP] = linearToOffset(c.ss, base + (chance(2) ? stack & -16 : stack));
    if (chance(50)) {
      c.gprs[Gpr.RSP] = linearToOffset(c.ss, base + edge(8));
    } else if (c.codeSize == 8 && chance(60)) {
      c.gprs[Gpr.RSP] = notCanonical();
    }
    if (c.codeSize != 8) {
      c.gprs[Gpr.RSP] &= 0xFFFF_FFFFL;
      if (isStack16(c.ss)) {
        // IRET to a 16-bit stack leaves the upper half as the host's trampoline had it.
        c.gprs[Gpr.RSP] = c.gprs[Gpr.RSP] & 0xFFFF | HostUser.upperHalf(base);
      }
    }
  }

  /** rSP in the width of the stack. */
  static long stackOffset(final UserContext c) {
    final long sp = c.gprs[Gpr.RSP];
    return c.codeSize == 8 ? sp : isStack16(c.ss) ? sp & 0xFFFF : sp & 0xFFFF_FFFFL;
  }

  private static boolean isStack16(final int selector) {
    return isLocal(selector) && (UserContext.LDT[selector >> 3][2] & UserContext.LDT_32) == 0;
  }

  private static boolean isLocal(final int selector) {
    return (selector & 4) != 0;
  }

  private long linearToOffset(final int selector, final long linear) {
    return isLocal(selector) ? linear - base : linear;
  }

  private long notCanonical() {
    return 0x8000_0000_0000L + (random.nextLong() >>> 18) + (chance(2) ? 0 : -4);
  }

  /** An offset where an operand of some bytes meets an absent page, at least nearly so. */
  private long edge(final int size) {
    return chance(3)
        ? UserContext.DATA - random.nextInt(size + 2)
        : UserContext.DATA_END - random.nextInt(size + 2);
  }

  // ---- bytes ----

  private boolean encode(final UserForm form, final UserContext c) {
    Arrays.fill(bytes, (byte) 0);
    final boolean mode64 = form.codeSize == 8;
    int at = 0;
    if (chance(5) && !form.vex) {
      bytes[at++] = (byte) 0x67;
    } else if (chance(10)) {
      bytes[at++] = (byte) 0x67;
    }
    if (chance(10)) {
      bytes[at++] = (byte) new int[] {0x2E, 0x36, 0x3E, 0x26, 0x65}[random.nextInt(5)];
    }
    if (chance(form.group.equals("integer") ? 8 : 60)) {
      bytes[at++] = (byte) 0xF0;
    }
    int head = 0;
    int rex = 0;
    if (!form.vex) {
      for (; head < form.head.length - 1 && isPrefix(form.head[head], mode64); head++) {
        if (mode64 && (form.head[head] & 0xF0) == REX) {
          rex = form.head[head] & 0xFF;
        } else {
          bytes[at++] = form.head[head];
        }
      }
      if (mode64 && (rex != 0 || chance(2))) {
        bytes[at++] = (byte) (rex | REX | random.nextInt(8));
      }
    }
    final int start = at;
    for (; head < form.head.length; head++) {
      bytes[at++] = form.head[head];
    }
    if (form.vex) {
      if (mode64) {
        bytes[start + 1] ^= (byte) (random.nextInt(8) << 5);
      }
      bytes[start + 2] ^= (byte) (random.nextInt(mode64 ? 16 : 8) << 3);
    }
    pointerOffset = at;
    if (form.hasModrm) {
      at = modrm(form, c, at);
    }
    for (int i = 0; i < form.immediateBytes; i++) {
      bytes[at++] = (byte) value();
    }
    length = at;
    int status = decoder.decode(bytes, 0, length, form.codeSize, insn);
    if (status == Decoder.STATUS_INVALID && form.vex) {
      bytes[start + 2] |= 0x78;
      status = decoder.decode(bytes, 0, length, form.codeSize, insn);
    }
    if (status == Decoder.STATUS_TRUNCATED) {
      // An address-size prefix made the displacement or a moffs longer.
      length = Math.min(bytes.length, length + 8);
      status = decoder.decode(bytes, 0, length, form.codeSize, insn);
    }
    if (status != Decoder.STATUS_OK) {
      // LOCK on what cannot be locked is as good a case as any.
      invalid = true;
      return status == Decoder.STATUS_INVALID && hasLock() && insn.length <= 15 && settleInvalid();
    }
    invalid = false;
    length = insn.length;
    return !isLeftOut();
  }

  /** Decodes what the bytes are without LOCK, so that operands can be placed all the same. */
  private boolean settleInvalid() {
    final byte[] without = bytes.clone();
    for (int i = 0; i < 4; i++) {
      if (without[i] == (byte) 0xF0) {
        without[i] = 0x3E;
      }
    }
    final int codeSize = insn.codeSize;
    if (decoder.decode(without, 0, length, codeSize, insn) != Decoder.STATUS_OK) {
      return false;
    }
    length = insn.length;
    return !isLeftOut();
  }

  private boolean hasLock() {
    for (int i = 0; i < 4; i++) {
      if (bytes[i] == (byte) 0xF0) {
        return true;
      }
    }
    return false;
  }

  private static boolean isPrefix(final byte value, final boolean mode64) {
    return switch (value & 0xFF) {
      case 0x66, 0xF2, 0xF3 -> true;
      default -> mode64 && (value & 0xF0) == REX;
    };
  }

  private int modrm(final UserForm form, final UserContext c, final int from) {
    int at = from;
    final int drawn = form.modrm(random.nextInt());
    if (!form.memory) {
      bytes[at++] = (byte) drawn;
      return at;
    }
    final int reg = form.modrm(random.nextInt()) & 0x38;
    final boolean narrow = bytes[0] == 0x67;
    final int addressSize =
        c.codeSize == 8 ? (narrow ? 4 : 8) : (c.codeSize == 2) != narrow ? 2 : 4;
    final int mod = random.nextInt(3);
    final int rm = addressSize != 2 && form.name.contains("GATHER") ? SIB : random.nextInt(8);
    bytes[at++] = (byte) (mod << 6 | reg | rm);
    int displacement = mod == 1 ? 1 : 0;
    if (addressSize == 2) {
      displacement = mod == 2 || mod == 0 && rm == 6 ? 2 : displacement;
    } else {
      displacement = mod == 2 || mod == 0 && rm == 5 ? 4 : displacement;
      if (rm == SIB) {
        final int sib = random.nextInt(256);
        bytes[at++] = (byte) sib;
        displacement = mod == 0 && (sib & 7) == 5 ? 4 : displacement;
      }
    }
    pointerOffset = at;
    for (int i = 0; i < displacement; i++) {
      bytes[at++] = (byte) (chance(2) ? 0 : random.nextInt());
    }
    return at;
  }

  // ---- what is left out, and why ----

  private boolean isLeftOut() {
    return insn.hasPrefix(Instruction.PREFIX_SEGMENT) && insn.segment == Seg.FS
        || !everything && UserExclusions.why(insn, hasLock()) != null
        || insn.mnemonic == Mnemonic.INT && (insn.immediate & 0xFF) == 0x80;
  }

  // ---- operands ----

  private boolean place(final UserContext c) {
    switch (insn.mnemonic) {
      case INS, OUTS -> {
        strings(c);
        // Whether the right to a port is looked at when nothing is to be moved is not said.
        c.gprs[Gpr.RCX] |= 1;
      }
      case MOVS, CMPS, STOS, LODS, SCAS, MASKMOVQ, MASKMOVDQU, VMASKMOVDQU -> strings(c);
      case XLAT -> {
        final long target = target(c, Seg.DS, 1);
        c.gprs[Gpr.RBX] = address(target - (c.gprs[Gpr.RAX] & 0xFF), insn.addressSize);
      }
      case DIV, IDIV -> dividend(c);
      case ENTER -> {
        final int levels = chance(2) ? 0 : random.nextInt(4);
        bytes[length - 1] = (byte) levels;
        bytes[length - 2] = 0;
        // What is probed at the new top of the stack has no size.
        c.flags &= ~(long) Flags.AC;
        c.gprs[Gpr.RBP] = linearToOffset(c.ss, base + c.windowOffset + 128 + random.nextInt(64));
      }
      case LEAVE ->
          c.gprs[Gpr.RBP] = linearToOffset(c.ss, base + c.windowOffset + random.nextInt(200));
      case MOV, POP -> {
        if (insn.operandKind[0] == Instruction.SEGMENT && insn.operandRegister[0] == Seg.SS) {
          // Its shadow would move a trap behind the code.
          c.flags &= ~(long) Flags.TF;
        }
      }
      case AAM -> bytes[length - 1] = (byte) (chance(8) ? 0 : random.nextInt());
      default -> {}
    }
    if (insn.hasMemory && !memory(c)) {
      return false;
    }
    if (insn.memorySize > 8
        || insn.mnemonic.name().contains("GATHER")
        || insn.mnemonic.name().contains("MASKMOV")) {
      // Which alignment wide operands are checked for is the processor's choice.
      c.flags &= ~(long) Flags.AC;
    }
    if (!UserFrames.fill(this, c)) {
      return false;
    }
    return c.codeSize == 8 || truncate(c);
  }

  private static boolean truncate(final UserContext c) {
    for (int i = 0; i < Gpr.COUNT; i++) {
      c.gprs[i] = i < 8 ? c.gprs[i] & 0xFFFF_FFFFL : 0;
    }
    return true;
  }

  private long address(final long value, final int size) {
    return switch (size) {
      case 2 -> value & 0xFFFF | random.nextLong() << 16;
      case 4 -> value & 0xFFFF_FFFFL | random.nextLong() << 32;
      default -> value;
    };
  }

  /** Offset in a segment of where an operand is to lie. */
  private long target(final UserContext c, final int segment, final int size) {
    long linear = base + c.windowOffset + random.nextInt(UserContext.WINDOW - Math.min(size, 128));
    final int way = random.nextInt(40);
    if (way < 12 || insn.mnemonic.name().startsWith("SHA") && size == 16) {
      // AMD's SHA instructions take what is not aligned.
      linear &= -32;
    } else if (way < 15) {
      linear = base + edge(size);
    } else if (way == 15 && insn.addressSize == 8) {
      return notCanonical();
    }
    return linearToOffset(selector(c, segment), linear);
  }

  private static int selector(final UserContext c, final int segment) {
    return switch (segment) {
      case Seg.DS -> c.ds;
      case Seg.ES -> c.es;
      case Seg.SS -> c.ss;
      case Seg.CS -> c.codeSelector();
      default -> 0;
    };
  }

  private void strings(final UserContext c) {
    c.gprs[Gpr.RCX] = address(random.nextInt(MAX_STRING), insn.addressSize);
    final int size = Math.max(1, insn.operandSize);
    c.gprs[Gpr.RSI] = address(target(c, insn.segment, size), insn.addressSize);
    final boolean mask = insn.mnemonic.name().contains("MASKMOV");
    c.gprs[Gpr.RDI] =
        address(target(c, mask ? insn.segment : Seg.ES, mask ? 16 : size), insn.addressSize);
    if (chance(2)) {
      // Runs of equal elements, so that comparisons go on for a while.
      final byte same = (byte) random.nextInt(3);
      for (int i = 0; i < UserContext.WINDOW; i++) {
        c.memory[i] = i % 61 == 0 ? (byte) random.nextInt() : same;
      }
      c.gprs[Gpr.RAX] = (same & 0xFFL) * 0x0101_0101_0101_0101L;
    }
  }

  /** Most random dividends overflow: half of the cases extend the low half. */
  private void dividend(final UserContext c) {
    if (chance(3)) {
      return;
    }
    final int shift = 64 - 8 * insn.operandSize;
    final long low = c.gprs[Gpr.RAX] << shift >> shift;
    final boolean negative = insn.mnemonic == Mnemonic.IDIV && low < 0;
    if (insn.operandSize == 1) {
      c.gprs[Gpr.RAX] = c.gprs[Gpr.RAX] & ~0xFF00L | (negative ? 0xFF00 : 0);
    } else {
      c.gprs[Gpr.RDX] = chance(3) ? random.nextInt(3) : negative ? -1 : 0;
    }
  }

  /** Sets registers or displacement so that the memory operand lies where it should. */
  private boolean memory(final UserContext c) {
    final int size = Math.max(1, insn.memorySize);
    long target = target(c, insn.segment, size);
    operandOffset = target;
    bitString(c);
    final int register = insn.base;
    final int index = insn.index;
    final int width = insn.addressSize;
    if (register == Gpr.RIP) {
      if (width == 8 && target != (int) target) {
        return false;
      }
      return patch(target - (base + c.codeOffset + length), 4);
    }
    final long displacement = insn.displacement;
    if (register < 0 && index < 0) {
      if (insn.modrm < 0) {
        return patch(target, insn.addressSize);
      }
      return target == (int) target && patch(target, width == 2 ? 2 : 4);
    }
    if (insn.mnemonic.name().contains("GATHER")) {
      return gather(c, target);
    }
    if (register >= 0 && reserved(register)) {
      return false;
    }
    if (register == Gpr.RSP || index >= 0 && register < 0) {
      if (register < 0) {
        c.gprs[index] = address(random.nextInt(-64, 64), width);
      }
      final long have =
          (register < 0 ? 0 : c.gprs[register])
              + (index < 0 ? 0 : narrow(c.gprs[index], width) << insn.scaleShift);
      if (register == Gpr.RSP && width != 8 && c.codeSize == 8 && c.gprs[register] >>> 32 != 0) {
        // What is not canonical would name anything in 32 bits.
        return false;
      }
      if (register == Gpr.RSP && index >= 0 && index != Gpr.RSP && insn.modrm >> 6 == 0) {
        c.gprs[index] = address(random.nextInt(-16, 16), width);
        operandOffset = NOWHERE;
        return true;
      }
      final long rest = target - have;
      final int bytesOfDisplacement = insn.modrm >> 6 == 1 ? 1 : insn.modrm >> 6 == 2 ? 4 : 0;
      if (register < 0) {
        return rest == (int) rest && patch(rest, 4);
      }
      return bytesOfDisplacement == 0 && rest == 0
          || bytesOfDisplacement == 1 && rest == (byte) rest && patch(rest, 1)
          || bytesOfDisplacement == 4 && rest == (int) rest && patch(rest, 4);
    }
    if (register == index) {
      // One register for both: the target must be divisible.
      final long rest = target - displacement;
      final long factor = 1L + (1L << insn.scaleShift);
      if (rest % factor != 0) {
        return false;
      }
      c.gprs[register] = address(rest / factor, width);
      return true;
    }
    if (index >= 0) {
      if (index == Gpr.RSP || reserved(index)) {
        target -= narrow(c.gprs[index], width) << insn.scaleShift;
      } else {
        c.gprs[index] = address(chance(2) ? random.nextInt(-64, 64) : value(), width);
        target -= narrow(c.gprs[index], width) << insn.scaleShift;
      }
    }
    c.gprs[register] = address(target - displacement, width);
    return true;
  }

  /** A gather: small indices from a base that lies in the window. */
  private boolean gather(final UserContext c, final long target) {
    if (insn.base < 0 || insn.base == Gpr.RSP) {
      return false;
    }
    c.gprs[insn.base] = address(target - insn.displacement, insn.addressSize);
    // A trap that is pending is taken in the midst of it (SDM Vol. 2C, VPGATHERDD).
    c.flags &= ~(long) Flags.TF;
    for (int lane = 0; lane < 8; lane++) {
      final int size = insn.mnemonic.name().contains("GATHERQ") ? 8 : 4;
      if (size == 8 && lane >= 4) {
        break;
      }
      final int at = lane * size;
      final byte[] into = at < 16 ? c.fx : c.high;
      FloatValues.put(into, 16 * insn.index + (at < 16 ? 160 + at : at - 16), size, index());
    }
    return true;
  }

  private int index() {
    return chance(20) ? random.nextInt(-900, 900) : random.nextInt(-12, 12);
  }

  /** The register of BT and its kin with memory is a bit offset: kept near. */
  private void bitString(final UserContext c) {
    switch (insn.mnemonic) {
      case BT, BTS, BTR, BTC -> {
        if (insn.operandKind[1] == Instruction.GPR) {
          final long near = random.nextInt(-256, 256);
          final int register = insn.operandRegister[1];
          c.gprs[register] = insn.operandSize == 2 ? near & 0xFFFF : near;
          if (register == Gpr.RSP && c.codeSize != 8) {
            c.gprs[register] = c.gprs[register] & 0xFFFF | HostUser.upperHalf(base);
          }
        }
      }
      default -> {}
    }
  }

  private boolean reserved(final int register) {
    return switch (insn.mnemonic) {
      case BT, BTS, BTR, BTC ->
          insn.operandKind[1] == Instruction.GPR && insn.operandRegister[1] == register;
      default -> false;
    };
  }

  private static long narrow(final long value, final int width) {
    return switch (width) {
      case 2 -> (short) value;
      case 4 -> (int) value;
      default -> value;
    };
  }

  private boolean patch(final long value, final int size) {
    FloatValues.put(bytes, pointerOffset, size, value);
    return true;
  }

  // ---- for frames ----

  long base() {
    return base;
  }

  int selectorOfSomeKind() {
    return SELECTORS[random.nextInt(SELECTORS.length)];
  }

  int below(final int bound) {
    return random.nextInt(bound);
  }

  byte[] codeBytes() {
    return bytes;
  }

  int codeLength() {
    return length;
  }

  /**
   * Writes to the window where an offset of a segment lies in it; false where an instruction may
   * read something else there.
   */
  boolean write(
      final UserContext c, final int segment, final long offset, final int size, final long value) {
    final long at = offset - (isLocal(selector(c, segment)) ? 0 : base);
    final long inWindow = at - c.windowOffset;
    if (inWindow >= 0 && inWindow + size <= UserContext.WINDOW) {
      FloatValues.put(c.memory, (int) inWindow, size, value);
      return true;
    }
    // It cannot be read at all where a byte of it is absent.
    return at >= UserContext.DATA - UserContext.PAGE && at < UserContext.DATA
        || at + size > UserContext.DATA_END && at < UserContext.DATA_END + UserContext.PAGE
        || c.codeSize == 8 && offset != offset << 16 >> 16;
  }
}

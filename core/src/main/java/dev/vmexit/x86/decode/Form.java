package dev.vmexit.x86.decode;

/**
 * A node of the opcode tables: one instruction form (a leaf), a choice between forms by something
 * that stands in the bytes (a group), or a byte that is not an opcode yet (a prefix, an escape).
 */
final class Form {
  // Kinds: leaf and groups first, then what the prefix loop handles.
  static final int LEAF = 0;

  /** By mandatory prefix: none, 66, F3, F2. */
  static final int BY_PREFIX = 1;

  /** By ModRM.reg. */
  static final int BY_REG = 2;

  /** Memory (0) or register (1) by ModRM.mod. */
  static final int BY_MOD = 3;

  /** By ModRM.rm. */
  static final int BY_RM = 4;

  /** By operand size: 2, 4, 8. */
  static final int BY_SIZE = 5;

  /** By the W bit of VEX or REX. */
  static final int BY_W = 6;

  /** By the W bit where it means something to general registers: 0 outside 64-bit mode. */
  static final int BY_W64 = 7;

  /** By VEX.L. */
  static final int BY_L = 8;

  /** By REX.B. */
  static final int BY_B = 9;

  static final int GROUP_KINDS = 10;

  static final int ESCAPE = 16;
  static final int REX = 17;
  static final int OPERAND_SIZE = 18;
  static final int ADDRESS_SIZE = 19;
  static final int LOCK = 20;
  static final int REPEAT = 21;
  static final int REPEAT_NE = 22;

  /** Segment override of register {@link #flags}. */
  static final int SEGMENT = 23;

  /** C5, C4, 62: outside 64-bit mode an older instruction, {@code sub[0]}, if ModRM is memory. */
  static final int VEX2 = 24;

  static final int VEX3 = 25;
  static final int EVEX = 26;

  // Flags of a leaf.
  static final int HAS_MODRM = 1;

  /** LOCK is allowed, if the destination is in memory. */
  static final int LOCKABLE = 1 << 1;

  static final int MEMORY_ONLY = 1 << 2;
  static final int REGISTER_ONLY = 1 << 3;

  /** ModRM.mod is not looked at, rm is always a register (MOV to and from CR, DR). */
  static final int MOD_IGNORED = 1 << 4;

  /** VEX.vvvv names an operand; else it must be 1111b. */
  static final int USES_VVVV = 1 << 5;

  /** 3DNow!: the last byte names the operation. */
  static final int SUFFIX_OPCODE = 1 << 6;

  /** The index of the memory operand is a vector register. */
  static final int VECTOR_INDEX = 1 << 7;

  // How the operand size is found from prefixes and mode.
  static final int SIZE_NORMAL = 0;

  /** Default 8 in 64-bit mode, 66 makes it 2. */
  static final int SIZE_DEFAULT_64 = 1;

  /** Always 8 in 64-bit mode. */
  static final int SIZE_FORCE_64 = 2;

  /** 8 in 64-bit mode, else 4. */
  static final int SIZE_MODE = 3;

  /** At most 4. */
  static final int SIZE_MAX_32 = 4;

  static final int SIZE_BYTE = 5;

  static final Form INVALID = new Form(Mnemonic.INVALID, 0, SIZE_NORMAL, new int[0]);

  final int kind;
  final Form[] sub;
  final Mnemonic mnemonic;
  final int flags;
  final int sizing;

  /** Operands in use; each is packed as {@link Operands} says. */
  final int count;

  final int operand0;
  final int operand1;
  final int operand2;
  final int operand3;

  private Form(
      final int kind,
      final Form[] sub,
      final Mnemonic mnemonic,
      final int flags,
      final int sizing,
      final int[] operands) {
    this.kind = kind;
    this.sub = sub;
    this.mnemonic = mnemonic;
    this.flags = flags;
    this.sizing = sizing;
    count = operands.length;
    operand0 = count > 0 ? operands[0] : 0;
    operand1 = count > 1 ? operands[1] : 0;
    operand2 = count > 2 ? operands[2] : 0;
    operand3 = count > 3 ? operands[3] : 0;
  }

  Form(final Mnemonic mnemonic, final int flags, final int sizing, final int[] operands) {
    this(LEAF, null, mnemonic, flags, sizing, operands);
  }

  /** A group. */
  Form(final int kind, final Form[] sub) {
    this(kind, sub, Mnemonic.INVALID, 0, SIZE_NORMAL, new int[0]);
  }

  /** A prefix or an escape. */
  Form(final int kind, final int argument) {
    this(kind, null, Mnemonic.INVALID, argument, SIZE_NORMAL, new int[0]);
  }
}

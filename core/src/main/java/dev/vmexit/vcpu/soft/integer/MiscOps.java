package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/** LEA, XLAT, CBW to CQO, BOUND, CRC32, and the instructions that do nothing. */
final class MiscOps {
  private static final int RAX = StateLayout.gpr(Gpr.RAX);
  private static final int RBX = StateLayout.gpr(Gpr.RBX);
  private static final int RDX = StateLayout.gpr(Gpr.RDX);

  private MiscOps() {}

  static Op bindLea(final Instruction insn) {
    return switch (insn.operandSizes[0]) {
      case 2 -> new Lea16(insn);
      case 4 -> new Lea32(insn);
      default -> new Lea64(insn);
    };
  }

  /** NOP, PAUSE, hints, ENDBR: a memory operand is not touched. */
  static final class Nothing extends Op {
    Nothing(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {}
  }

  static final class Lea16 extends Forms.RegMem {
    Lea16(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg16(dst, (int) effectiveAddress(cpu));
    }
  }

  static final class Lea32 extends Forms.RegMem {
    Lea32(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg32(dst, (int) effectiveAddress(cpu));
    }
  }

  static final class Lea64 extends Forms.RegMem {
    Lea64(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      cpu.reg64(dst, effectiveAddress(cpu));
    }
  }

  /** XLAT: AL from the table at rBX, indexed by AL. */
  static final class Translate extends Op {
    private final int segment;
    private final int addressSize;
    private final boolean legacy;

    Translate(final Instruction insn) {
      super(insn);
      segment = insn.segment;
      addressSize = insn.addressSize;
      legacy = insn.codeSize != 8;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      long offset = cpu.reg64(RBX) + cpu.reg8(RAX);
      if (addressSize != 8) {
        offset &= addressSize == 4 ? 0xFFFF_FFFFL : 0xFFFF;
      }
      cpu.reg8(RAX, cpu.load8(cpu.stringAddress(segment, offset, 1, false, legacy)));
    }
  }

  /** CBW, CWDE, CDQE: the lower half of rAX sign-extended into the whole. */
  static final class ExtendAccumulator extends Op {
    private final int size;

    ExtendAccumulator(final Instruction insn, final int size) {
      super(insn);
      this.size = size;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      switch (size) {
        case 2 -> cpu.reg16(RAX, (byte) cpu.reg8(RAX));
        case 4 -> cpu.reg32(RAX, (short) cpu.reg16(RAX));
        default -> cpu.reg64(RAX, cpu.reg32(RAX));
      }
    }
  }

  /** CWD, CDQ, CQO: rDX filled with the sign of rAX. */
  static final class ExtendToRdx extends Op {
    private final int size;

    ExtendToRdx(final Instruction insn, final int size) {
      super(insn);
      this.size = size;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      switch (size) {
        case 2 -> cpu.reg16(RDX, (short) cpu.reg16(RAX) >> 15);
        case 4 -> cpu.reg32(RDX, cpu.reg32(RAX) >> 31);
        default -> cpu.reg64(RDX, cpu.reg64(RAX) >> 63);
      }
    }
  }

  /** BOUND: #BR unless a signed index lies within the two bounds in memory. */
  static final class Bound extends Op {
    private final int size;
    private final int index;

    Bound(final Instruction insn) {
      super(insn);
      size = insn.operandSizes[0];
      index = Forms.register(insn, 0);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      final long lower = bound(cpu, 0);
      final long upper = bound(cpu, size);
      final long value = Registers.signExtend(Registers.read(cpu, index, size), size);
      if (value < lower || value > upper) {
        throw cpu.raise(Vector.BR);
      }
    }

    private long bound(final SoftCpu cpu, final int delta) {
      final long linear = displacedAddress(cpu, delta, size, false);
      return Registers.signExtend(cpu.load(linear, size), size);
    }
  }

  /** CRC32: the Castagnoli polynomial, bits reflected (SDM Vol. 2, CRC32). */
  static final class Crc32 extends Op {
    private static final int REFLECTED_POLYNOMIAL = 0x82F6_3B78;

    private static final int[] TABLE = table();

    private final int dst;
    private final int size;

    /** Offset of the source register, or -1: memory. */
    private final int src;

    Crc32(final Instruction insn) {
      super(insn);
      dst = StateLayout.gpr(insn.operandRegister[0]);
      size = insn.operandSizes[1];
      src = Forms.isMemory(insn, 1) ? -1 : Forms.register(insn, 1);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      long data = src < 0 ? cpu.load(readAddress(cpu, size), size) : Registers.read(cpu, src, size);
      int crc = cpu.reg32(dst);
      for (int i = 0; i < size; i++) {
        crc = crc >>> 8 ^ TABLE[(crc ^ (int) data) & 0xFF];
        data >>>= 8;
      }
      cpu.reg32(dst, crc);
    }

    private static int[] table() {
      final int[] table = new int[256];
      for (int i = 0; i < table.length; i++) {
        int crc = i;
        for (int bit = 0; bit < 8; bit++) {
          crc = crc >>> 1 ^ ((crc & 1) != 0 ? REFLECTED_POLYNOMIAL : 0);
        }
        table[i] = crc;
      }
      return table;
    }
  }
}

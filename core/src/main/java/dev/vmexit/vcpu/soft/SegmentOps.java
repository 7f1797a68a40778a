package dev.vmexit.vcpu.soft;

import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/** Binds what loads, stores and asks about segments and their tables. */
final class SegmentOps {
  private static final int RSP = StateLayout.gpr(Gpr.RSP);

  private SegmentOps() {}

  /** Binds an instruction, or null where it is not of this group. */
  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case MOV -> bindMove(insn);
      case PUSH ->
          insn.operandKind[0] == Instruction.SEGMENT
              ? SystemOps.plain(insn, SegmentOps::pushSegment)
              : null;
      case POP ->
          insn.operandKind[0] == Instruction.SEGMENT
              ? SystemOps.ending(insn, SegmentOps::popSegment)
              : null;
      case LDS -> SystemOps.ending(insn, (c, o) -> loadFar(c, o, Seg.DS));
      case LES -> SystemOps.ending(insn, (c, o) -> loadFar(c, o, Seg.ES));
      case LFS -> SystemOps.ending(insn, (c, o) -> loadFar(c, o, Seg.FS));
      case LGS -> SystemOps.ending(insn, (c, o) -> loadFar(c, o, Seg.GS));
      case LSS -> SystemOps.ending(insn, (c, o) -> loadFar(c, o, Seg.SS));
      case LGDT ->
          SystemOps.plain(
              insn, (c, o) -> loadTable(c, o, StateLayout.GDTR_BASE, StateLayout.GDTR_LIMIT));
      case LIDT ->
          SystemOps.plain(
              insn, (c, o) -> loadTable(c, o, StateLayout.IDTR_BASE, StateLayout.IDTR_LIMIT));
      case SGDT ->
          SystemOps.plain(
              insn, (c, o) -> storeTable(c, o, StateLayout.GDTR_BASE, StateLayout.GDTR_LIMIT));
      case SIDT ->
          SystemOps.plain(
              insn, (c, o) -> storeTable(c, o, StateLayout.IDTR_BASE, StateLayout.IDTR_LIMIT));
      case LLDT -> SystemOps.plain(insn, SegmentOps::loadLdt);
      case LTR -> SystemOps.plain(insn, SegmentOps::loadTask);
      case SLDT -> SystemOps.plain(insn, (c, o) -> storeSystemSelector(c, o, Seg.LDTR));
      case STR -> SystemOps.plain(insn, (c, o) -> storeSystemSelector(c, o, Seg.TR));
      case LAR -> SystemOps.plain(insn, SegmentOps::loadAccessRights);
      case LSL -> SystemOps.plain(insn, SegmentOps::loadLimit);
      case VERR -> SystemOps.plain(insn, (c, o) -> verify(c, o, false));
      case VERW -> SystemOps.plain(insn, (c, o) -> verify(c, o, true));
      case ARPL -> SystemOps.plain(insn, SegmentOps::adjustRpl);
      case SWAPGS -> SystemOps.plain(insn, SegmentOps::swapGs);
      case RDFSBASE -> SystemOps.plain(insn, (c, o) -> readBase(c, o, Seg.FS));
      case RDGSBASE -> SystemOps.plain(insn, (c, o) -> readBase(c, o, Seg.GS));
      case WRFSBASE -> SystemOps.plain(insn, (c, o) -> writeBase(c, o, Seg.FS));
      case WRGSBASE -> SystemOps.plain(insn, (c, o) -> writeBase(c, o, Seg.GS));
      default -> null;
    };
  }

  private static Op bindMove(final Instruction insn) {
    if (insn.operandKind[0] == Instruction.SEGMENT) {
      return SystemOps.ending(insn, SegmentOps::moveToSegment);
    }
    if (insn.operandKind[1] == Instruction.SEGMENT) {
      return SystemOps.plain(insn, (c, o) -> o.writeSelector(c, c.selector(o.register1)));
    }
    return null;
  }

  private static void loadSegment(final SoftVcpu cpu, final int segment, final int selector) {
    SegmentLoader.load(cpu, segment, selector);
    if (segment == Seg.SS) {
      cpu.modeChanged();
    }
  }

  private static void moveToSegment(final SoftVcpu cpu, final SystemOp op) {
    if (op.register0 == Seg.CS || op.register0 > Seg.GS) {
      throw cpu.undefined();
    }
    loadSegment(cpu, op.register0, op.read16(cpu, op.kind1, op.register1));
    if (op.register0 == Seg.SS) {
      cpu.startStackShadow();
    }
  }

  private static void pushSegment(final SoftVcpu cpu, final SystemOp op) {
    cpu.push(cpu.selector(op.register0), op.operandSize);
  }

  private static void popSegment(final SoftVcpu cpu, final SystemOp op) {
    final int selector = (int) cpu.peekStack(op.operandSize) & 0xFFFF;
    final long sp = cpu.reg64(RSP);
    // In the width of the stack that is popped from: SS may change it.
    cpu.addStackPointer(op.operandSize);
    final long popped = cpu.reg64(RSP);
    cpu.reg64(RSP, sp);
    loadSegment(cpu, op.register0, selector);
    cpu.reg64(RSP, popped);
    if (op.register0 == Seg.SS) {
      cpu.startStackShadow();
    }
  }

  private static void loadFar(final SoftVcpu cpu, final SystemOp op, final int segment) {
    final long address = op.farPointer(cpu);
    final long offset = cpu.load(address, op.operandSize);
    final int selector = cpu.load16(address + op.operandSize);
    loadSegment(cpu, segment, selector);
    SystemOp.writeRegister(cpu, op.register0, op.operandSize, offset);
  }

  private static void loadTable(
      final SoftVcpu cpu, final SystemOp op, final int base, final int limit) {
    SystemOps.privileged(cpu);
    final int width = op.codeSize == 8 ? 8 : 4;
    final long address = op.address(cpu, 2 + width, false);
    final int newLimit = cpu.load16(address);
    long newBase = cpu.load(address + 2, width);
    if (op.operandSize16) {
      newBase &= 0xFF_FFFF;
    }
    if (op.codeSize == 8 && newBase != newBase << 16 >> 16) {
      throw cpu.raise(Vector.GP, 0);
    }
    cpu.reg64(base, newBase);
    cpu.reg64(limit, newLimit);
  }

  private static void storeTable(
      final SoftVcpu cpu, final SystemOp op, final int base, final int limit) {
    SystemOps.userMayStore(cpu);
    final int width = op.codeSize == 8 ? 8 : 4;
    final long address = op.address(cpu, 2 + width, true);
    cpu.probeWrite(address, 2 + width);
    cpu.store16(address, (int) cpu.reg64(limit));
    cpu.store(address + 2, width, cpu.reg64(base));
  }

  private static void checkBases(final SoftVcpu cpu) {
    if ((cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_FSGSBASE) == 0) {
      throw cpu.undefined();
    }
  }

  private static void readBase(final SoftVcpu cpu, final SystemOp op, final int segment) {
    checkBases(cpu);
    SystemOp.writeRegister(cpu, op.register0, op.size0, cpu.segmentBase(segment));
  }

  /** A 32-bit operand is zero-extended, a 64-bit one must be canonical. */
  private static void writeBase(final SoftVcpu cpu, final SystemOp op, final int segment) {
    checkBases(cpu);
    final long value = cpu.reg64(StateLayout.gpr(op.register0));
    final long base = op.size0 == 8 ? value : value & 0xFFFF_FFFFL;
    if (base != base << 16 >> 16) {
      throw cpu.raise(Vector.GP, 0);
    }
    cpu.reg64(StateLayout.segment(segment) + StateLayout.SEG_BASE, base);
  }

  private static void systemSegments(final SoftVcpu cpu) {
    if (!cpu.isProtected() || cpu.isVm86()) {
      throw cpu.undefined();
    }
  }

  private static void loadLdt(final SoftVcpu cpu, final SystemOp op) {
    systemSegments(cpu);
    SystemOps.privileged(cpu);
    SegmentLoader.loadLdt(cpu, op.read16(cpu, op.kind0, op.register0));
  }

  private static void loadTask(final SoftVcpu cpu, final SystemOp op) {
    systemSegments(cpu);
    SystemOps.privileged(cpu);
    SegmentLoader.loadTask(cpu, op.read16(cpu, op.kind0, op.register0));
  }

  private static void storeSystemSelector(
      final SoftVcpu cpu, final SystemOp op, final int segment) {
    systemSegments(cpu);
    SystemOps.userMayStore(cpu);
    op.writeSelector(cpu, cpu.selector(segment));
  }

  /** Descriptor for LAR, LSL, VERR, VERW, or 0 where it is not visible (none is all zero). */
  private static long visibleDescriptor(final SoftVcpu cpu, final int selector) {
    systemSegments(cpu);
    if ((selector & 0xFFFC) == 0) {
      return 0;
    }
    final boolean local = (selector & 4) != 0;
    final long limit = local ? cpu.segmentLimit(Seg.LDTR) : cpu.reg64(StateLayout.GDTR_LIMIT);
    if ((selector & 0xFFF8) + 7 > limit
        || local && (cpu.rights(Seg.LDTR) & StateLayout.SEG_UNUSABLE) != 0) {
      return 0;
    }
    final long base = local ? cpu.segmentBase(Seg.LDTR) : cpu.reg64(StateLayout.GDTR_BASE);
    final long raw = cpu.loadSystem(base + (selector & 0xFFF8), 8);
    final int rights = Descriptor.rights(raw);
    return Descriptor.isConforming(rights)
            || Descriptor.dpl(rights) >= Math.max(cpu.cpl(), selector & 3)
        ? raw
        : 0;
  }

  private static void setZero(final SoftVcpu cpu, final boolean value) {
    final int flags = cpu.arithmeticFlags();
    cpu.setArithmeticFlags(value ? flags | Flags.ZF : flags & ~Flags.ZF);
  }

  private static void loadAccessRights(final SoftVcpu cpu, final SystemOp op) {
    final long raw = visibleDescriptor(cpu, op.read16(cpu, op.kind1, op.register1));
    final int rights = Descriptor.rights(raw);
    final int type = rights & Descriptor.TYPE;
    boolean valid = raw != 0;
    if (valid && (rights & Descriptor.S) == 0) {
      valid =
          cpu.isLong()
              ? type == 2 || type == 9 || type == 0xB || type == 0xC
              : type != 0 && type != 6 && type != 7 && type != 8 && type != 0xA && type < 0xD;
    }
    if (valid) {
      SystemOp.writeRegister(cpu, op.register0, op.operandSize, raw >>> 32 & 0x00F0_FF00L);
    }
    setZero(cpu, valid);
  }

  private static void loadLimit(final SoftVcpu cpu, final SystemOp op) {
    final long raw = visibleDescriptor(cpu, op.read16(cpu, op.kind1, op.register1));
    final int rights = Descriptor.rights(raw);
    final int type = rights & Descriptor.TYPE;
    boolean valid = raw != 0;
    if (valid && (rights & Descriptor.S) == 0) {
      valid = type == 2 || type == 9 || type == 0xB || !cpu.isLong() && (type == 1 || type == 3);
    }
    if (valid) {
      SystemOp.writeRegister(cpu, op.register0, op.operandSize, Descriptor.limit(raw));
    }
    setZero(cpu, valid);
  }

  private static void verify(final SoftVcpu cpu, final SystemOp op, final boolean write) {
    final long raw = visibleDescriptor(cpu, op.read16(cpu, op.kind0, op.register0));
    final int rights = Descriptor.rights(raw);
    final boolean valid;
    if (raw == 0 || (rights & Descriptor.S) == 0) {
      valid = false;
    } else if (write) {
      valid = Descriptor.isWritableData(rights);
    } else {
      valid = !Descriptor.isCode(rights) || (rights & Descriptor.READ_WRITE) != 0;
    }
    setZero(cpu, valid);
  }

  private static void adjustRpl(final SoftVcpu cpu, final SystemOp op) {
    systemSegments(cpu);
    final int source = cpu.reg16(StateLayout.gpr(op.register1));
    final boolean memory = op.kind0 == Instruction.MEMORY;
    final long address = memory ? op.address(cpu, 2, true) : 0;
    final int target =
        memory ? (int) cpu.loadForWrite(address, 2) : cpu.reg16(StateLayout.gpr(op.register0));
    final boolean lower = (target & 3) < (source & 3);
    if (lower) {
      final int adjusted = target & 0xFFFC | source & 3;
      if (memory) {
        cpu.store16(address, adjusted);
      } else {
        cpu.reg16(StateLayout.gpr(op.register0), adjusted);
      }
    }
    setZero(cpu, lower);
  }

  private static void swapGs(final SoftVcpu cpu, final SystemOp op) {
    if (!cpu.longMode64()) {
      throw cpu.undefined();
    }
    SystemOps.privileged(cpu);
    final int base = StateLayout.segment(Seg.GS) + StateLayout.SEG_BASE;
    final long old = cpu.reg64(base);
    cpu.reg64(base, cpu.reg64(StateLayout.KERNEL_GS_BASE));
    cpu.reg64(StateLayout.KERNEL_GS_BASE, old);
  }
}

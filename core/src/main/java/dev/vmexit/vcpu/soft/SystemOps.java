package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.VcpuExit;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Seg;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/** Binds the system group: segments, far transfers, flags and interrupts, ports, CR, DR, MSR. */
final class SystemOps {
  private static final int RAX = StateLayout.gpr(Gpr.RAX);
  private static final int RBX = StateLayout.gpr(Gpr.RBX);
  private static final int RCX = StateLayout.gpr(Gpr.RCX);
  private static final int RDX = StateLayout.gpr(Gpr.RDX);
  private static final int RSP = StateLayout.gpr(Gpr.RSP);

  private SystemOps() {}

  private static SystemOp plain(final Instruction insn, final SystemOp.Action action) {
    return new SystemOp(insn, false, action);
  }

  private static SystemOp ending(final Instruction insn, final SystemOp.Action action) {
    return new SystemOp(insn, true, action);
  }

  static Op undefined(final Instruction insn) {
    return ending(insn, SystemOps::raiseUndefined);
  }

  private static void raiseUndefined(final SoftVcpu cpu, final SystemOp op) {
    throw cpu.undefined();
  }

  static Op protectionFault(final Instruction insn) {
    return ending(insn, SystemOps::raiseProtection);
  }

  private static void raiseProtection(final SoftVcpu cpu, final SystemOp op) {
    throw cpu.raise(Vector.GP, 0);
  }

  /** Binds an instruction, or null where it is not of this group. */
  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case MOV -> bindMove(insn);
      case PUSH ->
          insn.operandKind[0] == Instruction.SEGMENT ? plain(insn, SystemOps::pushSegment) : null;
      case POP ->
          insn.operandKind[0] == Instruction.SEGMENT ? ending(insn, SystemOps::popSegment) : null;
      case LDS -> ending(insn, (c, o) -> loadFar(c, o, Seg.DS));
      case LES -> ending(insn, (c, o) -> loadFar(c, o, Seg.ES));
      case LFS -> ending(insn, (c, o) -> loadFar(c, o, Seg.FS));
      case LGS -> ending(insn, (c, o) -> loadFar(c, o, Seg.GS));
      case LSS -> ending(insn, (c, o) -> loadFar(c, o, Seg.SS));
      case JMPF -> ending(insn, (c, o) -> farBranch(c, o, false));
      case CALLF -> ending(insn, (c, o) -> farBranch(c, o, true));
      case RETF ->
          ending(
              insn, (c, o) -> FarTransfers.returnFar(c, o.operandSize, (int) o.immediate & 0xFFFF));
      case IRET -> ending(insn, (c, o) -> FarTransfers.interruptReturn(c, o.operandSize));
      case INT -> ending(insn, SystemOps::interrupt);
      case INT3 -> ending(insn, (c, o) -> c.softwareInterrupt(Vector.BP, EventDelivery.SOFTWARE));
      case INT1 ->
          ending(insn, (c, o) -> c.softwareInterrupt(Vector.DB, EventDelivery.PRIVILEGED_SOFTWARE));
      case INTO -> ending(insn, SystemOps::interruptOnOverflow);
      case SYSCALL -> ending(insn, (c, o) -> FarTransfers.syscall(c));
      case SYSRET -> ending(insn, (c, o) -> FarTransfers.sysret(c, o.operandSize));
      case SYSENTER -> ending(insn, (c, o) -> FarTransfers.sysenter(c));
      case SYSEXIT -> ending(insn, (c, o) -> FarTransfers.sysexit(c, o.operandSize));
      case CLI -> plain(insn, SystemOps::clearInterrupts);
      case STI -> ending(insn, SystemOps::setInterrupts);
      case PUSHF -> plain(insn, SystemOps::pushFlags);
      case POPF -> ending(insn, SystemOps::popFlags);
      case HLT -> ending(insn, SystemOps::halt);
      case IN -> ending(insn, SystemOps::portIn);
      case OUT -> ending(insn, SystemOps::portOut);
      case CPUID -> ending(insn, SystemOps::cpuid);
      case RDMSR -> ending(insn, SystemOps::readMsr);
      case WRMSR -> ending(insn, SystemOps::writeMsr);
      case RDTSC -> ending(insn, (c, o) -> readTsc(c, 0));
      case RDTSCP -> ending(insn, SystemOps::readTscp);
      // There are no counters: any number is a bad one.
      case RDPMC -> protectionFault(insn);
      case INVLPG -> ending(insn, SystemOps::invalidatePage);
      case INVD, WBINVD -> plain(insn, (c, o) -> privileged(c));
      case CLTS -> ending(insn, SystemOps::clearTaskSwitched);
      case LMSW -> ending(insn, SystemOps::loadStatusWord);
      case SMSW -> plain(insn, SystemOps::storeStatusWord);
      case LGDT ->
          plain(insn, (c, o) -> loadTable(c, o, StateLayout.GDTR_BASE, StateLayout.GDTR_LIMIT));
      case LIDT ->
          plain(insn, (c, o) -> loadTable(c, o, StateLayout.IDTR_BASE, StateLayout.IDTR_LIMIT));
      case SGDT ->
          plain(insn, (c, o) -> storeTable(c, o, StateLayout.GDTR_BASE, StateLayout.GDTR_LIMIT));
      case SIDT ->
          plain(insn, (c, o) -> storeTable(c, o, StateLayout.IDTR_BASE, StateLayout.IDTR_LIMIT));
      case LLDT -> plain(insn, SystemOps::loadLdt);
      case LTR -> plain(insn, SystemOps::loadTask);
      case SLDT -> plain(insn, (c, o) -> storeSystemSelector(c, o, Seg.LDTR));
      case STR -> plain(insn, (c, o) -> storeSystemSelector(c, o, Seg.TR));
      case LAR -> plain(insn, SystemOps::loadAccessRights);
      case LSL -> plain(insn, SystemOps::loadLimit);
      case VERR -> plain(insn, (c, o) -> verify(c, o, false));
      case VERW -> plain(insn, (c, o) -> verify(c, o, true));
      case ARPL -> plain(insn, SystemOps::adjustRpl);
      case SWAPGS -> plain(insn, SystemOps::swapGs);
      case RDFSBASE -> plain(insn, (c, o) -> readBase(c, o, Seg.FS));
      case RDGSBASE -> plain(insn, (c, o) -> readBase(c, o, Seg.GS));
      case WRFSBASE -> plain(insn, (c, o) -> writeBase(c, o, Seg.FS));
      case WRGSBASE -> plain(insn, (c, o) -> writeBase(c, o, Seg.GS));
      default -> FeatureOps.bind(insn);
    };
  }

  private static Op bindMove(final Instruction insn) {
    final int destination = insn.operandKind[0];
    final int source = insn.operandKind[1];
    if (destination == Instruction.SEGMENT) {
      return ending(insn, SystemOps::moveToSegment);
    }
    if (source == Instruction.SEGMENT) {
      return plain(insn, (c, o) -> o.writeSelector(c, c.selector(o.register1)));
    }
    if (destination == Instruction.CONTROL) {
      return ending(insn, SystemOps::moveToControl);
    }
    if (source == Instruction.CONTROL) {
      return plain(insn, SystemOps::moveFromControl);
    }
    if (destination == Instruction.DEBUG) {
      return ending(insn, SystemOps::moveToDebug);
    }
    if (source == Instruction.DEBUG) {
      return plain(insn, SystemOps::moveFromDebug);
    }
    return null;
  }

  private static void privileged(final SoftVcpu cpu) {
    if (cpu.cpl() != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
  }

  // ---- segments ----

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
    final long address = op.address(cpu, op.operandSize + 2, false);
    final long offset = cpu.load(address, op.operandSize);
    final int selector = cpu.load16(address + op.operandSize);
    loadSegment(cpu, segment, selector);
    SystemOp.writeRegister(cpu, op.register0, op.operandSize, offset);
  }

  private static void farBranch(final SoftVcpu cpu, final SystemOp op, final boolean call) {
    final long target;
    final int selector;
    if (op.kind0 == Instruction.FAR_POINTER) {
      target = op.immediate;
      selector = (int) op.immediate2 & 0xFFFF;
    } else {
      final long address = op.address(cpu, op.operandSize + 2, false);
      target = cpu.load(address, op.operandSize);
      selector = cpu.load16(address + op.operandSize);
    }
    if (call) {
      FarTransfers.call(cpu, selector, target, op.operandSize);
    } else {
      FarTransfers.jump(cpu, selector, target, op.operandSize);
    }
  }

  private static void loadTable(
      final SoftVcpu cpu, final SystemOp op, final int base, final int limit) {
    privileged(cpu);
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
    userMayStore(cpu);
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
    privileged(cpu);
    SegmentLoader.loadLdt(cpu, op.read16(cpu, op.kind0, op.register0));
  }

  private static void loadTask(final SoftVcpu cpu, final SystemOp op) {
    systemSegments(cpu);
    privileged(cpu);
    SegmentLoader.loadTask(cpu, op.read16(cpu, op.kind0, op.register0));
  }

  private static void storeSystemSelector(
      final SoftVcpu cpu, final SystemOp op, final int segment) {
    systemSegments(cpu);
    userMayStore(cpu);
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
    privileged(cpu);
    final int base = StateLayout.segment(Seg.GS) + StateLayout.SEG_BASE;
    final long old = cpu.reg64(base);
    cpu.reg64(base, cpu.reg64(StateLayout.KERNEL_GS_BASE));
    cpu.reg64(StateLayout.KERNEL_GS_BASE, old);
  }

  // ---- flags and interrupts ----

  private static void interrupt(final SoftVcpu cpu, final SystemOp op) {
    if (cpu.isVm86()) {
      if (Vm86Extensions.interrupt(cpu, (int) op.immediate & 0xFF)) {
        return;
      }
      if (cpu.iopl() < 3) {
        throw cpu.raise(Vector.GP, 0);
      }
    }
    cpu.softwareInterrupt((int) op.immediate & 0xFF, EventDelivery.SOFTWARE);
  }

  private static void interruptOnOverflow(final SoftVcpu cpu, final SystemOp op) {
    if (op.codeSize == 8) {
      throw cpu.undefined();
    }
    if (cpu.of()) {
      cpu.softwareInterrupt(Vector.OF, EventDelivery.SOFTWARE);
    }
  }

  /** Whether IF is the guest's to change; else CLI and STI are done on VIF, or raise #GP. */
  private static boolean mayChangeIf(final SoftVcpu cpu, final boolean set) {
    if (!cpu.isProtected() || cpu.cpl() <= cpu.iopl()) {
      return true;
    }
    if (!Vm86Extensions.interruptFlag(cpu, set)) {
      throw cpu.raise(Vector.GP, 0);
    }
    return false;
  }

  private static void clearInterrupts(final SoftVcpu cpu, final SystemOp op) {
    if (!mayChangeIf(cpu, false)) {
      return;
    }
    HostMemory.putLong(cpu.state + StateLayout.RFLAGS, cpu.systemFlags() & ~(long) Flags.IF);
  }

  private static void setInterrupts(final SoftVcpu cpu, final SystemOp op) {
    if (!mayChangeIf(cpu, true)) {
      return;
    }
    final long flags = cpu.systemFlags();
    if ((flags & Flags.IF) == 0) {
      HostMemory.putLong(cpu.state + StateLayout.RFLAGS, flags | Flags.IF);
      cpu.startShadow();
    }
  }

  private static void pushFlags(final SoftVcpu cpu, final SystemOp op) {
    if (cpu.isVm86() && cpu.iopl() < 3) {
      if (op.operandSize != 2 || !Vm86Extensions.inVm86(cpu)) {
        throw cpu.raise(Vector.GP, 0);
      }
      cpu.push(Vm86Extensions.image(cpu), 2);
      return;
    }
    cpu.push(cpu.rflags() & ~(long) (Flags.RF | Flags.VM), op.operandSize);
  }

  private static void popFlags(final SoftVcpu cpu, final SystemOp op) {
    if (cpu.isVm86() && cpu.iopl() < 3) {
      if (op.operandSize != 2 || !Vm86Extensions.inVm86(cpu)) {
        throw cpu.raise(Vector.GP, 0);
      }
      final long merged = Vm86Extensions.merge(cpu, cpu.peekStack(2));
      cpu.addStackPointer(2);
      cpu.setRflags(merged);
      return;
    }
    final long image = cpu.pop(op.operandSize);
    cpu.setRflags(
        FarTransfers.mergeFlags(cpu.rflags(), image, op.operandSize, cpu.cpl(), cpu.iopl()));
  }

  private static void halt(final SoftVcpu cpu, final SystemOp op) {
    privileged(cpu);
    if (!cpu.stepping()) {
      cpu.notice(VcpuExit.HLT, 0, 0);
    }
  }

  // ---- ports ----

  private static int port(final SoftVcpu cpu, final int kind, final long immediate) {
    return kind == Instruction.IMMEDIATE ? (int) immediate & 0xFF : cpu.reg16(RDX);
  }

  private static void portIn(final SoftVcpu cpu, final SystemOp op) {
    final int port = port(cpu, op.kind1, op.immediate);
    cpu.checkPort(port, op.size0);
    final int value = cpu.portIn(port, op.size0);
    switch (op.size0) {
      case 1 -> cpu.reg8(RAX, value);
      case 2 -> cpu.reg16(RAX, value);
      default -> cpu.reg32(RAX, value);
    }
  }

  private static void portOut(final SoftVcpu cpu, final SystemOp op) {
    final int port = port(cpu, op.kind0, op.immediate);
    final int size = op.outSize;
    cpu.checkPort(port, size);
    cpu.portOut(port, size, cpu.reg32(RAX));
  }

  // ---- CPUID, MSRs, TSC ----

  private static void cpuid(final SoftVcpu cpu, final SystemOp op) {
    if (!cpu.answered()) {
      cpu.describe(cpu.reg32(RAX) & 0xFFFF_FFFFL, 0, false, cpu.reg32(RCX) & 0xFFFF_FFFFL);
    }
    cpu.request(VcpuExit.CPUID);
    final int[] answer = cpu.exit().cpuid;
    cpu.reg32(RAX, answer[0]);
    cpu.reg32(RBX, answer[1]);
    cpu.reg32(RCX, answer[2]);
    cpu.reg32(RDX, answer[3]);
  }

  private static void readMsr(final SoftVcpu cpu, final SystemOp op) {
    privileged(cpu);
    if (!cpu.answered()) {
      cpu.describe(cpu.reg32(RCX) & 0xFFFF_FFFFL, 8, false, 0);
    }
    final long value = cpu.request(VcpuExit.MSR);
    if (cpu.exit().refused) {
      throw cpu.raise(Vector.GP, 0);
    }
    cpu.reg32(RAX, (int) value);
    cpu.reg32(RDX, (int) (value >>> 32));
  }

  private static void writeMsr(final SoftVcpu cpu, final SystemOp op) {
    privileged(cpu);
    if (!cpu.answered()) {
      final long value = cpu.reg32(RAX) & 0xFFFF_FFFFL | (long) cpu.reg32(RDX) << 32;
      cpu.describe(cpu.reg32(RCX) & 0xFFFF_FFFFL, 8, true, value);
    }
    cpu.request(VcpuExit.MSR);
    if (cpu.exit().refused) {
      throw cpu.raise(Vector.GP, 0);
    }
  }

  private static void readTsc(final SoftVcpu cpu, final int form) {
    if ((cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_TSD) != 0 && cpu.cpl() != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    if (!cpu.answered()) {
      cpu.describe(form, 8, false, 0);
    }
    final long value = cpu.request(VcpuExit.TSC);
    cpu.reg32(RAX, (int) value);
    cpu.reg32(RDX, (int) (value >>> 32));
  }

  private static void readTscp(final SoftVcpu cpu, final SystemOp op) {
    readTsc(cpu, 1);
    cpu.reg32(RCX, cpu.reg32(StateLayout.TSC_AUX));
  }

  // ---- control and debug registers ----

  private static void moveFromControl(final SoftVcpu cpu, final SystemOp op) {
    privileged(cpu);
    final int offset =
        switch (op.register1) {
          case 0 -> StateLayout.CR0;
          case 2 -> StateLayout.CR2;
          case 3 -> StateLayout.CR3;
          case 4 -> StateLayout.CR4;
          case 8 -> StateLayout.CR8;
          default -> throw cpu.undefined();
        };
    SystemOp.writeRegister(cpu, op.register0, op.codeSize == 8 ? 8 : 4, cpu.reg64(offset));
  }

  private static void moveToControl(final SoftVcpu cpu, final SystemOp op) {
    privileged(cpu);
    final int source = StateLayout.gpr(op.register1);
    final long value = op.codeSize == 8 ? cpu.reg64(source) : cpu.reg32(source) & 0xFFFF_FFFFL;
    switch (op.register0) {
      case 0 -> ControlWrites.cr0(cpu, value);
      case 2 -> cpu.reg64(StateLayout.CR2, value);
      case 3 -> ControlWrites.cr3(cpu, value);
      case 4 -> ControlWrites.cr4(cpu, value);
      case 8 -> ControlWrites.cr8(cpu, value);
      default -> throw cpu.undefined();
    }
  }

  private static void clearTaskSwitched(final SoftVcpu cpu, final SystemOp op) {
    privileged(cpu);
    cpu.reg64(StateLayout.CR0, cpu.reg64(StateLayout.CR0) & ~ControlRegisters.CR0_TS);
  }

  private static void storeStatusWord(final SoftVcpu cpu, final SystemOp op) {
    userMayStore(cpu);
    op.writeSelector(cpu, cpu.reg64(StateLayout.CR0));
  }

  /** CR4.UMIP keeps the addresses of the system's tables from users (SDM Vol. 3A, 2.5). */
  private static void userMayStore(final SoftVcpu cpu) {
    if (cpu.cpl() != 0 && (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_UMIP) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
  }

  private static void loadStatusWord(final SoftVcpu cpu, final SystemOp op) {
    privileged(cpu);
    final int word = op.read16(cpu, op.kind0, op.register0);
    final long old = cpu.reg64(StateLayout.CR0);
    // PE can be set but not cleared.
    ControlWrites.cr0(cpu, old & ~0xEL | word & 0xF);
  }

  private static int debugRegister(final SoftVcpu cpu, final int number) {
    privileged(cpu);
    cpu.checkDebugAccess();
    final boolean extensions = (cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_DE) != 0;
    return switch (number) {
      case 0, 1, 2, 3 -> StateLayout.DR0 + number * 8;
      case 4, 5 -> {
        if (extensions) {
          throw cpu.undefined();
        }
        yield number == 4 ? StateLayout.DR6 : StateLayout.DR7;
      }
      case 6 -> StateLayout.DR6;
      case 7 -> StateLayout.DR7;
      default -> throw cpu.undefined();
    };
  }

  private static void moveFromDebug(final SoftVcpu cpu, final SystemOp op) {
    SystemOp.writeRegister(
        cpu, op.register0, op.codeSize == 8 ? 8 : 4, cpu.reg64(debugRegister(cpu, op.register1)));
  }

  private static void moveToDebug(final SoftVcpu cpu, final SystemOp op) {
    final int register = debugRegister(cpu, op.register0);
    final int source = StateLayout.gpr(op.register1);
    long value = op.codeSize == 8 ? cpu.reg64(source) : cpu.reg32(source) & 0xFFFF_FFFFL;
    if (register == StateLayout.DR6 || register == StateLayout.DR7) {
      if (value >>> 32 != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      value =
          register == StateLayout.DR6
              ? value & 0xE00FL | 0xFFFF_0FF0L
              : value & 0xFFFF_2BFFL | 0x400;
    }
    cpu.reg64(register, value);
    cpu.debugChanged();
  }

  private static void invalidatePage(final SoftVcpu cpu, final SystemOp op) {
    privileged(cpu);
    final long address = op.uncheckedAddress(cpu);
    cpu.flushPage(address);
    cpu.notice(VcpuExit.INVLPG, address, 0);
  }
}

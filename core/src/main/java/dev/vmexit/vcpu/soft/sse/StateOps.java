package dev.vmexit.vcpu.soft.sse;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.Op;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.vcpu.soft.x87.X87State;
import dev.vmexit.x86.ControlRegisters;
import dev.vmexit.x86.Gpr;
import dev.vmexit.x86.Vector;
import dev.vmexit.x86.decode.Instruction;

/**
 * Instructions that save and restore the x87 and vector state: MXCSR's, FXSAVE, the XSAVE family
 * with x87, SSE, AVX and PKRU as the state components on offer, and XCR0's (SDM Vol. 1, 10.5 and
 * chapter 13). A component counts as in use when it is not in its initial state.
 */
final class StateOps {
  private static final long X87 = XsaveLayout.X87;
  private static final long SSE = XsaveLayout.SSE;
  private static final long AVX = XsaveLayout.AVX;
  private static final long PKRU = XsaveLayout.PKRU;
  private static final long COMPACTED = 1L << 63;

  /** Where the upper halves of the YMM registers lie, in both formats. */
  private static final int AVX_OFFSET = XsaveLayout.AVX_OFFSET;

  private static final int LEGACY_SIZE = XsaveLayout.LEGACY_SIZE;
  private static final int HEADER_SIZE = XsaveLayout.HEADER_SIZE;

  private StateOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case LDMXCSR -> new LoadMxcsr(insn);
      case STMXCSR -> new StoreMxcsr(insn);
      case FXSAVE -> new FxSave(insn);
      case FXRSTOR -> new FxRestore(insn);
      case XSAVE -> new XSave(insn, false, false);
      case XSAVEOPT -> new XSave(insn, true, false);
      case XSAVEC -> new XSave(insn, true, true);
      case XRSTOR -> new XRestore(insn);
      case XGETBV -> new GetXcr(insn);
      case XSETBV -> new SetXcr(insn);
      default -> null;
    };
  }

  private static final class LoadMxcsr extends SseOp {
    LoadMxcsr(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      Mxcsr.set(cpu, checkedMxcsr(cpu, cpu.load32(readAddress(cpu, 4))));
    }
  }

  private static final class StoreMxcsr extends SseOp {
    StoreMxcsr(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      check(cpu);
      cpu.store32(writeAddress(cpu, 4), Mxcsr.get(cpu));
    }
  }

  private static int checkedMxcsr(final SoftCpu cpu, final int value) {
    if ((value & ~Mxcsr.WRITABLE) != 0) {
      throw cpu.raise(Vector.GP, 0);
    }
    return value;
  }

  /** What the legacy area's instructions have in common. */
  private abstract static class AreaOp extends Op {
    final boolean wide;
    final boolean longMode;
    private final int alignment;

    AreaOp(final Instruction insn, final int alignment) {
      super(insn);
      wide = insn.hasPrefix(Instruction.PREFIX_REX_W);
      longMode = insn.codeSize == 8;
      this.alignment = alignment;
    }

    final long checkAlignment(final SoftCpu cpu, final long linear) {
      if ((linear & (alignment - 1)) != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      return linear;
    }

    /** XMM registers that the mode shows. */
    final int registers() {
      return longMode ? 16 : 8;
    }

    final void saveX87(final SoftCpu cpu, final long area) {
      cpu.store64(
          area,
          X87State.control(cpu)
              | X87State.status(cpu) << 16
              | X87State.tags(cpu) << 32
              | X87State.opcode(cpu) << 48);
      if (wide) {
        cpu.store64(area + 8, cpu.reg64(StateLayout.FPU_IP));
        cpu.store64(area + 16, cpu.reg64(StateLayout.FPU_DP));
      } else {
        cpu.store64(
            area + 8,
            (cpu.reg64(StateLayout.FPU_IP) & 0xFFFF_FFFFL)
                | (long) cpu.reg16(StateLayout.FPU_CS) << 32);
        cpu.store64(
            area + 16,
            (cpu.reg64(StateLayout.FPU_DP) & 0xFFFF_FFFFL)
                | (long) cpu.reg16(StateLayout.FPU_DS) << 32);
      }
      for (int i = 0; i < 8; i++) {
        final int register = X87State.register(cpu, i);
        cpu.store64(area + 32 + i * 16L, cpu.reg64(register));
        cpu.store64(area + 40 + i * 16L, cpu.reg16(register + 8));
      }
    }

    final void saveMxcsr(final SoftCpu cpu, final long area) {
      cpu.store64(area + 24, Mxcsr.get(cpu) | (long) Mxcsr.WRITABLE << 32);
    }

    final void saveXmm(final SoftCpu cpu, final long area) {
      for (int i = 0; i < registers(); i++) {
        final int register = StateLayout.XMM + i * StateLayout.XMM_SIZE;
        cpu.store64(area + 160 + i * 16L, cpu.reg64(register));
        cpu.store64(area + 168 + i * 16L, cpu.reg64(register + 8));
      }
    }

    final void restoreX87(final SoftCpu cpu, final long area) {
      final long first = cpu.load64(area);
      X87State.restore(cpu, (int) first & 0xFFFF, (int) (first >>> 16) & 0xFFFF);
      cpu.reg64(StateLayout.FPU_TAGS, (first >>> 32 & 0xFF) | (first >>> 48 & 0x7FF) << 32);
      final long ip = cpu.load64(area + 8);
      final long dp = cpu.load64(area + 16);
      if (wide) {
        cpu.reg64(StateLayout.FPU_IP, ip);
        cpu.reg64(StateLayout.FPU_DP, dp);
        cpu.reg64(StateLayout.FPU_CS, 0);
      } else {
        cpu.reg64(StateLayout.FPU_IP, ip & 0xFFFF_FFFFL);
        cpu.reg64(StateLayout.FPU_DP, dp & 0xFFFF_FFFFL);
        cpu.reg64(StateLayout.FPU_CS, (ip >>> 32 & 0xFFFF) | (dp >>> 32 & 0xFFFF) << 32);
      }
      for (int i = 0; i < 8; i++) {
        final int register = X87State.register(cpu, i);
        cpu.reg64(register, cpu.load64(area + 32 + i * 16L));
        cpu.reg64(register + 8, cpu.load16(area + 40 + i * 16L));
      }
    }

    final void restoreXmm(final SoftCpu cpu, final long area) {
      for (int i = 0; i < registers(); i++) {
        final int register = StateLayout.XMM + i * StateLayout.XMM_SIZE;
        cpu.reg64(register, cpu.load64(area + 160 + i * 16L));
        cpu.reg64(register + 8, cpu.load64(area + 168 + i * 16L));
      }
    }
  }

  private static void checkTaskSwitched(final SoftCpu cpu) {
    if ((cpu.reg64(StateLayout.CR0) & (ControlRegisters.CR0_EM | ControlRegisters.CR0_TS)) != 0) {
      throw cpu.raise(Vector.NM);
    }
  }

  private static final class FxSave extends AreaOp {
    FxSave(final Instruction insn) {
      super(insn, 16);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkTaskSwitched(cpu);
      final long area = checkAlignment(cpu, writeAddress(cpu, LEGACY_SIZE));
      cpu.probeWrite(area, 160 + registers() * 16);
      saveX87(cpu, area);
      saveMxcsr(cpu, area);
      saveXmm(cpu, area);
    }
  }

  private static final class FxRestore extends AreaOp {
    FxRestore(final Instruction insn) {
      super(insn, 16);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkTaskSwitched(cpu);
      final long area = checkAlignment(cpu, readAddress(cpu, LEGACY_SIZE));
      cpu.probeRead(area, LEGACY_SIZE);
      final int mxcsr = checkedMxcsr(cpu, cpu.load32(area + 24));
      restoreX87(cpu, area);
      Mxcsr.set(cpu, mxcsr);
      restoreXmm(cpu, area);
    }
  }

  /** EDX:EAX of XSAVE and XRSTOR. */
  private static long requested(final SoftCpu cpu) {
    return cpu.reg64(StateLayout.gpr(Gpr.RDX)) << 32
        | (cpu.reg64(StateLayout.gpr(Gpr.RAX)) & 0xFFFF_FFFFL);
  }

  private static void checkXsave(final SoftCpu cpu) {
    if ((cpu.reg64(StateLayout.CR4) & ControlRegisters.CR4_OSXSAVE) == 0) {
      throw cpu.undefined();
    }
  }

  private static void checkXsaveUsable(final SoftCpu cpu) {
    checkXsave(cpu);
    if ((cpu.reg64(StateLayout.CR0) & ControlRegisters.CR0_TS) != 0) {
      throw cpu.raise(Vector.NM);
    }
  }

  private static boolean isZero(final long at, final int bytes) {
    for (int i = 0; i < bytes; i += 8) {
      if (HostMemory.getLong(at + i) != 0) {
        return false;
      }
    }
    return true;
  }

  /** Components that are not in their initial state (XINUSE). */
  private static long inUse(final SoftCpu cpu) {
    final long s = cpu.state;
    long result =
        X87State.control(cpu) == 0x37F
                && X87State.status(cpu) == 0
                && X87State.tags(cpu) == 0
                && X87State.opcode(cpu) == 0
                && isZero(s + StateLayout.FPU_IP, 24)
                && isZero(s + StateLayout.FPU_REGISTERS, 128)
            ? 0
            : X87;
    result |= Mxcsr.get(cpu) == Mxcsr.INITIAL ? 0 : SSE;
    for (int i = 0; i < 16; i++) {
      final long register = s + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE;
      result |= isZero(register, 16) ? 0 : SSE;
      result |= isZero(register + 16, 16) ? 0 : AVX;
    }
    result |= HostMemory.getInt(s + StateLayout.PKRU) == 0 ? 0 : PKRU;
    return result;
  }

  /** XSAVE; XSAVEOPT leaves out what is in its initial state, XSAVEC writes the other format. */
  private static final class XSave extends AreaOp {
    private final boolean optimized;
    private final boolean compacted;

    XSave(final Instruction insn, final boolean optimized, final boolean compacted) {
      super(insn, 64);
      this.optimized = optimized;
      this.compacted = compacted;
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkXsaveUsable(cpu);
      final long components = requested(cpu) & cpu.reg64(StateLayout.XCR0);
      final int size =
          compacted ? XsaveLayout.compactedSize(components) : XsaveLayout.standardSize(components);
      final long area = checkAlignment(cpu, writeAddress(cpu, size));
      cpu.probeWrite(area, size);
      final long used = components & inUse(cpu);
      final long saved = optimized ? used : components;
      final long old = compacted ? 0 : cpu.load64(area + LEGACY_SIZE);
      if ((saved & X87) != 0) {
        saveX87(cpu, area);
      }
      if ((saved & SSE) != 0 || !compacted && (components & (SSE | AVX)) != 0) {
        saveMxcsr(cpu, area);
      }
      if ((saved & SSE) != 0) {
        saveXmm(cpu, area);
      }
      if ((saved & AVX) != 0) {
        for (int i = 0; i < registers(); i++) {
          final int register = StateLayout.XMM + i * StateLayout.XMM_SIZE;
          cpu.store64(area + AVX_OFFSET + i * 16L, cpu.reg64(register + 16));
          cpu.store64(area + AVX_OFFSET + 8 + i * 16L, cpu.reg64(register + 24));
        }
      }
      if ((saved & PKRU) != 0) {
        cpu.store64(
            area + XsaveLayout.pkruOffset(components, compacted),
            cpu.reg32(StateLayout.PKRU) & 0xFFFF_FFFFL);
      }
      cpu.store64(area + LEGACY_SIZE, old & ~components | used);
      if (compacted) {
        cpu.store64(area + LEGACY_SIZE + 8, COMPACTED | components);
      }
    }
  }

  private static final class XRestore extends AreaOp {
    XRestore(final Instruction insn) {
      super(insn, 64);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkXsaveUsable(cpu);
      final long enabled = cpu.reg64(StateLayout.XCR0);
      final long components = requested(cpu) & enabled;
      final long area = checkAlignment(cpu, readAddress(cpu, AVX_OFFSET));
      cpu.probeRead(area, AVX_OFFSET);
      final long present = cpu.load64(area + LEGACY_SIZE);
      final long format = cpu.load64(area + LEGACY_SIZE + 8);
      final boolean compacted = (format & COMPACTED) != 0;
      final long layout = compacted ? format & ~COMPACTED : format;
      checkHeader(cpu, area, present, layout, compacted);
      final int size =
          compacted ? XsaveLayout.compactedSize(layout) : XsaveLayout.standardSize(components);
      cpu.probeRead(readAddress(cpu, size), size);
      final int pkru =
          (components & present & PKRU) != 0
              ? cpu.load32(area + XsaveLayout.pkruOffset(layout, compacted))
              : 0;
      // The standard format has MXCSR beside the components: it is loaded with either of the two
      // that use it. The compacted one has it in SSE's.
      final boolean loadsMxcsr =
          compacted ? (components & present & SSE) != 0 : (components & (SSE | AVX)) != 0;
      final int mxcsr =
          loadsMxcsr
              ? checkedMxcsr(cpu, cpu.load32(area + 24))
              : (components & SSE) != 0 ? Mxcsr.INITIAL : Mxcsr.get(cpu);
      if ((components & X87) != 0) {
        if ((present & X87) != 0) {
          restoreX87(cpu, area);
        } else {
          X87State.initialize(cpu);
          HostMemory.fill(cpu.state + StateLayout.FPU_REGISTERS, 128, 0);
        }
      }
      Mxcsr.set(cpu, mxcsr);
      if ((components & SSE) != 0) {
        if ((present & SSE) != 0) {
          restoreXmm(cpu, area);
        } else {
          clear(cpu, 0);
        }
      }
      if ((components & AVX) != 0) {
        if ((present & AVX) != 0) {
          for (int i = 0; i < registers(); i++) {
            final int register = StateLayout.XMM + i * StateLayout.XMM_SIZE;
            cpu.reg64(register + 16, cpu.load64(area + AVX_OFFSET + i * 16L));
            cpu.reg64(register + 24, cpu.load64(area + AVX_OFFSET + 8 + i * 16L));
          }
        } else {
          clear(cpu, 16);
        }
      }
      if ((components & PKRU) != 0) {
        HostMemory.putInt(cpu.state + StateLayout.PKRU, pkru);
        cpu.keysChanged();
      }
    }

    @Override
    public boolean isTerminator() {
      // PKRU changes what is mapped.
      return true;
    }

    private static void checkHeader(
        final SoftCpu cpu,
        final long area,
        final long present,
        final long format,
        final boolean compacted) {
      final long enabled = cpu.reg64(StateLayout.XCR0);
      boolean valid =
          compacted
              ? (format & ~enabled) == 0 && (present & ~format) == 0
              : format == 0 && (present & ~enabled) == 0;
      for (int i = 16; i < (compacted ? HEADER_SIZE : 24); i += 8) {
        valid &= cpu.load64(area + LEGACY_SIZE + i) == 0;
      }
      if (!valid) {
        throw cpu.raise(Vector.GP, 0);
      }
    }

    /** Clears half of the vector registers that the mode shows. */
    private void clear(final SoftCpu cpu, final int offset) {
      for (int i = 0; i < registers(); i++) {
        HostMemory.fill(
            cpu.state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE + offset, 16, 0);
      }
    }
  }

  private static final class GetXcr extends Op {
    GetXcr(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkXsave(cpu);
      final int index = cpu.reg32(StateLayout.gpr(Gpr.RCX));
      if (index != 0 && index != 1) {
        throw cpu.raise(Vector.GP, 0);
      }
      final long enabled = cpu.reg64(StateLayout.XCR0);
      final long value = index == 0 ? enabled : enabled & inUse(cpu);
      cpu.reg32(StateLayout.gpr(Gpr.RAX), (int) value);
      cpu.reg32(StateLayout.gpr(Gpr.RDX), (int) (value >>> 32));
    }
  }

  private static final class SetXcr extends Op {
    SetXcr(final Instruction insn) {
      super(insn);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkXsave(cpu);
      final long value = requested(cpu);
      if (cpu.cpl() != 0
          || cpu.reg32(StateLayout.gpr(Gpr.RCX)) != 0
          || (value & X87) == 0
          || (value & (SSE | AVX)) == AVX
          || (value & ~cpu.allowedXcr0()) != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      cpu.reg64(StateLayout.XCR0, value);
    }
  }
}

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
 * Instructions that save and restore the x87 and SSE state: MXCSR's, FXSAVE, XSAVE with x87 and SSE
 * as the state components on offer, and XCR0's (SDM Vol. 1, 10.5 and chapter 13).
 */
final class StateOps {
  /** State components: x87 and SSE. */
  static final long COMPONENTS = 3;

  private static final int X87 = 1;
  private static final int SSE = 2;
  private static final int LEGACY_SIZE = 512;
  private static final int HEADER_SIZE = 64;

  private StateOps() {}

  static Op bind(final Instruction insn) {
    return switch (insn.mnemonic) {
      case LDMXCSR -> new LoadMxcsr(insn);
      case STMXCSR -> new StoreMxcsr(insn);
      case FXSAVE -> new FxSave(insn);
      case FXRSTOR -> new FxRestore(insn);
      case XSAVE -> new XSave(insn);
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

  /** XSAVE: no component is ever taken to be in its initial configuration. */
  private static final class XSave extends AreaOp {
    XSave(final Instruction insn) {
      super(insn, 64);
    }

    @Override
    public void execute(final SoftCpu cpu) {
      checkXsaveUsable(cpu);
      final long components = requested(cpu) & cpu.reg64(StateLayout.XCR0);
      final long area = checkAlignment(cpu, writeAddress(cpu, LEGACY_SIZE + HEADER_SIZE));
      cpu.probeWrite(area, LEGACY_SIZE + HEADER_SIZE);
      final long present = cpu.load64(area + LEGACY_SIZE);
      if ((components & X87) != 0) {
        saveX87(cpu, area);
      }
      if ((components & SSE) != 0) {
        saveMxcsr(cpu, area);
        saveXmm(cpu, area);
      }
      cpu.store64(area + LEGACY_SIZE, present | components);
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
      final long area = checkAlignment(cpu, readAddress(cpu, LEGACY_SIZE + HEADER_SIZE));
      cpu.probeRead(area, LEGACY_SIZE + HEADER_SIZE);
      final long present = cpu.load64(area + LEGACY_SIZE);
      if ((present & ~enabled) != 0
          || cpu.load64(area + LEGACY_SIZE + 8) != 0
          || cpu.load64(area + LEGACY_SIZE + 16) != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      // MXCSR is loaded with the SSE component even where that takes its initial values.
      final int mxcsr =
          (components & SSE) != 0 ? checkedMxcsr(cpu, cpu.load32(area + 24)) : Mxcsr.get(cpu);
      if ((components & X87) != 0) {
        if ((present & X87) != 0) {
          restoreX87(cpu, area);
        } else {
          X87State.initialize(cpu);
          HostMemory.fill(cpu.state + StateLayout.FPU_REGISTERS, 128, 0);
        }
      }
      if ((components & SSE) != 0) {
        Mxcsr.set(cpu, mxcsr);
        if ((present & SSE) != 0) {
          restoreXmm(cpu, area);
        } else {
          for (int i = 0; i < registers(); i++) {
            HostMemory.fill(cpu.state + StateLayout.XMM + (long) i * StateLayout.XMM_SIZE, 16, 0);
          }
        }
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
      if (cpu.reg32(StateLayout.gpr(Gpr.RCX)) != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      final long value = cpu.reg64(StateLayout.XCR0);
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
          || (value & ~COMPONENTS) != 0) {
        throw cpu.raise(Vector.GP, 0);
      }
      cpu.reg64(StateLayout.XCR0, value);
    }
  }
}

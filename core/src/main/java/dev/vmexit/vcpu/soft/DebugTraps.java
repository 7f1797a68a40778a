package dev.vmexit.vcpu.soft;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.x86.Flags;
import dev.vmexit.x86.Vector;

/**
 * Debug exceptions (SDM Vol. 3B, 18.3): what raises #DB and what DR6 then shows, and RF, which lets
 * an instruction pass its own breakpoint.
 */
final class DebugTraps {
  private static final int DR6_ACCESS = 1 << 13;
  private static final int DR6_SINGLE_STEP = 1 << 14;
  private static final long DR7_GENERAL_DETECT = 1 << 13;

  private final SoftVcpu cpu;
  private final Breakpoints breakpoints;

  /** The instruction at rip meets no breakpoint of execution: RF as IRET left it. */
  private boolean resuming;

  /** The running instruction set {@link #resuming} for the one after it. */
  private boolean resumeFresh;

  DebugTraps(final SoftVcpu cpu) {
    this.cpu = cpu;
    breakpoints = cpu.breakpoints;
  }

  /** After DR0 to DR3, DR7 or CR4.DE may have changed. */
  void changed() {
    breakpoints.update(cpu.state);
    if (breakpoints.areArmed()) {
      cpu.attention.set(Attention.BREAKPOINTS);
    } else {
      cpu.attention.clear(Attention.BREAKPOINTS);
      resuming = false;
    }
  }

  /** RF of an image that IRET or a task switch loads: the next instruction meets no breakpoint. */
  void resume(final long image) {
    resuming = (image & Flags.RF) != 0 && breakpoints.areArmed();
    resumeFresh = resuming;
  }

  /** Whatever is delivered before the instruction that RF was meant for shows RF in its frame. */
  void beforeDelivery() {
    if (resuming) {
      HostMemory.putLong(
          cpu.state + StateLayout.RFLAGS,
          HostMemory.getLong(cpu.state + StateLayout.RFLAGS) | Flags.RF);
      resuming = false;
    }
  }

  void afterDelivery() {
    resumeFresh = false;
  }

  /** Raises #DB, a fault, where the instruction at rip has a breakpoint. */
  void beforeInstruction() {
    if (!breakpoints.areArmed()) {
      return;
    }
    breakpoints.hits = 0;
    if (resuming) {
      return;
    }
    final long rip = HostMemory.getLong(cpu.state + StateLayout.RIP);
    final int found =
        breakpoints.atInstruction(cpu.codeSize == 8 ? rip : cpu.codeBase + rip & 0xFFFF_FFFFL);
    if (found != 0) {
      status(found);
      throw cpu.raise(Vector.DB);
    }
  }

  /** After an instruction that ran alone; true where a breakpoint that it met traps now. */
  boolean afterInstruction() {
    if (!resumeFresh) {
      resuming = false;
    }
    resumeFresh = false;
    if (breakpoints.hits == 0) {
      return false;
    }
    status(breakpoints.hits);
    breakpoints.hits = 0;
    return true;
  }

  /** DR6 of a trap after one step. */
  void stepped() {
    status(DR6_SINGLE_STEP);
  }

  private void status(final int bits) {
    HostMemory.putLong(
        cpu.state + StateLayout.DR6, HostMemory.getLong(cpu.state + StateLayout.DR6) | bits);
  }

  /** #DB for a MOV of a debug register while DR7.GD is set, which that clears. */
  void checkAccess() {
    final long dr7 = HostMemory.getLong(cpu.state + StateLayout.DR7);
    if ((dr7 & DR7_GENERAL_DETECT) != 0) {
      HostMemory.putLong(cpu.state + StateLayout.DR7, dr7 & ~DR7_GENERAL_DETECT);
      status(DR6_ACCESS);
      throw cpu.raise(Vector.DB);
    }
  }
}

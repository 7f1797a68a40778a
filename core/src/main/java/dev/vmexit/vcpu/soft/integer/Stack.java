package dev.vmexit.vcpu.soft.integer;

import dev.vmexit.memory.HostMemory;
import dev.vmexit.vcpu.StateLayout;
import dev.vmexit.vcpu.soft.SoftCpu;
import dev.vmexit.x86.Gpr;

/**
 * The stack in 64-bit mode with 8-byte operands, where no segment is checked: mapped memory at
 * once, everything else (misses, non-canonical addresses with their #SS) by the vCPU.
 */
final class Stack {
  private static final int RSP = StateLayout.gpr(Gpr.RSP);

  private Stack() {}

  static void push64(final SoftCpu cpu, final long value) {
    final long rsp = cpu.state + RSP;
    final long top = HostMemory.getLong(rsp) - 8;
    final long host = cpu.hostWrite(top, 8);
    if (host != 0) {
      HostMemory.putLong(host, value);
      HostMemory.putLong(rsp, top);
    } else {
      cpu.push(value, 8);
    }
  }

  static long pop64(final SoftCpu cpu) {
    final long rsp = cpu.state + RSP;
    final long top = HostMemory.getLong(rsp);
    final long host = cpu.hostRead(top, 8);
    if (host == 0) {
      return cpu.pop(8);
    }
    HostMemory.putLong(rsp, top + 8);
    return HostMemory.getLong(host);
  }

  /** Reads the top of the stack, rSP unchanged. */
  static long peek64(final SoftCpu cpu) {
    final long host = cpu.hostRead(HostMemory.getLong(cpu.state + RSP), 8);
    return host != 0 ? HostMemory.getLong(host) : cpu.peekStack(8);
  }

  /** Gives bytes of the stack back. */
  static void release64(final SoftCpu cpu, final long bytes) {
    final long rsp = cpu.state + RSP;
    HostMemory.putLong(rsp, HostMemory.getLong(rsp) + bytes);
  }
}
